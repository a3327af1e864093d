# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays of other libraries: where they live, what they hold, and how to make another one like them."""

from __future__ import annotations

import sys

import numpy as np

from . import _attn

__all__ = ["ANY", "FLOATS", "INTEGERS", "check", "check_shapes", "element_type", "empty", "explain", "finished", "place_of", "repeated",
           "shape_text", "stream_of", "torch_of", "type_names"]

# Element types and what libraries call them.
FLOATS = {"f16": "float16", "bf16": "bfloat16", "f32": "float32"}
INTEGERS = {"i32": "int32", "i64": "int64"}
ANY = {**FLOATS, "i1": "bool", "i8": "int8", **INTEGERS}
_ELEMENTS = {name: element for element, name in ANY.items()}
# bfloat16 is no type of NumPy's, and DLPack does not take it from there.
_NUMPY_TYPES = {np.dtype(name): element for element, name in ANY.items() if element != "bf16"}
_ARRAYS = "an array of NumPy, PyTorch, JAX or another library with DLPack"


def torch_of(array):
    """The module torch if this is a tensor of it. Nothing imports it here."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else None


def _jax_of(array):
    jax = sys.modules.get("jax")
    return jax if jax is not None and isinstance(array, getattr(jax, "Array", ())) else None


def _is_traced(array):
    """Whether this stands for an array in a function that JAX traces."""
    jax = _jax_of(array)
    return jax is not None and isinstance(array, jax.core.Tracer)


def element_type(dtype, allowed=FLOATS):
    """f16, bf16, ... for a library's name of the type, or that itself; None for what is not allowed."""
    name = str(dtype).removeprefix("torch.")
    element = _ELEMENTS.get(name, name)
    return element if element in allowed else None


def type_names(elements):
    """float16, bfloat16 or float32"""
    *names, last = [ANY[element] for element in elements]
    return f"{', '.join(names)} or {last}" if names else last


def shape_text(sizes):
    return "(" + ", ".join(map(str, sizes)) + ")"


def place_of(name, array, allowed=FLOATS):
    """(where the array lives: "cpu" or "cuda:<n>", its element type)"""
    if type(array) is np.ndarray:
        place, element = "cpu", _NUMPY_TYPES.get(array.dtype)
        element = element if element in allowed else None
    elif torch_of(array):
        place, element = array.device, element_type(array.dtype, allowed)
        place = "cpu" if place.type == "cpu" else f"cuda:{place.index or 0}" if place.type == "cuda" else str(place)
    elif _is_traced(array):
        place, element = "cpu", element_type(array.dtype, allowed)
    elif hasattr(array, "__dlpack_device__") and hasattr(array, "__dlpack__") and hasattr(array, "dtype"):
        try:
            kind, index = array.__dlpack_device__()
        except Exception as error:
            raise ValueError(f"{name}: expected an array that DLPack can describe, found one that it cannot: {error}") from error
        place = "cpu" if kind in (1, 3) else f"cuda:{index}" if kind in (2, 13) else f"DLPack device {int(kind)}"
        element = element_type(array.dtype, allowed)
    elif type(array).__name__ == "PyCapsule":
        raise TypeError(f"{name}: expected {_ARRAYS}, found a {'used' if 'used' in repr(array) else 'bare'} DLPack capsule; "
                        "pass the array that it was made from")
    else:
        raise TypeError(f"{name}: expected {_ARRAYS}, found {type(array).__name__}")
    if element in (None, "bf16") and isinstance(array, np.ndarray) and str(array.dtype) == "bfloat16":
        raise TypeError(f"{name}: expected elements of type float16 or float32 in an array of NumPy, found bfloat16, which it "
                        "does not hand over through DLPack; pass a tensor of PyTorch or an array of JAX")
    if element is None:
        raise TypeError(f"{name}: expected elements of type {type_names(allowed)}, "
                        f"found {str(array.dtype).removeprefix('torch.')}")
    if place != "cpu" and not place.startswith("cuda:"):
        raise ValueError(f"{name}: expected an array in host memory or on a CUDA device, found {place}")
    return place, element


def check(q, k, v):
    """The place and element type of q, k and v; raises unless they belong together."""
    place, element = found = place_of("q", q)
    for name, array in (("k", k), ("v", v)):
        other = place_of(name, array)
        if other[1] != element:
            raise TypeError(f"{name}: expected elements of type {element} as in q, found {other[1]}")
        if other[0] != place:
            raise ValueError(f"{name}: expected an array on {place} as q is, found one on {other[0]}")
    check_shapes(q.shape, k.shape, v.shape)
    return found


