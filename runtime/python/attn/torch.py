# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""attention as PyTorch operators, which torch.compile keeps in its graphs.

    import attn.torch
    o = attn.torch.attention(q, k, v, mask=attn.causal())

The operators are torch.ops.attn.attention, which gives o, and torch.ops.attn.attention_lse, which gives o and lse. Their
mask is the mask's repr.
"""

from __future__ import annotations

import functools

import torch

from . import api
from .masks import Mask, all_, parse

__all__ = ["attention"]

_parse = functools.lru_cache(maxsize=1024)(parse)


def _run(q, k, v, mask, scale, align, offset, lse):
    return api.attention(q.detach(), k.detach(), v.detach(), mask=_parse(mask), scale=scale, return_lse=lse,
                         align=offset if align == "offset" else align)


@torch.library.custom_op("attn::attention", mutates_args=())
def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: str, scale: float | None, align: str,
               offset: int) -> torch.Tensor:
    return _run(q, k, v, mask, scale, align, offset, False)


@torch.library.custom_op("attn::attention_lse", mutates_args=())
def _attention_lse(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: str, scale: float | None, align: str,
                   offset: int) -> tuple[torch.Tensor, torch.Tensor]:
    return _run(q, k, v, mask, scale, align, offset, True)


@_attention.register_fake
def _(q, k, v, mask, scale, align, offset):
    return q.new_empty((q.shape[0], q.shape[1], q.shape[2], v.shape[3]))


@_attention_lse.register_fake
def _(q, k, v, mask, scale, align, offset):
    return (q.new_empty((q.shape[0], q.shape[1], q.shape[2], v.shape[3])),
            q.new_empty((q.shape[0], q.shape[1], q.shape[2]), dtype=torch.float32))


def _backward(context, *gradients):
    raise NotImplementedError("backward not built yet: call under torch.no_grad(), or detach q, k and v")


_attention.register_autograd(_backward)
_attention_lse.register_autograd(_backward)


def attention(q, k, v, mask=None, scale=None, return_lse=False, align="end"):
    """attn.attention for PyTorch's tensors, as one operator."""
    mask = all_() if mask is None else mask
    if not isinstance(mask, Mask):
        raise TypeError(f"mask: expected a mask such as attn.causal(), found {type(mask).__name__}")
    kind, offset = (align, 0) if isinstance(align, str) else ("offset", align)
    operator = torch.ops.attn.attention_lse if return_lse else torch.ops.attn.attention
    return operator(q, k, v, repr(mask), scale, kind, offset)
