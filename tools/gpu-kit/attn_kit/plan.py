# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The jobs of a run, the most important ones first: what the time does not suffice for comes last."""

from .kernels import CUBIN, FLEX, TARGETS, batch_of

# Batch, queries, keys: one tile and less, ragged, more queries than keys, several tiles.
SHAPES = [(1, 200, 290), (2, 65, 33), (1, 1, 129), (1, 515, 1030)]


def usable(kit, targets, name):
    return [target for target in [TARGETS[0], CUBIN, *TARGETS[1:]]
            if target in targets and target in kit["kernels"][name]["targets"]]


def variants(kit, targets, name):
    """Targets that are the best one with another schedule."""
    return [target for target in kit["kernels"][name]["targets"]
            if target in targets and target not in TARGETS and target != CUBIN]


def plan(kit, targets, is_cuda, has_torch, quick):
    """`targets`: those that the device runs, best first. Returns pairs of priority and job."""
    kernels, jobs = kit["kernels"], []

    def add(priority, kind, **job):
        jobs.append((priority, dict(job, kind=kind)))
    for name, case in kit["corpus"].items():
        if case["target"] in targets or case["target"] == "sm_86" and is_cuda:
            add(0, "corpus", name=name)
    for number, name in enumerate(kernels):
        for rank, target in enumerate(usable(kit, targets, name)):
            # The best target first; the others when what matters most was measured.
            priority = 1 if rank == 0 or target == CUBIN else 4
            if kernels[name]["golden"]:
                add(priority, "golden", kernel=name, target=target)
            small = name.startswith("small-")
            known = kernels[name]["queries"]
            for index, (batch, queries, keys) in enumerate(SHAPES):
                queries = known or queries
                if is_cuda or index == 0 and not quick or small and index < 2:
                    add(priority, "check", kernel=name, target=target, batch=batch, queries=queries, keys=keys,
                        seed=100 * number + index)
            if is_cuda and not small:
                # All of a long problem runs; 16 rows of each head are compared.
                add(priority, "check", kernel=name, target=target, batch=2, queries=known or 4096, keys=4096,
                    seed=number, rows=16)
            if not quick:
                add(3 if rank == 0 else 5, "repeat", kernel=name, target=target, batch=1 if is_cuda else 1,
                    queries=known or (1500 if is_cuda else 70), keys=1500 if is_cuda else 130, seed=number,
                    times=1000 if is_cuda else 2)
        for target in variants(kit, targets, name):
            for index, (batch, queries, keys) in enumerate(SHAPES):
                if is_cuda or index == 0 and not quick:
                    add(1.5, "check", kernel=name, target=target, batch=batch, queries=queries, keys=keys, seed=index)
    if has_torch and not quick:
        first = next(name for name in kernels)
        add(1, "ceilings", size=8192 if is_cuda else 64, copy_bytes=(4 << 30) if is_cuda else 1 << 20, kernel=first,
            target=usable(kit, targets, first)[0])
        for number, problem in enumerate(kit["problems"]):
            name, length, recorded = problem["kernel"], problem["length"], problem["flops"]
            best = usable(kit, targets, name)
            job = {"kernel": name, "length": length, "batch": batch_of(kernels[name], length), "flops": recorded}
            if not is_cuda:  # the same code, on a problem that a simulator can do
                job.update(length=128, batch=1, flops=0)
                if number % 12:
                    continue
            chosen = best[:1] + [target for target in best[1:] if target == CUBIN and number < 12
                                 or length == 8192 and name in ("d128-all", "d128-causal")]
            add(2 if number < 12 else 4 + number / 1000, "bench", targets=chosen, **job)
            if length in (8192, 2048) and variants(kit, targets, name) and is_cuda:
                add(2.5, "bench", targets=best[:1] + variants(kit, targets, name), peers=False, **job)
            if (name, length) in FLEX:
                add(4.01 + FLEX.index((name, length)) / 1000, "flex", targets=best[:1], **job)
    return [job for _, job in sorted(jobs, key=lambda pair: pair[0])]


def label(job):
    if job["kind"] == "corpus":
        return f"corpus {job['name']}"
    if job["kind"] == "ceilings":
        return "ceilings"
    shape = f"{job['queries']} x {job['keys']}" if "queries" in job else f"S {job['length']}" if "length" in job else ""
    return f"{job['kind']} {job['kernel']} {job.get('target', '')} {shape}".rstrip()
