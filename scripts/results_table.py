#!/usr/bin/env python3
"""Writes what was measured on GPUs into the README: the tables of docs/results/*.json, which ./run of the GPU kit writes.

    scripts/results_table.py --write             after a file was added
    scripts/results_table.py --check             does the README say what the files say?
    scripts/results_table.py --print FILE.json   the tables of one file
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "gpu-kit"))

from attn_kit.results import to_markdown  # noqa: E402

BEGIN, END = "<!-- written by scripts/results_table.py -->\n", "<!-- until here -->\n"
NOTHING = ("Speed on a GPU: **not yet measured on a GPU.** `make gpu-kit` packs what checks and measures the kernels on one\n"
           "([tools/gpu-kit](tools/gpu-kit/README.md)).\n")


def tables():
    """The newest file of each GPU."""
    newest = {}
    for path in sorted((ROOT / "docs" / "results").glob("*.json")):
        results = json.loads(path.read_text())
        name = results.get("greeting", {}).get("device", path.stem)
        if name not in newest or newest[name]["date"] < results["date"]:
            newest[name] = results
    return "\n\n".join(to_markdown(results).replace("## ", "### ", 1) for results in newest.values()) + "\n" \
        if newest else NOTHING


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    action.add_argument("--print", metavar="FILE.json")
    options = parser.parse_args()
    if options.print:
        print(to_markdown(json.loads(pathlib.Path(options.print).read_text())))
        return 0
    readme = ROOT / "README.md"
    text = readme.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    wanted = text[:start] + tables() + text[end:]
    if options.write:
        readme.write_text(wanted)
    elif wanted != text:
        print("error: README.md does not say what docs/results says: run scripts/results_table.py --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
