#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints what machine code the loops over tiles became: the instructions of each loop with matrix products, by kind.

    scripts/sass_mix.py FILE.mlir --target=sm_90a         a function of one attention op
    scripts/sass_mix.py --kernel=bf16,128,causal          one of the kernels that the other scripts measure
    scripts/sass_mix.py FILE.ptx | FILE.cubin --listing   and the loops themselves

Needs nvdisasm ($ATTN_NVDISASM, that of the folder of $ATTN_PTXAS, of $CUDA_HOME/bin, of the PATH, or of Triton's package)
and, but for a cubin, ptxas ($ATTN_PTXAS and so on): scripts/cuda_tools.sh gets both.
"""

import argparse
import collections
import glob
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from kernel_source import source

ROOT = pathlib.Path(__file__).resolve().parents[1]

# The first that matches names an instruction.
KINDS = [
    ("products", r"HGMMA|HMMA|IGMMA|QGMMA"), ("waits for products", r"WARPGROUP"), ("exp2 and other MUFU", r"MUFU"),
    ("fma", r"FFMA"), ("mul", r"FMUL"), ("add", r"FADD"), ("max", r"FMNMX|FSETP|FSEL"), ("packs", r"F2F"),
    ("ldmatrix", r"LDSM|STSM"), ("shared loads and stores", r"LDS|STS"), ("asynchronous copies", r"UTMA|LDGSTS|LDGDEPBAR"),
    ("spills", r"LDL|STL"), ("global loads and stores", r"LDG|STG"), ("mbarriers", r"SYNCS"), ("barriers", r"BAR|WARPSYNC|FENCE|DEPBAR|MEMBAR"),
    ("shuffles", r"SHFL"), ("moves", r"U?MOV|R2UR|CS2R|U?PRMT"), ("uniform integers", r"U[A-Z]"),
    ("branches", r"BRA|BSSY|BSYNC|EXIT|NOP|CALL|RET|YIELD|NANOSLEEP"), ("integers and predicates", r""),
]


def find(name, variable):
    candidates = [os.environ.get(variable)]
    if os.environ.get("ATTN_PTXAS"):
        candidates.append(os.path.join(os.path.dirname(os.environ["ATTN_PTXAS"]), name))
    if os.environ.get("CUDA_HOME"):
        candidates.append(os.path.join(os.environ["CUDA_HOME"], "bin", name))
    candidates.append(shutil.which(name))
    for folder in [ROOT / ".venv" / "lib", *map(pathlib.Path, sys.path)]:
        candidates += glob.glob(str(folder / "**" / "triton" / "backends" / "nvidia" / "bin" / name), recursive=True)[:1] \
            if folder.is_dir() else []
    return next((path for path in candidates if path and os.access(path, os.X_OK)), None)


def disassemble(path, target, attn_opt, folder):
    """The text that nvdisasm makes of a kernel."""
    nvdisasm, ptxas = find("nvdisasm", "ATTN_NVDISASM"), find("ptxas", "ATTN_PTXAS")
    if not nvdisasm:
        sys.exit("error: no nvdisasm; scripts/cuda_tools.sh gets one")
    if path.suffix == ".mlir":
        ptx = folder / "kernel.ptx"
        subprocess.run([attn_opt, path, "--emit=ptx", f"--target={target}", "-o", ptx], check=True)
        path = ptx
    if path.suffix == ".ptx":
        if not ptxas:
            sys.exit("error: no ptxas; scripts/cuda_tools.sh gets one")
        target = re.search(r"^\.target (\w+)", path.read_text(), re.M)[1]
        cubin = folder / "kernel.cubin"
        subprocess.run([ptxas, f"-arch={target}", path, "-o", cubin], check=True)
        path = cubin
    return subprocess.run([nvdisasm, "-c", path], check=True, capture_output=True, text=True).stdout


def loops(lines):
    """(first, last) line of each innermost loop with products."""
    labels = {match[1]: number for number, line in enumerate(lines) if (match := re.match(r"(\.L\w+):", line))}
    found = []
    for number, line in enumerate(lines):
        match = re.search(r"\bBRA\S*\s+(?:\S+\s+)?`\((\.L\w+)\)", line)
        if match and labels.get(match[1], number) < number:
            body = (labels[match[1]], number)
            names = [opcode(text) or "" for text in lines[body[0]:body[1]]]
            # Code out of line, behind the end, also jumps back.
            if any(re.match(KINDS[0][1], name) for name in names) and "EXIT" not in names:
                found.append(body)
    return [a for a in found if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in found)]


def opcode(line):
    match = re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)", line)
    return match[1] if match else None


def count_overlapped(lines):
    """exp2 between a wait for all products but the last and the wait for that one."""
    count, runs = 0, False
    for line in lines:
        name = opcode(line) or ""
        if name.startswith("WARPGROUP.DEPBAR"):
            runs = "0x1 " in line
        count += runs and name == "MUFU.EX2"
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    parser.add_argument("--kernel", help="element type, head size, mask: bf16,128,causal")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--attn-opt", default=str(ROOT / "build" / "bin" / "attn-opt"))
    parser.add_argument("--listing", action="store_true", help="print the instructions too")
    options = parser.parse_args()
    if bool(options.file) == bool(options.kernel):
        parser.error("expected a file or --kernel")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        path = options.file
        if options.kernel:
            element, head_size, mask = options.kernel.split(",")
            path = folder / "kernel.mlir"
            path.write_text(source(element, int(head_size), int(head_size), mask))
        lines = disassemble(path, options.target, options.attn_opt, folder).splitlines()
    total = sum(opcode(line) is not None for line in lines)
    print(f"{total} instructions in all")
    for first, last in loops(lines):
        body = [name for name in map(opcode, lines[first:last + 1]) if name]
        kinds = collections.OrderedDict((name, 0) for name, _ in KINDS)
        for name in body:
            kinds[next(kind for kind, pattern in KINDS if re.match(pattern, name))] += 1
        print(f"\nloop of {len(body)} instructions, lines {first + 1} to {last + 1} of the listing")
        for kind, count in kinds.items():
            if count:
                print(f"  {kind:28} {count:6}  {100 * count / len(body):4.1f} %")
        print(f"  {'exp2 while a product runs':28} {count_overlapped(lines[first:last + 1]):6}")
        if options.listing:
            print("\n".join(lines[first:last + 1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
