# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""attention(), compile() and the kernels that they make."""

from __future__ import annotations

import functools
import json
import math
import operator
import sys

import numpy as np

from . import _attn
from .masks import Mask, all_

_TYPES = {"float16": "f16", "bfloat16": "bf16", "float32": "f32"}


@functools.lru_cache(maxsize=None)
def _session(name):
    return _attn.Session(name)


@functools.lru_cache(maxsize=None)
def _host_device():
    """The best device for arrays in host memory."""
    try:
        _session("host")
        return "host"
    except ValueError:
        return "sim"


def _torch(array):
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else None


def _place(name, array):
    """(where the array lives, its element type)"""
    if not hasattr(array, "__dlpack__"):
        raise TypeError(f"{name}: expected an array of NumPy, PyTorch or another library with DLPack, "
                        f"found {type(array).__name__}")
    if _torch(array):
        place = str(array.device)
        place = "cpu" if place == "cpu" else f"cuda:{array.device.index or 0}" if array.device.type == "cuda" else place
        dtype = str(array.dtype).removeprefix("torch.")
    else:
        kind, index = array.__dlpack_device__()
        place = "cpu" if kind in (1, 3) else f"cuda:{index}" if kind in (2, 13) else f"DLPack device {int(kind)}"
        dtype = str(array.dtype)
    if dtype not in _TYPES:
        raise TypeError(f"{name}: expected elements of type float16, bfloat16 or float32, found {dtype}")
    if place != "cpu" and not place.startswith("cuda:"):
        raise ValueError(f"{name}: expected an array in host memory or on a CUDA device, found {place}")
    return place, _TYPES[dtype]


def device_for(array):
    """The name of the device that attention() uses for an array: "cuda:<n>" for one on a GPU, else "host" if this build
    has it, else "sim", the simulator."""
    place, _ = _place("array", array)
    return _host_device() if place == "cpu" else place


def _shape(text):
    return "(" + ", ".join(map(str, text)) + ")"


def _check(q, k, v):
    """The element type and place of q, k and v; raises unless they belong together."""
    places = {name: _place(name, array) for name, array in (("q", q), ("k", k), ("v", v))}
    for name, array in (("q", q), ("k", k), ("v", v)):
        if len(array.shape) != 4:
            raise ValueError(f"{name}: expected batch x heads x length x head size, found shape {_shape(array.shape)}")
        if places[name][1] != places["q"][1]:
            raise TypeError(f"{name}: expected elements of type {places['q'][1]} as in q, found {places[name][1]}")
        if places[name][0] != places["q"][0]:
            raise ValueError(f"{name}: expected an array on {places['q'][0]} as q is, found one on {places[name][0]}")
    for name, array in (("k", k), ("v", v)):
        if array.shape[0] != q.shape[0]:
            raise ValueError(f"{name}: expected batch size {q.shape[0]} as in q, found {array.shape[0]}")
    if k.shape[3] != q.shape[3]:
        raise ValueError(f"k: expected head size {q.shape[3]} as in q, found {k.shape[3]}")
    for axis, what in ((1, "heads"), (2, "length")):
        if v.shape[axis] != k.shape[axis]:
            raise ValueError(f"v: expected {what} {k.shape[axis]} as in k, found {v.shape[axis]}")
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ValueError(f"q: expected a number of heads that is a multiple of the {k.shape[1]} of k, found {q.shape[1]}")
    return places["q"]


def _empty(like, shape, float32=False):
    """A new array of like's library, device and element type."""
    torch = _torch(like)
    if torch:
        return torch.empty(shape, dtype=torch.float32 if float32 else like.dtype, device=like.device)
    if isinstance(like, np.ndarray):
        return np.empty(shape, dtype=np.float32 if float32 else like.dtype)
    if not hasattr(like, "__array_namespace__"):
        raise TypeError(f"expected an array of NumPy, PyTorch or a library of the array API standard, "
                        f"found {type(like).__name__}")
    library = like.__array_namespace__()
    return library.empty(shape, dtype=library.float32 if float32 else like.dtype, device=like.device)


