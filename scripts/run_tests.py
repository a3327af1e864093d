#!/usr/bin/env python3
"""Runs lit over the test suite and closes with one line that counts what happened.

Everything is a lit test: FileCheck tests of the IR, GoogleTest binaries, Python tests and checks of the sources.
A test whose features are missing on this machine is skipped, and the reason is printed.
"""

import argparse
import collections
import glob
import json
import os
import subprocess
import sys
import tempfile

LIT = "/usr/lib/llvm-22/bin/lit"
PASSED = {"PASS", "XFAIL", "FLAKYPASS"}
SKIPPED = {"UNSUPPORTED", "SKIPPED", "EXCLUDED"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="build folder")
    parser.add_argument("--filter", help="run only the tests whose name matches this regular expression")
    parser.add_argument("tests", nargs="*", help="test files or folders (default: all)")
    arguments = parser.parse_args()

    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    build = os.path.abspath(arguments.build)
    # What an interrupted run left beside the test binaries would pass for one.
    for stale in glob.glob(os.path.join(build, "bin", "unit", "*.json")):
        os.remove(stale)
    tests = arguments.tests or [os.path.join(root, "test")]
    with tempfile.TemporaryDirectory() as folder:
        results = os.path.join(folder, "results.json")
        command = [LIT, "-sv", "--no-progress-bar", "--quiet", "--output", results, f"--param=build={build}"]
        if arguments.filter:
            command += ["--filter", arguments.filter]
        status = subprocess.run(command + tests, env={**os.environ, "ATTN_BUILD": build}).returncode
        if not os.path.exists(results):
            print("error: lit wrote no results", file=sys.stderr)
            print("0 passed, 1 failed, 0 skipped")
            return 1
        with open(results) as file:
            outcomes = json.load(file)["tests"]

    counts = collections.Counter()
    reasons = collections.Counter()
    for outcome in outcomes:
        code = outcome["code"]
        kind = "passed" if code in PASSED else "skipped" if code in SKIPPED else "failed"
        counts[kind] += 1
        if kind == "skipped":
            reasons[outcome.get("output", "").strip().splitlines()[-1] if outcome.get("output") else code] += 1
        elif kind == "failed":
            output = outcome.get("output", "").splitlines()
            print(f"\n{code}: {outcome['name']}", *output[-60:], sep="\n")
    for reason, count in sorted(reasons.items()):
        print(f"skipped {count}: {reason}")
    if status != 0 and counts["failed"] == 0 or not outcomes:
        counts["failed"] += 1
        print(f"error: lit ended with {status} on {len(outcomes)} tests")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
