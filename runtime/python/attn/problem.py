# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is computed, apart from sizes and types: the mask and the changes of the scores, and the data that they carry."""

from __future__ import annotations

import functools
import math

from . import masks, scores, tensors
from .arrays import FLOATS
from .masks import Mask, all_, values_of
from .scores import Score
from .tensors import input_of

__all__ = ["Problem", "problem_of", "from_key"]

_ROLES = {"bias": (FLOATS, ("batch|1", "heads|1", "queries|1", "keys|1")), "alibi": (FLOATS, ("heads",)),
          "sinks": ({"f32": "float32"}, ("heads",))}


class Problem:
    """`key` is equal for what one kernel computes, and is what from_key() makes the problem of, without its data."""

    __slots__ = ("mask", "softcap", "changes", "score", "inputs", "symbols", "key", "_names")

    def __init__(self, mask, softcap, changes, score):
        self.mask, self.softcap, self.changes, self.score = mask, softcap, changes, score
        self._names = {}
        found, symbols = list(mask.inputs), mask.symbols
        for role, entry in changes.items():
            self._names[role] = entry.tensor.name if entry.array is None else f"_{role}"
            found.append((self._names[role], [entry]))
        if score is not None:
            found += score.inputs
            symbols = tuple(dict.fromkeys(symbols + score.symbols))
        self.inputs, self.symbols = _merge(found, symbols) if changes or score else found, symbols
        self.key = (mask.key, softcap, tuple((role, entry.named(self._names[role])) for role, entry in changes.items()),
                    score.key if score is not None else None)

    @property
    def is_changed(self):
        """Whether there is more than a mask without data."""
        return bool(self.inputs) or self.key[1:] != (None, (), None)

    def values_of(self, symbols):
        return values_of(self.symbols, symbols)

    def arrays_of(self, given):
        return tensors.arrays_of(self.inputs, given) if self.inputs or given else []

    def source_arguments(self):
        """What _attn.make_source() is told beside the mask."""
        if not self.is_changed:
            return {}
        shape = {name: [-1 if size is None else size for size in entry.shape] for name, (entry, *_) in self.inputs}
        result = dict(tensors=[(name, entry.element, shape[name]) for name, (entry, *_) in self.inputs], softcap=self.softcap,
                      **self._names)
        if self.score is not None:
            names = [name for name, _ in self.score.inputs]
            result.update(score=self.score.mlir, score_inputs=names + list(self.score.symbols))
        return result


def _merge(found, symbols):
    """One entry for each name, which stands for one thing."""
    merged = {}
    for name, entries in found:
        first = merged.setdefault(name, [])
        if name in symbols or first and not (first[0].is_one_with(entries[0]) and (first[0].element, first[0].shape) ==
                                             (entries[0].element, entries[0].shape)):
            raise ValueError(f"{entries[0].role}: expected a name of its own, found '{name}', which stands for "
                             f"{'a symbol' if name in symbols else first[0].role} too")
        first.extend(entries)
    return list(merged.items())


def problem_of(mask=None, softcap=None, bias=None, alibi=None, sinks=None, score=None):
    """The problem of these arguments of attention(); a TypeError or ValueError names the one that is wrong."""
    if mask is None:
        mask = all_()
    elif not isinstance(mask, Mask):
        raise TypeError(f"mask: expected a mask such as attn.causal(), found {type(mask).__name__}")
    if softcap is not None:
        if isinstance(softcap, bool) or not isinstance(softcap, (int, float)):
            raise TypeError(f"softcap: expected a number, found {type(softcap).__name__}")
        softcap = float(softcap)
        if not 0 < softcap < math.inf:
            raise ValueError(f"softcap: expected a finite number above 0, found {softcap}")
    if score is not None and not isinstance(score, Score):
        hint = ", or attn.translate.flex_attention(score_mod=...) of a function" if callable(score) else ""
        raise TypeError(f"score: expected a change such as attn.score('s / 2'){hint}, found {type(score).__name__}")
    changes = {}
    for role, value in (("bias", bias), ("alibi", alibi), ("sinks", sinks)):
        if value is not None:
            elements, form = _ROLES[role]
            changes[role] = input_of(role, value, elements, form)
    return Problem(mask, softcap, changes, score)


@functools.lru_cache(maxsize=1024)
def from_key(key):
    """The problem of that key, with a name in the place of data."""
    mask, softcap, changes, score = key
    return problem_of(masks.parse(mask), softcap, score=None if score is None else scores.parse(score),
                      **{role: tensors.parse(text) for role, text in changes})
