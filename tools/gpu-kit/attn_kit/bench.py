# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Jobs that measure: ours beside PyTorch's attention, in turns, in one process."""

import statistics
import time

import numpy as np

from .masks import MASKS, document_ids, document_pairs

FLUSH_BYTES = 256 << 20  # several times the L2


class Timer:
    """Times of calls on the GPU, the L2 full of something else before each."""

    def __init__(self, arrays):
        self.torch, self.is_cuda = arrays.xp, arrays.is_cuda
        self.flush = self.torch.empty(FLUSH_BYTES if self.is_cuda else 1, dtype=self.torch.int8, device=arrays.device)

    def times(self, call, count):
        """`count` times in seconds. Nothing is waited for in between."""
        if not self.is_cuda:
            result = []
            for _ in range(count):
                start = time.perf_counter()
                call()
                result.append(time.perf_counter() - start)
            return result
        events = []
        for _ in range(count):
            self.flush.zero_()
            start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            events.append((start, end))
        self.torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1e3 for start, end in events]

    def in_turns(self, calls, seconds=0.12, rounds=3, least=4, most=40):
        """Medians of many: each of `calls` (name: function) for about `seconds` in each round. A call that fails is left
        out, with what it said."""
        alive, counts, samples, errors = dict(calls), {}, {}, {}
        for name, call in calls.items():
            try:
                call()
                self.synchronize()
                once = statistics.median(self.times(call, 2 if self.is_cuda else 1))
                counts[name] = int(min(most, max(least, seconds / max(once, 1e-6)))) if self.is_cuda else 1
            except Exception as error:  # PyTorch's backends refuse what they do not have
                errors[name] = (str(error).splitlines() or [type(error).__name__])[0][:200]
                del alive[name]
                self.synchronize()
        for _ in range(rounds if self.is_cuda else 1):
            for name, call in alive.items():
                samples.setdefault(name, []).extend(self.times(call, counts[name]))
        result = {name: {"seconds": statistics.median(times), "least": min(times), "samples": len(times)}
                  for name, times in samples.items()}
        result.update({name: {"error": error} for name, error in errors.items()})
        return result

    def synchronize(self):
        if self.is_cuda:
            self.torch.cuda.synchronize()


class Inputs:
    def __init__(self, session, kernel, length, batch):
        torch, device = session.arrays.xp, session.arrays.device
        torch.manual_seed(length)
        self.kernel, self.length, self.batch, self.torch = kernel, length, batch, torch
        element = session.arrays.types[kernel["element"]]

        def random(heads, length):
            return torch.randn(batch, heads, length, kernel["head_size"], device=device).to(element)
        self.q = random(kernel["heads"], kernel["queries"] or length)
        self.k, self.v = random(kernel["kv_heads"], length), random(kernel["kv_heads"], length)
        self.ids = None
        if kernel["mask"] == "documents":
            self.host_ids = document_ids(batch, length, length)
            self.ids = session.arrays.integers(self.host_ids)

    def flops(self, recorded):
        """Useful operations: four for each live pair and column."""
        if self.ids is None:
            return recorded
        return 4 * document_pairs(self.host_ids) * self.kernel["heads"] * self.kernel["head_size"]

    def ours(self, session, target):
        """A launch, and the tensor that it writes."""
        torch, element = self.torch, self.kernel["element"]
        o = torch.empty_like(self.q)
        lse = torch.empty(self.q.shape[:3], dtype=torch.float32, device=self.q.device)
        arguments = [(self.q, element), (self.k, element), (self.v, element)]
        arguments += [(self.ids, "i32")] * 2 if self.ids is not None else []
        return session.program(self.kernel["name"], target).bind(
            arguments, [(o, element), (lse, "f32")], stream=session.arrays.stream), o

    def live(self):
        """The mask as a tensor of booleans."""
        torch = self.torch
        p = torch.arange(self.length, device=self.q.device)
        more = [] if self.ids is None else [self.ids[:, None, :, None], self.ids[:, None, None, :]]
        return MASKS[self.kernel["mask"]][1](p[:, None], p[None, :], *more)

    def sdpa(self):
        """PyTorch's scaled_dot_product_attention by each of its backends."""
        from torch.nn.attention import SDPBackend, sdpa_kernel
        mask, options = self.kernel["mask"], {}
        if self.kernel["heads"] != self.kernel["kv_heads"]:
            options["enable_gqa"] = True
        names = {"cudnn": "CUDNN_ATTENTION", "flash": "FLASH_ATTENTION", "efficient": "EFFICIENT_ATTENTION"}
        if mask == "causal":
            options["is_causal"] = True
        elif mask != "all":
            # A mask of all pairs, and no backend skips anything: only where it is not absurd.
            if self.length > 4096:
                return {}
            options["attn_mask"] = self.live()
            del names["flash"]
        function = self.torch.nn.functional.scaled_dot_product_attention

        def call(backend):
            def run():
                with sdpa_kernel([getattr(SDPBackend, backend)]):
                    return function(self.q, self.k, self.v, **options)
            return run
        return {name: call(backend) for name, backend in names.items()}


