#!/usr/bin/env python3
"""Draws the masks of the literature into docs/images/masks: the live pairs, the tiles, and the tiles as they run.

The pictures are small models: 256 queries and keys in tiles of 16 x 16, with windows and steps to match. `--check` compares with
the pictures that are there, and exits with 1 if one differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, "docs", "images", "masks")

# Name of the file, mask, source.
MASKS = [
    ("causal", "causal", "Vaswani et al. 2017"),
    ("window", "causal & window<48, 0>", "Mistral 7B, Jiang et al. 2023"),
    ("dilated", "dilated<16, 16, 4>", "Longformer, Beltagy et al. 2020"),
    ("strided", "strided<16>", "Sparse Transformer, Child et al. 2019"),
    ("fixed", "fixed<32, 4>", "Sparse Transformer, Child et al. 2019"),
    ("longformer", "longformer<24, 8>", "Longformer, Beltagy et al. 2020"),
    ("streaming", "streaming<4, 48>", "StreamingLLM, Xiao et al. 2023"),
    ("prefix", "prefix<64>", "T5, Raffel et al. 2020"),
    ("chunked", "chunked<48>", "Llama 4, Meta 2025"),
    ("affine_set", "affine_set<(h, i, j) : ((i + j) mod 3 == 0, i - j + 40 >= 0, j - i + 40 >= 0)>", "a literal set"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"), help="folder of attn-mask")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    os.makedirs(FOLDER, exist_ok=True)
    stale = []
    with tempfile.TemporaryDirectory() as folder:
        for name, mask, _ in MASKS:
            path = os.path.join(folder, "mask.mlir")
            tensor = "tensor<1x1x256x64xbf16>"
            with open(path, "w") as file:
                file.write(f"func.func @{name}(%x: {tensor}) -> {tensor} {{\n"
                           f"  %o = attn.attention %x, %x, %x mask({mask}) : ({tensor}, {tensor}, {tensor}) -> {tensor}\n"
                           f"  return %o : {tensor}\n}}\n")
            picture = os.path.join(FOLDER, name + ".svg")
            target = os.path.join(folder, "mask.svg") if arguments.check else picture
            subprocess.run([os.path.join(arguments.bin, "attn-mask"), path, "--tile=16x16", "-o", target], check=True)
            if arguments.check and (not os.path.exists(picture) or open(picture).read() != open(target).read()):
                stale.append(os.path.relpath(picture, ROOT))
    for path in stale:
        print(f"error: {path} is not what scripts/draw_gallery.py draws; run it", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
