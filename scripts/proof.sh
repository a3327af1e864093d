#!/usr/bin/env bash
# The property tests of `make test`, at length. Each prints what it looked at, and fails with a seed that repeats the case alone.
set -euo pipefail
cd "$(dirname "$0")/.."
unit=${BUILD:-build}/bin/unit
run() {
  echo "-- $1"
  shift
  "$@" --gtest_brief=1
}
export ATTN_PROPERTY_COUNT=${ATTN_PROPERTY_COUNT:-5000} ATTN_DIFFERENTIAL_COUNT=${ATTN_DIFFERENTIAL_COUNT:-300}
run "random masks: classes, intervals, density, packing and parts as bijections of live pairs, against brute force" \
  "$unit/mask-test" --gtest_filter='*Random*:*Agree*:*Bijection*:*EveryShiftedBoundIsCaught*'
run "random masks as tile programs, and slips in packing, which must be seen" \
  "$unit/TileProgramTest" --gtest_filter='*Random*:*Slips*'
run "random problems in the simulator (eager, lazy, random order), and a wrong offset, which must be found" \
  "$unit/differential-test" --gtest_filter='*AgreesWith*:*AgreeWith*:*AWrong*'
run "random masks with tensors, in the simulator and on the CPU" "$unit/mask-data-test"
run "random score changes, in the simulator and on the CPU, and wrong formulas" "$unit/score-test"
run "random problems on the CPU's instruction sets" "$unit/HostDifferentialTest"
run "the verdict on a result: wrong ones are rejected" "$unit/NumericsTest" --gtest_filter='*Judg*'