def _stream(array):
    torch = _torch(array)
    return torch.cuda.current_stream(array.device).cuda_stream if torch and array.is_cuda else 0


class Kernel:
    """A compiled attention for one device. It serves every batch size and length."""

    def __init__(self, native, mask, align, lse, device, sizes, element):
        self._native, self.mask, self.align, self.device = native, mask, align, device
        self.has_lse, self._sizes, self._element = lse, sizes, element

    @property
    def ptx(self):
        """The code as text; ValueError for a device that runs no PTX."""
        if json.loads(self._native.manifest)["code"]["kind"] != "ptx":
            raise ValueError(f"the code for the device '{self.device}' is not PTX")
        return self._native.code.decode()

    @property
    def mlir(self):
        """The function that was compiled."""
        return self._native.mlir

    def report(self, queries=None, keys=None, offset=None, tile=(128, 64)):
        """What the kernel is made of; with lengths, also how many pairs are live and how many tiles of `tile` queries x
        keys are empty, full and partial."""
        manifest = json.loads(self._native.manifest)
        result = {"target": manifest["target"], "launches": [
            {key: launch[key] for key in ("entry", "threads", "shared", "schedule", "mask")}
            for launch in manifest["launches"]]}
        if queries is not None and keys is not None:
            classes = _classify(self._dense(queries, keys, offset), tile)
            result["live_pairs"] = int(self._dense(queries, keys, offset).sum())
            result["tiles"] = {name: int((classes == number).sum())
                               for number, name in enumerate(("empty", "partial", "full"))}
        return result

    def draw(self, queries=256, keys=256, offset=None, tile=(16, 16)):
        """The mask's tiles as a picture that notebooks show; its `svg` is the text."""
        return Picture(_classify(self._dense(queries, keys, offset), tile), str(self.mask))

    def _dense(self, queries, keys, offset):
        if offset is None:
            offset = {"end": keys - queries, "start": 0}.get(self.align, self.align)
        return self.mask.to_dense(queries, keys, offset)

    def __call__(self, q, k, v, out=None, lse=None, stream=None):
        """Runs on the arrays' current stream and returns o, or o and lse."""
        place, element = _check(q, k, v)
        found = (q.shape[1], k.shape[1], q.shape[3], v.shape[3])
        if found != self._sizes or element != self._element:
            raise ValueError("q, k, v: this kernel is for (heads of q, heads of k, head size, head size of v) "
                             f"{_shape(self._sizes)} of {self._element}, found {_shape(found)} of {element}")
        session = _session(self.device)
        if (place == "cpu") != session.on_host or (place != "cpu" and place != self.device):
            raise ValueError(f"q: expected an array for the device '{self.device}', found one on {place}")
        shape = (*q.shape[:3], v.shape[3])
        results = [_empty(q, shape) if out is None else out]
        if self.has_lse:
            results.append(_empty(q, shape[:3], float32=True) if lse is None else lse)
        scalars = [self.align] if isinstance(self.align, int) else []
        try:
            self._native.run([q, k, v], results, scalars, _stream(q) if stream is None else stream)
        except TypeError:
            for name, array in (("out", out), ("lse", lse)):
                flags = getattr(array, "flags", None)
                if flags is not None and not getattr(flags, "writeable", True):
                    raise ValueError(f"{name}: expected an array that can be written, found a read-only one") from None
            raise TypeError("q, k, v: expected arrays that DLPack can describe, found one that it cannot") from None
        return tuple(results) if self.has_lse else results[0]


