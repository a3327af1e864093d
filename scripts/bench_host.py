#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times attention on this machine's CPU beside PyTorch: scaled_dot_product_attention, compiled FlexAttention, and the
naive three-step computation.

All contenders of a row run in turns in one process, in random order, so that a busy machine disturbs them alike; printed
are medians, and ratios of medians. The peaks (a loop of multiply-adds, a loop that reads memory) are measured among the
turns. Needs build/bin/attn-bench, build/bin/attn-opt and build/lib/libattn.so; PyTorch in the Python that runs this; a C++
compiler for FlexAttention (CXX, else g++ or clang++).

    build/bin/attn-bench --device=host --vs=torch --python=venv/bin/python --quick
    python scripts/bench_host.py --threads 1 --masks none causal 'window<256, 0>' --sizes 2048 --json host.json
"""

import argparse
import ctypes
import json
import math
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MASKS = ["none", "causal", "window<256, 0>", "window<1024, 0>", "dilated<256, 256, 4>", "strided<128>", "fixed<128, 16>",
         "longformer<256, 16>", "documents<8>"]
# Batch, query heads, key heads, queries, keys, head size: each reads 128 MB or more in 16 bits.
DECODE = [(8, 8, 8, 1, 16384, 64), (4, 8, 8, 1, 16384, 128), (8, 32, 8, 1, 16384, 64), (4, 32, 8, 1, 16384, 128),
          (1, 32, 4, 4, 65536, 128)]


class DlDevice(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class DlType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class DlTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", DlDevice), ("ndim", ctypes.c_int32), ("dtype", DlType),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


TYPES = {"i32": DlType(0, 32, 1), "f32": DlType(2, 32, 1), "f16": DlType(2, 16, 1), "bf16": DlType(4, 16, 1)}
BYTES = {"f32": 4, "f16": 2, "bf16": 2}


def source(shape, mask, element):
    batch, heads, kv_heads, queries, keys, size = shape
    q = f"tensor<{batch}x{heads}x{queries}x{size}x{element}>"
    kv = f"tensor<{batch}x{kv_heads}x{keys}x{size}x{element}>"
    return (f"func.func @f(%q: {q}, %k: {kv}, %v: {kv}) -> {q} {{\n"
            f"  %o = attn.attention %q, %k, %v mask({expression(mask)}) : ({q}, {kv}, {kv}) -> {q}\n"
            f"  return %o : {q}\n}}\n")


def parse_mask(mask):
    """Its name and its numbers."""
    match = re.fullmatch(r"(\w+)(?:<([\d, ]+)>)?", mask)
    return match.group(1), [int(number) for number in (match.group(2) or "").split(",") if number]


def expression(mask):
    """The mask as attn writes it."""
    name, _ = parse_mask(mask)
    return {"none": "all", "documents": "documents(%q_ids, %k_ids)"}.get(name, mask)


def document_ids(count, size):
    """Which of `count` documents, of random lengths, each position belongs to."""
    numbers = random.Random(size)
    return sorted(numbers.randrange(count) for _ in range(size))


def document_pairs(ids, tile):
    """The pairs of the tiles (queries, keys) in which a query and a key belong to one document."""
    rows, columns = tile
    blocks = [(ids[j], ids[min(j + columns, len(ids)) - 1]) for j in range(0, len(ids), columns)]
    tiles = sum(first <= ids[min(i + rows, len(ids)) - 1] and ids[i] <= last
                for i in range(0, len(ids), rows) for first, last in blocks)
    return tiles * rows * columns


class Ours:
    """Compiled functions on the device `host`, through the C API."""

    def __init__(self, build, threads):
        self.bench = os.path.join(build, "bin", "attn-bench")
        self.opt = os.path.join(build, "bin", "attn-opt")
        self.library = ctypes.CDLL(os.path.join(build, "lib", "libattn.so"))
        self.library.attn_error_message.restype = ctypes.c_char_p
        self.device = ctypes.c_void_p()
        self.check(self.library.attn_device_open(b"host", b"threads=%d" % threads, ctypes.byref(self.device)))

    def check(self, status):
        if status:
            raise RuntimeError(self.library.attn_error_message().decode())

    def compile(self, shape, mask, element):
        """The program, and the milliseconds that compiling took."""
        with tempfile.TemporaryDirectory() as folder:
            bundle = os.path.join(folder, "bundle")
            text = subprocess.run([self.bench, "--shape=" + ",".join(map(str, shape)),
                                   "--mask=" + expression(mask), "--type=" + element,
                                   "--save-bundle=" + bundle], check=True, capture_output=True, text=True).stdout
            with open(os.path.join(bundle, "manifest.json")) as file:
                tile = re.search(r"q_tile = (\d+), kv_tile = (\d+)", file.read())
            self.tile = int(tile.group(1)), int(tile.group(2))
            program = ctypes.c_void_p()
            self.check(self.library.attn_program_load(self.device, bundle.encode(), ctypes.byref(program)))
        return program, json.loads(text)

    def executed(self, shape, mask, element):
        """The operations that the kernel executes, counting tiles."""
        name, numbers = parse_mask(mask)
        if name == "documents":  # which tiles those are, the ids say
            _, heads, _, _, size, head_size = shape
            return 4 * heads * head_size * document_pairs(document_ids(numbers[0], size), self.tile)
        text = subprocess.run([self.opt, "-", "--emit=report", "--target=host"], input=source(shape, mask, element),
                              check=True, capture_output=True, text=True).stdout
        return sum(cost["executed_flops"] for cost in json.loads(text)[0]["attention"])

    def runner(self, program, element, tensors, result):
        """A function without arguments that runs the program on PyTorch tensors."""
        def view(tensor):
            shape = tuple(tensor.shape)
            sizes = (ctypes.c_int64 * len(shape))(*shape)
            kind = element if tensor.is_floating_point() else "i32"
            return DlTensor(tensor.data_ptr(), DlDevice(1, 0), len(shape), TYPES[kind], sizes, None, 0)
        views = [view(tensor) for tensor in tensors + [result]]
        pointers = (ctypes.POINTER(DlTensor) * len(views))(*[ctypes.pointer(v) for v in views])
        outputs = (ctypes.POINTER(DlTensor) * 1)(pointers[len(views) - 1])

        def run():
            self.check(self.library.attn_launch(program, pointers, len(tensors), outputs, 1, None, 0, None))
        run.keep = views, tensors, result
        return run


class Peaks:
    """A process that measures what this CPU can do at most."""

    def __init__(self, build):
        self.process = subprocess.Popen([os.path.join(build, "bin", "attn-bench"), "--measure"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def measure(self, what, threads):
        """Operations, or bytes, per second of all threads together."""
        self.process.stdin.write(f"{what} {threads}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def mask_mod(mask, ids=None):
    """The mask as a function of positions, for FlexAttention and for counting live pairs; None for 'none'. `ids`: a tensor
    of those of the documents."""
    name, n = parse_mask(mask)
    if name == "none":
        return None
    mods = {
        "causal": lambda i, j: j <= i,
        "window": lambda i, j: (j >= i - n[0]) & (j <= i + n[1]),
        "dilated": lambda i, j: ((i - j) % n[2] == 0) & (i - j <= n[0] * n[2]) & (j - i <= n[1] * n[2]),
        "strided": lambda i, j: (j <= i) & ((i - j <= n[0]) | ((i - j) % n[0] == 0)),
        "fixed": lambda i, j: (j <= i) & ((i // n[0] == j // n[0]) | (j % n[0] >= n[0] - n[1])),
        "longformer": lambda i, j: ((i - j <= n[0]) & (j - i <= n[0])) | (i < n[1]) | (j < n[1]),
        "documents": lambda i, j: ids[i] == ids[j],
        "chunked": lambda i, j: (j <= i) & (i // n[0] == j // n[0]),
    }
    if name not in mods:
        raise SystemExit(f"error: no FlexAttention form of mask '{mask}' is known to this script")
    return mods[name]


def live_pairs(torch, mask, size, ids):
    mod = mask_mod(mask, ids)
    if mod is None:
        return size * size
    j = torch.arange(size)
    return sum(int(torch.count_nonzero(mod(torch.arange(i, min(i + 512, size))[:, None], j[None, :])))
               for i in range(0, size, 512))


def measure(contenders, seconds, least=3):
    """Medians of what the contenders return, taken in turns: a time, or a rate that the contender measured itself; how
    many turns; medians of the processor time of this process."""
    values, work = {name: [] for name in contenders}, {name: [] for name in contenders}
    spent = 0.0
    while spent < seconds or len(values[next(iter(values))]) < least:
        order = list(contenders)
        random.shuffle(order)
        begin = time.perf_counter()
        for name in order:
            start, used = time.perf_counter(), time.process_time()
            rate = contenders[name]()
            values[name].append(rate if isinstance(rate, float) else time.perf_counter() - start)
            work[name].append(time.process_time() - used)
        spent += time.perf_counter() - begin
    medians = [{name: statistics.median(list_) for name, list_ in all_.items()} for all_ in (values, work)]
    return medians[0], len(values[next(iter(values))]), medians[1]


class Bench:
    def __init__(self, options, torch, threads):
        self.options, self.torch, self.threads = options, torch, threads
        torch.set_num_threads(threads)
        self.ours = Ours(options.build, threads)
        self.peaks = Peaks(options.build)
        self.dense = {}  # programs without a mask, and what they execute
        if "flex" in options.contenders:
            import torch._dynamo
            import torch._inductor.config
            torch._dynamo.reset()
            torch._inductor.config.cpp.threads = threads

    def left(self):
        return self.options.deadline - time.monotonic()

    def ids(self, mask, size):
        name, numbers = parse_mask(mask)
        return self.torch.tensor(document_ids(numbers[0], size), dtype=self.torch.int32) if name == "documents" else None

    def flex(self, mask, q, k, v):
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        self.torch._dynamo.reset()
        mod, block_mask = mask_mod(mask, self.ids(mask, q.shape[2])), None
        if mod is not None:
            block_mask = create_block_mask(lambda b, h, i, j: mod(i, j), None, None, q.shape[2], k.shape[2], device="cpu")
        compiled = self.torch.compile(flex_attention, dynamic=False)
        return lambda: compiled(q, k, v, block_mask=block_mask)

    def naive(self, mask, q, k, v):
        torch, mod, bias = self.torch, mask_mod(mask, self.ids(mask, q.shape[2])), None
        if mod is not None:
            i, j = torch.arange(q.shape[2])[:, None], torch.arange(k.shape[2])[None, :]
            bias = torch.zeros(q.shape[2], k.shape[2], dtype=q.dtype).masked_fill(~mod(i, j), float("-inf"))

        def run():
            scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(q.shape[-1]))
            return torch.softmax(scores if bias is None else scores + bias, dim=-1) @ v
        return run

    def prepare(self, shape, mask, element):
        """The contenders, after one run of each; checks that they agree."""
        torch = self.torch
        batch, heads, kv_heads, queries, keys, size = shape
        dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[element]
        torch.manual_seed(keys)
        q = torch.randn(batch, heads, queries, size).to(dtype)
        k, v = [torch.randn(batch, kv_heads, keys, size).to(dtype) for _ in range(2)]
        o = torch.empty_like(q)
        program, compiled = self.ours.compile(shape, mask, element)
        self.tensors = [q, k, v]
        ids = self.ids(mask, keys)
        extra = [] if ids is None else [ids.repeat(batch, 1)] * 2
        contenders = {"ours": self.ours.runner(program, element, [q, k, v] + extra, o)}
        contenders["ours"]()
        wanted = self.options.contenders
        if "sdpa" in wanted and mask in ("none", "causal"):
            functional = torch.nn.functional
            contenders["sdpa"] = lambda: functional.scaled_dot_product_attention(
                q, k, v, is_causal=mask == "causal", enable_gqa=heads != kv_heads)
        if "flex" in wanted and queries == keys and self.left() > 60:
            contenders["flex"] = self.flex(mask, q, k, v)
        if "naive" in wanted and queries == keys and keys <= self.options.naive_limit:
            contenders["naive"] = self.naive(mask, q, k, v)
        difference = None
        for name in list(contenders)[1:]:
            try:
                begin = time.perf_counter()
                expected = contenders[name]().float()
            except Exception as error:  # one contender's trouble is not the others'
                print(f"{name} cannot compute {mask}, {element}: {str(error).splitlines()[0]}", file=sys.stderr)
                del contenders[name]
                continue
            if name != "flex" and time.perf_counter() - begin > self.options.slow:
                del contenders[name]
            off = (o.float() - expected).abs().max().item()
            difference = max(off, difference or 0.0)
            if not off < (1e-4 if element == "f32" else 5e-2):
                raise SystemExit(f"error: {mask}, {element}, {shape}: results differ by {off} from those of {name}")
        return contenders, compiled, difference

    def row(self, mask, element, size, head_size):
        heads = self.options.heads
        shape = (1, heads, heads, size, size, head_size)
        contenders, compiled, difference = self.prepare(shape, mask, element)
        what = "bf16" if element == "bf16" else "f32"
        contenders["peak"] = lambda: self.peaks.measure(what, self.threads)
        key = (element, size, head_size)
        if key not in self.dense:
            self.dense[key] = (self.ours.compile(shape, "none", element)[0], self.ours.executed(shape, "none", element))
        if mask != "none":
            contenders["dense"] = self.ours.runner(self.dense[key][0], element, self.tensors,
                                                   self.torch.empty_like(self.tensors[0]))
            contenders["dense"]()
        medians, rounds, work = measure(contenders, min(self.options.seconds * len(contenders), max(self.left(), 0)))
        peak = medians.pop("peak")
        dense = medians.pop("dense", medians["ours"])
        useful = 4.0 * heads * head_size * live_pairs(self.torch, mask, size, self.ids(mask, size))
        fraction = self.ours.executed(shape, mask, element) / self.dense[key][1]
        row = {"kind": "forward", "mask": mask, "type": element, "size": size, "head_size": head_size, "heads": heads,
               "threads": self.threads, "rounds": rounds, "ms": {name: t * 1e3 for name, t in medians.items()},
               "gflops": useful / medians["ours"] * 1e-9, "peak_gflops": peak * 1e-9,
               "peak_fraction": useful / medians["ours"] / peak,
               "executed_fraction": fraction, "proportion": medians["ours"] / (dense * fraction),
               "processor_proportion": work["ours"] / (work.get("dense", work["ours"]) * fraction),
               "ratio": {name: t / medians["ours"] for name, t in medians.items() if name != "ours"},
               "compile_ms": compiled["compile_ms"], "compile_processor_ms": compiled["compile_processor_ms"],
               "max_difference": difference}
        ratios = "".join(f" {row['ratio'][n]:7.2f}" if n in row["ratio"] else "       -" for n in ("sdpa", "flex", "naive"))
        print(f"{mask:21} {element:4} {size:6} {head_size:4} {self.threads:3} {row['ms']['ours']:10.2f} {row['gflops']:8.1f}"
              f" {100 * row['peak_fraction']:5.0f} % {row['proportion']:5.2f} {row['processor_proportion']:5.2f} "
              f"{row['compile_ms']:8.0f} {ratios}", flush=True)
        return row

    def decode_row(self, shape, element):
        contenders, compiled, difference = self.prepare(shape, "none", element)
        contenders["read"] = lambda: self.peaks.measure("read", self.threads)
        medians, rounds, _ = measure(contenders, min(self.options.seconds * len(contenders), max(self.left(), 0)), 5)
        read = medians.pop("read")
        batch, _, kv_heads, _, keys, size = shape
        rate = 2.0 * batch * kv_heads * keys * size * BYTES[element] / medians["ours"]
        row = {"kind": "decode", "shape": shape, "type": element, "threads": self.threads, "rounds": rounds,
               "ms": {name: t * 1e3 for name, t in medians.items()}, "gbytes": rate * 1e-9, "read_gbytes": read * 1e-9,
               "read_fraction": rate / read,
               "ratio": {name: t / medians["ours"] for name, t in medians.items() if name != "ours"},
               "compile_ms": compiled["compile_ms"], "compile_processor_ms": compiled["compile_processor_ms"],
               "max_difference": difference}
        sdpa = f"{row['ratio']['sdpa']:7.2f}" if "sdpa" in row["ratio"] else "      -"
        print(f"{','.join(map(str, shape)):24} {element:4} {self.threads:3} {row['ms']['ours']:10.2f} {row['gbytes']:8.1f}"
              f" {row['read_gbytes']:8.1f} {100 * row['read_fraction']:5.0f} % {sdpa}", flush=True)
        return row


def find_compiler():
    """FlexAttention's generated code needs a C++ compiler with OpenMP."""
    if "CXX" in os.environ:
        return
    for name in ("g++", "clang++", "clang++-22"):
        if shutil.which(name):
            os.environ["CXX"] = name
            return
    print("no C++ compiler is found: FlexAttention is left out", file=sys.stderr)


