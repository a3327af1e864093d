# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""attention(), compile() and the kernels that they make."""

from __future__ import annotations

import functools
import json
import math
import operator
from xml.sax.saxutils import escape

import numpy as np

from . import _attn, arrays
from .problem import from_key, problem_of


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


def device_for(array):
    """The name of the device that attention() uses for an array: "cuda:<n>" for one on a GPU, else "host" if this build
    has it, else "sim", the simulator."""
    place, _ = arrays.place_of("array", array)
    return _host_device() if place == "cpu" else place


def _offset_of(align):
    """(how the source is written, the value that each call passes)"""
    if isinstance(align, str):
        if align not in ("end", "start", "offset", "offsets"):
            raise ValueError(f"align: expected 'end', 'start', an integer or an array of one for each batch, found '{align}'")
        return align, None
    try:
        value = operator.index(align)
    except TypeError:
        if len(getattr(align, "shape", ())) == 1:
            return "offsets", align
        raise TypeError(f"align: expected 'end', 'start', an integer or an array of one for each batch, found {align!r}") from None
    if abs(value) > 1 << 40:
        raise ValueError(f"align: expected an offset within +-2^40, found {value}")
    return "offset", value


def _check_offsets(offsets, q):
    shape = tuple(getattr(offsets, "shape", ()))
    if not hasattr(offsets, "__dlpack__") or len(shape) != 1:
        raise TypeError(f"align: expected an array of offsets, one for each batch, found {type(offsets).__name__}")
    if shape[0] != q.shape[0]:
        raise ValueError(f"align: expected {q.shape[0]} offsets, one for each batch, found {shape[0]}")
    if str(offsets.dtype).removeprefix("torch.") != "int64":
        raise TypeError(f"align: expected offsets of type int64, found {str(offsets.dtype).removeprefix('torch.')}")


class Kernel:
    """A compiled attention for one device. It serves every batch size, length, symbol and offset."""

    def __init__(self, native, problem, align, lse, device, sizes, element):
        self._native, self._problem, self.device = native, problem, device
        self.align, self.has_lse, self._sizes, self._element = align, lse, sizes, element
        self._alignment, self._offset = _offset_of(align)
        self._session = _session(device)

    @property
    def mask(self):
        return self._problem.mask

    @property
    def score(self):
        return self._problem.score

    @property
    def symbols(self):
        """The names of the integers that are given at each call."""
        return self._problem.symbols

    @property
    def tensors(self):
        """The names of the tensors that are given at each call."""
        return tuple(name for name, (entry, *_) in self._problem.inputs if entry.array is None)

    def __repr__(self):
        heads, kv_heads, size, value_size = self._sizes
        return (f"<attn.Kernel {self.mask!r}, {heads} heads on {kv_heads}, head size {size}"
                f"{'' if size == value_size else f' and {value_size}'}, {self._element}, {self.device}>")

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

    def report(self, queries=None, keys=None, offset=None, tile=(128, 64), symbols=None, tensors=None):
        """What the kernel is made of; with lengths, also how many pairs are live and how many tiles of `tile` queries x
        keys are empty, full and partial."""
        manifest = json.loads(self._native.manifest)
        result = {"target": manifest["target"], "launches": [
            {key: launch[key] for key in ("entry", "threads", "shared", "schedule", "mask")}
            for launch in manifest["launches"]]}
        if queries is not None and keys is not None:
            dense = self._dense(queries, keys, offset, symbols, tensors)
            classes = _classify(dense, tile)
            result["live_pairs"] = int(dense.sum())
            result["tiles"] = {name: int((classes == number).sum())
                               for number, name in enumerate(("empty", "partial", "full"))}
        return result

    def draw(self, queries=256, keys=256, offset=None, tile=(16, 16), symbols=None, tensors=None):
        """The mask's tiles as a picture that notebooks show; its `svg` is the text. Of heads and batches it shows the first."""
        return Picture(_classify(self._dense(queries, keys, offset, symbols, tensors), tile), repr(self.mask))

    def _repr_html_(self):
        heads, kv_heads, size, value_size = self._sizes
        rows = {"mask": repr(self.mask), "heads": f"{heads} on {kv_heads}", "head size": f"{size}, {value_size} of v",
                "elements": self._element, "device": self.device}
        table = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
        picture = "" if self.mask.symbols or self.mask.inputs or self._alignment in ("offset", "offsets") and self._offset is None \
            else self.draw().svg
        return f"<table>{table}</table>{picture}"

    def _dense(self, queries, keys, offset, symbols, tensors):
        if offset is None:
            offset = {"end": keys - queries, "start": 0}.get(self._alignment, self._offset)
            if not isinstance(offset, int):
                raise ValueError("offset: expected the offset of query 0, which this kernel is given at each call, found none")
        return self.mask.to_dense(queries, keys, offset, symbols=symbols, tensors=tensors)

    def __call__(self, q, k, v, out=None, lse=None, stream=None, symbols=None, align=None, tensors=None):
        """Runs on the arrays' current stream and returns o, or o and lse. `symbols` and `tensors` map the names of bounds and
        tensors that are not part of the kernel to integers and arrays."""
        place, element = arrays.check(q, k, v)
        return self._call(q, k, v, place, element, out, lse, stream, self._problem.values_of(symbols), align,
                          self._problem, self._problem.arrays_of(tensors))

    def _call(self, q, k, v, place, element, out, lse, stream, scalars, align, problem, data):
        found = (q.shape[1], k.shape[1], q.shape[3], v.shape[3])
        if found != self._sizes or element != self._element:
            raise ValueError("q, k, v: this kernel is for (heads of q, heads of k, head size, head size of v) "
                             f"{self._sizes} of {self._element}, found {found} of {element}")
        session = self._session
        if (place == "cpu") != session.on_host or (place != "cpu" and place != self.device):
            raise ValueError(f"q: expected an array for the device '{self.device}', found one on {place}")
        inputs = [q, k, v]
        alignment, offset = self._alignment, self._offset
        if align is not None:
            given, offset = _offset_of(align)
            if given != alignment:
                raise ValueError(f"align: this kernel was compiled for '{alignment}', found {align!r}")
        if alignment == "offset":
            if offset is None:
                raise ValueError("align: expected the offset of query 0, found none")
            scalars.append(offset)
        elif alignment == "offsets":
            _check_offsets(offset, q)
            inputs.append(offset)
        if data:
            inputs += checked(problem, data, place, q, k)
        shape = (*q.shape[:3], v.shape[3])
        for name, array in (("out", out), ("lse", lse)):
            if array is not None and (found := arrays.place_of(name, array)[0]) != place:
                raise ValueError(f"{name}: expected an array on {place} as q is, found one on {found}")
        made = [(out, out) if out is not None else arrays.empty(q, shape)]
        if self.has_lse:
            made.append((lse, lse) if lse is not None else arrays.empty(q, shape[:3], float32=True))
        elif lse is not None:
            raise ValueError("lse: this kernel was compiled without return_lse=True, found an array")
        results = [memory for memory, _ in made]
        try:
            self._native.run(inputs, results, scalars, arrays.stream_of(q) if stream is None else stream)
        except TypeError:
            roles = ["q", "k", "v"] + ["align"] * (alignment == "offsets") + [entry.role for _, (entry, *_) in self._problem.inputs]
            named = list(zip(roles, inputs)) + list(zip(("out", "lse"), results))
            arrays.explain(named, ("out", "lse"))
        answers = tuple(arrays.finished(q, memory, array) for memory, array in made)
        return answers if self.has_lse else answers[0]


