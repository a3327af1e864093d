# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions of a pair, such as FlexAttention's mask_mod and score_mod, run once on expressions in the place of numbers."""

from __future__ import annotations

import contextlib
import operator
import sys

from . import masks, scores
from .masks import Mask

__all__ = ["BATCH", "Traced", "trace_mask", "trace_score"]

# The names of the batch, the head and the positions, in the order of the dimensions that they index.
_INDICES = ("b", "h", "i", "j")
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def _short(value):
    """An operand as a message names it."""
    return getattr(value, "text", None) or (repr(value) if isinstance(value, (bool, int, float)) else f"<{type(value).__name__}>")


def _index_of(value):
    """The name of a plain index, or None."""
    text = getattr(value, "text", None)
    return text if text in _INDICES else None


class Table:
    """A tensor of PyTorch, indexed by names in some of its dimensions: read at (b, i), say."""

    def __init__(self, what, array, names=()):
        # `names` are those of the first dimensions of `array`.
        self.what, self.array, self.names = what, array, names

    def __getitem__(self, index):
        array, names = self.array, self.names
        for value in index if isinstance(index, tuple) else (index,):
            name = _index_of(value)
            if name is None and isinstance(value, int):
                array = array.select(len(names), value)
            elif name is None or name in names or len(names) == array.ndim:
                read = ", ".join([*names, _short(value)])
                raise NotImplementedError(f"{self.what}: a tensor is read at [{read}]: expected each of the batch, the head and the "
                                          "positions once at most, and nothing that is computed of them")
            else:
                names = (*names, name)
        return Table(self.what, array, names)

    @property
    def text(self):
        return f"tensor[{', '.join(self.names)}]"

    @property
    def is_whole(self):
        return len(self.names) == self.array.ndim

    def broadcast(self):
        """The tensor as batch x heads x queries x keys, 1 for what it does not depend on."""
        order = sorted(range(len(self.names)), key=lambda dim: _INDICES.index(self.names[dim]))
        array = self.array.permute(order)
        if array.ndim and array.shape[-1] > 1 and array.stride(-1) != 1:
            raise NotImplementedError(f"{self.what}: '{self.text}' is read with a stride of {array.stride(-1)} along "
                                      f"'{self.names[order[-1]]}': expected 1; index a contiguous transpose of the tensor")
        return array[tuple(slice(None) if name in self.names else None for name in _INDICES)]

    # As a condition it is a mask.

    def mask(self):
        if not self.is_whole or str(self.array.dtype) not in ("torch.bool", "torch.int8"):
            raise NotImplementedError(f"{self.what}: '{self.text}' of {self.array.ndim} dimensions and {self.array.dtype} decides: "
                                      "expected a Boolean for the pair")
        return masks.bits(self.broadcast())

    def __and__(self, other):
        return self.mask() & condition(self.what, other)

    def __or__(self, other):
        return self.mask() | condition(self.what, other)

    def __rand__(self, other):
        return condition(self.what, other) & self.mask()

    def __ror__(self, other):
        return condition(self.what, other) | self.mask()

    def __invert__(self):
        return ~self.mask()

    def _compare(self, other, symbol):
        if symbol == "!=":
            return ~self._compare(other, "==")
        if symbol == "==" and isinstance(other, Table):
            a, b = (self, other) if self.names[-1:] == ("i",) else (other, self)
            if a.names in (("i",), ("b", "i")) and b.names == (*a.names[:-1], "j") and a.is_whole and b.is_whole:
                return masks.documents(a.array, None if a.array is b.array else b.array)
        if symbol in (">", "<=") and _index_of(other) == "j" and self.names == ("b",) and self.is_whole:
            return masks.lengths(self.array) if symbol == ">" else ~masks.lengths(self.array)
        raise NotImplementedError(f"{self.what}: '{self.text} {symbol} {_short(other)}' is no mask over data: expected "
                                  "ids[b, q] == ids[b, kv], kv < lengths[b], kv >= starts[b] or a Boolean tensor")

    def __bool__(self):
        raise NotImplementedError(f"{self.what}: the truth of '{self.text}' decides what the function does: "
                                  "combine comparisons with &, | and ~")

    __hash__ = None


