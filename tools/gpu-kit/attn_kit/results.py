# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a run found, as lines and as tables in Markdown."""

import collections


def rate(flops, entry):
    """Useful TFLOP/s, None where there is no time."""
    return None if not entry or "seconds" not in entry else flops / entry["seconds"] / 1e12


def describe(entry, seconds):
    """One line while the run goes on."""
    job, result = entry["job"], entry["result"]
    line = f"[{seconds:5.0f} s] {entry['label']}: "
    if result.get("problem"):
        return line + "FAILED: " + result["problem"]
    if job["kind"] in ("bench", "flex"):
        parts = []
        for name, found in result["results"].items():
            value = rate(result["flops"], found)
            parts.append(f"{name} -" if value is None else f"{name} {found['seconds'] * 1e6:.0f} us {value:.0f} TFLOP/s")
        clocks = result.get("clocks") or {}
        if clocks.get("sm_mhz"):
            parts.append(f"{clocks['sm_mhz']:.0f} MHz, {clocks['watts'] or 0:.0f} W")
        return line + "; ".join(parts)
    if job["kind"] == "ceilings":
        return line + (f"product {result['product_tflops']:.0f} TFLOP/s, copy {result['copy_tb_per_s']:.2f} TB/s, "
                       f"a launch takes the host {result['launch_us']:.0f} us")
    if job["kind"] == "repeat":
        return line + f"{result['times']} times the same bits"
    if job["kind"] == "corpus":
        return line + (f"{result['words']} words agree" if not result["different"] else f"within {result['error']:.3g}")
    return line + f"error {result['max_error']:.3g} of {result['max_bound']:.3g}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def speeds(results):
    """Useful TFLOP/s of each kernel, length and contender, as rows of text."""
    names = ["attn", "cudnn", "flash", "efficient", "flex"]
    found, extra = collections.OrderedDict(), {}
    for entry in results["jobs"]:
        job, result = entry["job"], entry["result"]
        if job["kind"] not in ("bench", "flex") or "results" not in result:
            continue
        row = found.setdefault((job["kernel"], job["length"]), {})
        for name, measured in result["results"].items():
            value = rate(result["flops"], measured)
            short = "attn" if name == "attn " + job["targets"][0] else name
            if value is not None and short in names:
                row.setdefault(short, value)
            elif value is not None:
                extra.setdefault(name, []).append((job["kernel"], job["length"], value))
        if job["kind"] == "bench":
            row["sm_mhz"] = (result.get("clocks") or {}).get("sm_mhz")
    used = [name for name in names if any(name in row for row in found.values())]

    def cell(value):
        return "-" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    rows = []
    for (kernel, length), row in sorted(found.items()):
        best = max((row[name] for name in used if name != "attn" and name in row), default=None)
        ours = row.get("attn")
        rows.append([kernel, str(length)] + [cell(row.get(name)) for name in used] +
                    [f"{ours / best:.2f}" if ours and best else "-", cell(row.get("sm_mhz"))])
    return ["kernel", "length"] + used + ["ours / best other", "SM MHz"], rows, extra


def to_markdown(results):
    kinds, failed = collections.Counter(), collections.Counter()
    for entry in results["jobs"]:
        kinds[entry["job"]["kind"]] += 1
        failed[entry["job"]["kind"]] += bool(entry["result"].get("problem"))
    greeting = results.get("greeting", {})
    parts = [f"## {greeting.get('device', 'no device')}, {results['date']}",
             f"attn {results['kit'].get('commit', '')}; {results.get('system', {})}".rstrip(),
             table(["jobs", "run", "failed"], [[kind, str(count), str(failed[kind])] for kind, count in kinds.items()])]
    ceilings = [entry["result"] for entry in results["jobs"]
                if entry["job"]["kind"] == "ceilings" and "product_tflops" in entry["result"]]
    for found in ceilings:
        parts.append(f"A matrix product of 8192 in bf16: {found['product_tflops']:.0f} TFLOP/s; a copy: "
                     f"{found['copy_tb_per_s']:.2f} TB/s; a launch takes the host {found['launch_us']:.0f} us.")
    head, rows, extra = speeds(results)
    if rows:
        parts += ["Useful TFLOP/s, medians, the L2 flushed before each launch:", table(head, rows)]
    for name, values in extra.items():
        parts.append(f"{name}: " + ", ".join(f"{kernel} {length}: {value:.0f}" for kernel, length, value in values))
    lists = [(entry["label"], entry["result"]) for entry in results["jobs"]
             if "flex_mask_seconds" in entry["result"]]
    if lists:
        parts.append("FlexAttention beforehand (block mask; compilation): " + "; ".join(
            f"{label.removeprefix('flex ')} {result['flex_mask_seconds'] * 1e3:.1f} ms; "
            f"{result['flex_compile_seconds']:.1f} s" for label, result in lists))
    problems = [f"- {entry['label']}: {entry['result']['problem']}" for entry in results["jobs"]
                if entry["result"].get("problem")]
    if problems:
        parts.append("Failed:\n\n" + "\n".join(problems))
    return "\n\n".join(parts)
