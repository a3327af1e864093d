#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Do the simulator and the tolerance rule find mistakes in the kernels that attn-opt emits?

Deletes or perturbs, one at a time, each fence, wait, barrier, arrival, copy, swizzle, byte count, parity, descriptor and
rescale of real kernels, and runs each mutant in the simulator: eager, lazy and random. A mutant is caught by a finding, by
a result outside the tolerance, or by text that the simulator refuses. Exits with 1 if fewer than 95 % are caught, or if a
survivor is not among those that docs/Testing.md explains.

    scripts/mutate_kernels.py                     all mutants of all kernels (minutes)
    scripts/mutate_kernels.py --sample=40         some of them, as the tests do
    scripts/mutate_kernels.py --kernel=sm_90a-band --show=parity
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "gpu-kit"))

from attn_kit.arrays import NumpyArrays, POISON, round_to_bits  # noqa: E402
from attn_kit.processes import PYTHON, Worker  # noqa: E402
from attn_kit.reference import Judge, Problem  # noqa: E402
from attn_kit.runtime import Error, Library  # noqa: E402

MODES = ["mode=eager", "mode=lazy", "mode=random,seed=5", "mode=random,seed=6"]

# name: target, element, head size, mask, its predicate, queries, keys, schedule. The masked tiles wrap around the stages, the
# full ones too. In sm_90a-window and sm_90a-band an item starts in the last slot, in sm_90a-window also one in the odd phase, and one
# ends with the last slot; in sm_90a-turns items end in different phases.
TWO = ("q_tile = 128, kv_tile = 64, warps = 8, stages = 2, q_in_registers = false, producer_registers = 24, "
       "consumer_registers = 240")
KERNELS = {
    "sm_90a-window": ("sm_90a", "bf16", 64, "window<1900, -300>", lambda p, j: (p - j <= 1900) & (p - j >= 300), 390, 2500, None),
    "sm_90a-band": ("sm_90a", "f16", 128, "window<900, -200>", lambda p, j: (p - j <= 900) & (p - j >= 200), 230, 1300, None),
    "sm_90a-turns": ("sm_90a", "bf16", 64, "window<400, 0>", lambda p, j: (p - j <= 400) & (j <= p), 150, 600,
                     TWO + ", overlap = true, turns = true"),
    "sm_90a-shared": ("sm_90a", "bf16", 64, "causal", lambda p, j: j <= p, 150, 600, TWO + ", weights_in_shared = true"),
    "sm_80-window": ("sm_80", "f16", 128, "window<200, 30>", lambda p, j: (p - j <= 200) & (j - p <= 30), 150, 420, None),
    "sm_80-causal": ("sm_80", "bf16", 64, "causal", lambda p, j: j <= p, 150, 430, None),
}

