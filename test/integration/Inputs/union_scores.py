"""Runs a union in parts with score changes in the simulator and on the host, compares with the reference, and counts products."""

import json
import os
import subprocess
import sys

BIN, FOLDER = sys.argv[1:]
os.makedirs(FOLDER, exist_ok=True)


def run(clauses, shape):
    path, report = os.path.join(FOLDER, "union.mlir"), os.path.join(FOLDER, "report.json")
    t, lse = "tensor<1x1x2048x16xbf16>", "tensor<1x1x2048xf32>"
    argument = clauses.split(" : ")[1].split(")")[0]
    with open(path, "w") as file:
        file.write(f"""func.func @f(%q: {t}, %k: {t}, %v: {t}, %x: {argument}) -> ({t}, {lse}) {{
  %o, %lse = attn.attention %q, %k, %v mask(causal & (window<16, 0> | stride<128>)) {clauses}
      schedule(#attn.schedule<q_tile = 16, kv_tile = 16, warps = 1, stages = 2, q_in_registers = false>)
      : ({t}, {t}, {t}) -> ({t}, {lse})
  return %o, %lse : {t}, {lse}
}}
""")
    for device in ["host", "sim"]:
        subprocess.run([os.path.join(BIN, "attn-run"), path, f"--device={device}", "--check", "--report=" + report,
                        "--random=" + ",".join(3 * ["1x1x2048x16"] + [shape])], check=True, stdout=subprocess.DEVNULL)
    with open(report) as file:
        launches = json.load(file)["observed"]["launches"]
    print(clauses + ":", " + ".join(str(launch["report"]["counters"]["by_opcode"]["mma"]) for launch in launches), "products")


run("alibi(%x : tensor<1xf32>)", "1")
run("sinks(%x : tensor<1xf32>)", "1")
run("softcap(3.0) bias(%x : tensor<1x1x1x2048xbf16>)", "1x1x1x2048")
run("sinks(%x : tensor<1xf32>) alibi(%x : tensor<1xf32>)", "1")
