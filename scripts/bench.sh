#!/usr/bin/env bash
# Prints the figures that the README names. Times on a busy machine vary: compare within one run.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
echo "-- compile time"
scripts/bench_compile.py --attn-opt "$build/bin/attn-opt" "$@"
echo "-- simulator speed"
"$build/bin/attn-sim-bench"
echo "-- mask analysis"
"$build/bin/unit/mask-test" --gtest_filter='*LongSequences*' | grep -v '^\['
echo "-- packed masks"
scripts/bench_packing.py --bin "$build/bin"
echo "-- assembled kernels"
scripts/check_ptxas.py --attn-opt "$build/bin/attn-opt"
