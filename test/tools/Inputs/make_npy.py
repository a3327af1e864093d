"""Writes the .npy files that the tests of attn-run read: make_npy.py FOLDER."""

import os
import sys

import numpy as np


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    random = np.random.default_rng(7)

    def save(name, array):
        np.save(os.path.join(folder, name), array)

    for name in "qkv":
        save(f"{name}.npy", random.normal(size=(1, 2, 70, 32)).astype(np.float32))
    save("fortran.npy", np.asfortranarray(random.normal(size=(1, 2, 70, 32))))
    save("flat.npy", random.normal(size=(70, 32)).astype(np.float32))
    save("narrow.npy", random.normal(size=(1, 2, 70, 16)).astype(np.float32))
    save("short.npy", random.normal(size=(1, 2, 69, 32)).astype(np.float32))
    save("text.npy", np.array(["a", "b"]))
    with open(os.path.join(folder, "q.npy"), "rb") as file:
        data = file.read()
    with open(os.path.join(folder, "truncated.npy"), "wb") as file:
        file.write(data[:-3])
    with open(os.path.join(folder, "header.npy"), "wb") as file:
        file.write(data[:40])
    with open(os.path.join(folder, "empty.npy"), "wb"):
        pass


main()
