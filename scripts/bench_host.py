#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times attention on this machine's CPU: ours, and PyTorch's where torch is installed.

All contenders run in turns in one process, so that a busy machine disturbs them alike; printed are medians. Needs
build/bin/attn-bench and build/lib/libattn.so. Compiled FlexAttention (--flex) needs a C++ compiler at run time.

    python scripts/bench_host.py --threads 1
    python scripts/bench_host.py --masks none causal 'window<256, 0>' --sizes 2048 4096 --types f32 bf16 --flex
"""

import argparse
import ctypes
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class DlDevice(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class DlType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class DlTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", DlDevice), ("ndim", ctypes.c_int32), ("dtype", DlType),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


TYPES = {"f32": DlType(2, 32, 1), "f16": DlType(2, 16, 1), "bf16": DlType(4, 16, 1)}


class Ours:
    """A compiled function on the device `host`, through the C API."""

    def __init__(self, build, threads):
        self.bench = os.path.join(build, "bin", "attn-bench")
        self.library = ctypes.CDLL(os.path.join(build, "lib", "libattn.so"))
        self.library.attn_error_message.restype = ctypes.c_char_p
        self.device = ctypes.c_void_p()
        self.check(self.library.attn_device_open(b"host", b"threads=%d" % threads, ctypes.byref(self.device)))

    def check(self, status):
        if status:
            raise RuntimeError(self.library.attn_error_message().decode())

    def compile(self, shape, mask, element):
        """The program, and the seconds of processor time that compiling took."""
        with tempfile.TemporaryDirectory() as folder:
            bundle = os.path.join(folder, "bundle")
            text = subprocess.run([self.bench, "--shape=" + ",".join(map(str, shape)), "--mask=" + mask,
                                   "--type=" + element, "--save-bundle=" + bundle], check=True, capture_output=True,
                                  text=True).stdout
            program = ctypes.c_void_p()
            self.check(self.library.attn_program_load(self.device, bundle.encode(), ctypes.byref(program)))
        return program, json.loads(text)["compile_processor_ms"] * 1e-3

    def runner(self, program, element, tensors, result):
        """A function without arguments that runs the program on (address, shape) pairs."""
        def view(address, shape):
            sizes = (ctypes.c_int64 * len(shape))(*shape)
            return DlTensor(address, DlDevice(1, 0), len(shape), TYPES[element], sizes, None, 0)
        views = [view(*tensor) for tensor in tensors + [result]]
        pointers = (ctypes.POINTER(DlTensor) * len(views))(*[ctypes.pointer(v) for v in views])
        outputs = (ctypes.POINTER(DlTensor) * 1)(pointers[len(views) - 1])

        def run():
            self.check(self.library.attn_launch(program, pointers, len(tensors), outputs, 1, None, 0, None))
        run.keep = views
        return run


def mask_mod(mask):
    """The mask as a function of positions for FlexAttention and as a live test for counting; None for 'all'."""
    match = re.fullmatch(r"(\w+)(?:<([\d, ]+)>)?", mask)
    name, numbers = match.group(1), [int(n) for n in (match.group(2) or "").split(",") if n]
    if name == "all":
        return None
    mods = {
        "causal": lambda i, j: j <= i,
        "window": lambda i, j: (j >= i - numbers[0]) & (j <= i + numbers[1]),
        "dilated": lambda i, j: ((i - j) % numbers[2] == 0) & (i - j <= numbers[0] * numbers[2])
                                & (j - i <= numbers[1] * numbers[2]),
        "strided": lambda i, j: (j <= i) & ((i - j <= numbers[0]) | ((i - j) % numbers[0] == 0)),
        "fixed": lambda i, j: (j <= i) & ((i // numbers[0] == j // numbers[0])
                                         | (j % numbers[0] >= numbers[0] - numbers[1])),
        "longformer": lambda i, j: ((i - j <= numbers[0]) & (j - i <= numbers[0])) | (i < numbers[1])
                                   | (j < numbers[1]),
        "chunked": lambda i, j: (j <= i) & (i // numbers[0] == j // numbers[0]),
    }
    if name not in mods:
        raise SystemExit(f"error: no FlexAttention form of mask '{mask}' is known to this script")
    return mods[name]


def live_fraction(mask, size):
    mod = mask_mod(mask)
    if mod is None:
        return 1.0
    import numpy
    j = numpy.arange(size)
    return sum(int(numpy.count_nonzero(mod(i, j))) for i in range(size)) / (size * size)


def measure(contenders, seconds):
    """Medians of the contenders' times, taken in turns."""
    for run in contenders.values():
        run()
    times = {name: [] for name in contenders}
    start = time.perf_counter()
    while time.perf_counter() - start < seconds * len(contenders) or len(times[next(iter(times))]) < 5:
        order = list(contenders)
        random.shuffle(order)
        for name in order:
            begin = time.perf_counter()
            contenders[name]()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def load_torch(threads):
    try:
        import torch
    except ImportError:
        print("torch is not installed: ours alone", file=sys.stderr)
        return None
    torch.set_num_threads(threads)
    return torch


