"""Arrays for documents.mlir: PREFIX.q, .k, .ids and .unsorted."""

import sys

import numpy as np


def save(name, array):
    with open(f"{sys.argv[1]}.{name}", "wb") as file:
        np.save(file, array)


random = np.random.default_rng(5)
save("q", random.standard_normal((1, 2, 150, 32)).astype(np.float32))
save("k", random.standard_normal((1, 2, 150, 32)).astype(np.float32))
ids = np.repeat(np.arange(5), 30).astype(np.int32)[None]
save("ids", ids)
unsorted = np.zeros_like(ids)
unsorted[0, 40] = 7
save("unsorted", unsorted)
