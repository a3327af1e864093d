"""Looks at what run.test wrote: the outputs beside the reference's, and the report."""

import json
import os
import sys

import numpy as np

folder = sys.argv[1]
for name in ["o", "lse"]:
    found, expected = (np.load(os.path.join(folder, f"{name}{suffix}.npy")) for suffix in ["", "64"])
    assert found.shape == expected.shape and np.abs(found - expected).max() < 3e-3 and np.abs(expected).max() > 0.5
    print(name, found.dtype, found.shape, "close to the reference")

with open(os.path.join(folder, "r.json")) as file:
    report = json.load(file)
text = json.dumps(report["observed"])
assert report["seconds"] > 0 and "mma.sync" in text and all(check["passed"] for check in report["checks"])
assert len(report["checks"]) == 2
print("report: counts mma, no findings, both checks passed")
