#!/usr/bin/env bash
# Installs NVIDIA's assembler and disassembler from PyPI into a folder (default: build/cuda-tools), and prints how to use them.
# Assemblers before 13.3 can break products of warpgroups with a factor in registers (docs/Testing.md).
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-${BUILD:-build}/cuda-tools}
.venv/bin/pip install -q --disable-pip-version-check --no-deps --upgrade --target "$folder" \
  'nvidia-cuda-nvcc>=13.3' 'nvidia-cuda-nvdisasm>=13.3'
bin=$(cd "$folder" && pwd)/nvidia/cu13/bin
chmod u+x "$bin"/*
"$bin/ptxas" --version | tail -n 2 | head -n 1
echo "export ATTN_PTXAS=$bin/ptxas ATTN_NVDISASM=$bin/nvdisasm"
