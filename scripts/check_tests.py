#!/usr/bin/env python3
"""Finds test directives that look active and are not: a RUN or CHECK without its colon, a misspelt suffix, a prefix that
no RUN line names, a FileCheck directive with nothing to find, and test files that run nothing."""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUFFIXES = {"NEXT", "SAME", "NOT", "DAG", "LABEL", "EMPTY", "COUNT"}
# In a .test file directives start the line; elsewhere they follow a comment marker.
WORD = r"\s*([A-Z][A-Z0-9_]*(?:-[A-Z0-9_]+)*)(:?)(.*)$"
IN_COMMENT = re.compile(r"(?://|#|;)" + WORD)
AT_START = re.compile(r"^(?://|#|;)?" + WORD)


def prefixes_of(text):
    named = set()
    for line in text.splitlines():
        if "FileCheck" not in line:
            continue
        found = re.findall(r"--?check-prefix(?:es)?[= ]([A-Z0-9_,-]+)", line)
        named |= {prefix for group in found for prefix in group.split(",")} if found else {"CHECK"}
    return named


def problems(path, text):
    directive = AT_START if path.endswith(".test") else IN_COMMENT
    matches = [directive.search(line) for line in text.splitlines()]
    if not any(match and match.group(1) == "RUN" and match.group(2) for match in matches):
        yield 1, "no RUN line: this test runs nothing"
    prefixes = prefixes_of(text)
    for number, match in enumerate(matches, 1):
        if not match:
            continue
        word, colon, rest = match.groups()
        if word == "RUN" and not colon:
            yield number, "RUN without its colon"
        base = next((p for p in sorted(prefixes | {"CHECK"}, key=len, reverse=True)
                     if word == p or word.startswith(p + "-")), None)
        if base is None:
            continue
        suffix = word[len(base) + 1:]
        if not colon:
            if suffix or word == "CHECK":
                yield number, f"{word} without its colon"
            continue
        if suffix and suffix.split("-")[0] not in SUFFIXES:
            yield number, f"unknown directive {word}"
        if base not in prefixes:
            yield number, f"no FileCheck in this file reads the prefix {base}"
        if not rest.strip() and suffix != "EMPTY":
            yield number, f"{word}: with nothing to find"


def main():
    files = subprocess.run(["git", "ls-files", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    count = 0
    for name in files.splitlines():
        if not name.endswith((".mlir", ".test")) or "/Inputs/" in name:
            continue
        with open(os.path.join(ROOT, name)) as file:
            for number, message in problems(name, file.read()):
                print(f"{name}:{number}: {message}")
                count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