def parse():
    every = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--threads", nargs="+", default=sorted({1, every}), type=int, help="default: 1 and all")
    parser.add_argument("--masks", nargs="*", default=MASKS, help="none given: decoding only")
    parser.add_argument("--types", nargs="+", default=["f32", "bf16"], choices=list(BYTES))
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 1024, 2048, 4096, 8192, 16384])
    parser.add_argument("--head-sizes", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--contenders", nargs="*", default=["sdpa", "flex", "naive"], choices=["sdpa", "flex", "naive"])
    parser.add_argument("--no-decode", action="store_true", help="leave decoding out")
    parser.add_argument("--naive-limit", type=int, default=4096, help="the naive computation up to this size")
    parser.add_argument("--slow", type=float, default=20.0, help="leave a contender out that takes more seconds for a run")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contender of a row")
    parser.add_argument("--budget", type=float, default=7200.0, help="seconds in all: rows after that are left out")
    parser.add_argument("--quick", action="store_true", help="S = 2048, D = 64 and two decode shapes, 0.4 s for each")
    parser.add_argument("--json", help="write all rows to this file")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.head_sizes, options.seconds = [2048], [64], 0.4
    options.deadline = time.monotonic() + options.budget
    return options


def main():
    options = parse()
    try:
        import torch
    except ImportError:
        raise SystemExit(f"error: {sys.executable} has no torch; give a Python that has it, "
                         "such as --python=venv/bin/python after 'pip install torch'") from None
    find_compiler()
    machine = json.loads(subprocess.run([os.path.join(options.build, "bin", "attn-bench"), "--peaks"], check=True,
                                        capture_output=True, text=True).stdout)
    print(f"{machine['cpu']}, {len(os.sched_getaffinity(0))} processors; torch {torch.__version__}; "
          f"{options.heads} heads; medians of turns")
    rows, left_out = [], 0
    for threads in options.threads:
        bench = Bench(options, torch, threads)
        print("\nS queries and keys; GFLOP/s of useful operations and their part of the peak; prop.: time over dense time x "
              "executed fraction,\ncpu: of processor time; sdpa, flex, naive: how many times longer they take\n"
              f"{'mask':21} type      S    D  thr         ms  GFLOP/s    peak prop.   cpu compile ms    sdpa    flex   naive")
        for size in options.sizes:
            for head_size in options.head_sizes:
                for element in options.types:
                    for mask in options.masks:
                        if bench.left() < 0:
                            left_out += 1
                            continue
                        rows.append(bench.row(mask, element, size, head_size))
        if options.no_decode:
            continue
        print("\ndecoding: batch, query heads, key heads, queries, keys, head size; GB/s of K and V, of a loop that reads\n"
              f"{'shape':24} type thr         ms     GB/s     read    part    sdpa")
        for shape in DECODE[:2] if options.quick else DECODE:
            for element in options.types:
                if bench.left() < 0:
                    left_out += 1
                    continue
                rows.append(bench.decode_row(shape, element))
    if left_out:
        print(f"{left_out} rows are left out: the budget of {options.budget:.0f} s is spent")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"cpu": machine["cpu"], "torch": torch.__version__, "date": time.strftime("%Y-%m-%d"),
                       "rows": rows}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
