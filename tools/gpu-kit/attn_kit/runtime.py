# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""libattn.so through ctypes: devices, programs and launches on NumPy arrays and PyTorch tensors."""

import ctypes
import json

ABI_MAGIC, ABI_VERSION = 0x6E747461, 1
CPU, CUDA = 1, 2  # DLPack's numbers
TYPES = {"i8": (0, 8), "i32": (0, 32), "i64": (0, 64), "f16": (2, 16), "f32": (2, 32), "bf16": (4, 16)}


class Error(Exception):
    """What the library says of a call that failed."""


class _Device(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    """DLPack's DLTensor."""

    _fields_ = [("data", ctypes.c_void_p), ("device", _Device), ("ndim", ctypes.c_int32), ("dtype", _Type),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


class _DeviceInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("target", ctypes.c_char_p), ("memory", _Device),
                ("multiprocessors", ctypes.c_int64), ("shared_memory_per_block", ctypes.c_int64)]


def describe(array, element, is_cuda=False):
    """`array` as the library wants it. Its bits are of type `element`, whatever its own type says; the result is valid as
    long as the array is."""
    if hasattr(array, "data_ptr"):
        address, strides = array.data_ptr(), array.stride()
    else:
        address, strides = array.ctypes.data, [stride // array.itemsize for stride in array.strides]
    rank = len(array.shape)
    code, bits = TYPES[element]
    tensor = _Tensor(address, _Device(CUDA if is_cuda else CPU, 0), rank, _Type(code, bits, 1),
                     (ctypes.c_int64 * rank)(*array.shape), (ctypes.c_int64 * rank)(*strides), 0)
    tensor.owner = array
    return tensor


class Library:
    def __init__(self, path):
        handle = ctypes.c_void_p
        self.c = ctypes.CDLL(path)
        self.c.attn_check_abi.argtypes = [ctypes.c_uint32, ctypes.c_uint32]
        self.c.attn_error_message.restype = ctypes.c_char_p
        self.c.attn_device_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(handle)]
        self.c.attn_device_close.argtypes = [handle]
        self.c.attn_device_get_info.argtypes = [handle, ctypes.POINTER(_DeviceInfo)]
        self.c.attn_device_report.argtypes = [handle, ctypes.c_int32, ctypes.POINTER(handle)]
        self.c.attn_string_free.argtypes = [handle]
        self.c.attn_program_load.argtypes = [handle, ctypes.c_char_p, ctypes.POINTER(handle)]
        self.c.attn_program_load_memory.argtypes = [handle, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
                                                    ctypes.c_size_t, ctypes.POINTER(handle)]
        self.c.attn_program_destroy.argtypes = [handle]
        tensors = ctypes.POINTER(ctypes.POINTER(_Tensor))
        self.c.attn_launch.argtypes = [handle, tensors, ctypes.c_int32, tensors, ctypes.c_int32,
                                       ctypes.POINTER(ctypes.c_int64), ctypes.c_int32, handle]
        self.check(self.c.attn_check_abi(ABI_MAGIC, ABI_VERSION))

    def check(self, status):
        if status:
            raise Error(self.c.attn_error_message().decode(errors="replace"))

    def open(self, name, options=""):
        device = ctypes.c_void_p()
        self.check(self.c.attn_device_open(name.encode(), options.encode(), device))
        return Device(self, device, name)


class Device:
    def __init__(self, library, handle, name):
        self.library, self.handle = library, handle
        self.is_cuda = name.startswith("cuda")
        info = _DeviceInfo()
        library.check(library.c.attn_device_get_info(handle, info))
        self.name, self.target = info.name.decode(), info.target.decode()
        self.multiprocessors = info.multiprocessors

    def close(self):
        self.library.c.attn_device_close(self.handle)

    def load(self, folder):
        program = ctypes.c_void_p()
        self.library.check(self.library.c.attn_program_load(self.handle, str(folder).encode(), program))
        return Program(self, program)

    def load_text(self, manifest, code):
        program = ctypes.c_void_p()
        manifest, code = manifest.encode(), code.encode()
        self.library.check(self.library.c.attn_program_load_memory(self.handle, manifest, len(manifest), code, len(code),
                                                                   program))
        return Program(self, program)

    def report(self):
        """What the simulator saw since the last call, one entry for each launch."""
        text = ctypes.c_void_p()
        self.library.check(self.library.c.attn_device_report(self.handle, 1, text))
        try:
            return json.loads(ctypes.string_at(text))["launches"]
        finally:
            self.library.c.attn_string_free(text)


class Program:
    def __init__(self, device, handle):
        self.device, self.handle = device, handle

    def __del__(self):
        self.device.library.c.attn_program_destroy(self.handle)

    def bind(self, arguments, results, scalars=(), stream=None):
        """A function without arguments that launches on these tensors, given as pairs of array and element type."""
        def pointers(pairs):
            tensors = [describe(array, element, self.device.is_cuda) for array, element in pairs]
            array = (ctypes.POINTER(_Tensor) * len(tensors))(*(ctypes.pointer(tensor) for tensor in tensors))
            return tensors, array
        library, handle = self.device.library, self.handle
        inputs, input_array = pointers(arguments)
        outputs, output_array = pointers(results)
        numbers = (ctypes.c_int64 * len(scalars))(*scalars)

        def launch(keep=(self, inputs, outputs)):
            library.check(library.c.attn_launch(handle, input_array, len(inputs), output_array, len(outputs), numbers,
                                                len(numbers), stream))
        return launch