# Survivors: docs/Testing.md says why each is none of the tests' fault. Category, expression for the mutant, one for the
# lines around it, the reason, and how many lines behind the mutant are looked at, if not 12.
EXPLAINED = [
    ("fence", r"fence\.mbarrier_init", "", "the barrier behind it orders the same, in a cluster of one block"),
    ("arrival", r"mbarrier\.arrive.* deleted", r"mbarrier\.arrive\S*\s+%rd\d+, \[%r\d+\];\n\$L\w+:\nshfl\.sync\.bfly",
     "behind the last product nobody waits for its slot"),
    ("registers", r"setmaxnreg\.inc.* deleted", "", "a request for registers has no result"),
    ("barrier", r"bar\.warp\.sync.* deleted", r"wgmma\.wait_group", "the wait before it is one of the whole warp"),
    ("barrier", r"bar\.warp\.sync.* deleted", r"wait_group\.read\s+0;\nbar\.warp\.sync\s+-1;\n\$L\w+:\nret", "the warp ends behind it"),
    ("wait|fence", r"(wait_group|fence\.proxy).* deleted|wait_group\s+1", r"(?s)(wait_group|fence\.proxy).*arrive\S*\s+%rd\d+, \[attn_shared",
     "the threads that copy Q wait and fence again before they say that a first tile of K is there"),
    ("swizzle", r"xor", r"ld\.shared\.v4\.b32|mov\.b32\s+%r\d+, 0;\n\$L",
     "a pass over a tile that looks for values that are not finite, or sets them to 0, may take any order"),
    ("barrier", r"bar\.sync\s+1, \d+; deleted", r"and\.b64\s+%rd\d+, %rd\d+, 15;\n.*\nbar\.sync",
     "a warpgroup writes O over its own rows of Q, and has waited for what read them"),
    ("arrival", r"mbarrier\.arrive\S*\s.* deleted", r"mbarrier\.arrive.*\n\$L\w+:\nshfl\.sync\.bfly",
     "the last slot of V is released, and nothing is loaded any more"),
    ("arrival", r"mov\.b32 \s*%r\d+, 8; -> mov\.b32 \S+ 7;", r"\A(.*\n){8}mov.*\nmbarrier\.init.*\n(?!mbarrier\.init)",
     "Q is read by products that all warps of a warpgroup have waited for"),
    ("wait|fence", r"(wait_group|fence\.proxy).* deleted|wait_group\s+1", r"arrive\S*\s+%rd\d+, \[%r\d+\];\n@%p",
     "V of the tile before is copied behind K, by the same threads, and waited for first"),
    ("wait", r"@%p\d+ bra.* deleted", r"(?s)selp\.b32.{,150}\$L\w+:\nmbarrier\.try_wait(?!.*expect_tx)",
     "rows of K are copied before, into a slot that a masked tile releases just before this one"),
    ("barrier", r"bar\.warp\.sync.* deleted", r"bar\.warp\.sync\s+-1;\nsetp.*\n@.*\nmbarrier\.arrive",
     "the products before it are waited for by the whole warp"),
    ("barrier", r"bar\.sync\s+%r\d+, 256; deleted", r"bar\.sync.*\n\$L\w+:\ncp\.async\.bulk\.wait_group",
     "the turn behind the last item leaves no arrival pending when the block ends"),
    ("barrier", r"bar\.sync\s+%r\d+, 128; deleted", r"(?s)bar\.sync((?!wgmma).)*bar\.red\.or",
     "the vote on v before the product is a barrier of all warps that compute", 90),
    ("wait", r"wgmma\.wait_group.*1;( deleted| -> .*2;)", r"(?s)wait_group.*wait_group\S*\s+0",
     "a partial tile waits for both of its products at once"),
    ("wait", r"cp\.async\.wait_group\s+0; -> .*1;", r"bar\.sync\s+0;\nand\.b32",
     "the last group of copies is empty when the loops are over"),
]


def source(element, head_size, mask, schedule):
    clause = f" schedule(#attn.schedule<{schedule}>)" if schedule else ""
    tensor = f"tensor<1x1x?x{head_size}x{element}>"
    return f"""func.func @f(%q: {tensor}, %k: {tensor}, %v: {tensor}) -> ({tensor}, tensor<1x1x?xf32>) {{
  %o, %lse = attn.attention %q, %k, %v mask({mask}){clause} : ({tensor}, {tensor}, {tensor}) -> ({tensor}, tensor<1x1x?xf32>)
  return %o, %lse : {tensor}, tensor<1x1x?xf32>
}}
"""


