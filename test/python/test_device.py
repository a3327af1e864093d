# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays on a GPU, before a driver that only records what it is asked ($ATTN_LIBCUDA)."""

import ctypes
import os
import unittest

import numpy as np

import attn
from test_attn import inputs

calls_of = ctypes.CDLL(os.environ["ATTN_LIBCUDA"]).attnFakeCudaCalls
calls_of.restype = ctypes.c_char_p
pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


class OnGpu:
    """A NumPy array that says that it is on GPU 0 and that its library works on a stream."""

    def __init__(self, array, stream=0x51):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.__cuda_array_interface__ = {"version": 3, "stream": stream}

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **_):
        capsule = self.array.__dlpack__()
        ctypes.c_int.from_address(pointer_of(capsule, b"dltensor") + 8).value = 2  # device_type
        return capsule


class Gpu(unittest.TestCase):
    def launches(self):
        return [call for call in calls_of().decode().splitlines() if call.startswith("cuLaunchKernel")]

    def test_runs_there_on_the_librarys_stream(self):
        q, k, v = (OnGpu(array) for array in inputs())
        out = OnGpu(np.zeros((2, 4, 37, 48), np.float16))
        self.assertEqual(attn.device_for(q), "cuda:0")
        copies = calls_of().count(b"cuMemcpy")
        self.assertIs(attn.attention(q, k, v, mask=attn.causal(), out=out), out)
        attn.attention(q, k, v, mask=attn.causal(), out=out, stream=7)
        self.assertEqual([call.split(" on ")[1] for call in self.launches()[-2:]], ["81", "7"])
        self.assertEqual(calls_of().count(b"cuMemcpy"), copies)
        kernel = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48, mask=attn.causal(), device="cuda:0")
        self.assertIn(".entry attention", kernel.ptx)
        # One for each mask of this file.
        self.assertLessEqual(attn.statistics("cuda:0")["compilations"], 2)

    def test_errors(self):
        q, k, v = inputs()
        there = [OnGpu(array) for array in (q, k, v)]
        out = OnGpu(np.zeros((2, 4, 37, 48), np.float16))
        for call, text in [
            (lambda: attn.attention(there[0], k, v), "k: expected an array on cuda:0 as q is, found one on cpu"),
            (lambda: attn.attention(*there, out=np.zeros((2, 4, 37, 48), np.float16)),
             "out: expected an array on cuda:0 as q is, found one on cpu"),
            (lambda: attn.attention(*there, out=out, device="sim"), "q: expected an array for the device 'sim', found one on cuda:0"),
            (lambda: attn.attention(q, k, v, device="cuda:0"), "q: expected an array for the device 'cuda:0', found one on cpu"),
        ]:
            with self.assertRaises(ValueError) as caught:
                call()
            self.assertEqual(str(caught.exception), text)


if __name__ == "__main__":
    unittest.main()
