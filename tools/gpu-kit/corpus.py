# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The simulator's clean test kernels as bundles, with the words that the simulator computes.

A bundle's grid and block are of one dimension, and its tensors do not overlap: the few kernels that need more are left
out.
"""

import hashlib
import json
import re

import numpy as np

# Kernels of test/runtime/sim/kernels/clean.cu, (a, b, out, n): blocks, threads, shared bytes, elements, n.
CLEAN = {
    "addTail": (3, 128, 0, 384, 301), "gridStride": (2, 64, 0, 999, 999), "reverseBlock": (3, 96, 384, 288, 288),
    "blockSum": (4, 256, 0, 1024, 0), "warpSum": (2, 64, 0, 128, 0), "warpScan": (1, 64, 0, 64, 0),
    "collatz": (2, 96, 0, 192, 0), "divergentSearch": (2, 64, 0, 300, 300), "switchCase": (2, 128, 0, 256, 0),
    "histogram": (1, 96, 0, 1000, 1000), "globalAtomics": (4, 64, 0, 256, 0), "lastBlockSum": (8, 32, 0, 256, 0),
    "ballots": (2, 64, 0, 128, 0), "votedBarriers": (3, 96, 0, 288, 0), "localArray": (2, 64, 0, 128, 0),
    "constantTable": (1, 64, 0, 64, 0), "wideIntegers": (2, 128, 0, 256, 0), "bytes": (1, 128, 0, 128, 0),
    "syncwarpExchange": (2, 128, 0, 256, 0), "producerConsumer": (1, 64, 0, 256, 0),
    "copyPipeline": (1, 64, 0, 2048, 0), "copyZeroFill": (1, 64, 0, 203, 203),
}
# The same on floats. Division, roots and fma round correctly; `functions` are approximations.
FLOATS = {"arithmetic": None, "doubles": None, "halves": None, "functions": 1e-5}
HALF = 8192  # bytes: where the output of a kernel of clean90 starts


def manifest(entry, target, code, blocks, threads, shared, buffers, params):
    return {"format": 1, "compiler": "by hand", "target": target, "function": entry,
            "code": {"kind": "ptx", "file": "code.ptx", "sha256": hashlib.sha256(code.encode()).hexdigest()},
            "buffers": buffers, "scalars": [{"argument": len(buffers) - 1, "name": "n", "type": "i64"}]
            if {"kind": "scalar", "argument": len(buffers) - 1} in params else [],
            "launches": [{"entry": entry, "grid": blocks, "threads": threads, "shared": shared, "params": params,
                          "schedule": "", "mask": ""}]}


def argument(number, name, count):
    return {"role": "argument", "argument": number, "name": name, "type": "i32", "shape": [count], "alignment": 4}


def result(element, shape):
    return {"role": "result", "result": 0, "name": "out", "type": element, "shape": shape, "alignment": 16}


def clean_case(entry, code, shape, random, floats):
    """(manifest, arrays, scalars) of a kernel of clean.cu."""
    blocks, threads, shared, elements, n = shape
    if floats:
        a, b = (random.uniform(-4, 4, elements).astype(np.float32).view(np.int32) for _ in range(2))
    else:
        a, b = (random.integers(-2**31, 2**31, elements, dtype=np.int32) for _ in range(2))
    buffers = [argument(0, "a", elements), argument(1, "b", elements), result("i32", [2048])]
    params = [{"kind": "pointer", "buffer": i} for i in range(3)] + [{"kind": "scalar", "argument": 2}]
    return (manifest(entry, "sm_80", code, blocks, threads, shared, buffers, params),
            {"a": a, "b": b, "out": np.full(2048, 12345, np.int32)}, [n])


def product_case(code, random):
    """64 x 96 times 96 x 64 in f16 with small integers: exact in any order."""
    def halves(shape):
        return random.integers(-8, 9, shape).astype(np.float16).reshape(-1).view(np.int32)
    buffers = [argument(0, "a", 64 * 48), argument(1, "b", 96 * 32), result("i32", [4096])]
    params = [{"kind": "pointer", "buffer": i} for i in range(3)] + [{"kind": "scalar", "argument": 2}]
    return (manifest("product", "sm_80", code, 1, 128, 0, buffers, params),
            {"a": halves((64, 96)), "b": halves((96, 64)), "out": np.full(4096, -1, np.int32)}, [96])


def hopper_case(path, random):
    """A kernel of clean90: random words in the first half of a buffer, results in the second."""
    code = path.read_text()
    threads = int(re.search(r"// LAUNCH: block=(\d+)", code)[1])
    buffer = np.full(HALF // 2, 0xDDDDDDDD, np.uint32).view(np.int32)
    buffer[:HALF // 4] = random.integers(-2**31, 2**31, HALF // 4, dtype=np.int32)
    params, element, shape = [{"kind": "pointer", "buffer": 0}], "i32", [HALF // 2]
    if "// TENSOR:" in code:
        element, shape = "bf16", [HALF // 64, 64]
        params.append({"kind": "tensor_map", "buffer": 0, "box": [8, 64], "swizzle": 128})
        buffer = buffer.view(np.int16).reshape(shape)
    return (manifest("kernel", "sm_90a", code, 1, threads, 0, [result(element, shape)], params), code,
            {"out": buffer}, element)


def write(folder, device, text, code, arrays, scalars, element, tolerance=None):
    """Writes one case, its expected words computed by `device`, a simulator."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(text, indent=1))
    (folder / "code.ptx").write_text(code)
    expected = arrays["out"].copy()
    inputs = [(arrays[name], "i32") for name in ("a", "b") if name in arrays]
    device.load(folder).bind(inputs, [(expected, element)], scalars)()
    np.savez_compressed(folder / "data.npz", expected=expected, **arrays)
    case = {"target": text["target"], "type": element, "scalars": scalars}
    return dict(case, tolerance=tolerance) if tolerance else case


def pack(tests, folder, device):
    """All cases: the kit's description of them."""
    random, cases = np.random.default_rng(11), {}
    # A bundle's parameters have 8 bytes each; the kernels load the lower four of n.
    code = re.sub(r"\.param \.u32 (\w+_param_3)", r".param .u64 \1", (tests / "kernels" / "clean.ptx").read_text())
    for entry, shape in CLEAN.items():
        text, arrays, scalars = clean_case(entry, code, shape, random, floats=False)
        cases[entry] = write(folder / entry, device, text, code, arrays, scalars, "i32")
    for entry, tolerance in FLOATS.items():
        text, arrays, scalars = clean_case(entry, code, (2, 128, 0, 256, 256), random, floats=True)
        cases[entry] = write(folder / entry, device, text, code, arrays, scalars, "i32", tolerance)
    text, arrays, scalars = product_case(code, random)
    cases["product"] = write(folder / "product", device, text, code, arrays, scalars, "i32")
    for path in sorted((tests / "clean90").glob("*.ptx")):
        text, code90, arrays, element = hopper_case(path, random)
        cases[path.stem] = write(folder / path.stem, device, text, code90, arrays, [], element)
    return cases
