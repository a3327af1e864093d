#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Packs the GPU kit: the runtime library, bundles of every kernel, golden inputs and results, the scripts.

What it makes needs Python 3 with NumPy, and on a GPU PyTorch and a driver: no compiler, no LLVM, no network.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import corpus  # noqa: E402
from attn_kit import kernels as catalogue  # noqa: E402
from attn_kit.arrays import NumpyArrays, round_to_bits  # noqa: E402
from attn_kit.masks import MASKS, document_ids, source  # noqa: E402
from attn_kit.runtime import Library  # noqa: E402

LIMIT = 60 * 1000 * 1000  # bytes
GLIBC = (2, 34)


def run(command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def check_library(path):
    """The library must load on older systems: what it needs of glibc, and nothing of a C++ library."""
    data = path.read_bytes()
    newest = max(tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_(2[0-9.]+)\0", data))
    if newest > GLIBC:
        sys.exit(f"error: {path} needs glibc {newest}, expected at most {GLIBC}")
    if b"libstdc++.so" in data:
        sys.exit(f"error: {path} needs the system's C++ library")
    return ".".join(map(str, newest))


def pack_golden(attn_run, kernel, path, folder):
    """Random inputs and what the project's float64 evaluator makes of them."""
    random = np.random.default_rng(len(kernel["name"]))
    queries, keys = kernel["queries"] or 150, 210
    shapes = [(1, kernel["heads"], queries, kernel["head_size"])] + 2 * [(1, kernel["kv_heads"], keys, kernel["head_size"])]
    bits = [round_to_bits(random.standard_normal(shape, dtype=np.float32), kernel["element"]) for shape in shapes]
    data = dict(zip("qkv", bits))
    inputs = []
    for name, value in data.items():
        np.save(folder / f"{name}.npy", NumpyArrays().real(value, kernel["element"], double=False))
        inputs.append(f"--input={folder / name}.npy")
    if kernel["mask"] == "documents":
        ids = document_ids(1, keys, 5)
        data["q_ids"], data["k_ids"] = ids[:, keys - queries:].copy(), ids
        for name in ("q_ids", "k_ids"):
            np.save(folder / f"{name}.npy", data[name])
            inputs.append(f"--input={folder / name}.npy")
    outputs = [f"--output={folder / name}.npy" for name in ("o", "lse")]
    run([attn_run, path, "--device=reference", *inputs, *outputs])
    for name in ("o", "lse"):
        data[name] = np.load(folder / f"{name}.npy")
    return data


def assemble(ptxas, bundle, made):
    """The bundle with machine code in place of PTX."""
    text = json.loads((bundle / "manifest.json").read_text())
    made.mkdir()
    run([ptxas, f"-arch={text['target']}", bundle / text["code"]["file"], "-o", made / "f.cubin"])
    text["code"] = {"kind": "cubin", "file": "f.cubin", "sha256": hashlib.sha256((made / "f.cubin").read_bytes()).hexdigest()}
    (made / "manifest.json").write_text(json.dumps(text, indent=1))


def pack_kernel(tools, out, kernel, ptxas):
    """Bundles of one kernel for each target; its entry in kit.json."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        path = folder / "f.mlir"
        path.write_text(source(kernel))
        entry = dict(kernel, targets={}, golden=kernel["name"].startswith("small-"))
        for target in catalogue.TARGETS:
            bundle = out / "bundles" / kernel["name"] / target
            bundle.parent.mkdir(parents=True, exist_ok=True)
            run([tools / "attn-opt", path, "--emit=bundle", f"--target={target}", "-o", bundle])
            text = json.loads((bundle / "manifest.json").read_text())
            entry["targets"][target] = [launch["schedule"] for launch in text["launches"]]
            if ptxas and target == catalogue.TARGETS[0]:
                assemble(ptxas, bundle, bundle.parent / catalogue.CUBIN)
                entry["targets"][catalogue.CUBIN] = entry["targets"][target]
        for name, schedule in catalogue.variants_of(kernel).items():
            other = folder / "variant.mlir"
            other.write_text(source(kernel, schedule))
            best = catalogue.TARGETS[0]
            run([tools / "attn-opt", other, "--emit=bundle", f"--target={best}", "-o",
                 out / "bundles" / kernel["name"] / f"{best}-{name}"])
            entry["targets"][f"{best}-{name}"] = [schedule]
        if entry["golden"]:
            np.savez_compressed(out / "golden" / (kernel["name"] + ".npz"),
                                **pack_golden(tools / "attn-run", kernel, path, folder))
    return entry


def count(tools, kernel, length):
    """Useful operations and tiles of a problem, by the compiler's exact analysis; None where they depend on data."""
    if kernel["mask"] == "documents":
        return {"flops": None}
    batch = catalogue.batch_of(kernel, length)
    q, k = (f"{batch}x{kernel[heads]}x{rows}x{kernel['head_size']}"
            for heads, rows in (("heads", kernel["queries"] or length), ("kv_heads", length)))
    best = "sm_90a" if kernel["element"] != "f32" else "sm_80"
    report = json.loads(run([tools / "attn-opt", "-", "--emit=report", f"--target={best}", f"--args={q},{k},{k}"],
                            input=source(kernel), env={**os.environ, "CUDA_HOME": "/nonexistent", "PATH": ""}))
    (attention,) = report[0]["attention"]
    return {"flops": attention["flops"], "executed_flops": attention["executed_flops"], "tiles": attention["tiles"]}


def check_pairs(tools, kernel):
    """The predicate of the kit and the compiler's analysis count the same live pairs."""
    if kernel["mask"] == "documents":
        return
    length = 512
    queries = kernel["queries"] or length
    p, j = np.arange(length - queries, length)[:, None], np.arange(length)[None, :]
    pairs = int(np.broadcast_to(MASKS[kernel["mask"]][1](p, j), (queries, length)).sum())
    flops = count(tools, kernel, length)["flops"]
    expected = 4 * pairs * kernel["heads"] * kernel["head_size"] * catalogue.batch_of(kernel, length)
    if flops != expected:
        sys.exit(f"error: {kernel['name']}: the compiler counts {flops} useful operations, the kit {expected}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="folder with bin/attn-opt and lib/")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to make")
    parser.add_argument("--archive", type=pathlib.Path, help="where to put the folder as .tar.xz")
    parser.add_argument("--ptxas", help="also pack what this assembler makes of the code for sm_90a")
    parser.add_argument("--only", default="", help="only kernels whose name matches this regular expression")
    options = parser.parse_args()
    out, tools = options.out, options.build / "bin"
    if out.exists():
        if not (out / "kit.json").exists():
            sys.exit(f"error: {out} exists and is no kit")
        shutil.rmtree(out)
    for folder in ("lib", "bundles", "golden"):
        (out / folder).mkdir(parents=True)
    (out / "kit.json").write_text("{}")  # from here on it may be replaced
    shutil.copy(HERE / "run", out)
    shutil.copy(HERE / "README.md", out)
    shutil.copytree(HERE / "attn_kit", out / "attn_kit", ignore=shutil.ignore_patterns("__pycache__"))
    library = out / "lib" / "libattn.so"
    shutil.copy(options.build / "lib" / "libattn.so", library)
    if shutil.which("strip"):
        run(["strip", library])
    glibc = check_library(library)

    chosen = [kernel for kernel in catalogue.kernels() if re.search(options.only, kernel["name"])]
    by_name = {kernel["name"]: kernel for kernel in chosen}
    problems = [(name, length) for name, length in catalogue.problems() if name in by_name]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        entries = list(pool.map(lambda kernel: pack_kernel(tools, out, kernel, options.ptxas), chosen))
        counts = list(pool.map(lambda problem: count(tools, by_name[problem[0]], problem[1]), problems))
        masks = {kernel["mask"]: kernel for kernel in chosen}
        list(pool.map(lambda kernel: check_pairs(tools, kernel), masks.values()))
    device = Library(str(library)).open("sim", "mode=lazy")
    cases = corpus.pack(ROOT / "test" / "runtime" / "sim", out / "corpus", device)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    about = {"commit": commit, "glibc": glibc, "targets": sorted({target for entry in entries for target in entry["targets"]}),
             "ptxas": run([options.ptxas, "--version"]).splitlines()[-2] if options.ptxas else None}
    kit = {"about": about, "kernels": {entry["name"]: entry for entry in entries}, "corpus": cases,
           "problems": [{"kernel": name, "length": length, **found} for (name, length), found in zip(problems, counts)]}
    (out / "kit.json").write_text(json.dumps(kit, indent=1))
    print(f"{out}: {len(entries)} kernels for {', '.join(about['targets'])}; {len(cases)} small kernels; "
          f"{len(problems)} problems; glibc {glibc}")
    if options.archive:
        with tarfile.open(options.archive, "w:xz") as archive:
            archive.add(out, arcname="attn-gpu-kit")
        size = options.archive.stat().st_size
        print(f"{options.archive}: {size} bytes (limit {LIMIT})")
        if size >= LIMIT:
            sys.exit("error: the archive is too large")
    return 0


if __name__ == "__main__":
    sys.exit(main())
