# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Jobs that say whether a kernel is right. Each returns what it found; `problem` is None where all is well."""

import pathlib

import numpy as np

from .masks import document_ids
from .reference import Judge, Problem


class Session:
    """A device, the arrays that live on it, and what the kit holds."""

    def __init__(self, root, library, device, arrays, kit):
        self.root, self.library, self.device, self.arrays, self.kit = pathlib.Path(root), library, device, arrays, kit
        self.programs = {}

    def program(self, name, target):
        if (name, target) not in self.programs:
            self.programs[name, target] = self.device.load(self.root / "bundles" / name / target)
        return self.programs[name, target]

    def problem(self, kernel, batch, queries, keys, seed):
        ids = None
        if kernel["mask"] == "documents":  # the sequences end together
            both = document_ids(batch, max(queries, keys), seed)
            ids = [both[:, -count:].copy() for count in (queries, keys)]
        return Problem(self.arrays, kernel, batch, queries, keys, seed, ids)


def check(session, job):
    """One launch beside float64, at all rows or at some of each head."""
    kernel = session.kit["kernels"][job["kernel"]]
    problem = session.problem(kernel, job["batch"], job["queries"], job["keys"], job["seed"])
    launch = problem.bind(session.program(job["kernel"], job["target"]))
    launch()
    session.arrays.synchronize()
    judge, random = Judge(), np.random.default_rng(job["seed"] + 1)
    for batch in range(job["batch"]):
        for head in range(kernel["heads"]):
            rows = np.arange(job["queries"])
            if job.get("rows") and job["rows"] < job["queries"]:
                rows = np.sort(random.choice(rows, job["rows"], replace=False))
            judge.rows(problem, batch, head, rows)
    return judge.verdict(kernel["element"])


def golden(session, job):
    """Stored inputs, and the result of the project's own float64 evaluator."""
    kernel = session.kit["kernels"][job["kernel"]]
    data = np.load(session.root / "golden" / (job["kernel"] + ".npz"))
    ids = [data["q_ids"], data["k_ids"]] if "q_ids" in data else None
    problem = Problem(session.arrays, kernel, data["q"].shape[0], data["q"].shape[2], data["k"].shape[2], 0, ids,
                      [data["q"], data["k"], data["v"]])
    problem.bind(session.program(job["kernel"], job["target"]))()
    session.arrays.synchronize()
    judge = Judge()
    for head in range(kernel["heads"]):
        judge.rows(problem, 0, head, np.arange(problem.queries))
    result = judge.verdict(kernel["element"])
    # The kit's own reference agrees with the stored one only if both are right.
    arrays = session.arrays
    for name, stored, element in (("o", problem.o, kernel["element"]), ("lse", problem.lse, "f32")):
        found = np.asarray(arrays.real(stored, element, double=True).tolist())
        expected = data[name].astype(np.float64)
        bound = result["max_bound"] if name == "o" else 1e-3
        wrong = (found != expected) & ~(np.abs(found - expected) <= bound)
        if wrong.any() and not result["problem"]:
            where = tuple(int(x) for x in np.argwhere(wrong)[0])
            result["problem"] = f"{name}{list(where)} is {found[where]:.6g}, stored is {expected[where]:.6g}"
    return result


def repeat(session, job):
    """The same launch many times, bit for bit."""
    kernel = session.kit["kernels"][job["kernel"]]
    problem = session.problem(kernel, job["batch"], job["queries"], job["keys"], job["seed"])
    arrays = session.arrays
    program = session.program(job["kernel"], job["target"])
    problem.bind(program)()
    first, first_lse = arrays.bits(problem.o), arrays.bits(problem.lse)
    problem.clear()
    launch = problem.bind(program)
    different = 0
    for _ in range(job["times"]):
        # What an earlier launch wrote must not help a later one.
        problem.o[:] = 0
        problem.lse[:] = 0
        launch()
        # Added up on the device: no launch waits for the one before.
        different = different + (arrays.bits(problem.o) != first).any() + (arrays.bits(problem.lse) != first_lse).any()
    different = int(different)
    return {"times": job["times"], "problem": f"{different} of {2 * job['times']} results differ from the first"
            if different else None}


def corpus(session, job):
    """A small kernel of the simulator's tests, on the words that the simulator computed when the kit was packed."""
    folder = session.root / "corpus" / job["name"]
    data = np.load(folder / "data.npz")
    arrays = session.arrays
    # copies: a launch on host memory must not change what was stored
    inputs = [arrays.integers(data[name].copy()) for name in ("a", "b") if name in data]
    out = arrays.integers(data["out"].copy())
    case = session.kit["corpus"][job["name"]]
    session.device.load(folder).bind([(x, "i32") for x in inputs], [(out, case["type"])], case["scalars"],
                                     arrays.stream)()
    arrays.synchronize()
    found, expected = np.asarray(out.tolist(), data["out"].dtype), data["expected"]
    wrong = found != expected
    result = {"words": int(expected.size), "different": int(wrong.sum()), "problem": None}
    if not wrong.any():
        return result
    if case.get("tolerance"):
        # Approximations: PTX bounds their error, not their bits.
        a, b = (x.reshape(-1).view(np.float32).astype(np.float64) for x in (found, expected))
        error = np.abs(a - b) / (1 + np.abs(b))
        result["error"] = float(np.nanmax(error))
        if not (error <= case["tolerance"]).all():
            result["problem"] = f"differs by {result['error']:.3g}, more than {case['tolerance']}"
        return result
    where = int(np.flatnonzero(wrong.reshape(-1))[0])
    result["problem"] = (f"{result['different']} words differ; word {where} is {int(found.flat[where]) & 0xFFFFFFFF:#x}, "
                         f"the simulator's {int(expected.flat[where]) & 0xFFFFFFFF:#x}")
    return result