def torch_contenders(torch, options, mask, q, k, v):
    functional = torch.nn.functional
    contenders = {}
    if mask in ("all", "causal"):
        contenders["sdpa"] = lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=mask == "causal")
    if options.naive and mask in ("all", "causal"):
        bias = None
        if mask == "causal":
            bias = torch.full((q.shape[2], k.shape[2]), float("-inf"), dtype=q.dtype).triu(1)

        def naive():
            scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(q.shape[-1]))
            return torch.softmax(scores if bias is None else scores + bias, dim=-1) @ v
        contenders["naive"] = naive
    if options.flex:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        mod = mask_mod(mask)
        block_mask = None
        if mod is not None:
            block_mask = create_block_mask(lambda b, h, i, j: mod(i, j), None, None, q.shape[2], k.shape[2],
                                           device="cpu")
        compiled = torch.compile(flex_attention, dynamic=False)
        contenders["flex"] = lambda: compiled(q, k, v, block_mask=block_mask)
    return contenders


def bench(ours, torch, options, peaks, mask, element, size, head_size):
    shape = (1, options.heads, options.heads, size, size, head_size)
    tensor_shape = (1, options.heads, size, head_size)
    program, compile_seconds = ours.compile(shape, mask, element)
    if torch:
        dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[element]
        torch.manual_seed(size)
        q, k, v, o = [torch.randn(tensor_shape).to(dtype) for _ in range(4)]
        addresses = [t.data_ptr() for t in (q, k, v, o)]
        contenders = torch_contenders(torch, options, mask, q, k, v)
    else:
        count = options.heads * size * head_size
        arrays = [(ctypes.c_float * count)(*[random.gauss(0, 1) for _ in range(count)]) for _ in range(4)] \
            if element == "f32" else [(ctypes.c_uint16 * count)(*[0x3c00] * count) for _ in range(4)]
        addresses = [ctypes.addressof(a) for a in arrays]
        contenders = {}
    tensors = [(address, tensor_shape) for address in addresses]
    contenders = {"ours": ours.runner(program, element, tensors[:3], tensors[3]), **contenders}
    error = None
    if torch and "sdpa" in contenders:
        contenders["ours"]()
        expected = contenders["sdpa"]().float()
        error = (o.float() - expected).abs().max().item()
        if not error < (1e-4 if element == "f32" else 5e-2):
            raise SystemExit(f"error: results differ by {error} from PyTorch's")
    medians = measure(contenders, options.seconds)
    operations = 4.0 * options.heads * size * size * head_size * live_fraction(mask, size)
    peak = peaks["bf16_peak_gflops" if element == "bf16" and peaks["bf16_peak_gflops"] else "f32_peak_gflops"]
    row = {"mask": mask, "type": element, "size": size, "head_size": head_size, "heads": options.heads,
           "threads": options.threads, "ms": {name: t * 1e3 for name, t in medians.items()},
           "gflops": operations / medians["ours"] * 1e-9,
           "peak_fraction": operations / medians["ours"] * 1e-9 / (peak * options.threads),
           "ratio": {name: t / medians["ours"] for name, t in medians.items() if name != "ours"},
           "compile_ms": compile_seconds * 1e3, "max_difference": error}
    ratios = "  ".join(f"{name} {ratio:5.2f}x" for name, ratio in row["ratio"].items())
    print(f"{mask:20} {element:5} {size:6} {head_size:4} {row['ms']['ours']:9.2f} ms {row['gflops']:8.1f} GFLOP/s "
          f"{row['peak_fraction'] * 100:5.1f} %  compile {row['compile_ms']:5.0f} ms   {ratios}", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--masks", nargs="+", default=["all", "causal"])
    parser.add_argument("--types", nargs="+", default=["f32", "bf16"], choices=list(TYPES))
    parser.add_argument("--sizes", nargs="+", type=int, default=[2048, 4096])
    parser.add_argument("--head-sizes", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contender and row")
    parser.add_argument("--flex", action="store_true", help="time compiled FlexAttention as well")
    parser.add_argument("--naive", action="store_true", help="time the three-step computation as well")
    parser.add_argument("--json", help="write all rows to this file")
    options = parser.parse_args()
    torch = load_torch(options.threads)
    ours = Ours(options.build, options.threads)
    peaks = json.loads(subprocess.run([ours.bench, "--peaks"], check=True, capture_output=True, text=True).stdout)
    print(f"{peaks['cpu']}, {options.threads} threads; peak of one: f32 {peaks['f32_peak_gflops']:.0f}, "
          f"bf16 {peaks['bf16_peak_gflops']:.0f} GFLOP/s; torch {torch.__version__ if torch else 'absent'}")
    print("useful operations only; x: how many times longer the other takes")
    rows = []
    for element in options.types:
        for head_size in options.head_sizes:
            for size in options.sizes:
                for mask in options.masks:
                    rows.append(bench(ours, torch, options, peaks, mask, element, size, head_size))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"peaks": peaks, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
