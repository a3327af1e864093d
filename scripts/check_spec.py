#!/usr/bin/env python3
"""Every constraint of docs/Spec.md is enforced in dialect/ and broken by a test in test/dialect/, and no label is used that the
spec does not define."""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LABEL = r"[AMOTSRJV][1-9][0-9]?"


def labels_in(folder, pattern, suffixes):
    names = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = set()
    for name in names.splitlines():
        if name.endswith(suffixes):
            with open(os.path.join(ROOT, name)) as file:
                found |= set(re.findall(pattern, file.read()))
    return found


def main():
    with open(os.path.join(ROOT, "docs/Spec.md")) as file:
        defined = re.findall(rf"^- \(({LABEL})\)", file.read(), re.M)
    problems = [f"{label} is defined twice" for label in sorted(set(defined)) if defined.count(label) > 1]
    defined = set(defined)
    # In messages and comments: (A3), "A3", // A3
    enforced = labels_in("dialect", rf"(?:\(|\"|// )({LABEL})\b", (".cpp", ".td"))
    # Names of functions and of tests, and the end of an expected message.
    tested = labels_in("test/dialect", rf"@({LABEL})(?:_|\()", ".mlir")
    tested |= labels_in("test/dialect", rf"\(({LABEL})\)", ".cpp")
    problems += [f"{label} is not enforced in dialect/" for label in sorted(defined - enforced)]
    problems += [f"{label} is not broken by a test in test/dialect/" for label in sorted(defined - tested)]
    problems += [f"{label} is not in docs/Spec.md" for label in sorted((enforced | tested) - defined)]
    for problem in problems:
        print(problem)
    print(f"{len(defined)} constraints")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