class Mutants:
    """The mutants of one kernel's text: (category, line, what, new line or None)."""

    DELETED = [
        ("fence", r"fence\."), ("barrier", r"bar\.|barrier\."), ("wait", r"(cp\.async(\.bulk)?|wgmma)\.wait_"),
        ("commit", r"commit_group"), ("arrival", r"mbarrier\.arrive|mbarrier\.init"), ("copy", r"cp\.async\.(bulk\.)?[a-z]*[ .]"),
        ("registers", r"setmaxnreg"),
    ]

    def __init__(self, text):
        self.lines = text.split("\n")
        self.code = [line.split("//")[0].strip() for line in self.lines]
        self.result = []
        self.parities = self.registers_of_parity()
        values = collections.defaultdict(set)
        for line in self.code:
            if re.match(r"[a-z]\S*\s+%r\d+, ", line):
                match = re.match(r"mov\.b32\s+%r\d+, (\d+);", line)
                values[self.operands(line)[0]].add(match[1] if match else None)
        self.constants = {register: value for register, (value, *more) in values.items() if not more}
        self.counts = self.last_operands(r"mbarrier\.arrive\.expect_tx")
        self.arrivals = self.last_operands(r"mbarrier\.init")
        factors = collections.Counter(self.operands(line)[-1] for line in self.code if re.match(r"mul\S*\.f32(x2)?\s", line))
        # A factor of many products is a rescale; its sum's is the same.
        self.factors = {register for register, count in factors.items() if count >= 8 and register.startswith("%")}
        for number, line in enumerate(self.code):
            if line and not line.startswith((".", "}", "{", "ld.param")):
                self.mutate(number, line)

    @staticmethod
    def operands(line):
        return [word.strip() for word in re.split(r",(?![^{]*})", line.rstrip(";").split(None, 1)[-1])]

    def last_operands(self, pattern):
        return {self.operands(line)[-1] for line in self.code if re.search(pattern, line)}

    def registers_of_parity(self):
        """Registers whose values reach the parity of a wait."""
        found = {word for word in self.last_operands(r"try_wait\.parity") if word.startswith("%")}
        moves = []
        for line in self.code:
            if re.match(r"(mov|selp|xor)\.b32\s", line):
                words = self.operands(line)
                moves.append((words[0], [word for word in words[1:3] if word.startswith("%r")]))
        while True:
            more = {source for target, sources in moves if target in found for source in sources} - found
            if not more:
                return found
            found |= more

    def uses_leading_offset(self, number):
        """Does the ISA read this descriptor's leading offset? With swizzles only where the operand is transposed and wider
        than a panel of 64 columns."""
        register = self.operands(self.code[number])[0]
        product = next(line for line in self.code[number:] if line.startswith("wgmma.mma_async"))
        return register in product and product.rstrip(";").endswith("1") and int(re.search(r"n(\d+)k16", product)[1]) > 64

    def add(self, category, number, new, what=None):
        what = what or ("deleted" if new is None else "-> " + new)
        self.result.append((category, number, f"line {number + 1}: {self.code[number][:90]} {what}", new))

    def mutate(self, number, line):
        body = re.sub(r"^@!?%p\d+\s+", "", line)
        words = self.operands(body)
        for category, pattern in self.DELETED:
            if re.match(pattern, body):
                self.add(category, number, None)
                break
        if "bra" in line and any("try_wait" in before for before in self.code[max(0, number - 2):number]):
            self.add("wait", number, None)  # goes on whatever the phase
        if match := re.match(r"(.*wait_group\S*\s+)(\d+);", line):
            self.add("wait", number, f"{match[1]}{int(match[2]) + 1};")
        if match := re.match(r"(bar(?:rier)?\.\S*\s+\S+,\s*(?:%p\d+,\s*)?\d*,?\s*)(\d+)(.*;)", line):
            if int(match[2]) > 32 and not body.startswith("bar.red"):
                self.add("barrier", number, f"{match[1]}{int(match[2]) - 32}{match[3]}")
        if match := re.match(r"(setmaxnreg\.\S*\s+)(\d+);", line):
            self.add("registers", number, f"{match[1]}{int(match[2]) + 8};")
        if "try_wait.parity" in body:
            for value in ("0", "1"):
                # What it is anyway is no mutant.
                before = self.code[number - 1]
                known = re.fullmatch(r"mov\.b32\s+" + re.escape(words[-1]) + r", (\d);", before)
                if self.constants.get(words[-1], known[1] if known else words[-1]) != value:
                    self.add("parity", number, line.replace(words[-1] + ";", value + ";"))
        if match := re.match(r"mov\.b32\s+(%r\d+), (\d+);", line):
            register, value = match[1], int(match[2])
            if register in self.counts:
                for other in (value - 16, value + 16):
                    self.add("byte count", number, f"mov.b32 {register}, {other};")
            elif register in self.arrivals:
                for other in (value - 1, value + 1):
                    self.add("arrival", number, f"mov.b32 {register}, {other};")
            elif register in self.parities and value in (0, 1):
                self.add("parity", number, f"mov.b32 {register}, {1 - value};")
        if match := re.match(r"selp\.b32\s+(%r\d+), (\d+), (\d+), (%p\d+);", line):
            if match[1] in self.arrivals:
                self.add("arrival", number, f"selp.b32 {match[1]}, {int(match[2]) + 1}, {match[3]}, {match[4]};")
                self.add("arrival", number, f"selp.b32 {match[1]}, {match[2]}, {int(match[3]) - 1}, {match[4]};")
        for kind, operand in (("mbarrier.init", -1), ("expect_tx", -1)):
            if kind in body and words[operand].isdigit():
                step = 16 if kind == "expect_tx" else 1
                for by in (-step, step):
                    self.add("byte count" if step == 16 else "arrival", number,
                             re.sub(r"\d+;$", f"{int(words[operand]) + by};", line))
        if match := re.match(r"xor\.b32\s+(%r\d+), (%r\d+), (\S+);", line):
            is_parity = match[3] == "1" and match[2] in self.parities
            self.add("parity" if is_parity else "swizzle", number, f"mov.b32 {match[1]}, {match[2]};")
        if match := re.match(r"(or\.b64\s+%rd\d+, %rd\d+, )(-?\d{15,});", line):
            bits = int(match[2]) % 2**64
            mutants = [("swizzle", (bits & ~(3 << 62)) | (((bits >> 62) % 3 + 1) << 62)), ("descriptor", bits ^ (1 << 33))]
            if self.uses_leading_offset(number):
                mutants.append(("descriptor", bits ^ (1 << 17)))
            for category, other in mutants:
                self.add(category, number, f"{match[1]}{other - 2**64 if other >= 2**63 else other};")
        if match := re.match(r"(add\.s64\s+(?:left|right), \S+, )(\d+);", line):
            self.add("descriptor", number, f"{match[1]}{int(match[2]) + 2};")
        if match := re.match(r"(wgmma\.mma_async.*, )([01]);", line):
            self.add("descriptor", number, f"{match[1]}{1 - int(match[2])};", "-> transposed or not")
        if re.match(r"mul\S*\.f32(x2)?\s", line) and words[-1] in self.factors:
            kind = "b64" if ".f32x2" in line else "b32"
            self.add("rescale", number, f"mov.{kind} {words[0]}, {words[1]};")
        if re.match(r"fma\S*\.f32\s", line) and words[2] in self.factors:
            self.add("rescale", number, f"add.rn.f32 {words[0]}, {words[1]}, {words[3]};")

    def text(self, mutant):
        _, number, _, new = mutant
        return "\n".join(self.lines[:number] + ([] if new is None else ["\t" + new]) + self.lines[number + 1:])


