#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Counts the instructions of one tile of keys in the main loop, as the simulator executes them.

A kernel runs on two lengths, the second longer by whole rounds of its stages of full tiles: the difference is the main loop and nothing
else. Counts are warp instructions of all warps of a block, for one tile of queries and one of keys. Without --write: compares
with the committed file and exits with 1 if anything differs, if products are not the least possible, or if there are bank
conflicts.

    scripts/kernel_counts.py            what a tile takes now, and what differs from test/codegen/nvptx/counts.txt
    scripts/kernel_counts.py --write    after a change that was meant: writes the file, to be read in the diff
"""

import argparse
import collections
import difflib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "gpu-kit"))

from attn_kit.arrays import NumpyArrays  # noqa: E402
from attn_kit.reference import Problem  # noqa: E402
from attn_kit.runtime import Library  # noqa: E402

FILE = ROOT / "test" / "codegen" / "nvptx" / "counts.txt"
# Target, head size, mask: with aligned ends, longer keys add full tiles under both masks.
KERNELS = [("sm_90a", 64, "all"), ("sm_90a", 128, "all"), ("sm_90a", 128, "causal"), ("sm_90a", 256, "causal"),
           ("sm_80", 64, "all"), ("sm_80", 128, "causal")]
# What the counts are called; an instruction is counted under the first whose expression it matches.
GROUPS = [
    ("wgmma", r"wgmma\.mma_async"), ("wgmma fences and waits", r"wgmma"), ("mma", r"mma"),
    ("exp2", r"ex2"), ("fma f32", r"fma\..*f32"), ("mul f32", r"mul\..*f32"), ("add f32", r"(add|sub)\..*f32"),
    ("max f32", r"max\..*f32"), ("packs of two", r"cvt\.\w+\.(bf16x2|f16x2)"), ("shuffles", r"shfl"),
    ("ldmatrix, stmatrix", r"(ld|st)matrix"), ("copies", r"cp\.async"), ("loads and stores", r"(ld|st)\."),
    ("mbarrier waits", r"mbarrier\.try_wait"), ("mbarrier arrivals", r"mbarrier"), ("barriers and fences", r"bar\.|fence|elect"),
    ("comparisons, selections", r"setp|selp|not"), ("branches", r"bra|ret"), ("moves", r"mov"),
    ("integers", r""),
]


def source(head_size, mask):
    tensor = f"tensor<1x1x?x{head_size}xbf16>"
    return f"""func.func @f(%q: {tensor}, %k: {tensor}, %v: {tensor}) -> {tensor} {{
  %o = attn.attention %q, %k, %v mask({mask}) : ({tensor}, {tensor}, {tensor}) -> {tensor}
  return %o : {tensor}
}}
"""


class Kernel:
    def __init__(self, build, target, head_size, mask):
        with tempfile.TemporaryDirectory() as folder:
            bundle = os.path.join(folder, "bundle")
            subprocess.run([build / "bin" / "attn-opt", "-", "--emit=bundle", f"--target={target}", "-o", bundle],
                           input=source(head_size, mask), text=True, check=True)
            self.manifest = pathlib.Path(bundle, "manifest.json").read_text()
            self.code = pathlib.Path(bundle, "f.ptx").read_text()
        (launch,) = json.loads(self.manifest)["launches"]
        self.schedule = dict(re.findall(r"(\w+) = (\w+)", launch["schedule"]))
        self.threads = launch["threads"]
        self.q_tile, self.kv_tile, self.stages = (int(self.schedule[name]) for name in ("q_tile", "kv_tile", "stages"))
        self.head_size, self.mask, self.target = head_size, mask, target

    def run(self, device, tiles):
        """Counters of one block over whole tiles of keys."""
        description = {"element": "bf16", "head_size": self.head_size, "heads": 1, "kv_heads": 1, "mask": self.mask}
        problem = Problem(NumpyArrays(), description, 1, self.q_tile, tiles * self.kv_tile, tiles)
        device.load_text(self.manifest, self.code).bind(
            [(x, "bf16") for x in (problem.q, problem.k, problem.v)], [(problem.o, "bf16")])()
        (launch,) = device.report()
        return launch["report"]["counters"]


def count(kernel, device):
    """The text of one kernel, and what is wrong with it."""
    # Long enough that all masked tiles and a first round lie in both.
    rounds, first = 2, kernel.stages * 3 + 2 * -(-kernel.q_tile // kernel.kv_tile)
    a, b = (kernel.run(device, first + extra * kernel.stages) for extra in (0, rounds))
    tiles = rounds * kernel.stages
    difference = collections.Counter(b["by_instruction"])
    difference.subtract(a["by_instruction"])
    groups, problems = collections.OrderedDict((name, 0) for name, _ in GROUPS), []
    for instruction, executed in difference.items():
        groups[next(name for name, pattern in GROUPS if re.match(pattern, instruction))] += executed

    def per_tile(value):
        return f"{value // tiles}" if value % tiles == 0 else f"{value / tiles:.2f}"
    depth = -(-kernel.head_size // 16) + kernel.kv_tile // 16
    if kernel.target == "sm_90a":
        found, ideal, what = (b["wgmma"] - a["wgmma"]) / tiles, kernel.q_tile // 64 * depth, "wgmma of a warpgroup"
    else:
        found = (b["mma"] - a["mma"]) / tiles
        ideal = kernel.q_tile // 16 * (kernel.kv_tile // 8 * -(-kernel.head_size // 16) + kernel.head_size // 8 *
                                       (kernel.kv_tile // 16))
        what = "mma"
    if found != ideal:
        problems.append(f"{found} products in a tile, {ideal} would do")
    conflicts = b["bank_conflicts"]
    if conflicts:
        problems.append(f"{conflicts} bank conflicts")
    total = sum(difference.values())
    lines = [f"{kernel.target} bf16 D {kernel.head_size} {kernel.mask}: {kernel.q_tile} queries x {kernel.kv_tile} keys, "
             f"{kernel.threads} threads, {kernel.stages} stages",
             f"  {what}: {found:g}, ideal {ideal}; exponentials for each pair: "
             f"{32 * groups['exp2'] / tiles / kernel.q_tile / kernel.kv_tile:.3f}; bank conflicts {conflicts}"]
    lines += [f"  {name:28} {per_tile(value):>8}" for name, value in groups.items() if value]
    lines.append(f"  {'all':28} {per_tile(total):>8}")
    return "\n".join(lines), problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--write", action="store_true", help="write the file")
    options = parser.parse_args()
    device = Library(str(options.build / "lib" / "libattn.so")).open("sim", "mode=eager,target=sm_90a")
    texts, failed = [], False
    for arguments in KERNELS:
        text, problems = count(Kernel(options.build, *arguments), device)
        texts.append(text)
        for problem in problems:
            failed = True
            print(f"{arguments}: {problem}", file=sys.stderr)
    found = ("Warp instructions of a block for one tile in the main loop, written by scripts/kernel_counts.py --write.\n"
             "A wait that fails at first is counted twice, with its branch.\n\n"
             + "\n\n".join(texts) + "\n")
    if options.write:
        FILE.write_text(found)
        return 1 if failed else 0
    print(found, end="")
    expected = FILE.read_text() if FILE.exists() else ""
    if found != expected:
        print("".join(difflib.unified_diff(expected.splitlines(True), found.splitlines(True), str(FILE), "now")),
              "counts differ: after a change that was meant, run scripts/kernel_counts.py --write", sep="\n",
              file=sys.stderr)
        failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
