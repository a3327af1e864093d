# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Drives libattn.so through ctypes: bundles written by hand, run in the simulator.

The library is $ATTN_LIBRARY, or build/lib/libattn.so of this checkout.
"""

import ctypes
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = os.environ.get("ATTN_LIBRARY", str(ROOT / "build" / "lib" / "libattn.so"))

ABI_MAGIC, ABI_VERSION = 0x6E747461, 1
OK, INVALID_ARGUMENT, INVALID_BUNDLE, FINDING = 0, 1, 2, 7


class DlDevice(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class DlType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", DlDevice),
        ("ndim", ctypes.c_int32),
        ("dtype", DlType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class ProgramInfo(ctypes.Structure):
    _fields_ = [
        ("function", ctypes.c_char_p),
        ("target", ctypes.c_char_p),
        ("num_arguments", ctypes.c_int32),
        ("num_results", ctypes.c_int32),
        ("num_scalars", ctypes.c_int32),
        ("num_launches", ctypes.c_int32),
    ]


class Version(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint32)
        for name in ("magic", "abi", "major", "minor", "patch", "bundle_format")
    ]


def load_library():
    library = ctypes.CDLL(LIBRARY)
    handle = ctypes.c_void_p
    library.attn_get_version.restype = Version
    library.attn_check_abi.argtypes = [ctypes.c_uint32, ctypes.c_uint32]
    library.attn_error_message.restype = ctypes.c_char_p
    library.attn_device_open.argtypes = [
        ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(handle)]
    library.attn_device_close.argtypes = [handle]
    library.attn_device_close.restype = None
    library.attn_device_report.argtypes = [handle, ctypes.c_int32, ctypes.POINTER(handle)]
    library.attn_string_free.argtypes = [handle]
    library.attn_string_free.restype = None
    library.attn_program_load.argtypes = [handle, ctypes.c_char_p, ctypes.POINTER(handle)]
    library.attn_program_destroy.argtypes = [handle]
    library.attn_program_destroy.restype = None
    library.attn_program_get_info.argtypes = [handle, ctypes.POINTER(ProgramInfo)]
    tensors = ctypes.POINTER(ctypes.POINTER(Tensor))
    library.attn_launch.argtypes = [
        handle, tensors, ctypes.c_int32, tensors, ctypes.c_int32,
        ctypes.POINTER(ctypes.c_int64), ctypes.c_int32, ctypes.c_void_p]
    return library


# z[i, j] = x[i, j] * s + y[i, j] for f32 of n x m, one thread for each element of
# a row and one row of blocks for each row.
PTX = """.version 7.0
.target sm_80
.address_size 64

