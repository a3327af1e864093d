#!/usr/bin/env bash
# Installs what the build and the tests need and is missing: Debian packages and a Python virtual environment.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  cmake ninja-build clang-22 lld-22 llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools clang-format-22
  nlohmann-json3-dev libgtest-dev ccache python3 python3-dev python3-venv libzstd-dev zlib1g-dev
)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing packages: ${missing[*]}"
  sudo=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "error: not root and no sudo; install these packages first" >&2; exit 1; }
    sudo=(sudo)
  fi
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if ! { "${sudo[@]}" apt-get update -q &&
         "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } \
       >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "error: could not install: ${missing[*]}" >&2
    exit 1
  fi
fi

# The tests' Python needs NumPy, the Python package nanobind; a virtual environment keeps them out of the system.
requirements=scripts/requirements.txt
if ! cmp -s "$requirements" .venv/requirements.txt 2>/dev/null; then
  echo "making the Python environment .venv"
  rm -rf .venv
  /usr/bin/python3 -m venv .venv
  .venv/bin/pip install -q --disable-pip-version-check -r "$requirements"
  cp "$requirements" .venv/requirements.txt
fi

# PyTorch, Transformers and JAX are large: only on request.
frameworks=scripts/requirements-frameworks.txt
if [ "${ATTN_TEST_TORCH:-0}" = 1 ] && ! cmp -s "$frameworks" .venv/requirements-frameworks.txt 2>/dev/null; then
  echo "adding PyTorch, Transformers and JAX to .venv"
  .venv/bin/pip install -q --disable-pip-version-check -r "$requirements" -r "$frameworks"
  cp "$frameworks" .venv/requirements-frameworks.txt
fi
