#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws the JSON of bench_host.py as SVG: how many times longer PyTorch takes, for each mask.

    python scripts/plot_host.py host.json -o docs/images/host.svg --size 2048 --head-size 64 --threads 1
"""

import argparse
import json
import math

CONTENDERS = [("sdpa", "scaled_dot_product_attention", "#4878a8"), ("flex", "compiled FlexAttention", "#d9822b"),
              ("naive", "naive, three steps", "#9a9a9a")]
LABEL, WIDTH, BAR, GAP, HEAD = 150, 330, 9, 9, 58


def text(x, y, content, anchor="start", size=12, color="#222222"):
    content = content.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-family="sans-serif" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{color}">{content}</text>')


def panel(rows, masks, left, top, title, highest):
    """One element type: bars to the right of 1, on a logarithmic scale."""
    def x(ratio):
        return left + LABEL + WIDTH * math.log(max(ratio, 1)) / math.log(highest)
    parts = [text(left + LABEL, top - 22, title, size=13)]
    bottom = top + sum(len(rows[m]["ratio"]) * BAR + GAP for m in masks)
    for tick in (1, 2, 5, 10, 20, 50, 100):
        if tick > highest:
            break
        parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top - 4}" y2="{bottom - GAP + 4}" '
                     f'stroke="{"#222222" if tick == 1 else "#dddddd"}"/>')
        parts.append(text(x(tick), top - 7, f"{tick}x", "middle", 10, "#666666"))
    y = top
    for mask in masks:
        ratios = rows[mask]["ratio"]
        parts.append(text(left + LABEL - 8, y + len(ratios) * BAR / 2 + 4, mask, "end"))
        for name, _, color in CONTENDERS:
            if name not in ratios:
                continue
            end = x(ratios[name])
            parts.append(f'<rect x="{x(1):.1f}" y="{y:.1f}" width="{end - x(1):.1f}" height="{BAR - 1}" fill="{color}"/>')
            parts.append(text(end + 3, y + BAR - 2, f"{ratios[name]:.1f}", size=9, color="#444444"))
            y += BAR
        y += GAP
    return parts, bottom


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with open(options.json) as file:
        data = json.load(file)
    panels = {}
    for row in data["rows"]:
        if (row["kind"], row.get("size"), row.get("head_size"), row["threads"]) == \
                ("forward", options.size, options.head_size, options.threads) and row["ratio"]:
            panels.setdefault(row["type"], {})[row["mask"]] = row
    if not panels:
        raise SystemExit(f"error: {options.json} has no rows with S = {options.size}, D = {options.head_size} and "
                         f"{options.threads} threads")
    highest = 1.3 * max(r for rows in panels.values() for row in rows.values() for r in row["ratio"].values())
    highest = max(highest, 2.0)
    parts, bottom = [], 0
    for number, (element, rows) in enumerate(panels.items()):
        drawn, end = panel(rows, list(rows), number * (LABEL + WIDTH + 20), HEAD + 36, element, highest)
        parts += drawn
        bottom = max(bottom, end)
    width = len(panels) * (LABEL + WIDTH + 20) + 20
    head = [text(12, 20, f"How many times longer than attn: forward, S = {options.size}, D = {options.head_size}, "
                         f"{options.threads} thread{'s' if options.threads > 1 else ''}", size=14),
            text(12, 38, f"{data['cpu']}, PyTorch {data['torch']}, {data['date']}; medians of runs in turns", size=11,
                 color="#666666")]
    left = 12
    for _, label, color in CONTENDERS:
        head.append(f'<rect x="{left}" y="46" width="10" height="10" fill="{color}"/>')
        head.append(text(left + 14, 55, label, size=11))
        left += 30 + 6.2 * len(label)
    with open(options.output, "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom + 6:.0f}" '
                   f'viewBox="0 0 {width} {bottom + 6:.0f}">\n<rect width="100%" height="100%" fill="#ffffff"/>\n')
        file.write("\n".join(head + parts) + "\n</svg>\n")


if __name__ == "__main__":
    main()
