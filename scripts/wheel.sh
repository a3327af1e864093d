#!/usr/bin/env bash
# Builds the Python package as a wheel that needs neither LLVM nor this tree, and runs its tests from a new environment.
set -euo pipefail
cd "$(dirname "$0")/.."
limit=$((120 * 1000 * 1000)) # bytes
python=${PYTHON:-/usr/bin/python3}
dist=build/dist
if command -v ccache >/dev/null; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros
fi

rm -rf "$dist"
mkdir -p "$dist"
log=$dist/build.log
echo "building the wheel (a first build takes some minutes)"
"$python" -m venv "$dist/build-env"
if ! "$dist/build-env/bin/pip" wheel . --no-deps -w "$dist" >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "error: no wheel; all of the log is in $log" >&2
  exit 1
fi
wheel=$(ls "$dist"/attn-*.whl)
size=$(stat -c %s "$wheel")
echo "$wheel: $size bytes (limit $limit)"
[ "$size" -lt "$limit" ] || { echo "error: the wheel is too large" >&2; exit 1; }

"$python" -m venv "$dist/env"
"$dist/env/bin/pip" install -q --disable-pip-version-check "$wheel"
native=$(echo "$dist"/env/lib/python3*/site-packages/attn/_attn*.so)
if ldd "$native" | grep -E 'LLVM|MLIR'; then
  echo "error: the wheel needs LLVM's shared libraries" >&2
  exit 1
fi
tests=$PWD/test/python examples=$PWD/scripts/check_python_examples.py
python=$PWD/$dist/env/bin/python
cd /
ATTN_CACHE=0 "$python" "$examples"
for test in test_attn.py test_calls.py test_scores.py test_stubs.py; do
  ATTN_CACHE=0 PYTHONPATH=$tests "$python" "$tests/$test"
done
echo "the wheel works in a new environment: $python"
