# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention with any mask that is an integer set.

    import attn
    o = attn.attention(q, k, v, mask=attn.causal() & attn.window(512, 0))
"""

from . import masks, scores, translate
from ._attn import __version__
from .api import Kernel, attention, compile, device_for, statistics
from .masks import (Mask, Symbol, affine, all_, bits, blocks, causal, chunked, dilated, documents, fixed, global_, heads, keys,
                    lengths, longformer, prefix, queries, same_block, streaming, stride, strided, summary, sym, window)
from .scores import Score, score
from .tensors import Tensor, tensor

__all__ = ["Kernel", "Mask", "Score", "Symbol", "Tensor", "affine", "all_", "attention", "bits", "blocks", "causal", "chunked",
           "compile", "device_for", "dilated", "documents", "fixed", "global_", "heads", "keys", "lengths", "longformer", "masks",
           "prefix", "queries", "same_block", "score", "scores", "statistics", "streaming", "stride", "strided", "summary", "sym",
           "tensor", "translate", "window", "__version__"]