class Kernel:
    """One kernel, compiled, and the problems that its mutants run on."""

    def __init__(self, name, build):
        self.name = name
        self.target, self.element, self.head_size, self.mask, self.live, self.queries, self.keys, schedule = KERNELS[name]
        with tempfile.TemporaryDirectory() as folder:
            bundle = os.path.join(folder, "bundle")
            subprocess.run([os.path.join(build, "bin", "attn-opt"), "-", "--emit=bundle", f"--target={self.target}", "-o",
                            bundle], input=source(self.element, self.head_size, self.mask, schedule), text=True, check=True)
            self.manifest = json.loads(pathlib.Path(bundle, "manifest.json").read_text())
            self.code = pathlib.Path(bundle, "f.ptx").read_text()
        self.mutants = Mutants(self.code)
        self.all = [("code", mutant) for mutant in self.mutants.result]
        for index, param in enumerate(self.manifest["launches"][0]["params"]):
            if param["kind"] == "tensor_map" and param["swizzle"]:
                self.all.append(("map", ("swizzle", index, f"tensor map {index}: swizzle {param['swizzle']} -> none", None)))

    def bundle(self, which):
        """(manifest, code) of a mutant; of the kernel itself for None."""
        manifest, code = json.loads(json.dumps(self.manifest)), self.code
        if which is not None:
            kind, mutant = self.all[which]
            if kind == "code":
                code = self.mutants.text(mutant)
            else:
                manifest["launches"][0]["params"][mutant[1]]["swizzle"] = 0
        manifest["code"]["sha256"] = hashlib.sha256(code.encode()).hexdigest()
        return json.dumps(manifest), code

    def problems(self):
        """(name, rows, not finite, keys): rows that a tensor map can address, values that are not finite, no keys, rows with a
        negative stride, which no tensor map has, rows that are not aligned to anything, and masked tiles alone."""
        yield "", "", False, self.keys
        yield " with NaN in v", "", True, self.keys
        yield " without keys", "", False, 0
        if self.target.endswith("a"):
            yield " backwards", "backwards", False, self.keys
        yield " at odd addresses", "odd", False, self.keys
        yield " with few keys", "odd", False, self.queries + 20


