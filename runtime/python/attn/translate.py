# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Masks of other systems in the words of this one.

Each function returns the keyword arguments of `attn.attention` that mean the same:

    attn.attention(q, k, v, **attn.translate.flash_attention(window_size=(512, 0)))
"""

from __future__ import annotations

import operator

from . import masks
from .masks import Mask

__all__ = ["flash_attention", "pytorch_is_causal", "splash_causal", "splash_local", "cudnn", "longformer",
           "attention_gym_dilated", "flex_attention"]


def _unbounded(value):
    return None if value is None or value < 0 else value


def flash_attention(causal=False, window_size=(-1, -1)):
    """FlashAttention's `causal` and `window_size=(left, right)`, -1 for no bound; the last query sees the last key."""
    left, right = map(_unbounded, window_size)
    if causal:
        right = 0
    if left is None and right is None:
        return {"mask": masks.all_(), "align": "end"}
    if left is None and right == 0:
        return {"mask": masks.causal(), "align": "end"}
    return {"mask": masks.window(left, right), "align": "end"}


def pytorch_is_causal(is_causal=True):
    """`is_causal` of scaled_dot_product_attention: the first query sees the first key."""
    return {"mask": masks.causal() if is_causal else masks.all_(), "align": "start"}


def splash_causal(offset=0):
    """Splash attention's CausalMask(shape, offset): query i sees the keys up to i + offset."""
    return {"mask": masks.causal(), "align": operator.index(offset)}


def splash_local(window_size, offset=0):
    """Splash attention's LocalMask(shape, (left, right), offset); None is unbounded."""
    left, right = window_size
    return {"mask": masks.window(left, right), "align": operator.index(offset)}


def cudnn(left_bound=None, right_bound=None, bottom_right=False):
    """cuDNN's diagonal band: a key is kept if j > p - left_bound and j <= p + right_bound."""
    if left_bound is not None and left_bound < 1:
        raise ValueError(f"left_bound: expected at least 1, found {left_bound}")
    left = None if left_bound is None else left_bound - 1
    mask = masks.all_() if left is None and right_bound is None else masks.window(left, right_bound)
    return {"mask": mask, "align": "end" if bottom_right else "start"}


def longformer(attention_window, global_tokens=0, dilation=1):
    """Longformer: `attention_window` keys in all, half of them on either side, `dilation` apart; the first
    `global_tokens` tokens see everything and are seen by everything."""
    if attention_window % 2:
        raise ValueError(f"attention_window: expected an even number, found {attention_window}")
    side = attention_window // 2
    local = masks.window(side, side) if dilation == 1 else masks.dilated(side, side, dilation)
    return {"mask": local | masks.global_(global_tokens) if global_tokens else local, "align": "end"}


def attention_gym_dilated(window_size, dilation):
    """attention-gym's dilated sliding window: abs(q - kv) <= window_size and a distance that `dilation` divides."""
    return {"mask": masks.window(window_size, window_size) & masks.stride(dilation), "align": "start"}


class Traced:
    """An affine expression of h, i and j: Python text, and its coefficients where it has no division."""

    def __init__(self, text, constant=None):
        self.text, self.constant = text, constant

    @staticmethod
    def of(value, where):
        if isinstance(value, Traced):
            return value
        if isinstance(value, bool):
            raise NotImplementedError(f"mask_mod: '{where}' mixes a truth value with positions")
        try:
            number = operator.index(value)
        except TypeError:
            raise NotImplementedError(
                f"mask_mod: '{where}' uses {type(value).__name__} data: only integers and affine expressions of the head and "
                "the positions make a set; pass what is data as an operand") from None
        return Traced(f"({number})" if number < 0 else str(number), number)

    def _binary(self, other, symbol, swap=False):
        other = Traced.of(other, f"{self.text} {symbol} {other}")
        a, b = (other, self) if swap else (self, other)
        text = f"({a.text} {symbol} {b.text})"
        if symbol == "*" and a.constant is None and b.constant is None:
            raise NotImplementedError(f"mask_mod: '{text}' is not affine: a product needs a constant factor")
        if symbol in ("//", "%") and (b.constant is None or b.constant < 1):
            raise NotImplementedError(f"mask_mod: '{text}' is not affine: the divisor must be a positive constant")
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
        if isinstance(other, _Absolute):
            flipped = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}[symbol]
            return other._compare(self, flipped)
        other = Traced.of(other, f"{self.text} {symbol} {other}")
        if symbol == "!=":
            return ~masks.affine(f"{self.text} == {other.text}")
        return masks.affine(f"{self.text} {symbol} {other.text}")

    def __lt__(self, other):
        return self._compare(other, "<")

    def __le__(self, other):
        return self._compare(other, "<=")

    def __gt__(self, other):
        return self._compare(other, ">")

    def __ge__(self, other):
        return self._compare(other, ">=")

    def __eq__(self, other):
        return self._compare(other, "==")

    def __ne__(self, other):
        return self._compare(other, "!=")

    __hash__ = None

    def __bool__(self):
        raise NotImplementedError(f"mask_mod: the truth of '{self.text}' decides what the function does: "
                                  "combine comparisons with &, | and ~")

    def __index__(self):
        raise NotImplementedError(f"mask_mod: '{self.text}' indexes data, which is no affine expression")

    def __getattr__(self, name):
        if name.startswith("__"):  # what libraries ask of arrays
            raise AttributeError(name)
        raise NotImplementedError(f"mask_mod: '{self.text}.{name}' is not affine")


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

    __lt__ = lambda self, other: self._compare(other, "<")  # noqa: E731
    __le__ = lambda self, other: self._compare(other, "<=")  # noqa: E731
    __gt__ = lambda self, other: self._compare(other, ">")  # noqa: E731
    __ge__ = lambda self, other: self._compare(other, ">=")  # noqa: E731
    __eq__ = lambda self, other: self._compare(other, "==")  # noqa: E731
    __ne__ = lambda self, other: self._compare(other, "!=")  # noqa: E731
    __hash__ = None

    def __getattr__(self, name):
        raise NotImplementedError(f"mask_mod: 'abs({self.inner.text})' may only be compared")


class Batch:
    """The batch index: a set does not depend on it."""

    def _refuse(self, *_):
        raise NotImplementedError("mask_mod: 'b' decides: a mask is one set for all batches; "
                                  "pass what differs by batch as an operand")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __floordiv__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __index__ = _refuse
    __hash__ = None


BATCH = Batch()


def flex_attention(mask_mod):
    """FlexAttention's `mask_mod(b, h, q_idx, kv_idx)`, traced into a set. It must combine comparisons of affine and modular
    expressions of h, q_idx and kv_idx with `&`, `|` and `~`; anything else is a NotImplementedError that names it."""
    try:
        result = mask_mod(BATCH, Traced("h"), Traced("i"), Traced("j"))
    except (IndexError, TypeError) as error:
        raise NotImplementedError(f"mask_mod: it does more than compare affine expressions: {error}") from error
    if isinstance(result, bool):
        result = masks.all_() if result else ~masks.all_()
    if not isinstance(result, Mask):
        raise NotImplementedError(f"mask_mod: expected a comparison or several, found {type(result).__name__}")
    return {"mask": result, "align": "start"}
