# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What masks and changes of scores read beside q, k and v: arrays that they carry, or names of arrays given at each call."""

from __future__ import annotations

import ast
import re
import sys

import numpy as np

from . import arrays

__all__ = ["Tensor", "tensor"]

# Names that the arguments of a function and the indices of a pair have.
RESERVED = ("q", "k", "v", "o", "lse", "offset", "h", "i", "j")
# A repr of more elements is abbreviated, and then does not read back.
_WRITTEN = 256


def check_name(what, name):
    if not isinstance(name, str):
        raise TypeError(f"{what}: expected a text, found {name!r}")
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or name in RESERVED:
        raise ValueError(f"{what}: expected a name other than {', '.join(RESERVED)}, found '{name}'")
    return name


class Tensor:
    """An array, or the name of one that is given at each call: `tensors={"ids": array}`."""

    __slots__ = ("name", "array", "element", "shape")

    def __init__(self, name, array, element, shape):
        self.name, self.array, self.element, self.shape = name, array, element, shape

    def __eq__(self, other):
        if not isinstance(other, Tensor):
            return NotImplemented
        return (self.name, self.element, self.shape) == (other.name, other.element, other.shape) and same(self.array, other.array)

    def __hash__(self):
        return hash((self.name, self.element, self.shape))

    def __repr__(self):
        if self.name is not None:
            shape = "" if self.shape is None else f", {self.shape!r}"
            return f"tensor({self.name!r}, {self.element!r}{shape})"
        sizes = tuple(self.array.shape)
        if np.prod(sizes) > _WRITTEN:
            return f"tensor(<{' x '.join(map(str, sizes))} of {self.element}>)"
        return f"tensor({to_numpy(self.array).tolist()!r}, {self.element!r})".replace("inf", "1e999")


def tensor(value, dtype=None, shape=None):
    """Data for a mask or a change of scores.

    `tensor("ids", "i32")` names an array of that type which is given at each call. Where a dimension may be broadcast,
    `shape` says which are: 1 for those, None for the others. `tensor(array)` and `tensor([0, 1, 1], "i32")` are data."""
    if isinstance(value, str):
        name = check_name("name", value)
        element = arrays.element_type(getattr(dtype, "__name__", dtype), arrays.ANY)
        if element is None:
            raise TypeError(f"dtype: expected one of {', '.join(arrays.ANY)}, found {dtype!r}")
        if shape is not None:
            shape = tuple(shape)
            if any(size is not None and size != 1 for size in shape):
                raise ValueError(f"shape: expected 1 for a dimension that is broadcast and None for another, found {shape}")
        return Tensor(name, None, element, shape)
    if shape is not None:
        raise ValueError(f"shape: expected none for data, which has one, found {shape!r}")
    if isinstance(value, (list, tuple)):
        value = _array(value, dtype)
        dtype = None
    _, element = arrays.place_of("value", value, arrays.ANY)
    if dtype is not None and arrays.element_type(getattr(dtype, "__name__", dtype), arrays.ANY) != element:
        raise TypeError(f"dtype: expected {element} as the array has, found {dtype!r}")
    return Tensor(None, value, element, None)


def parse(text):
    """The tensor whose repr is `text`, or the syntax tree of that."""
    node = ast.parse(text, mode="eval").body if isinstance(text, str) else text
    return tensor(*map(ast.literal_eval, node.args))


def is_named(value):
    return isinstance(value, Tensor) and value.array is None


def _array(values, dtype):
    element = "i64" if dtype is None else arrays.element_type(getattr(dtype, "__name__", dtype), arrays.ANY)
    if element is None:
        raise TypeError(f"dtype: expected one of {', '.join(arrays.ANY)}, found {dtype!r}")
    if element == "bf16":
        torch = sys.modules.get("torch")
        if torch is None:
            raise TypeError("dtype: expected a type that NumPy has, found bf16, which needs PyTorch: import it first")
        return torch.tensor(values, dtype=torch.bfloat16)
    return np.array(values, dtype=arrays.ANY[element])


def to_numpy(array):
    """The same values where NumPy can compute with them; bf16 becomes float32."""
    if arrays.torch_of(array):
        array = array.detach().cpu()
        return (array.float() if str(array.dtype) == "torch.bfloat16" else array).numpy()
    found = array if isinstance(array, np.ndarray) else np.asarray(array) if hasattr(array, "__array__") else np.from_dlpack(array)
    return found.astype(np.float32) if str(found.dtype) == "bfloat16" else found


def same(a, b):
    """Whether two arrays of one type, or None, hold the same."""
    return a is b or a is not None and b is not None and tuple(a.shape) == tuple(b.shape) and np.array_equal(to_numpy(a), to_numpy(b))