def place(bits, rows):
    """An array of these bits: as it is, with rows in reverse order in memory, or with rows off 16 bytes."""
    if rows == "backwards":
        return np.ascontiguousarray(bits[..., ::-1, :])[..., ::-1, :]
    if rows == "odd":
        room = np.full(bits.shape[:-1] + (bits.shape[-1] + 3,), 0x7FF0, bits.dtype)
        room[..., 1:-2] = bits
        return room[..., 1:-2]
    return bits


def make_problem(kernel, rows, poisoned, keys):
    """Inputs, and outputs that nothing was written to."""
    arrays = NumpyArrays()
    description = {"element": kernel.element, "head_size": kernel.head_size, "heads": 1, "kv_heads": 1, "mask": "all"}
    generator = np.random.default_rng(17)
    inputs = []
    for count, scale in ((kernel.queries, 1.5), (keys, 1), (keys, 1)):
        values = scale * generator.standard_normal((1, 1, count, kernel.head_size), dtype=np.float32)
        inputs.append(round_to_bits(values, kernel.element))
    if poisoned:
        # Keys that some rows see and others do not; infinities too.
        live = kernel.live(np.arange(kernel.keys - kernel.queries, kernel.keys)[:, None], np.arange(kernel.keys)[None, :])
        mixed = np.flatnonzero(live.any(axis=0) & ~live.all(axis=0))
        infinity, minus_infinity = round_to_bits(np.float32([np.inf, -np.inf]), kernel.element)
        for number, key in enumerate(generator.choice(mixed, 60)):
            inputs[2][0, 0, key, number * 5 % kernel.head_size] = infinity | (number % 2)
        # Keys that few rows see, at the ends of their first and last tiles: infinities of both signs in all columns.
        for key in np.flatnonzero((live.sum(axis=0) > 0) & (live.sum(axis=0) <= 3)):
            columns = generator.random(kernel.head_size)
            inputs[2][0, 0, key, columns < 0.6] = infinity
            inputs[2][0, 0, key, columns < 0.3] = minus_infinity
    problem = Problem(arrays, description, 1, kernel.queries, keys, 0, inputs=[place(x, rows) for x in inputs])
    problem.o = place(problem.o, rows)
    return problem


def clear(problem):
    problem.o[:] = POISON[problem.element]
    problem.lse[:] = POISON["f32"]


class Runner:
    """Runs one kernel's mutants: a child process."""

    def __init__(self, kernel, library):
        self.kernel = kernel
        self.devices = [library.open("sim", f"{mode},threads=1,multiprocessors=1,target=sm_90a,budget=6000000") for mode in MODES]
        self.expected = {}
        for where, rows, poisoned, keys in kernel.problems():
            problem = make_problem(kernel, rows, poisoned, keys)
            for device in self.devices[:2]:
                clear(problem)
                problem.bind(device.load_text(*kernel.bundle(None)))()
            bound = 0.0
            if not poisoned:
                bound = self.check(problem, where)
            self.expected[where] = (problem, problem.o.copy(), problem.lse.copy(), bound)
        bound = max(entry[3] for entry in self.expected.values())
        self.expected = {where: entry[:3] + (bound,) for where, entry in self.expected.items()}

    def check(self, problem, where):
        """The kernel itself is right; its bound is that of its mutants."""
        from attn_kit import masks
        masks.MASKS["mutated"] = ("", self.kernel.live)
        problem.kernel["mask"] = "mutated"
        judge = Judge()
        judge.rows(problem, 0, 0, np.arange(problem.queries))
        verdict = judge.verdict(self.kernel.element)
        if verdict["problem"]:
            sys.exit(f"error: {self.kernel.name}{where} itself is wrong: {verdict['problem']}")
        return verdict["max_bound"]

    def run(self, which):
        """What caught a mutant, or None."""
        for where, (problem, o, lse, bound) in self.expected.items():
            for device, mode in zip(self.devices, MODES):
                clear(problem)
                try:
                    problem.bind(device.load_text(*self.kernel.bundle(which)))()
                except Error as error:
                    return f"{mode}{where}: " + re.sub(r"\s+", " ", str(error))[:160]
                for name, element, found, expected, limit in (("o", self.kernel.element, problem.o, o, bound),
                                                              ("lse", "f32", problem.lse, lse, 1e-3)):
                    a, b = (problem.arrays.real(x, element, double=True) for x in (found, expected))
                    if (found == POISON[element]).any():
                        return f"{mode}{where}: {name} was not written"
                    same = (np.isnan(a) & np.isnan(b)) | (a == b)
                    with np.errstate(invalid="ignore"):
                        if not (same | (np.abs(a - b) <= limit)).all():
                            return f"{mode}{where}: wrong {name}"
        return None


