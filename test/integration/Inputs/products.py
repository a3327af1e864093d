"""Kernels for sm_90a execute as many products of warpgroups as the report says: products.py BIN

Prints a line for each mask; exits with 1 if the two differ, or a kernel has no roles."""

import json
import pathlib
import subprocess
import sys
import tempfile

MASKS = ["all", "causal", "causal & window<300, 0>", "dilated<64, 64, 4>", "causal & stride<16>", "strided<32>", "fixed<40, 8>",
         "longformer<100, 16>", "streaming<4, 200>", "chunked<256>"]
SIZE, SHAPES = 64, "1x8x{0}x64,1x2x700x64"


def main(tools, wrong=0):
    tools = pathlib.Path(tools)
    with tempfile.TemporaryDirectory() as folder:
        path, report = pathlib.Path(folder, "f.mlir"), pathlib.Path(folder, "report.json")
        for mask, queries in [(mask, 700) for mask in MASKS] + [("causal", 1), ("window<90, 0>", 20)]:
            q = f"tensor<1x8x{'?' if queries == 700 else queries}x{SIZE}xbf16>"
            k = f"tensor<1x2x?x{SIZE}xbf16>"
            path.write_text(f"func.func @f(%q: {q}, %k: {k}) -> {q} {{\n  %o = attn.attention %q, %k, %k mask({mask}) : ({q}, {k}, {k}) -> "
                            f"{q}\n  return %o : {q}\n}}\n")
            shapes = SHAPES.format(queries)
            said = json.loads(subprocess.run([tools / "attn-opt", path, "--emit=report", "--target=sm_90a", "--args=" + shapes],
                                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)[0]
            subprocess.run([tools / "attn-run", path, "--target=sm_90a", "--device=sim", "--random=" + shapes, "--check",
                            f"--report={report}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            launches = json.loads(report.read_text())["observed"]["launches"]
            (attention,), tile = said["attention"], said["attention"][0]["tile"][1]
            # Of 64 rows, the scores of a key tile take SIZE / 16 instructions, and the sum of its values one for each 16 keys.
            products = sum(launch["report"]["counters"]["wgmma"] for launch in launches) // (SIZE // 16 + tile // 16)
            found, expected = products * 64 * tile, attention["executed_pairs"]
            has_roles = all("producer_registers" in kernel["schedule"] for kernel in said["kernels"])
            wrong += found != expected or not has_roles
            print(f"{mask}, {queries} queries: {found} pairs, report {expected}" + ("" if has_roles else ", without roles"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
