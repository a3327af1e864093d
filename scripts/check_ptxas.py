#!/usr/bin/env python3
"""Assembles a kernel for every default schedule with NVIDIA's ptxas and prints its registers, spills and shared memory.

Exits with 1 if a kernel spills, uses a stack, or has products of warpgroups that ptxas serialises. Needs a ptxas in $CUDA_HOME/bin or in the PATH.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import subprocess
import sys

from kernel_source import MASKS as KNOWN_MASKS, SCORES, source

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGETS = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_90a"]
ELEMENTS = ["bf16", "f16", "f32"]
MASKS = list(KNOWN_MASKS)
# The head sizes at which the table of schedules changes, a small one, and two that differ in D and Dv.
SIZES = [(16, 16), (64, 64), (72, 40), (96, 96), (128, 128), (192, 128), (192, 192), (256, 256)]


def assemble(attn_opt, case):
    element, (head_size, value_size), target, mask = case
    result = subprocess.run([attn_opt, "-", "--emit=report", f"--target={target}"], capture_output=True, text=True,
                            input=source(element, head_size, value_size, mask))
    if result.returncode != 0:
        return case, [None], result.stderr
    (function,) = json.loads(result.stdout)
    return case, function["kernels"], ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attn-opt", default=os.path.join(ROOT, "build", "bin", "attn-opt"))
    parser.add_argument("--masks", default=",".join(MASKS), help="of " + ", ".join([*KNOWN_MASKS, *SCORES]) + ", or like softcap+all")
    parser.add_argument("--elements", default=",".join(ELEMENTS), help="of " + ", ".join(ELEMENTS))
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--least-size", type=int, default=0, help="only head sizes from here on")
    parser.add_argument("--most-size", type=int, default=256, help="only head sizes up to here")
    parser.add_argument("--square", action="store_true", help="only D = Dv, and of the table's sizes from 64 on")
    arguments = parser.parse_args()
    sizes = [size for size in SIZES if arguments.least_size <= max(size) <= arguments.most_size
             and not (arguments.square and (size[0] != size[1] or size[0] < 64))]
    cases = list(itertools.product(arguments.elements.split(","), sizes, arguments.targets.split(","),
                                   arguments.masks.split(",")))
    bad = count = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for case, kernels, error in pool.map(lambda case: assemble(arguments.attn_opt, case), cases):
            element, (head_size, value_size), target, mask = case
            for kernel in kernels:
                count += 1
                name = f"{target} {element:4} D {head_size:3} Dv {value_size:3} {mask:10}"
                if kernel is None or kernel["registers"] is None:
                    bad += 1
                    print(f"{name}: not assembled {error}")
                    continue
                wrong = kernel["spilled_bytes"] or kernel["stack_bytes"] or kernel["serial_products"]
                bad += bool(wrong)
                print(f"{name}: {kernel['registers']:3} registers, {kernel['spilled_bytes']} bytes spilled, "
                      f"{kernel['stack_bytes']} bytes of stack, {kernel['threads']} threads, "
                      f"{kernel['shared_bytes'] / 1024:.0f} KB shared" + ("  WRONG" if wrong else ""), flush=True)
    print(f"{count} kernels, {bad} that spill, use a stack, serialise products or do not assemble")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
