# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""attention as PyTorch operators, which torch.compile keeps in its graphs.

    import attn.torch
    o = attn.torch.attention(q, k, v, mask=attn.causal())

The operators are torch.ops.attn.attention, which gives o, and torch.ops.attn.attention_lse, which gives o and lse. Their
mask is the mask's repr, their symbols the values in the order of mask.symbols.
"""

from __future__ import annotations

import functools

import torch

from . import api
from .masks import Mask, all_, parse

__all__ = ["attention"]

_parse = functools.lru_cache(maxsize=1024)(parse)


def _run(q, k, v, mask, scale, align, offset, offsets, symbols, lse):
    set_ = _parse(mask)
    return api.attention(q.detach(), k.detach(), v.detach(), mask=set_, scale=scale, return_lse=lse,
                         align={"offset": offset, "offsets": offsets}.get(align, align),
                         symbols=dict(zip(set_.symbols, symbols)) if symbols else None)


@torch.library.custom_op("attn::attention", mutates_args=())
def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: str, scale: float | None = None, align: str = "end",
               offset: int = 0, offsets: torch.Tensor | None = None, symbols: list[int] | None = None) -> torch.Tensor:
    return _run(q, k, v, mask, scale, align, offset, offsets, symbols, False)


@torch.library.custom_op("attn::attention_lse", mutates_args=())
def _attention_lse(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: str, scale: float | None = None,
                   align: str = "end", offset: int = 0, offsets: torch.Tensor | None = None,
                   symbols: list[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    return _run(q, k, v, mask, scale, align, offset, offsets, symbols, True)


@_attention.register_fake
def _(q, k, v, mask, scale=None, align="end", offset=0, offsets=None, symbols=None):
    return q.new_empty((q.shape[0], q.shape[1], q.shape[2], v.shape[3]))


@_attention_lse.register_fake
def _(q, k, v, mask, scale=None, align="end", offset=0, offsets=None, symbols=None):
    return (q.new_empty((q.shape[0], q.shape[1], q.shape[2], v.shape[3])),
            q.new_empty((q.shape[0], q.shape[1], q.shape[2]), dtype=torch.float32))


def _backward(context, *gradients):
    raise NotImplementedError("backward not built yet: call under torch.no_grad(), or detach q, k and v")


_attention.register_autograd(_backward)
_attention_lse.register_autograd(_backward)


def attention(q, k, v, mask=None, scale=None, return_lse=False, align="end", symbols=None):
    """attn.attention for PyTorch's tensors, as one operator."""
    mask = all_() if mask is None else mask
    if not isinstance(mask, Mask):
        raise TypeError(f"mask: expected a mask such as attn.causal(), found {type(mask).__name__}")
    kind, offset, offsets = align, 0, None
    if isinstance(align, torch.Tensor) and align.ndim == 1:
        kind, offsets = "offsets", align
    elif not isinstance(align, str):
        kind, offset = "offset", align
    given = dict(symbols or {})
    if set(given) != set(mask.symbols):
        mask.values_of(given)  # says which is missing or unknown
    operator = torch.ops.attn.attention_lse if return_lse else torch.ops.attn.attention
    return operator(q, k, v, repr(mask), scale, kind, offset, offsets, [given[name] for name in mask.symbols])
