# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a compiled bundle for the CPU through libattn.so, in a process without LLVM: test_host_bundle.py FOLDER.

The function is few queries over many keys, with two query heads for each key head, so that the bundle has a launch that
merges parts of the keys.
"""

import ctypes
import os
import sys

import numpy as np

from test_capi import DlDevice, DlType, Tensor

library = ctypes.CDLL(os.environ["ATTN_LIBRARY"])
library.attn_error_message.restype = ctypes.c_char_p


def check(status):
    if status:
        sys.exit(library.attn_error_message().decode())


def tensor(array):
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    strides = (ctypes.c_int64 * array.ndim)(*[s // array.itemsize for s in array.strides])
    return Tensor(array.ctypes.data, DlDevice(1, 0), array.ndim, DlType(2, 32, 1), shape, strides, 0)


def pointers(tensors):
    return (ctypes.POINTER(Tensor) * len(tensors))(*[ctypes.pointer(t) for t in tensors])


def run(folder, threads, q, k, v):
    o = np.full(q.shape, np.nan, np.float32)
    device, program = ctypes.c_void_p(), ctypes.c_void_p()
    check(library.attn_device_open(b"host", b"threads=%d" % threads, ctypes.byref(device)))
    check(library.attn_program_load(device, folder.encode(), ctypes.byref(program)))
    check(library.attn_launch(program, pointers([tensor(a) for a in (q, k, v)]), 3, pointers([tensor(o)]), 1, None, 0,
                              None))
    library.attn_program_destroy(program)
    library.attn_device_close(device)
    return o


random = np.random.default_rng(3)
q, k, v = [random.standard_normal(shape, dtype=np.float32) for shape in ((1, 4, 3, 32), (1, 2, 2503, 32), (1, 2, 2503, 32))]
o = run(sys.argv[1], 1, q, k, v)
for threads in (2, 5):
    assert (o == run(sys.argv[1], threads, q, k, v)).all(), f"results differ with {threads} threads"
heads = np.repeat(k, 2, axis=1).astype(np.float64)
scores = q.astype(np.float64) @ heads.swapaxes(2, 3) / np.sqrt(32)
scores[..., np.arange(2503)[None, :] > np.arange(3)[:, None] + 2500] = -np.inf
weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
expected = weights / weights.sum(axis=-1, keepdims=True) @ np.repeat(v, 2, axis=1)
error = np.abs(o - expected).max()
assert error < 1e-5, error
mapped = open("/proc/self/maps").read()
assert "libattn" in mapped and "LLVM" not in mapped and "MLIR" not in mapped
print("few queries: ok")
