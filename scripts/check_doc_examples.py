#!/usr/bin/env python3
"""Runs attn-opt on every complete MLIR example of the documentation: a ```mlir block that defines a function and elides
nothing."""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    attn_opt = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build", "bin", "attn-opt")
    names = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ran = failed = 0
    for name in names.splitlines():
        with open(os.path.join(ROOT, name)) as file:
            text = file.read()
        for block in re.finditer(r"```mlir\n(.*?)```", text, re.S):
            code = block.group(1)
            if not re.search(r"func\.func.*\{\s*\n(?:.*\n)*\}", code) or "..." in code:
                continue
            ran += 1
            result = subprocess.run([attn_opt, "-"], input=code, capture_output=True, text=True)
            if result.returncode != 0:
                failed += 1
                line = text[:block.start()].count("\n") + 2
                print(f"{name}:{line}: this example does not parse\n{result.stderr}")
    print(f"{ran} examples, {failed} wrong")
    return 1 if failed or ran == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
