#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs every ```python block of README.md and docs/Embedding.md, or of the files that are named, with the installed package. The names
that the examples take for granted (q, k, v, ids, ...) stand for random arrays. Blocks for other frameworks run where those are."""

import importlib.util
import os
import re
import sys

import numpy as np

import attn

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What a block must have for these words.
NEEDS = {"attn.transformers": "transformers", "attn.torch": "torch", "attn.jax": "jax"}


def arrays():
    random = np.random.default_rng(0)

    def normal(*shape):
        return random.standard_normal(shape).astype(np.float16)
    return {"attn": attn, "q": normal(2, 8, 40, 64), "k": normal(2, 2, 40, 64), "v": normal(2, 2, 40, 64),
            "n": np.array([17, 40], np.int32), "ids": np.sort(random.integers(0, 3, (2, 40))), "bias": normal(1, 8, 40, 40),
            "slopes": (0.5 ** np.arange(1, 9)).astype(np.float32), "sinks": np.ones(8, np.float32)}


def main():
    names = sys.argv[1:] or [os.path.join(ROOT, name) for name in ("README.md", "docs/Embedding.md")]
    ran = skipped = 0
    for name in names:
        with open(name) as file:
            text = file.read()
        for block in re.finditer(r"```python\n(.*?)```", text, re.S):
            code = block.group(1)
            missing = [module for word, module in NEEDS.items() if word in code and not importlib.util.find_spec(module)]
            if missing or "from_pretrained(name" in code:  # which model is the reader's choice
                skipped += 1
                continue
            line = text[:block.start()].count("\n") + 1
            exec(compile("\n" * line + code, name, "exec"), arrays())
            ran += 1
    print(f"{ran} Python examples ran, {skipped} skipped")
    return 0 if ran else 1


if __name__ == "__main__":
    sys.exit(main())
