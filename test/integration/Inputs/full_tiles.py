"""Counts, in the simulator, the instructions of full tiles of masked kernels and compares them with those of mask(all).

Kernels run with two numbers of keys that differ by full tiles alone, so that the difference is what these tiles execute.
"""

import json
import os
import subprocess
import sys

BIN, FOLDER = sys.argv[1:]
TILE, SHORT, LONG = 64, 640, 896


def executed(mask, keys, offset):
    """Instructions by opcode of one block of 64 queries, the first at position `offset`."""
    q, k = "tensor<1x1x64x16xbf16>", "tensor<1x1x?x16xbf16>"
    path = os.path.join(FOLDER, "kernel.mlir")
    with open(path, "w") as file:
        file.write(f"""func.func @f(%q: {q}, %k: {k}, %v: {k}) -> {q} {{
  %p = arith.constant {offset} : index
  %o = attn.attention %q, %k, %v mask({mask}) align(%p)
      schedule(#attn.schedule<q_tile = 64, kv_tile = {TILE}, warps = 4, stages = 2, q_in_registers = true>)
      : ({q}, {k}, {k}) -> {q}
  return %o : {q}
}}
""")
    report = os.path.join(FOLDER, "report.json")
    subprocess.run([os.path.join(BIN, "attn-run"), path, "--device=sim", "--target=sm_80", "--check", "--report=" + report,
                    f"--random=1x1x64x16,1x1x{keys}x16,1x1x{keys}x16"], check=True, capture_output=True)
    with open(report) as file:
        (launch,) = json.load(file)["observed"]["launches"]
    return launch["report"]["counters"]["by_opcode"]


def difference(mask, offset):
    first, second = (executed(mask, keys, offset) for keys in (SHORT, LONG))
    return {op: second.get(op, 0) - first.get(op, 0) for op in set(first) | set(second)
            if second.get(op, 0) != first.get(op, 0)}


os.makedirs(FOLDER, exist_ok=True)
plain = difference("all", 0)
for mask, offset in [("causal", 1000), ("causal & window<700, 0>", 1000), ("keys<0, 4096> | stride<3>", 0), ("prefix<2000>", 0),
                     ("streaming<2000, 2>", 1000)]:
    full = difference(mask, offset)
    print(f"{mask}:", "full tiles as those of all" if full == plain else f"full tiles execute {full}, those of all {plain}")
partial, full = executed("causal", TILE, 0), executed("all", TILE, 0)
print("a tile on the diagonal adds setp", partial["setp"] - full["setp"])
