# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""attention as PyTorch operators, which torch.compile keeps in its graphs.

    import attn.torch
    o = attn.torch.attention(q, k, v, mask=attn.causal())

The operators are torch.ops.attn.attention, which gives o, and torch.ops.attn.attention_lse, which gives o and lse. Their
mask is the mask's key, their symbols and tensors are in the order in which the problem has them, and `scores` is what follows
the mask in the problem's key, written out.
"""

from __future__ import annotations

import ast
import functools

import torch

from . import api
from .problem import from_key, problem_of

__all__ = ["attention"]


@functools.lru_cache(maxsize=1024)
def _problem(mask, scores):
    return from_key((mask, *(ast.literal_eval(scores) if scores else (None, (), None))))


def _run(q, k, v, tensors, mask, scale, align, offset, offsets, symbols, scores, lse):
    problem = _problem(mask, scores)
    names = [name for name, _ in problem.inputs]
    return api.run(q.detach(), k.detach(), v.detach(), problem, scale, lse, {"offset": offset, "offsets": offsets}.get(align, align),
                   dict(zip(problem.symbols, symbols or [])), dict(zip(names, (array.detach() for array in tensors))))


@torch.library.custom_op("attn::attention", mutates_args=())
def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tensors: list[torch.Tensor], mask: str,
               scale: float | None = None, align: str = "end", offset: int = 0, offsets: torch.Tensor | None = None,
               symbols: list[int] | None = None, scores: str = "") -> torch.Tensor:
    return _run(q, k, v, tensors, mask, scale, align, offset, offsets, symbols, scores, False)


@torch.library.custom_op("attn::attention_lse", mutates_args=())
def _attention_lse(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tensors: list[torch.Tensor], mask: str,
                   scale: float | None = None, align: str = "end", offset: int = 0, offsets: torch.Tensor | None = None,
                   symbols: list[int] | None = None, scores: str = "") -> tuple[torch.Tensor, torch.Tensor]:
    return _run(q, k, v, tensors, mask, scale, align, offset, offsets, symbols, scores, True)


@_attention.register_fake
def _(q, k, v, *_, **__):
    return q.new_empty((q.shape[0], q.shape[1], q.shape[2], v.shape[3]))


@_attention_lse.register_fake
def _(q, k, v, *_, **__):
    return (q.new_empty((q.shape[0], q.shape[1], q.shape[2], v.shape[3])),
            q.new_empty((q.shape[0], q.shape[1], q.shape[2]), dtype=torch.float32))


def _backward(context, *gradients):
    raise NotImplementedError("backward not built yet: call under torch.no_grad(), or detach q, k and v")


_attention.register_autograd(_backward)
_attention_lse.register_autograd(_backward)


def attention(q, k, v, mask=None, scale=None, return_lse=False, align="end", symbols=None, softcap=None, bias=None, alibi=None,
              sinks=None, score=None, tensors=None):
    """attn.attention for PyTorch's tensors, as one operator."""
    problem = problem_of(mask, softcap, bias, alibi, sinks, score)
    kind, offset, offsets = align, 0, None
    if isinstance(align, torch.Tensor) and align.ndim == 1:
        kind, offsets = "offsets", align
    elif not isinstance(align, str):
        kind, offset = "offset", align
    given = dict(symbols or {})
    if set(given) != set(problem.symbols):
        problem.values_of(given)  # says which is missing or unknown
    data = problem.arrays_of(tensors)
    operator = torch.ops.attn.attention_lse if return_lse else torch.ops.attn.attention
    data = [array.expand(q.shape[0], -1) if entry.is_for_every_batch else array for (_, (entry, *_)), array in zip(problem.inputs, data)]
    return operator(q, k, v, data, problem.mask.key, scale, kind, offset, offsets, [given[name] for name in problem.symbols],
                    repr(problem.key[1:]) if problem.is_changed else "")
