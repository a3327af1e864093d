#!/usr/bin/env bash
# Runs every test through lit. The last line is 'N passed, N failed, N skipped'; the exit code agrees with it.
set -euo pipefail
cd "$(dirname "$0")/.."
exec .venv/bin/python scripts/run_tests.py --build "${BUILD:-build}" "$@"
