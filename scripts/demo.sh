#!/usr/bin/env bash
# Compiles the examples to PTX, runs them on the best device there is (a GPU, else the CPU), the first one in the
# simulator too, and shows masks, errors and costs.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BUILD:-build}/bin
out=${BUILD:-build}/demo
mkdir -p "$out"

section() { printf '\n== %s\n' "$1"; }

cost() { # the lines of the cost report that matter most
  .venv/bin/python - "$1" <<'PY'
import json, sys
for function in json.load(open(sys.argv[1])):
    for cost in function["attention"] or []:
        tiles = cost["tiles"]
        useful = cost["useful_fraction"]
        print(f"  cost: {cost['flops'] / 1e6:.1f} MFLOP useful, {cost['executed_flops'] / 1e6:.1f} executed"
              + ("" if useful is None else f" ({100 * useful:.0f} % useful)")
              + f"; {cost['bytes'] / 1e6:.2f} MB at least; tiles {tiles['full']} full, {tiles['partial']} partial,"
              f" {tiles['empty']} empty")
    for kernel in function["kernels"]:
        registers = kernel["registers"]
        print(f"  kernel {kernel['entry']}: {kernel['threads']} threads, {kernel['shared_bytes'] / 1024:.0f} KB of shared memory, "
              + ("registers unknown (no ptxas here)" if registers is None else f"{registers} registers"))
PY
}

example() { # name, arguments as a list, arguments of attn-run
  local name=$1 arguments=$2
  shift 2
  section "examples/$name.mlir"
  "$bin/attn-mask" "examples/$name.mlir" "--args=$arguments" --width=40
  "$bin/attn-opt" "examples/$name.mlir" --emit=ptx -o "$out/$name.ptx"
  echo "  PTX: $out/$name.ptx, $(wc -l <"$out/$name.ptx") lines"
  "$bin/attn-run" "examples/$name.mlir" "$@" --check "--report=$out/$name.json" | sed 's/^/  /'
  "$bin/attn-opt" "examples/$name.mlir" --emit=report "--args=$arguments" -o "$out/$name-cost.json"
  cost "$out/$name-cost.json"
}

data=test/data/minilm
shape=$(.venv/bin/python -c "import numpy, sys; print('x'.join(map(str, numpy.load(sys.argv[1]).shape)))" "$data/q.npy")
echo "Real data: one attention layer of the MiniLM sentence encoder on a paragraph of English ($data/README.md)"
inputs=(--input="$data/q.npy" --input="$data/k.npy" --input="$data/v.npy")
example minilm "$shape,$shape,$shape" "${inputs[@]}" --output="$out/minilm-o.npy"
echo "  The same PTX in the simulator, which also looks for races, missing waits and stray accesses:"
"$bin/attn-run" examples/minilm.mlir --device=sim "${inputs[@]}" --check --report="$out/minilm-sim.json" | sed 's/^/  /'
example causal 1x8x500x64,1x2x700x64,1x2x700x64,200 --random=1x8x500x64,1x2x700x64,1x2x700x64,200
example longformer 1x2x1024x64,1x2x1024x64,1x2x1024x64 --random=1x2x1024x64,1x2x1024x64,1x2x1024x64