def checked(problem, data, place, q, k):
    """The arrays of problem.inputs as a kernel takes them."""
    sizes = {"batch": q.shape[0], "heads": q.shape[1], "queries": q.shape[2], "keys": k.shape[2]}
    for (_, entries), array in zip(problem.inputs, data):
        for entry in entries:
            entry.check(array, place, sizes)
    return [without_gradient(entry.role, arrays.repeated(array, q.shape[0]) if entry.is_for_every_batch else array)
            for (_, (entry, *_)), array in zip(problem.inputs, data)]


def without_gradient(role, array):
    """The array, which PyTorch then hands over; raises where a gradient is asked for."""
    torch = arrays.torch_of(array)
    if not torch or not array.requires_grad:
        return array
    if torch.is_grad_enabled():
        raise NotImplementedError(f"{role}: backward not built yet: call under torch.no_grad(), or detach it")
    return array.detach()


class Picture:
    """Classes of tiles, shown by notebooks."""

    _COLORS = ("#f2f2f2", "#9ecae1", "#2171b5")

    def __init__(self, classes, title):
        rows, columns = classes.shape
        cell = max(2, min(16, 640 // max(rows, columns, 1)))
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * cell}" height="{rows * cell}" '
                 f'shape-rendering="crispEdges"><title>{escape(title)}</title>']
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

    def _repr_html_(self):
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
            return_lse=False, device=None, batch=None, queries=None, keys=None, softcap=None, bias=None, alibi=None, sinks=None,
            score=None):
    """Compiles an attention. Batch size and lengths are left to run time unless they are given.

    `align` says where query 0 stands among the keys: "end" (the last query sees the last key), "start" (the first query has
    the place of the first key), the offset itself, "offset" (an integer given at each call) or "offsets" (an array of one
    for each batch, given at each call). `dtype` is f16, bf16 or f32, or a library's name of it. Masks and changes of scores
    (see attention) hold data, or attn.tensor() where it is given at each call."""
    problem = problem_of(mask, softcap, bias, alibi, sinks, score)
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, (int, float))):
        raise TypeError(f"scale: expected a number, found {type(scale).__name__}")
    sizes = [-1 if batch is None else _size("batch", batch), _size("heads", heads, 1),
             _size("heads" if kv_heads is None else "kv_heads", heads if kv_heads is None else kv_heads, 1),
             -1 if queries is None else _size("queries", queries), -1 if keys is None else _size("keys", keys),
             _size("head_size", head_size, 1)]
    sizes.append(sizes[5] if value_head_size is None else _size("value_head_size", value_head_size, 1))
    if sizes[1] % sizes[2]:
        raise ValueError(f"heads: expected a multiple of the {sizes[2]} kv_heads, found {sizes[1]}")
    element = dtype if dtype in ("f16", "bf16", "f32") else arrays.element_type(getattr(dtype, "__name__", dtype))
    if element is None:
        raise TypeError(f"dtype: expected f16, bf16 or f32, found {dtype!r}")
    alignment, offset = _offset_of(align)
    kernel = _compile(tuple(sizes), element, problem.key, None if scale is None else float(scale), alignment, bool(return_lse),
                      device or _host_device())
    if offset is None and all(entry.array is None for _, (entry, *_) in problem.inputs):
        return kernel
    return Kernel(kernel._native, problem, align, kernel.has_lse, kernel.device, kernel._sizes, element)


