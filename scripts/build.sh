#!/usr/bin/env bash
# Configures once and builds into $BUILD (default: build). Arguments go to the configuration.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros

configuration="$* $(cksum <"$0")"
if [ ! -f "$build/build.ninja" ] || [ "$(cat "$build/configuration" 2>/dev/null)" != "$configuration" ]; then
  echo "configuring $build"
  mkdir -p "$build"
  rm -rf "$build/CMakeCache.txt" "$build/CMakeFiles" # a changed compiler or option starts afresh
  cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22 \
    -DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld-22 -DCMAKE_SHARED_LINKER_FLAGS=-fuse-ld=lld-22 \
    -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache \
    -DCMAKE_PREFIX_PATH=/usr/lib/llvm-22 -DPython_EXECUTABLE="$PWD/.venv/bin/python" "$@" >"$build/configure.log" 2>&1 ||
    { cat "$build/configure.log" >&2; exit 1; }
  echo "$configuration" >"$build/configuration"
fi
echo "building $build (a first build takes some minutes)"
NINJA_STATUS='[%f/%t %es] ' ninja -C "$build" --quiet