def check_shapes(q_shape, k_shape, v_shape):
    """Raises unless arrays of these shapes belong together."""
    for name, shape in (("q", q_shape), ("k", k_shape), ("v", v_shape)):
        if len(shape) != 4:
            raise ValueError(f"{name}: expected batch x heads x length x head size, found shape {shape_text(shape)}")
    for name, shape in (("k", k_shape), ("v", v_shape)):
        if shape[0] != q_shape[0]:
            raise ValueError(f"{name}: expected batch size {q_shape[0]} as in q, found {shape[0]}")
    if k_shape[3] != q_shape[3]:
        raise ValueError(f"k: expected head size {q_shape[3]} as in q, found {k_shape[3]}")
    for axis, what in ((1, "heads"), (2, "length")):
        if v_shape[axis] != k_shape[axis]:
            raise ValueError(f"v: expected {what} {k_shape[axis]} as in k, found {v_shape[axis]}")
    if k_shape[1] == 0 or q_shape[1] % k_shape[1]:
        raise ValueError(f"q: expected a number of heads that is a multiple of the {k_shape[1]} of k, found {q_shape[1]}")


def empty(like, shape, float32=False):
    """(what a kernel may write to, what the caller gets): a new array of like's library, device and element type."""
    if isinstance(like, np.ndarray):
        array = np.empty(shape, dtype=np.float32 if float32 else like.dtype)
        return array, array
    torch = torch_of(like)
    if torch:
        array = torch.empty(shape, dtype=torch.float32 if float32 else like.dtype, device=like.device)
        return array, array
    jax = _jax_of(like)
    if jax:
        # Arrays of JAX never change once they are seen: the memory is written first.
        if place_of("q", like)[0] != "cpu":
            raise NotImplementedError("q: arrays of JAX on a GPU are not built yet; pass a tensor of PyTorch that shares them")
        return _attn.empty(tuple(shape), "f32" if float32 else element_type(like.dtype)), None
    if not hasattr(like, "__array_namespace__"):
        raise TypeError(f"q: expected {_ARRAYS} and the array API, found {type(like).__name__}")
    library = like.__array_namespace__()
    array = library.empty(shape, dtype=library.float32 if float32 else like.dtype, device=like.device)
    return array, array


def finished(like, memory, array):
    """What the caller gets, once `memory` of empty() is written."""
    return array if array is not None else _jax_of(like).dlpack.from_dlpack(memory)


def repeated(array, count):
    """A view of the first element along the first dimension, `count` times over."""
    if torch_of(array):
        return array.expand(count, *array.shape[1:])
    return (np if isinstance(array, np.ndarray) else array.__array_namespace__()).broadcast_to(array, (count, *array.shape[1:]))


def stream_of(array):
    """The stream on which the array's library now works, for arrays on a GPU."""
    torch = torch_of(array)
    if torch:
        return torch.cuda.current_stream(array.device).cuda_stream if array.is_cuda else 0
    if type(array) is np.ndarray:
        return 0
    # Version 3 of this protocol says it, CuPy's and Numba's arrays do. Without it DLPack has made the default stream wait.
    interface = getattr(array, "__cuda_array_interface__", None)
    return (interface.get("stream") or 0) if isinstance(interface, dict) else 0


def explain(named, results):
    """Why DLPack could not hand over one of these (name, array): raises a ValueError that says which."""
    for name, array in named:
        try:
            capsule = array.__dlpack__()
        except Exception as error:
            if name in results and "read" in str(error).lower() and "only" in str(error).lower():
                break
            raise ValueError(f"{name}: expected an array that DLPack can describe, found one that it cannot: {error}") from error
        if "used" in repr(capsule):
            raise ValueError(f"{name}: expected an array that DLPack can describe, found one whose capsule was used before")
    for name, array in named:
        if name in results and not _is_writable(array):
            raise ValueError(f"{name}: expected an array that can be written, found a read-only one")
    raise TypeError(f"{', '.join(name for name, _ in named)}: expected arrays that DLPack can describe, found one that it cannot")


def _is_writable(array):
    if torch_of(array):
        return True
    flags = getattr(array, "flags", None)
    return bool(getattr(flags, "writeable", False))