def _comparisons(owner):
    for name, symbol in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
        setattr(owner, f"__{name}__", lambda self, other, symbol=symbol: self._compare(other, symbol))


_comparisons(Table)


def condition(what, value):
    """What a traced function gives as a condition, as a mask."""
    if isinstance(value, Mask):
        return value
    if isinstance(value, Table):
        return value.mask()
    if isinstance(value, bool):
        return masks.all_() if value else ~masks.all_()
    raise NotImplementedError(f"{what}: expected a comparison or several, found {type(value).__name__}")


@contextlib.contextmanager
def tables(what, make=Table):
    """Inside, PyTorch's tensors may be indexed by what is traced."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    from torch.overrides import TorchFunctionMode

    class Indexing(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):
            if function is torch.Tensor.__getitem__:
                indices = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
                if any(getattr(index, "text", None) is not None for index in indices):
                    return make(what, arguments[0])[arguments[1]]
            return function(*arguments, **(options or {}))

    with Indexing():
        yield


class Traced:
    """An affine expression of h, i and j as Python text, and its value where it is a constant."""

    what = "mask_mod"

    def __init__(self, text, constant=None):
        self.text, self.constant = text, constant

    @classmethod
    def of(cls, value, where):
        if isinstance(value, Traced):
            return value
        if isinstance(value, bool):
            raise NotImplementedError(f"{cls.what}: '{where}' mixes a truth value with positions")
        try:
            number = operator.index(value)
        except TypeError:
            raise NotImplementedError(
                f"{cls.what}: '{where}' uses {type(value).__name__} data: only integers and affine expressions of the head and "
                "the positions make a set; pass what is data as an operand") from None
        return cls(f"({number})" if number < 0 else str(number), number)

    def _binary(self, other, symbol, swap=False):
        other = self.of(other, f"{self.text} {symbol} {_short(other)}")
        a, b = (other, self) if swap else (self, other)
        text = f"({a.text} {symbol} {b.text})"
        if symbol == "*" and a.constant is None and b.constant is None:
            raise NotImplementedError(f"{self.what}: '{text}' is not affine: a product needs a constant factor")
        if symbol in ("//", "%") and (b.constant is None or b.constant < 1):
            raise NotImplementedError(f"{self.what}: '{text}' is not affine: the divisor must be a positive constant")
        return type(self)(text)

    def __add__(self, other):
        return self._binary(other, "+")

    def __radd__(self, other):
        return self._binary(other, "+", True)

    def __sub__(self, other):
        return self._binary(other, "-")

    def __rsub__(self, other):
        return self._binary(other, "-", True)

    def __mul__(self, other):
        return self._binary(other, "*")

    def __rmul__(self, other):
        return self._binary(other, "*", True)

    def __floordiv__(self, other):
        return self._binary(other, "//")

    def __mod__(self, other):
        return self._binary(other, "%")

    def __neg__(self):
        return self._binary(-1, "*")

    def __abs__(self):
        return _Absolute(self)

    abs = __abs__

    def _compare(self, other, symbol):
        if isinstance(other, (_Absolute, Table)):
            return other._compare(self, _FLIPPED[symbol])
        other = self.of(other, f"{self.text} {symbol} {_short(other)}")
        if symbol == "!=":
            return ~masks.affine(f"{self.text} == {other.text}")
        return masks.affine(f"{self.text} {symbol} {other.text}")

    __hash__ = None

    def __bool__(self):
        raise NotImplementedError(f"{self.what}: the truth of '{self.text}' decides what the function does: "
                                  "combine comparisons with &, | and ~")

    def __index__(self):
        raise NotImplementedError(f"{self.what}: '{self.text}' indexes data, which is no affine expression; tensors of PyTorch may be "
                                  "indexed")

    def __getattr__(self, name):
        if name.startswith("__"):  # what libraries ask of arrays
            raise AttributeError(name)
        raise NotImplementedError(f"{self.what}: '{self.text}.{name}' is not affine")


_comparisons(Traced)


class _Absolute:
    """abs(x), which is not affine but compares like two expressions that are."""

    def __init__(self, inner):
        self.inner = inner

    def _compare(self, other, symbol):
        x = self.inner
        if symbol in ("<", "<="):
            return x._compare(other, symbol) & (-x)._compare(other, symbol)
        if symbol in (">", ">="):
            return x._compare(other, symbol) | (-x)._compare(other, symbol)
        equal = (x._compare(other, "==") | (-x)._compare(other, "==")) & Traced.of(other, "abs")._compare(0, ">=")
        return equal if symbol == "==" else ~equal

    __hash__ = None

    def __getattr__(self, name):
        raise NotImplementedError(f"mask_mod: 'abs({self.inner.text})' may only be compared")


_comparisons(_Absolute)


class Batch:
    """The batch index: a set does not depend on it, but tensors are read at it."""

    text = "b"

    def _refuse(self, *_):
        raise NotImplementedError("mask_mod: 'b' decides: a mask is one set for all batches; "
                                  "pass what differs by batch as an operand")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __floordiv__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __index__ = _refuse
    __hash__ = None


BATCH = Batch()


def trace_mask(mask_mod):
    """The mask of `mask_mod(b, h, q_idx, kv_idx)`; a NotImplementedError names what makes no mask."""
    try:
        with tables("mask_mod"):
            result = mask_mod(BATCH, Traced("h"), Traced("i"), Traced("j"))
    except (IndexError, TypeError) as error:
        raise NotImplementedError(f"mask_mod: it does more than compare affine expressions: {error}") from error
    return condition("mask_mod", result)


#===----------------------------------------------------------------------===#
# Scores
#===----------------------------------------------------------------------===#

# Functions of PyTorch and methods of tensors, in the words of attn.score.
_FUNCTIONS = {name: name for name in ("abs", "exp", "exp2", "log", "log2", "rsqrt", "sigmoid", "sqrt", "tanh", "where")}
_FUNCTIONS.update(absolute="abs", maximum="max", minimum="min", max="max", min="min")
_OPERATORS = {"add": "+", "sub": "-", "subtract": "-", "mul": "*", "multiply": "*", "div": "/", "divide": "/", "true_divide": "/",
              "truediv": "/", "floordiv": "//", "floor_divide": "//", "mod": "%", "remainder": "%", "pow": "**", "lt": "<", "le": "<=",
              "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
              "and": "&", "or": "|", "xor": "^", "logical_and": "&", "logical_or": "|", "logical_xor": "^", "bitwise_and": "&",
              "bitwise_or": "|", "bitwise_xor": "^"}
_UNARY = {"neg": "-", "negative": "-", "invert": "~", "logical_not": "~", "bitwise_not": "~"}
# What makes a float of a number, as all that is no index is here.
_CASTS = ("float", "double")


class _Expression:
    """An expression of a score function, as text for attn.score."""

    def __init__(self, text, data):
        self.text, self._data = text, data

    def _operand(self, value, where):
        if isinstance(value, _Element) and not value.is_whole:
            raise NotImplementedError(f"score_mod: '{where}' uses '{value.text}' of {value.array.ndim} dimensions: expected an element")
        if isinstance(value, (_Expression, _Element)):
            return value.expression
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise NotImplementedError(f"score_mod: '{where}' uses {type(value).__name__} data: expected numbers, or a tensor that the "
                                      "batch, the head and the positions index")
        return f"({value!r})" if value < 0 else repr(value)

    def call(self, name, arguments, options):
        """The expression for a function or an operator of PyTorch's or Python's."""
        name = name.strip("_")
        swapped = name[1:] if name.startswith("r") and name[1:] in _OPERATORS else None
        where = f"{name}({', '.join(map(_short, arguments))})"
        if name in _CASTS or name == "to" and len(arguments) == 2 and str(arguments[1]) in ("torch.float32", "torch.float64"):
            return _Expression(f"float({self._operand(arguments[0], where)})", self._data)
        if name in ("clamp", "clip"):
            return self._clamp(*arguments, **options)
        if options or not (name in _FUNCTIONS or name in _OPERATORS or name in _UNARY or swapped):
            raise NotImplementedError(f"score_mod: '{where}' is no function that a score may have: expected arithmetic, comparisons, "
                                      f"{', '.join(sorted(_FUNCTIONS))}")
        texts = [self._operand(value, where) for value in arguments]
        if swapped:
            texts.reverse()
        if name in _FUNCTIONS:
            text = f"{_FUNCTIONS[name]}({', '.join(texts)})"
        elif name in _UNARY:
            text = f"({_UNARY[name]}{texts[0]})"
        else:
            text = f"({texts[0]} {_OPERATORS[swapped or name]} {texts[1]})"
        return _Expression(text, self._data)

    def _clamp(self, value, min=None, max=None):
        for name, bound in (("max", min), ("min", max)):
            if bound is not None:
                value = self.call(name, (value, bound), {})
        return value

    @property
    def expression(self):
        return self.text

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        first = next(value for value in _flat(arguments) if isinstance(value, (_Expression, _Element)))
        return first.call(function.__name__, arguments, options or {})

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "dtype" and self.text == "s":
            return sys.modules["torch"].float32
        return lambda *arguments, **options: self.call(name, (self, *arguments), options)

    def __bool__(self):
        raise NotImplementedError(f"score_mod: the truth of '{self.text}' decides what the function does: use torch.where")

    def __index__(self):
        raise NotImplementedError(f"score_mod: '{self.text}' indexes data; tensors of PyTorch may be indexed")

    __hash__ = None


def _flat(values):
    for value in values:
        yield from _flat(value) if isinstance(value, (tuple, list)) else (value,)


class _Element(Table, _Expression):
    """A tensor that a score function reads; `names` as in Table."""

    __getattr__ = _Expression.__getattr__
    _data = None

    def __getitem__(self, index):
        table = Table.__getitem__(self, index)
        element = _Element(self.what, table.array, table.names)
        element._data, element.origin = self._data, self.origin
        return element

    @property
    def expression(self):
        """Its name in the expression; the same for what is read alike."""
        for name, (origin, names, _) in self._data.items():
            if origin is self.origin and names == self.names:
                return name
        name = f"x{len(self._data)}"
        self._data[name] = self.origin, self.names, self.array if self.names == ("h",) else self.broadcast()
        return name


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    for _prefix in ("", "r"):
        setattr(_Expression, f"__{_prefix}{_name}__",
                lambda self, other, name=_prefix + _name: self.call(name, (self, other), {}))
        setattr(_Element, f"__{_prefix}{_name}__", getattr(_Expression, f"__{_prefix}{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(_Expression, f"__{_name}__", lambda self, other, name=_name: self.call(name, (self, other), {}))
    setattr(_Element, f"__{_name}__", getattr(_Expression, f"__{_name}__"))
for _name in ("neg", "invert", "abs"):
    setattr(_Expression, f"__{_name}__", lambda self, name=_name: self.call(name, (self,), {}))
    setattr(_Element, f"__{_name}__", getattr(_Expression, f"__{_name}__"))


def trace_score(score_mod):
    """The score of `score_mod(score, b, h, q_idx, kv_idx)`; a NotImplementedError names what a score cannot be."""
    data = {}

    def element(what, array):
        found = _Element(what, array)
        found._data, found.origin = data, array
        return found

    expressions = [_Expression(name, data) for name in ("s", *_INDICES)]
    try:
        with tables("score_mod", element):
            result = score_mod(*expressions)
    except (IndexError, TypeError) as error:
        raise NotImplementedError(f"score_mod: it does more than compute with numbers: {error}") from error
    text = expressions[0]._operand(result, "the result")
    try:
        return scores.score(text, **{name: array for name, (_, _, array) in data.items()})
    except (TypeError, ValueError) as error:
        raise NotImplementedError(f"score_mod: {str(error).removeprefix('score: ')}") from error