.visible .entry axpy(
  .param .u64 x, .param .u64 y, .param .u64 z,
  .param .u64 columns, .param .u64 x_stride, .param .u64 y_stride, .param .u64 z_stride,
  .param .u64 s)
{
  .reg .pred %p<2>;
  .reg .b32 %r<10>;
  .reg .b64 %d<20>;
  .reg .f32 %f<5>;
  ld.param.u64 %d0, [columns];
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %tid.x;
  cvt.u32.u64 %r2, %d0;
  // Block b is row b / ceil(columns / 128), piece b % ceil(columns / 128).
  add.s32 %r3, %r2, 127;
  shr.u32 %r3, %r3, 7;
  div.u32 %r4, %r0, %r3;
  mul.lo.s32 %r5, %r4, %r3;
  sub.s32 %r5, %r0, %r5;
  shl.b32 %r5, %r5, 7;
  add.s32 %r5, %r5, %r1;
  setp.ge.u32 %p0, %r5, %r2;
  @%p0 bra DONE;
  cvt.u64.u32 %d1, %r4;
  cvt.u64.u32 %d2, %r5;
  ld.param.u64 %d3, [x];
  ld.param.u64 %d4, [x_stride];
  mul.lo.s64 %d5, %d1, %d4;
  add.s64 %d5, %d5, %d2;
  shl.b64 %d5, %d5, 2;
  add.s64 %d5, %d3, %d5;
  ld.param.u64 %d6, [y];
  ld.param.u64 %d7, [y_stride];
  mul.lo.s64 %d8, %d1, %d7;
  add.s64 %d8, %d8, %d2;
  shl.b64 %d8, %d8, 2;
  add.s64 %d8, %d6, %d8;
  ld.param.u64 %d9, [z];
  ld.param.u64 %d10, [z_stride];
  mul.lo.s64 %d11, %d1, %d10;
  add.s64 %d11, %d11, %d2;
  shl.b64 %d11, %d11, 2;
  add.s64 %d11, %d9, %d11;
  ld.param.u64 %d12, [s];
  cvt.u32.u64 %r6, %d12;
  cvt.rn.f32.s32 %f0, %r6;
  ld.global.f32 %f1, [%d5];
  ld.global.f32 %f2, [%d8];
  fma.rn.f32 %f3, %f1, %f0, %f2;
  st.global.f32 [%d11], %f3;
DONE:
  ret;
}
"""


def axpy_manifest(code=PTX):
    def buffer(role, number, name):
        return {"role": role, role: number, "name": name, "type": "f32",
                "shape": ["n", "m"], "alignment": 4}

    return {
        "format": 1,
        "compiler": "by hand",
        "target": "sm_80",
        "function": "axpy",
        "code": {"kind": "ptx", "file": "axpy.ptx",
                 "sha256": hashlib.sha256(code.encode()).hexdigest()},
        "buffers": [buffer("argument", 0, "x"), buffer("argument", 2, "y"),
                    buffer("result", 0, "z")],
        "scalars": [{"argument": 1, "name": "s", "type": "i64"}],
        "launches": [{
            "entry": "axpy",
            "grid": {"op": "mul", "args": ["n", {"op": "ceildiv", "args": ["m", 128]}]},
            "threads": 128,
            "shared": 0,
            "params": [
                *({"kind": "pointer", "buffer": b} for b in range(3)),
                {"kind": "size", "buffer": 0, "dim": 1},
                *({"kind": "stride", "buffer": b, "dim": 0} for b in range(3)),
                {"kind": "scalar", "argument": 1},
            ],
            "schedule": "",
            "mask": "",
        }],
    }


def tensor_of(array):
    """A Tensor over an array's memory, with its strides; keeps the array alive."""
    tensor = Tensor()
    tensor.data = array.ctypes.data
    tensor.device = DlDevice(1, 0)
    tensor.ndim = array.ndim
    tensor.dtype = DlType({"f": 2, "i": 0}[array.dtype.kind], 8 * array.itemsize, 1)
    tensor.shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    tensor.strides = (ctypes.c_int64 * array.ndim)(
        *(stride // array.itemsize for stride in array.strides))
    tensor.owner = array
    return tensor


def pointers(tensors):
    return (ctypes.POINTER(Tensor) * len(tensors))(*(ctypes.pointer(t) for t in tensors))


class CApiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.library = load_library()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.write(axpy_manifest())

    def write(self, manifest, code=PTX):
        (self.folder / "axpy.ptx").write_text(code)
        (self.folder / "manifest.json").write_text(json.dumps(manifest))

    def error(self):
        return self.library.attn_error_message().decode()

    def open(self, options=""):
        device = ctypes.c_void_p()
        status = self.library.attn_device_open(b"sim", options.encode(), device)
        self.assertEqual(status, OK, self.error())
        self.addCleanup(self.library.attn_device_close, device)
        return device

    def load(self, device, expect=OK):
        program = ctypes.c_void_p()
        status = self.library.attn_program_load(device, str(self.folder).encode(), program)
        self.assertEqual(status, expect, self.error())
        if status == OK:
            self.addCleanup(self.library.attn_program_destroy, program)
        return program

    def launch(self, program, x, s, y, z):
        arguments, results = [tensor_of(x), tensor_of(y)], [tensor_of(z)]
        return self.library.attn_launch(
            program, pointers(arguments), 2, pointers(results), 1,
            (ctypes.c_int64 * 1)(s), 1, None)

    def report(self, device):
        text = ctypes.c_void_p()
        self.assertEqual(self.library.attn_device_report(device, 1, text), OK)
        try:
            return json.loads(ctypes.string_at(text))
        finally:
            self.library.attn_string_free(text)

    def test_version(self):
        version = self.library.attn_get_version()
        self.assertEqual((version.magic, version.abi), (ABI_MAGIC, ABI_VERSION))
        self.assertEqual(version.bundle_format, 1)
        self.assertEqual(self.library.attn_check_abi(ABI_MAGIC, ABI_VERSION), OK)
        self.assertNotEqual(self.library.attn_check_abi(ABI_MAGIC, ABI_VERSION + 1), OK)

    def test_introspection(self):
        info = ProgramInfo()
        self.assertEqual(self.library.attn_program_get_info(self.load(self.open()), info), OK)
        self.assertEqual(info.function, b"axpy")
        self.assertEqual((info.num_arguments, info.num_results, info.num_scalars), (2, 1, 1))

    def test_numbers(self):
        random = np.random.default_rng(1)
        for mode in ("mode=eager", "mode=lazy", "mode=random,seed=3"):
            program = self.load(self.open(mode))
            for shape in ((1, 1), (3, 127), (2, 128), (2, 129), (1, 300), (0, 5), (5, 0)):
                with self.subTest(mode=mode, shape=shape):
                    x = random.standard_normal(shape, dtype=np.float32)
                    y = random.standard_normal(shape, dtype=np.float32)
                    z = np.full(shape, np.nan, np.float32)
                    self.assertEqual(self.launch(program, x, -3, y, z), OK, self.error())
                    expected = (x.astype(np.float64) * -3 + y).astype(np.float32)
                    np.testing.assert_array_equal(z, expected)

    def test_strided_views(self):
        random = np.random.default_rng(2)
        program = self.load(self.open())
        pool = random.standard_normal((4, 2, 200), dtype=np.float32)
        x, y = pool[:, 0, 3:150], pool[::-1, 1, :147]
        target = np.zeros((4, 3, 160), np.float32)
        z = target[:, 1, 5:152]
        self.assertEqual(self.launch(program, x, 2, y, z), OK, self.error())
        expected = np.zeros_like(target)
        expected[:, 1, 5:152] = (x.astype(np.float64) * 2 + y).astype(np.float32)
        np.testing.assert_array_equal(target, expected)

    def test_refuses_bad_tensors(self):
        program = self.load(self.open())
        x = np.ones((3, 8), np.float32)
        z = np.full((3, 8), 7, np.float32)
        for bad, message in (
            (np.ones((3, 9), np.float32), "argument 2 'y': dimension 1: expected size 8"),
            (np.ones(8, np.float32), "argument 2 'y': expected rank 2, found 1"),
            (np.ones((3, 8), np.float16), "argument 2 'y': expected element type f32, found f16"),
            (np.ones((8, 3), np.float32).T, "argument 2 'y': the last dimension must be contiguous"),
        ):
            with self.subTest(message=message):
                self.assertEqual(self.launch(program, x, 1, bad, z), INVALID_ARGUMENT)
                self.assertIn(message, self.error())
        self.assertTrue((z == 7).all())

    def test_refuses_bad_bundles(self):
        device = self.open()
        self.write(axpy_manifest(), PTX + " ")
        self.load(device, INVALID_BUNDLE)
        self.assertIn("code.sha256", self.error())
        manifest = axpy_manifest()
        manifest["launches"][0]["extra"] = 1
        self.write(manifest)
        self.load(device, INVALID_BUNDLE)
        self.assertIn("launches[0].extra: unknown field", self.error())
        code = PTX.replace("fma.rn.f32", "fmb.rn.f32")
        self.write(axpy_manifest(code), code)
        self.load(device, INVALID_BUNDLE)
        self.assertIn("fmb", self.error())

    def test_findings_and_report(self):
        device = self.open()
        code = PTX.replace("setp.ge.u32 %p0", "setp.gt.u32 %p0")
        self.write(axpy_manifest(code), code)
        program = self.load(device)
        x = np.ones((1, 9), np.float32)
        self.assertEqual(self.launch(program, x, 1, x.copy(), x.copy()), FINDING)
        self.assertIn("out-of-bounds", self.error())
        launches = self.report(device)["launches"]
        self.assertEqual(len(launches), 1)
        self.assertTrue(launches[0]["report"]["findings"])
        self.assertEqual(self.report(device)["launches"], [])

    @unittest.skipUnless(shutil.which("nm"), "nm is not installed")
    def test_exports_the_c_api_only(self):
        lines = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True,
                               capture_output=True, text=True).stdout.splitlines()
        names = [line.split()[-1] for line in lines]
        self.assertIn("attn_launch", names)
        self.assertEqual([name for name in names if not name.startswith("attn_")], [])

    def test_links_no_driver(self):
        if not shutil.which("readelf"):
            self.skipTest("readelf is not installed")
        text = subprocess.run(["readelf", "-d", LIBRARY], check=True,
                              capture_output=True, text=True).stdout
        self.assertIn("NEEDED", text)
        for name in ("libcuda", "libLLVM", "libMLIR"):
            self.assertNotIn(name, text)


if __name__ == "__main__":
    unittest.main()