def agreement(torch, ours, calls, results):
    """How far the others are from ours, which the checks compare with float64."""
    for name, call in calls.items():
        if "error" not in results[name]:
            results[name]["difference"] = float((call().float() - ours.float()).abs().max())


def bench(session, job):
    """Ours and PyTorch's SDPA on one problem."""
    kernel = session.kit["kernels"][job["kernel"]]
    inputs = Inputs(session, kernel, job["length"], job["batch"])
    calls, outputs = {}, {}
    for target in job["targets"]:
        calls["attn " + target], outputs[target] = inputs.ours(session, target)
    others = inputs.sdpa() if job.get("peers", True) else {}
    calls.update(others)
    results = Timer(session.arrays).in_turns(calls)
    agreement(session.arrays.xp, outputs[job["targets"][0]], others, results)
    problem = results["attn " + job["targets"][0]].get("error")
    return {"flops": inputs.flops(job["flops"]), "results": results, "problem": problem}


def flex(session, job):
    """Ours and compiled FlexAttention on one problem."""
    torch = session.arrays.xp
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    kernel = session.kit["kernels"][job["kernel"]]
    inputs = Inputs(session, kernel, job["length"], job["batch"])
    predicate = MASKS[kernel["mask"]][1]
    ids = inputs.ids

    def mask_mod(b, h, i, j):
        return predicate(i, j, ids[b, i], ids[b, j]) if ids is not None else predicate(i, j)
    block_mask, list_seconds = None, 0.0
    if kernel["mask"] != "all":
        for _ in range(2):  # the second time without what is done once
            start = time.perf_counter()
            block_mask = create_block_mask(mask_mod, job["batch"] if ids is not None else None, None, job["length"],
                                           job["length"], device=inputs.q.device)
            session.arrays.synchronize()
            list_seconds = time.perf_counter() - start
    compiled = torch.compile(flex_attention, dynamic=False)
    options = {"enable_gqa": True} if kernel["heads"] != kernel["kv_heads"] else {}

    def call():
        return compiled(inputs.q, inputs.k, inputs.v, block_mask=block_mask, **options)
    start = time.perf_counter()
    call()
    session.arrays.synchronize()
    compile_seconds = time.perf_counter() - start
    ours, o = inputs.ours(session, job["targets"][0])
    results = Timer(session.arrays).in_turns({"attn " + job["targets"][0]: ours, "flex": call})
    agreement(torch, o, {"flex": call}, results)
    return {"flops": inputs.flops(job["flops"]), "results": results, "problem": None,
            "flex_compile_seconds": compile_seconds, "flex_mask_seconds": list_seconds}


def ceilings(session, job):
    """What the machine gives: a matrix product, a copy, and what a launch costs the host."""
    torch, device = session.arrays.xp, session.arrays.device
    n = job["size"]
    a, b = (torch.randn(n, n, device=device).to(torch.bfloat16) for _ in range(2))
    source = torch.empty(job["copy_bytes"], dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    timer = Timer(session.arrays)
    results = timer.in_turns({"product": lambda: a @ b, "copy": lambda: target.copy_(source)}, seconds=0.3)
    kernel = session.kit["kernels"][job["kernel"]]
    launch, _ = Inputs(session, kernel, 128, 1).ours(session, job["target"])
    launch()
    timer.synchronize()
    start, count = time.perf_counter(), 100 if session.arrays.is_cuda else 1
    for _ in range(count):
        launch()
    host = (time.perf_counter() - start) / count
    timer.synchronize()
    return {"product_tflops": 2 * n ** 3 / results["product"]["seconds"] / 1e12,
            "copy_tb_per_s": 2 * source.numel() / results["copy"]["seconds"] / 1e12,
            "launch_us": host * 1e6, "problem": None}