class Input:
    """A tensor in its role: what each of its dimensions is ("batch", "heads", "queries", "keys"; None is anything), and which
    are broadcast: 1 in `shape`, None for the others."""

    __slots__ = ("role", "tensor", "array", "element", "dims", "shape")

    def __init__(self, role, tensor, array, element, dims, shape):
        self.role, self.tensor, self.array, self.element, self.dims, self.shape = role, tensor, array, element, dims, shape

    @property
    def is_for_every_batch(self):
        """Whether the data has no batch of its own where one is wanted."""
        return self.array is not None and self.dims[0] == "batch" and self.shape[0] is None and \
            len(self.tensor.array.shape) < len(self.dims)

    def is_one_with(self, other):
        """Whether both are one argument of a function. (No id(): torch.compile would guard it.)"""
        if self.array is None or other.array is None:
            return self.array is other.array and self.tensor.name == other.tensor.name
        return self.tensor.array is other.tensor.array

    def named(self, name):
        """What stands for it where only its kind matters: the text of a Tensor."""
        return f"tensor({(name if self.array is not None else self.tensor.name)!r}, {self.element!r}, {self.shape!r})"

    def check(self, array, place, sizes):
        """Raises unless an array given for this is what it must be, where q has `place` and these sizes by name."""
        found, element = arrays.place_of(self.role, array, arrays.ANY)
        if element != self.element:
            raise TypeError(f"{self.role}: expected elements of type {self.element}, found {element}")
        if place is not None and found != place:
            raise ValueError(f"{self.role}: expected an array on {place} as q is, found one on {found}")
        shape = tuple(array.shape)
        if self.is_for_every_batch:
            sizes = {**sizes, "batch": 1}
        wanted = tuple(1 if size == 1 else sizes.get(dim) for dim, size in zip(self.dims, self.shape))
        if len(shape) != len(wanted) or any(size is not None and size != other for size, other in zip(wanted, shape)):
            words = " x ".join(f"{dim or 'any'}{'' if size is None or size == 1 and dim is None else f' ({size})'}"
                               for dim, size in zip(self.dims, wanted))
            raise ValueError(f"{self.role}: expected {words}, found shape {arrays.shape_text(shape)}")


def input_of(role, value, elements, *forms):
    """`value`, an array or a Tensor, in its role. Each form lists the names of its dimensions, "|1" behind those that may be
    broadcast. An array of fewer dimensions than the only form is broadcast along the first ones."""
    given = value if isinstance(value, Tensor) else None
    if given is None:
        if isinstance(value, (list, tuple)):
            value = _array(value, next(element for element in ("i64", "i1", "f32") if element in elements))
        if isinstance(value, str):
            raise TypeError(f"{role}: expected an array, found the name '{value}': write attn.tensor('{value}', '{next(iter(elements))}')")
        _, element = arrays.place_of(role, value, elements)
        given = Tensor(None, value, element, None)
    if given.element not in elements:
        raise TypeError(f"{role}: expected elements of type {arrays.type_names(elements)}, found {given.element}")
    array = given.array
    if array is not None:
        while len(forms) == 1 and len(array.shape) < len(forms[0]) and hasattr(array, "__getitem__"):
            array = array[None]
        sizes = tuple(array.shape)
    else:
        sizes = given.shape if given.shape is not None else (None,) * len(forms[0])
    form = next((form for form in forms if len(form) == len(sizes)), None)
    if form is None or array is None and any(size == 1 and not dim.endswith("|1") for dim, size in zip(form, sizes)):
        words = " or ".join(" x ".join(dim.replace("|1", " or 1") for dim in form) for form in forms)
        raise ValueError(f"{role}: expected {words}, found shape {arrays.shape_text(sizes)}")
    dims = tuple(dim.removesuffix("|1") for dim in form)
    shape = tuple(1 if size == 1 and dim.endswith("|1") else None for dim, size in zip(form, sizes))
    return Input(role, given, array, given.element, tuple(None if dim == "any" else dim for dim in dims), shape)


def named_inputs(inputs):
    """[(name, [inputs])]: what is one tensor is one argument of a function. The name is its own, or `_0`, `_1`, ... for data."""
    own = {entry.tensor.name for entry in inputs}
    found, count = [], 0
    for entry in inputs:
        same = next((entries for _, entries in found if entries[0].is_one_with(entry)), None)
        if same is not None:
            first = same[0]
            if (first.element, first.shape) != (entry.element, entry.shape):
                raise ValueError(f"{entry.role}: expected '{entry.tensor.name}' to be {first.element} of shape {first.shape} as in "
                                 f"{first.role}, found {entry.element} of shape {entry.shape}")
            same.append(entry)
            continue
        name = entry.tensor.name
        while name is None or entry.array is not None and name in own:
            name, count = f"_{count}", count + 1
        found.append((name, [entry]))
    return found


def arrays_of(inputs, given):
    """The arrays of [(name, [inputs])] in order: those carried, and one of the mapping `given` for each other name, which
    must name nothing else."""
    try:
        given = dict(given or {})
    except (TypeError, ValueError):
        raise TypeError(f"tensors: expected a mapping of names to arrays, found {given!r}") from None
    names, found = [], []
    for name, (entry, *_) in inputs:
        array = entry.array
        if array is None:
            names.append(name)
            if name not in given:
                raise ValueError(f"tensors: expected an array for '{name}', found none")
            array = given.pop(name)
        found.append(array)
    if given:
        raise ValueError(f"tensors: expected arrays for {', '.join(map(repr, names)) or 'none'}, found one for '{next(iter(given))}'")
    return found
