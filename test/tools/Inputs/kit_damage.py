"""Makes three mistakes in a packed kit."""

import hashlib
import json
import pathlib
import sys

import numpy as np

kit = pathlib.Path(sys.argv[1])


def change(path, name, index, by):
    data = dict(np.load(path))
    data[name][index] += by
    np.savez_compressed(path, **data)


change(kit / "corpus" / "addTail" / "data.npz", "expected", 7, 1)
change(kit / "golden" / "small-documents.npz", "o", (0, 1, 100, 5), 0.25)
# The logarithm of the sum becomes something else.
bundle = kit / "bundles" / "small-f32" / "sm_90"
code = (bundle / "f.ptx").read_text()
assert "lg2.approx.ftz.f32" in code
code = code.replace("lg2.approx.ftz.f32", "ex2.approx.ftz.f32")
manifest = json.loads((bundle / "manifest.json").read_text())
manifest["code"]["sha256"] = hashlib.sha256(code.encode()).hexdigest()
(bundle / "f.ptx").write_text(code)
(bundle / "manifest.json").write_text(json.dumps(manifest))
# Code that is not what was packed.
bundle = kit / "bundles" / "small-documents" / "sm_80"
(bundle / "f.ptx").write_text((bundle / "f.ptx").read_text() + "//\n")
