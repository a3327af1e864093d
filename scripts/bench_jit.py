#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times from a mask to PTX and its manifest, ready to be loaded: without any cache, from the disk, from memory; and, with --flex where
PyTorch is there, the first call of torch.compile(flex_attention) with the same mask in the same run.

Needs the package `attn` (PYTHONPATH=build/python). Nothing is run.
"""

import argparse
import os
import statistics
import tempfile
import time

MASKS = {
    "causal": ("causal()", lambda b, h, q, kv: q >= kv),
    "window": ("causal() & window(512, 0)", lambda b, h, q, kv: (q >= kv) & (q - kv <= 512)),
    "longformer": ("longformer(256, 16)", lambda b, h, q, kv: (q < 16) | (kv < 16) | ((q - kv <= 256) & (kv - q <= 256))),
    "dilated": ("causal() & stride(4)", lambda b, h, q, kv: (q >= kv) & ((q - kv) % 4 == 0)),
}


def milliseconds(function):
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)


def flex_time(mask_mod, length):
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    torch._dynamo.reset()
    q, k, v = (torch.randn(1, 8, length, 64) for _ in range(3))
    with torch.no_grad():
        return milliseconds(lambda: torch.compile(flex_attention)(
            q, k, v, block_mask=create_block_mask(mask_mod, None, None, length, length, device="cpu")))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--flex", action="store_true", help="beside FlexAttention (its caches are turned off)")
    parser.add_argument("--length", type=int, default=512, help="of FlexAttention's inputs (default: 512)")
    arguments = parser.parse_args()

    cache = os.path.join(os.path.expanduser("~"), ".cache")
    os.makedirs(cache, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        os.environ.pop("ATTN_CACHE", None)
        os.environ.update(ATTN_CACHE_DIR=os.path.join(folder, "kernels"), TORCHINDUCTOR_FORCE_DISABLE_CACHES="1")
        from attn import _attn, masks

        print(f"8 query heads, 8 KV heads, head size 64, f16; ms, medians of {arguments.runs}")
        _attn.Session("sim").emit(_attn.make_source("f16", [-1, 1, 1, -1, -1, 16, 16], "all", [], None, "end", False))
        for name, (mask, mask_mod) in MASKS.items():
            source = _attn.make_source("f16", [-1, 8, 8, -1, -1, 64, 64], masks.parse(mask).mlir, [], None, "start", False)
            os.environ["ATTN_CACHE"] = "0"
            cold = statistics.median(milliseconds(lambda s=_attn.Session("sim"): s.emit(source))
                                     for _ in range(arguments.runs))
            del os.environ["ATTN_CACHE"]
            _attn.Session("sim").emit(source)
            sessions = [_attn.Session("sim") for _ in range(arguments.runs)]
            disk = statistics.median(milliseconds(lambda s=s: s.emit(source)) for s in sessions)
            if any(s.statistics()["disk_hits"] != 1 for s in sessions):
                raise SystemExit(f"{name}: the disk cache was not used")
            memory = statistics.median(milliseconds(lambda: sessions[0].emit(source)) for _ in range(1000))
            line = f"{name:10}  cold {cold:6.1f}  disk {disk:5.2f}  memory {memory:7.4f}"
            if arguments.flex:
                flex = flex_time(mask_mod, arguments.length)
                line += f"  flex_attention {flex:7.0f} = {flex / cold:.0f} x cold"
            print(line, flush=True)


if __name__ == "__main__":
    main()
