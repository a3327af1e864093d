#!/usr/bin/env python3
"""Times attn-opt from a file to PTX text: whole processes pinned to one core, their processor time (user and system, so
that a busy machine does not count), the median and the worst of several runs.

Exits with 1 if a median exceeds its limit: 150 ms in 16 bits, 200 ms in f32 and for masks that are two kernels or two loops.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile

from kernel_source import MASKS, source

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attn-opt", default=os.path.join(ROOT, "build", "bin", "attn-opt"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slack", type=float, default=1, help="multiplies the limits, for machines that others use")
    parser.add_argument("--elements", default="bf16,f16,f32")
    parser.add_argument("--target", default="sm_80")
    parser.add_argument("--masks", default=",".join(MASKS), help="of " + ", ".join(MASKS))
    parser.add_argument("--quick", action="store_true", help="only the largest kernels")
    arguments = parser.parse_args()

    # One core, like the promise.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sizes = [(256, 256), (128, 128)] if arguments.quick else [
        (16, 16), (32, 32), (64, 64), (72, 40), (96, 96), (128, 128), (192, 128), (192, 192), (256, 256)]
    slow = 0
    print(f"attn-opt --emit=ptx, one core, median / worst of {arguments.runs} runs in ms")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "kernel.mlir")
        for element, (head_size, value_size) in itertools.product(arguments.elements.split(","), sizes):
            row = []
            for mask in arguments.masks.split(","):
                with open(path, "w") as file:
                    file.write(source(element, head_size, value_size, mask))
                times = []
                for _ in range(arguments.runs):
                    child = subprocess.Popen([arguments.attn_opt, path, "--emit=ptx", f"--target={arguments.target}", "-o",
                                              os.path.join(folder, "kernel.ptx")])
                    _, status, usage = os.wait4(child.pid, 0)
                    if status != 0:
                        sys.exit(f"error: attn-opt failed on {element} {head_size} {value_size} {mask}")
                    times.append(1000 * (usage.ru_utime + usage.ru_stime))
                median = statistics.median(times)
                limit = arguments.slack * (200 if element == "f32" or mask in ("strided", "fixed") else 150)
                slow += median > limit
                row.append(f"{mask} {median:.0f}/{max(times):.0f}" + ("!" if median > limit else ""))
            print(f"{element:5} D {head_size:3} Dv {value_size:3}  " + "  ".join(row), flush=True)
    print(f"{slow} over their limit")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
