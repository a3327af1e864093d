# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The masks of the kit: as the compiler reads them, and as a predicate for the reference and for PyTorch."""

import numpy as np

WINDOW = 1024

# name: (text, predicate of query position, key position and, for documents, their ids)
MASKS = {
    "all": ("all", lambda p, j: (p == p) & (j == j)),
    "causal": ("causal", lambda p, j: j <= p),
    "window": (f"causal & window<{WINDOW - 1}, 0>", lambda p, j: (j <= p) & (p - j < WINDOW)),
    "dilated": ("dilated<256, 256, 4>", lambda p, j: ((p - j) % 4 == 0) & (p - j <= 1024) & (j - p <= 1024)),
    "strided": ("strided<128>", lambda p, j: (j <= p) & ((p - j <= 128) | ((p - j) % 128 == 0))),
    "fixed": ("fixed<128, 8>", lambda p, j: (j <= p) & ((j // 128 == p // 128) | (j % 128 >= 120))),
    "longformer": ("longformer<256, 16>", lambda p, j: ((p - j <= 256) & (j - p <= 256)) | (p < 16) | (j < 16)),
    "documents": ("causal & documents(%a, %b)", lambda p, j, a, b: (j <= p) & (a == b)),
}


def source(kernel, schedule=None):
    """The function of one kernel. Batches are known at run time, lengths too unless the kernel says how many queries."""
    element, head_size, mask = kernel["element"], kernel["head_size"], kernel["mask"]
    heads, kv_heads = kernel["heads"], kernel["kv_heads"]
    clause = f" schedule(#attn.schedule<{schedule}>)" if schedule else ""
    queries = kernel["queries"] or "?"
    q = f"tensor<?x{heads}x{queries}x{head_size}x{element}>"
    k = f"tensor<?x{kv_heads}x?x{head_size}x{element}>"
    lse = f"tensor<?x{heads}x{queries}xf32>"
    arguments, types = f"%q: {q}, %k: {k}, %v: {k}", f"{q}, {k}, {k}"
    if mask == "documents":
        arguments += ", %a: tensor<?x?xi32>, %b: tensor<?x?xi32>"
        types += ", tensor<?x?xi32>, tensor<?x?xi32>"
    return f"""func.func @f({arguments}) -> ({q}, {lse}) {{
  %o, %lse = attn.attention %q, %k, %v mask({MASKS[mask][0]}){clause} : ({types}) -> ({q}, {lse})
  return %o, %lse : {q}, {lse}
}}
"""


def document_ids(batch, length, seed):
    """Rising ids of documents of 1/8 to 7/8 of 2048 tokens, shorter in short sequences."""
    random = np.random.default_rng(seed)
    longest = min(2048, max(8, length // 2))
    ids = np.zeros((batch, length), np.int32)
    for row in ids:
        start = number = 0
        while start < length:
            size = int(random.integers(longest // 8, longest * 7 // 8 + 1))
            row[start:start + size] = number
            start, number = start + size, number + 1
    return ids


def document_pairs(ids):
    """Live pairs of the causal mask within documents."""
    total = 0
    for row in ids:
        counts = np.bincount(row).astype(np.int64)
        total += int((counts * (counts + 1) // 2).sum())
    return total
