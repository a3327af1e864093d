#!/usr/bin/env python3
"""Writes docs/generated/ from the op and pass definitions, or checks that what is committed is current.

Without --write: prints what differs and exits with 1 if anything does.
"""

import argparse
import difflib
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TBLGEN = "/usr/lib/llvm-22/bin/mlir-tblgen"
MLIR_INCLUDE = "/usr/lib/llvm-22/include"

# Each page: its title, and the generator and source of each of its parts.
PAGES = {
    "Dialect.md": [
        ("-gen-dialect-doc", "-dialect=attn", "dialect/AttnOps.td"),
        ("-gen-dialect-doc", "-dialect=attn_nvptx", "codegen/nvptx/NvptxOps.td"),
    ],
    "Passes.md": [
        ("-gen-pass-doc", "passes/Passes.td"),
        ("-gen-pass-doc", "codegen/Passes.td"),
        ("-gen-pass-doc", "codegen/host/Passes.td"),
    ],
}


def generate(build, *command):
    *flags, source = command
    text = subprocess.run(
        [TBLGEN, *flags, "-I", MLIR_INCLUDE, "-I", os.path.join(build, "include"), os.path.join(ROOT, source)],
        check=True, capture_output=True, text=True).stdout
    return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.path.join(ROOT, os.environ.get("BUILD", "build")))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()

    stale = False
    for page, parts in PAGES.items():
        text = "\n".join(generate(arguments.build, *part) for part in parts)
        path = os.path.join(ROOT, "docs", "generated", page)
        old = ""
        if os.path.exists(path):
            with open(path) as file:
                old = file.read()
        if arguments.write:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(text)
        elif old != text:
            stale = True
            sys.stdout.writelines(difflib.unified_diff(
                old.splitlines(True), text.splitlines(True), f"docs/generated/{page}", "from the definitions"))
    if stale:
        print("error: docs/generated is stale; run: make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
