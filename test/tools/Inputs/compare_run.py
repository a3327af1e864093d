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
(launch,) = report["observed"]["launches"]
# Tiles of 32 keys: three for each of 2 heads, 128 rows of 32 columns, in products of 16 x 8 x 16.
assert launch["report"]["counters"]["by_opcode"]["mma"] == 2 * 2 * 3 * (128 * 32 * 32) // (16 * 8 * 16)
assert launch["report"]["findings"] == [] and launch["report"]["counters"]["bank_conflicts"] == 0
assert report["seconds"] > 0 and all(check["passed"] for check in report["checks"])
assert len(report["checks"]) == 2
print("report: counts mma, no findings, both checks passed")