def child(name, build):
    kernel = Kernel(name, build)
    runner = Runner(kernel, Library(os.path.join(build, "lib", "libattn.so")))
    print(json.dumps({"mutants": len(kernel.all)}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"caught": runner.run(json.loads(line)["mutant"])}), flush=True)


def run_kernel(kernel, chosen, build, processes):
    """[(mutant, what caught it)], by several children."""
    found, todo, lock = {}, list(reversed(chosen)), threading.Lock()

    def work():
        worker = Worker([PYTHON, __file__, "--child", kernel.name, "--build", build], sys.stderr, start_seconds=300)
        while True:
            with lock:
                if not todo:
                    break
                which = todo.pop()
            answer = worker.run({"mutant": which}, 120)
            found[which] = answer.get("caught") if "caught" in answer else "THE SIMULATOR: " + answer["problem"]
            if len(found) % 50 == 0:
                print(f"{kernel.name}: {len(found)} of {len(chosen)}", file=sys.stderr, flush=True)
        worker.stop()
    threads = [threading.Thread(target=work) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [(kernel.all[which][1], found[which]) for which in chosen]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--kernel", default="", help="only kernels whose name contains this")
    parser.add_argument("--sample", type=int, help="so many mutants of each kernel")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--show", default="", help="also print what caught the mutants of this category")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    if options.child:
        return child(options.child, build)
    total, caught, explained, unexplained = collections.Counter(), collections.Counter(), 0, []
    by = collections.Counter()
    for name in KERNELS:
        if options.kernel not in name:
            continue
        kernel = Kernel(name, build)
        chosen = list(range(len(kernel.all)))
        if options.sample and options.sample < len(chosen):
            chosen = sorted(random.Random(options.seed).sample(chosen, options.sample))
        good = 0
        for (category, line, what, _), how in run_kernel(kernel, chosen, build, options.processes):
            total[category] += 1
            if how and how.startswith("THE SIMULATOR"):
                unexplained.append(f"{name} {category}: {what}: {how}")
            elif how:
                caught[category] += 1
                good += 1
                kind = re.search(r"wrong o|wrong lse|not written|finding\w*|[a-z]+(-[a-z]+)+|race|mbarrier|trap", how)
                by[kind[0] if kind else "refused"] += 1
            else:
                def around(lines=12):
                    return "\n".join(kernel.mutants.code[max(0, line - 8):line + lines])
                reason = next((why for of, pattern, near, why, *lines in EXPLAINED
                               if re.fullmatch(of, category) and re.search(pattern, what) and re.search(near, around(*lines))), None)
                explained += reason is not None
                print(f"survives: {name} {category}: {what}" + (f" ({reason})" if reason else ""), flush=True)
                if reason is None:
                    unexplained.append(f"{name} {category}: {what}")
            if options.show and options.show == category:
                print(f"{name} {category}: {what}: {how}", flush=True)
        print(f"{name}: {good} of {len(chosen)} mutants caught", flush=True)
    for category in sorted(total):
        print(f"{category:12} {caught[category]:5} of {total[category]:5} caught")
    share = 100 * sum(caught.values()) / max(1, sum(total.values()))
    print("caught by: " + ", ".join(f"{kind} {count}" for kind, count in by.most_common()))
    print(f"{sum(caught.values())} of {sum(total.values())} mutants caught ({share:.1f} %); "
          f"{explained} survivors are explained, {len(unexplained)} are not")
    return 1 if share < 95 or unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
