# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Masks of other systems in the words of this one.

Each function returns the keyword arguments of `attn.attention` that mean the same:

    attn.attention(q, k, v, **attn.translate.flash_attention(window_size=(512, 0)))
"""

from __future__ import annotations

import operator

from . import masks
from .trace import trace_mask, trace_score

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


def flex_attention(mask_mod=None, score_mod=None):
    """FlexAttention's `mask_mod(b, h, q_idx, kv_idx)` and `score_mod(score, b, h, q_idx, kv_idx)`, run once on expressions.

    A mask_mod combines comparisons of affine and modular expressions of h, q_idx and kv_idx with `&`, `|` and `~`; over tensors of
    PyTorch it may compare ids[b, q_idx] == ids[b, kv_idx], kv_idx < lengths[b] and kv_idx >= starts[b], and read Booleans. A score_mod computes with
    numbers and elements of tensors as attn.score does. Anything else is a NotImplementedError that names it."""
    result = {"align": "start"}
    if mask_mod is not None:
        result["mask"] = trace_mask(mask_mod)
    if score_mod is not None:
        result["score"] = trace_score(score_mod)
    return result