class Picture:
    """Classes of tiles, shown by notebooks."""

    _COLORS = ("#f2f2f2", "#9ecae1", "#2171b5")

    def __init__(self, classes, title):
        rows, columns = classes.shape
        cell = max(2, min(16, 640 // max(rows, columns, 1)))
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * cell}" height="{rows * cell}" '
                 f'shape-rendering="crispEdges"><title>{title.replace("&", "&amp;").replace("<", "&lt;")}</title>']
        for row in range(rows):
            start = 0
            for column in range(1, columns + 1):
                if column == columns or classes[row, column] != classes[row, start]:
                    parts.append(f'<rect x="{start * cell}" y="{row * cell}" width="{(column - start) * cell}" '
                                 f'height="{cell}" fill="{self._COLORS[classes[row, start]]}"/>')
                    start = column
        self.svg = "".join(parts) + "</svg>"

    def _repr_svg_(self):
        return self.svg


def _classify(dense, tile):
    """0 for empty, 1 for partial and 2 for full tiles."""
    rows, columns = (math.ceil(size / step) for size, step in zip(dense.shape, tile))
    classes = np.zeros((rows, columns), dtype=np.int8)
    for i in range(rows):
        for j in range(columns):
            part = dense[i * tile[0]:(i + 1) * tile[0], j * tile[1]:(j + 1) * tile[1]]
            classes[i, j] = 2 if part.all() else 1 if part.any() else 0
    return classes


def compile(*, heads, kv_heads=None, head_size, value_head_size=None, dtype="f16", mask=None, scale=None, align="end",
            return_lse=False, device=None):
    """Compiles an attention whose batch size and lengths are left to run time.

    `align` says where query 0 stands among the keys: "end" (the last query sees the last key), "start" (the first query has
    the place of the first key), or the offset itself."""
    mask = all_() if mask is None else mask
    if not isinstance(mask, Mask):
        raise TypeError(f"mask: expected a mask such as attn.causal(), found {type(mask).__name__}")
    if not isinstance(align, str):
        try:
            align = operator.index(align)
        except TypeError:
            raise TypeError(f"align: expected 'end', 'start' or an integer, found {align!r}") from None
    if scale is not None and not isinstance(scale, (int, float)):
        raise TypeError(f"scale: expected a number, found {type(scale).__name__}")
    kv_heads = heads if kv_heads is None else kv_heads
    value_head_size = head_size if value_head_size is None else value_head_size
    return _compile(heads, kv_heads, head_size, value_head_size, dtype, mask,
                    None if scale is None else float(scale), align, bool(return_lse), device or _host_device())


@functools.lru_cache(maxsize=4096)
def _compile(heads, kv_heads, head_size, value_head_size, dtype, mask, scale, align, lse, device):
    source = _attn.make_source(dtype, [-1, heads, kv_heads, -1, -1, head_size, value_head_size], mask.mlir, [], scale,
                               align if isinstance(align, str) else "offset", lse)
    return Kernel(_session(device).compile(source), mask, align, lse, device,
                  (heads, kv_heads, head_size, value_head_size), dtype)


def attention(q, k, v, mask=None, scale=None, return_lse=False, device=None, align="end"):
    """softmax(scale * q k^T, over the live keys) v

    q is batch x heads x queries x head size, k and v are batch x kv heads x keys x head size; the last dimension must be
    contiguous. A query without live keys gives 0 and lse -inf. Returns o, or (o, lse) with the natural logarithm of the
    softmax denominator."""
    place, element = _check(q, k, v)
    torch = _torch(q)
    if torch and torch.is_grad_enabled() and any(array.requires_grad for array in (q, k, v)):
        raise NotImplementedError("backward not built yet: call under torch.no_grad(), or detach q, k and v")
    if torch:
        q, k, v = q.detach(), k.detach(), v.detach()
    if device is None:
        device = _host_device() if place == "cpu" else place
    kernel = compile(heads=q.shape[1], kv_heads=k.shape[1], head_size=q.shape[3], value_head_size=v.shape[3], dtype=element,
                     mask=mask, scale=scale, align=align, return_lse=return_lse, device=device)
    return kernel(q, k, v)
