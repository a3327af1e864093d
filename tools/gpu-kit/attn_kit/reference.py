# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The definition in float64, the naive computation, and the verdict on a result: docs/Spec.md, J1 to J5."""

import math

import numpy as np

from .arrays import POISON
from .masks import MASKS


class Problem:
    """Inputs of one launch, generated on the host from a seed, as tensors of `arrays`."""

    def __init__(self, arrays, kernel, batch, queries, keys, seed, ids=None, inputs=None):
        from .arrays import round_to_bits
        self.arrays, self.kernel, self.keys = arrays, kernel, keys
        element, size = kernel["element"], kernel["head_size"]
        self.element, self.queries = element, queries
        self.q_shape = (batch, kernel["heads"], queries, size)
        k_shape = (batch, kernel["kv_heads"], keys, size)
        if inputs is None:
            random = np.random.default_rng(seed)
            # Scores with a spread of more than one, so that the softmax matters.
            inputs = [round_to_bits(scale * random.standard_normal(shape, dtype=np.float32), element)
                      for shape, scale in ((self.q_shape, 1.5), (k_shape, 1.0), (k_shape, 1.0))]
        self.q, self.k, self.v = (arrays.store(bits, element) for bits in inputs)
        self.ids = None if ids is None else [arrays.integers(x) for x in ids]
        self.clear()

    def clear(self):
        self.o = self.arrays.poisoned(self.q_shape, self.element)
        self.lse = self.arrays.poisoned(self.q_shape[:3], "f32")

    def bind(self, program):
        arguments = [(x, self.element) for x in (self.q, self.k, self.v)]
        arguments += [(x, "i32") for x in self.ids or []]
        return program.bind(arguments, [(self.o, self.element), (self.lse, "f32")], stream=self.arrays.stream)


class Judge:
    """Collects the errors of the rows that it is shown."""

    def __init__(self):
        self.problem = None
        self.most, self.sum, self.naive_most, self.naive_sum, self.lse_most, self.count = 0.0, 0.0, 0.0, 0.0, 0.0, 0

    def fail(self, text):
        self.problem = self.problem or text

    def rows(self, problem, batch, head, rows):
        """Compares rows of one head with the reference."""
        p, arrays, xp = problem, problem.arrays, problem.arrays.xp
        kernel = p.kernel
        kv_head = head // (kernel["heads"] // kernel["kv_heads"])
        where = f"batch {batch}, head {head}"
        index = arrays.integers(np.asarray(rows, np.int64))
        positions = index + (p.keys - p.queries)
        keys = arrays.integers(np.arange(p.keys, dtype=np.int64))
        more = [] if p.ids is None else [p.ids[0][batch][index][:, None], p.ids[1][batch][None, :]]
        live = MASKS[kernel["mask"]][1](positions[:, None], keys[None, :], *more)
        scale = np.float32(1 / math.sqrt(kernel["head_size"]))

        def evaluate(double):
            q, k, v = (arrays.real(x, p.element, double) for x in
                       (p.q[batch, head][index], p.k[batch, kv_head], p.v[batch, kv_head]))
            scores = xp.where(live, (q @ k.T) * float(scale), q.new_tensor(-math.inf) if hasattr(q, "new_tensor") else
                              q.dtype.type(-math.inf))
            if p.keys == 0:
                most = scores.sum(axis=-1, keepdims=True) - math.inf
            else:
                most = xp.amax(scores, axis=-1, keepdims=True)
            shift = xp.where(xp.isfinite(most), most, xp.zeros_like(most))
            weights = xp.exp(scores - shift)
            total = weights.sum(axis=-1, keepdims=True)
            lse = xp.where(total > 0, shift + xp.log(xp.where(total > 0, total, xp.ones_like(total))), most)[:, 0]
            weights = weights / xp.where(total > 0, total, xp.ones_like(total))
            if double:
                return weights @ v, lse
            return arrays.rounded(arrays.rounded(weights, p.element) @ v, p.element), lse

        exact, exact_lse = evaluate(double=True)
        naive = arrays.real(evaluate(double=False)[0], "f32", double=True)
        found, found_lse = p.o[batch, head][index], p.lse[batch, head][index]
        for name, stored, element in (("o", found, p.element), ("lse", found_lse, "f32")):
            if bool((arrays.bits(stored) == POISON[element]).any()):
                return self.fail(f"{name}: elements of {where} were not written (J3)")
        found = arrays.real(found, p.element, double=True)
        found_lse = arrays.real(found_lse, "f32", double=True)
        if not bool(xp.isfinite(found).all()):
            return self.fail(f"o: a value of {where} is not finite, and the reference is (J4)")
        finite = xp.isfinite(exact_lse)
        if not bool(((found_lse == exact_lse) | (finite & xp.isfinite(found_lse))).all()):
            return self.fail(f"lse: infinities of {where} do not stand where the reference has them (J4)")
        if not found.shape[0]:
            return None
        errors, naive_errors = xp.abs(found - exact), xp.abs(naive - exact)
        self.most = max(self.most, float(errors.max()))
        self.naive_most = max(self.naive_most, float(naive_errors.max()))
        self.sum += float(errors.sum())
        self.naive_sum += float(naive_errors.sum())
        self.count += found.shape[0] * found.shape[1]
        lse_errors = xp.abs(xp.where(finite, found_lse, xp.zeros_like(found_lse)) -
                            xp.where(finite, exact_lse, xp.zeros_like(exact_lse)))
        self.lse_most = max(self.lse_most, float(lse_errors.max()))
        return None

    def verdict(self, element):
        count = max(1, self.count)
        bound, mean_bound = 2 * self.naive_most + 1e-5, 1.25 * self.naive_sum / count + 1e-6
        lse_bound = 1e-5 if element == "f32" else 1e-3
        if self.most > bound:
            self.fail(f"largest error {self.most:.3g} exceeds {bound:.3g} (J1)")
        if self.sum / count > mean_bound:
            self.fail(f"mean error {self.sum / count:.3g} exceeds {mean_bound:.3g} (J2)")
        if self.lse_most > lse_bound:
            self.fail(f"error of lse {self.lse_most:.3g} exceeds {lse_bound:.3g} (J5)")
        return {"max_error": self.most, "max_bound": bound, "mean_error": self.sum / count, "mean_bound": mean_bound,
                "lse_error": self.lse_most, "elements": self.count, "problem": self.problem}
