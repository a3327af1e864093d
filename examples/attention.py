# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sliding-window attention with sinks on NumPy's arrays: one kernel for every length and window.

    PYTHONPATH=build/python .venv/bin/python examples/attention.py
"""

import numpy as np

import attn

mask = attn.causal() & (attn.window(attn.sym("w"), 0) | attn.keys(0, 4))
random = np.random.default_rng(0)
for length, window in ((100, 16), (333, 16), (333, 64)):
    q = random.standard_normal((1, 8, length, 64)).astype(np.float16)
    k, v = (random.standard_normal((1, 2, length, 64)).astype(np.float16) for _ in range(2))
    o, lse = attn.attention(q, k, v, mask=mask, symbols={"w": window}, return_lse=True)

    live = mask.to_dense(length, length, symbols={"w": window})
    scores = np.where(live, q[0, 5].astype(float) @ k[0, 1].astype(float).T / 8, -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    expected = weights / weights.sum(1, keepdims=True) @ v[0, 1]
    error = np.abs(o[0, 5] - expected).max()
    print(f"{length} tokens, window {window}: {live.sum()} live pairs, largest error of head 5 {error:.4f}")
    assert error < 4e-3
print("kernels compiled:", attn.statistics()["compilations"])
