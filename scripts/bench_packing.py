#!/usr/bin/env python3
"""Counts the tiles that packed masks execute: by the report at full size, and by the matrix products that the
simulator executes on a model of 1/8 the length, window and tile, where the counts are the same. And the tiles of decoding, with
and without the heads of a group as rows of one tile, by the report.

Exits with 1 if a count is above its limit, or if the simulator disagrees with the report.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Mask at 16384 with tiles of 128 x 128, its model at 2048 with tiles of 16 x 16, the limit.
MASKS = [
    ("dilated<256, 256, 4>", "dilated<32, 32, 4>", 650),
    ("dilated<256, 256, 8>", "dilated<32, 32, 8>", 620),
    ("causal & stride<128>", "causal & stride<128>", 135),
    ("strided<128>", "causal & (window<16, 0> | stride<128>)", 400),
    ("fixed<128, 8>", "fixed<16, 1>", 750),
    ("causal & summary<128, 8>", "causal & summary<16, 1>", 600),
    ("longformer<256, 16>", "longformer<32, 2>", 910),  # 884 touched, and 3 %
    ("causal & dilated<512, 0, 4> & keys<0, 8192>", "causal & dilated<64, 0, 4> & keys<0, 1024>", 420),
]


def source(length, head_size, mask, tile, warps):
    tensor = f"tensor<1x1x{length}x{head_size}xbf16>"
    schedule = f"#attn.schedule<q_tile = {tile}, kv_tile = {tile}, warps = {warps}, stages = 2, q_in_registers = false>"
    return f"""func.func @f(%q: {tensor}, %k: {tensor}, %v: {tensor}) -> {tensor} {{
  %o = attn.attention %q, %k, %v mask({mask}) schedule({schedule}) : ({tensor}, {tensor}, {tensor}) -> {tensor}
  return %o : {tensor}
}}
"""


def executed(bin_folder, path):
    """What the report says of the tiles: the classes, and how many are not empty."""
    text = subprocess.run([os.path.join(bin_folder, "attn-opt"), path, "--emit=report"], check=True, capture_output=True,
                          text=True).stdout
    (attention,) = json.loads(text)[0]["attention"]
    tiles = attention["tiles"]
    classes = "+".join(str(part["residue_classes"]) for part in attention["parts"])
    return classes, tiles["full"] + tiles["partial"], attention["useful_fraction"] or 0


def decoding(bin_folder, clause=""):
    """Executed tiles of 64 query heads on 8, one query on 16384 keys of 128, for sm_90a; the schedule."""
    q, k = "tensor<?x64x1x128xbf16>", "tensor<?x8x?x128xbf16>"
    text = (f"func.func @f(%q: {q}, %k: {k}, %v: {k}) -> {q} {{\n  %o = attn.attention %q, %k, %v mask(causal) {clause} : "
            f"({q}, {k}, {k}) -> {q}\n  return %o : {q}\n}}\n")
    (report,) = json.loads(subprocess.run(
        [os.path.join(bin_folder, "attn-opt"), "-", "--emit=report", "--target=sm_90a",
         "--args=1x64x1x128,1x8x16384x128,1x8x16384x128"], input=text, check=True, capture_output=True, text=True).stdout)
    (attention,), (kernel,) = report["attention"], report["kernels"]
    return attention["tiles"]["full"] + attention["tiles"]["partial"], kernel["schedule"]


def simulated(bin_folder, path, report):
    """The m16n8k16 products that the simulator executes, and whether the result is right."""
    subprocess.run([os.path.join(bin_folder, "attn-run"), path, "--random=" + ",".join(3 * ["1x1x2048x16"]),
                    "--device=sim", "--check", "--report=" + report], check=True, capture_output=True, text=True)
    with open(report) as file:
        launches = json.load(file)["observed"]["launches"]
    return sum(launch["report"]["counters"]["by_opcode"].get("mma", 0) for launch in launches)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"), help="folder of attn-opt and attn-run")
    arguments = parser.parse_args()
    failures = 0
    print("tiles of 128 x 128 at 16384, and executed in the simulator on a model of 1/8 the size")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mask.mlir")
        for mask, model, limit in MASKS:
            with open(path, "w") as file:
                file.write(source(16384, 64, mask, 128, 4))
            classes, tiles, useful = executed(arguments.bin, path)
            with open(path, "w") as file:
                file.write(source(2048, 16, model, 16, 1))
            _, expected, _ = executed(arguments.bin, path)
            # A tile of 16 x 16 with heads of 16 is two products for the scores and two for the result.
            found = simulated(arguments.bin, path, os.path.join(folder, "report.json")) / 4
            good = tiles <= limit and found == expected
            failures += not good
            print(f"{mask:45} {classes:>5} classes {tiles:5} tiles (limit {limit}), {100 * useful:.0f} % useful; model: "
                  f"report {expected}, simulator {found:g}  {'ok' if good else 'FAILED'}", flush=True)
    together, schedule = decoding(arguments.bin)
    alone, _ = decoding(arguments.bin, f"schedule({re.sub(', heads = [0-9]+', '', schedule)})")
    failures += together * 8 != alone
    print(f"decoding with 64 query heads on 8: {together} tiles of the heads of a group, {alone} of one head")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
