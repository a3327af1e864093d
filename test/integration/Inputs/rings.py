"""Runs kernels with roles and overlap in the simulator, which finds deadlocks and races, and compares with the reference."""

import itertools
import os
import pathlib
import subprocess
import sys

import numpy as np

BUILD, FOLDER = sys.argv[1:]
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools" / "gpu-kit"))

from attn_kit import masks  # noqa: E402
from attn_kit.arrays import NumpyArrays  # noqa: E402
from attn_kit.reference import Judge, Problem  # noqa: E402
from attn_kit.runtime import Library  # noqa: E402

MODES = ["mode=eager", "mode=lazy", "mode=random,seed=3"]
# The second mask leaves rows of the first items without a key.
MASKS = {"causal": lambda p, j: j <= p, "window<400, -100>": lambda p, j: (p - j <= 400) & (p - j >= 100)}
VARIANTS = ["", ", turns = true", ", weights_in_shared = true"]
# Queries, keys, whether rows are copied one by one; the last, without any key.
SHAPES = [(300, 450, False), (260, 333, True), (300, 96, False), (130, 20, False), (128, 31, True), (260, 0, False)]


def compiled(mask, schedule, path):
    tensor = "tensor<1x1x?x64xbf16>"
    text = f"""func.func @f(%q: {tensor}, %k: {tensor}, %v: {tensor}) -> ({tensor}, tensor<1x1x?xf32>) {{
  %o, %lse = attn.attention %q, %k, %v mask({mask}) schedule(#attn.schedule<{schedule}>)
    : ({tensor}, {tensor}, {tensor}) -> ({tensor}, tensor<1x1x?xf32>)
  return %o, %lse : {tensor}, tensor<1x1x?xf32>
}}
"""
    subprocess.run([os.path.join(BUILD, "bin", "attn-opt"), "-", "--emit=bundle", "--target=sm_90a", "-o", path], input=text, text=True,
                   check=True)
    return path


def backwards(bits):
    """A negative stride, which no tensor map has."""
    return np.ascontiguousarray(bits[..., ::-1, :])[..., ::-1, :]


os.makedirs(FOLDER, exist_ok=True)
library = Library(os.path.join(BUILD, "lib", "libattn.so"))
devices = [library.open("sim", f"{mode},multiprocessors=1,target=sm_90a") for mode in MODES]
for stages in (2, 3, 4):
    right = 0
    for (mask, live), persistent in itertools.product(MASKS.items(), ("true", "false")):
        variant = VARIANTS[(stages + len(mask) + len(persistent)) % len(VARIANTS)]
        bundle = compiled(mask, f"q_tile = 128, kv_tile = 32, warps = 8, stages = {stages}, q_in_registers = false, "
                                f"producer_registers = 24, consumer_registers = 240, overlap = true{variant}, "
                                f"persistent = {persistent}", os.path.join(FOLDER, "bundle"))
        masks.MASKS["rings"] = ("", live)
        kernel = {"element": "bf16", "head_size": 64, "heads": 1, "kv_heads": 1, "mask": "rings"}
        for queries, keys, by_rows in SHAPES:
            problem = Problem(NumpyArrays(), kernel, 1, queries, keys, stages)
            if by_rows:
                problem.q, problem.k, problem.v, problem.o = map(backwards, (problem.q, problem.k, problem.v, problem.o))
            for device, mode in zip(devices, MODES):
                output, lse = problem.o.copy(), problem.lse.copy()
                problem.bind(device.load(bundle))()
                judge = Judge()
                judge.rows(problem, 0, 0, np.arange(queries))
                wrong = judge.verdict("bf16")["problem"]
                problem.o[:], problem.lse[:] = output, lse
                if wrong:
                    sys.exit(f"{stages} stages, {mask}{variant}, persistent {persistent}, {queries} x {keys}, {mode}: {wrong}")
                right += 1
    print(f"{stages} stages: {right} launches are right")
