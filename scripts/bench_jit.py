#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The figures of docs/Embedding.md: from a mask to a kernel that can be launched, without a cache, from the disk and from memory
(attn-bench --compile); what a call from Python adds to a launch; memory over 100,000 calls; the wheel's size where there is one.
With --flex, where PyTorch and a C++ compiler are, beside the first call of torch.compile(flex_attention) with the same mask.

Needs build/bin/attn-bench and, for all but compiling, build/python and its Python: .venv/bin/python scripts/bench_jit.py. Times of
the processor are beside those of the clock: on a busy machine only they tell something.
"""

import argparse
import glob
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MASKS = {
    "causal": ("causal", lambda b, h, q, kv: q >= kv),
    "window": ("causal & window<512, 0>", lambda b, h, q, kv: (q >= kv) & (q - kv <= 512)),
    "longformer": ("window<256, 256> | global<16>",
                   lambda b, h, q, kv: (q < 16) | (kv < 16) | ((q - kv <= 256) & (kv - q <= 256))),
    "dilated": ("causal & stride<4>", lambda b, h, q, kv: (q >= kv) & ((q - kv) % 4 == 0)),
}


def work():
    """Processor milliseconds of this process and its children."""
    return 1000 * sum(usage.ru_utime + usage.ru_stime
                      for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def flex_time(mask_mod, element, length):
    """Milliseconds (clock, processor) of the first call: create_block_mask, trace, generate, compile, run."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    torch._dynamo.reset()
    q, k, v = (torch.randn(1, 8, length, 64, dtype={"f32": torch.float32, "f16": torch.float16}[element]) for _ in range(3))
    start, started = time.perf_counter(), work()
    with torch.no_grad():
        torch.compile(flex_attention)(q, k, v, block_mask=create_block_mask(mask_mod, None, None, length, length, device="cpu"))
    return 1000 * (time.perf_counter() - start), work() - started


def compile_times(bench, mask, element, runs):
    line = subprocess.run([bench, "--compile", f"--mask={mask}", f"--type={element}", "--shape=1,8,8,1,1,64", f"--runs={runs}",
                           "--target=" + ("host" if element == "f32" else "host,sm_90")],
                          check=True, capture_output=True, text=True).stdout
    return json.loads(line)


def calls():
    """What calls from Python add to a launch, and leave behind."""
    os.environ["ATTN_CACHE"] = "0"
    sys.path.insert(0, os.path.join(ROOT, "build", "python"))
    try:
        import numpy as np
        import attn
    except ImportError as error:
        print(f"no calls from Python: {error}")
        return

    def best(function, count=1000):
        times = []
        for _ in range(20):
            start = time.process_time()
            for _ in range(count):
                function()
            times.append((time.process_time() - start) / count)
        return 1e6 * min(times)

    mask = attn.causal() & attn.window(attn.sym("w"), 0)
    q, k = np.zeros((1, 1, 0, 16), np.float16), np.zeros((1, 1, 4, 16), np.float16)
    libraries = {"NumPy": (q, k)}
    if "torch" in sys.modules:
        import torch
        libraries["PyTorch"] = (torch.from_numpy(q), torch.from_numpy(k))
    for name, (q, k) in libraries.items():
        kernel = attn.compile(heads=1, head_size=16, mask=mask)
        out = kernel(q, k, k, symbols={"w": 3})
        launch = best(lambda: kernel._native.run([q, k, k], [out], [3], 0))
        call = best(lambda: attn.attention(q, k, k, mask=mask, symbols={"w": 3}))
        print(f"a call from Python, {name}: {call:.1f} microseconds with an empty launch of {launch:.1f} (limit 30 more)")
    q, k = libraries["NumPy"]
    lengths, slopes = np.array([3], np.int32), np.ones(1, np.float32)
    data = dict(mask=attn.causal() & attn.lengths(lengths), score=attn.score("s + x", x=slopes))
    kernel = attn.compile(heads=1, head_size=16, **data)
    out = kernel(q, k, k)
    launch = best(lambda: kernel._native.run([q, k, k, lengths, slopes], [out], [], 0))
    call = best(lambda: attn.attention(q, k, k, **data))
    print(f"a call with lengths and a score that reads an array: {call:.1f} with an empty launch of {launch:.1f} (limit 30 more)")

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    before = resident()
    for w in range(100_000):
        attn.attention(q, k, k, mask=mask, symbols={"w": w})
    print(f"memory after 100,000 calls: {(resident() - before) / 1024:+.0f} KiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", default=os.path.join(ROOT, "build", "bin", "attn-bench"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--flex", action="store_true", help="beside FlexAttention (nothing cached)")
    parser.add_argument("--length", type=int, default=512, help="of FlexAttention's inputs (default: 512)")
    arguments = parser.parse_args()
    if arguments.flex:
        # What another run compiled would be found again, whatever is turned off: a folder of its own.
        folder = tempfile.TemporaryDirectory()
        os.environ.update(TORCHINDUCTOR_FORCE_DISABLE_CACHES="1", TORCHINDUCTOR_CACHE_DIR=folder.name)
        import torch  # noqa: F401
        compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++-22", "clang++")), None)
        if not compiler:
            raise SystemExit("--flex: expected a C++ compiler in CXX, found none")
        os.environ["CXX"] = compiler
        # What Inductor sets up once is not counted.
        flex_time(lambda b, h, q, kv: q >= kv - 1, "f32", arguments.length)

    print(f"8 query heads, 8 KV heads, head size 64; medians of {arguments.runs}; ms of the clock (of the processor)")
    worst = {}
    for name, (mask, mask_mod) in MASKS.items():
        for element in ("f16", "f32"):
            found = compile_times(arguments.bench, mask, element, arguments.runs)
            flex = flex_time(mask_mod, element, arguments.length) if arguments.flex and element == "f32" else None
            for target in (target for target in ("host", "sm_90") if target in found):
                times = found[target]
                line = f"{name:10} {element} {target:5}" + "".join(
                    f"  {kind} {times[kind + '_ms']:6.{digits}f} ({times[kind + '_processor_ms']:6.{digits}f})"
                    for kind, digits in (("cold", 1), ("disk", 2), ("memory", 4)))
                for kind in ("cold", "disk", "memory"):
                    key = f"{kind}_processor_ms"
                    worst[kind] = max(worst.get(kind, 0), times[key])
                if flex:
                    ratios = flex[0] / times["cold_ms"], flex[1] / times["cold_processor_ms"]
                    line += f"  flex_attention {flex[0]:6.0f} ({flex[1]:6.0f}), that is {ratios[0]:.0f} ({ratios[1]:.0f}) x cold"
                    worst["ratio"] = min(worst.get("ratio", 1e9), *ratios)
                print(line, flush=True)
    print(f"worst of the processor: cold {worst['cold']:.1f} ms (limit 150), disk {worst['disk']:.2f} ms (limit 5), "
          f"memory {1000 * worst['memory']:.2f} microseconds (limit 10)")
    if "ratio" in worst:
        print(f"smallest ratio to flex_attention's first call: {worst['ratio']:.0f} (limit 30)")
    calls()
    for wheel in glob.glob(os.path.join(ROOT, "build", "dist", "attn-*.whl")):
        print(f"{os.path.basename(wheel)}: {os.path.getsize(wheel) / 1e6:.1f} MB (limit 120)")


if __name__ == "__main__":
    main()