def _size(name, value, least=0):
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, found {value!r}") from None
    if size < least:
        raise ValueError(f"{name}: expected at least {least}, found {size}")
    return size


@functools.lru_cache(maxsize=4096)
def _compile(sizes, element, key, scale, alignment, lse, device):
    problem = from_key(key)
    source = _attn.make_source(element, list(sizes), problem.mask.mlir, list(problem.symbols), scale, alignment, lse,
                               **problem.source_arguments())
    return Kernel(_session(device).compile(source), problem, alignment, lse, device,
                  (sizes[1], sizes[2], sizes[5], sizes[6]), element)


def attention(q, k, v, mask=None, scale=None, return_lse=False, device=None, align="end", symbols=None, out=None, stream=None,
              softcap=None, bias=None, alibi=None, sinks=None, score=None, tensors=None):
    """softmax(scale * q k^T, over the live keys) v

    q is batch x heads x queries x head size, k and v are batch x kv heads x keys x head size; the last dimension must be
    contiguous. A query without live keys gives 0 and lse -inf. `symbols` maps the mask's symbols to integers; `align` is
    "end", "start", the position of query 0 among the keys, or an array of int64 of one for each batch. Returns o, or
    (o, lse) with the natural logarithm of the softmax denominator.

    The scaled score s of a pair becomes softcap * tanh(s / softcap), then s + bias (an array that can be broadcast to batch x
    heads x queries x keys), then s - alibi * abs(query position - key position) (an array of one slope for each head), then
    what `score` makes of it (attn.score). `sinks` has one logit for each head that is in the denominator alone. `tensors`
    maps the names of attn.tensor() to arrays."""
    return run(q, k, v, problem_of(mask, softcap, bias, alibi, sinks, score), scale, return_lse, align, symbols, tensors, device, out,
               stream)


def run(q, k, v, problem, scale=None, return_lse=False, align="end", symbols=None, tensors=None, device=None, out=None, stream=None):
    """attention() of a problem."""
    place, element = arrays.check(q, k, v)
    torch = arrays.torch_of(q)
    if torch:
        if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
            raise NotImplementedError("backward not built yet: call under torch.no_grad(), or detach q, k and v")
        q, k, v = q.detach(), k.detach(), v.detach()
    if scale is not None:
        if isinstance(scale, bool) or not isinstance(scale, (int, float)):
            raise TypeError(f"scale: expected a number, found {type(scale).__name__}")
        scale = float(scale)
    if device is None:
        device = _host_device() if place == "cpu" else place
    alignment, offset = _offset_of(align)
    # One query, as in decoding, is a kernel of its own: the heads of a group are rows of a tile.
    queries = 1 if q.shape[2] == 1 else -1
    sizes = (-1, q.shape[1], k.shape[1], queries, -1, q.shape[3], v.shape[3])
    values, data = problem.values_of(symbols), problem.arrays_of(tensors)
    kernel = _compile(sizes, element, problem.key, scale, alignment, bool(return_lse), device)
    return kernel._call(q, k, v, place, element, out, None, stream, values, align if offset is not None else None, problem, data)


def statistics(device=None):
    """What the compiler of a device did in this process: "memory_hits", "disk_hits" and "compilations"."""
    return _session(device or _host_device()).statistics()
