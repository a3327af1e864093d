# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention with any mask that is an integer set.

    import attn
    o = attn.attention(q, k, v, mask=attn.causal() & attn.window(512, 0))
"""

from . import masks, translate
from ._attn import __version__
from .api import Kernel, attention, compile, device_for, statistics
from .masks import (Mask, Symbol, affine, all_, causal, chunked, dilated, fixed, global_, heads, keys, longformer, prefix, queries,
                    same_block, streaming, stride, strided, summary, sym, window)

__all__ = ["Kernel", "Mask", "Symbol", "affine", "all_", "attention", "causal", "chunked", "compile", "device_for", "dilated", "fixed",
           "global_", "heads", "keys", "longformer", "masks", "prefix", "queries", "same_block", "statistics", "streaming", "stride",
           "strided", "summary", "sym", "translate", "window", "__version__"]
