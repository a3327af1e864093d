# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Masks: exact sets of (head, query position, key position), combined with `&`, `|` and `~`.

The sets are those of docs/Spec.md. `repr` of a mask is Python that makes it again, and two masks are equal when they are
written alike and hold the same data. A bound that a kernel is given at each call is a symbol: `window(sym("w"), 0)`; so is
an array: `lengths(tensor("n", "i32"))`, where `lengths(array)` carries it.
"""

from __future__ import annotations

import ast
import math
import operator

import numpy as np

from . import tensors
from .arrays import INTEGERS
from .tensors import input_of

__all__ = ["Mask", "Symbol", "sym", "all_", "causal", "window", "dilated", "stride", "same_block", "summary", "global_", "keys", "queries",
           "heads", "affine", "lengths", "documents", "blocks", "bits", "strided", "fixed", "chunked", "prefix", "longformer",
           "streaming", "parse"]


class Symbol:
    """An integer that is given at each call: `symbols={"w": 512}`."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = tensors.check_name("name", name)

    def __eq__(self, other):
        return self.name == other.name if isinstance(other, Symbol) else NotImplemented

    def __hash__(self):
        return hash(self.name)

    def __repr__(self):
        return f"sym({self.name!r})"


def sym(name):
    """The symbol of that name, for a bound that is known at each call only."""
    return Symbol(name)


def values_of(names, symbols):
    """The symbols' values in order, from a mapping that must name each of them and nothing else."""
    if not names and not symbols:
        return []
    try:
        given = dict(symbols or {})
    except (TypeError, ValueError):
        raise TypeError(f"symbols: expected a mapping of names to integers, found {symbols!r}") from None
    values = []
    for name in names:
        if name not in given:
            raise ValueError(f"symbols: expected a value for '{name}', found none")
        try:
            value = operator.index(given.pop(name))
        except TypeError:
            raise TypeError(f"symbols: expected an integer for '{name}', found {symbols[name]!r}") from None
        if abs(value) > 1 << 40:
            raise ValueError(f"symbols: expected a value for '{name}' within +-2^40, found {value}")
        values.append(value)
    if given:
        raise ValueError(f"symbols: expected values for {', '.join(map(repr, names)) or 'none'}, found one for '{next(iter(given))}'")
    return values


class _Pair(dict):
    """Where a mask is asked for: the symbols' values by name, and what atoms with tensors want to know."""

    __slots__ = ("batch", "offset", "arrays")

    def array(self, entry):
        return next(array for entries, array in self.arrays if any(other is entry for other in entries))


class Mask:
    """A set of live (head, query position, key position)."""

    __slots__ = ("_parts", "_live", "_symbols", "_rank", "inputs", "key")
    # How tightly the outermost operator binds, in the mask's text and its repr alike.
    _OR, _AND, _UNARY = 0, 1, 2

    def __init__(self, parts, live, symbols=(), rank=_UNARY):
        # The mask as (its repr, its text for the compiler), with the tensors in between.
        self._parts, self._live, self._symbols, self._rank = parts, live, symbols, rank
        # Its tensors, as tensors.named_inputs() lists them.
        self.inputs = tensors.named_inputs([part for part in parts if type(part) is not tuple])
        # The repr, with a name in the place of data: what decides which kernel runs the mask.
        self.key = self._written(0, lambda name, entry: entry.named(name))

    def __and__(self, other):
        return self._binary(other, "&", np.logical_and, Mask._AND)

    def __or__(self, other):
        return self._binary(other, "|", np.logical_or, Mask._OR)

    def __invert__(self):
        live = self._live
        return Mask(_joined([("~", "!")], self._operand(Mask._UNARY)),
                    lambda h, p, j, values: np.logical_not(live(h, p, j, values)), self._symbols)

    def __eq__(self, other):
        if not isinstance(other, Mask):
            return NotImplemented
        return self is other or self.key == other.key and all(
            tensors.same(mine.array, theirs.array) for (_, (mine, *_)), (_, (theirs, *_)) in zip(self.inputs, other.inputs))

    def __hash__(self):
        return hash(self.key)

    def __repr__(self):
        return "".join(part[0] if type(part) is tuple else repr(part.tensor) for part in self._parts)

    def __bool__(self):
        raise TypeError("a mask is neither true nor false: combine masks with &, | and ~, not with and, or and not")

    @property
    def mlir(self):
        """The mask in the compiler's notation."""
        return self._written(1, lambda name, entry: f"%{name}")

    @property
    def symbols(self):
        """The names of its symbols, in the order in which they occur."""
        return self._symbols

    @property
    def tensors(self):
        """The names of the tensors that are given at each call."""
        return tuple(name for name, (entry, *_) in self.inputs if entry.array is None)

    def values_of(self, symbols):
        """The symbols' values in order, from a mapping that must name each of them and nothing else."""
        return values_of(self._symbols, symbols)

    def to_dense(self, queries, keys, offset=None, head=0, symbols=None, batch=0, tensors=None):
        """The mask as a Boolean array of queries x keys, True for live. Query i has position i + offset, by default
        keys - queries: the last query sees the last key."""
        offset = keys - queries if offset is None else offset
        values = _Pair(zip(self._symbols, self.values_of(symbols)))
        values.batch, values.offset = batch, offset
        values.arrays = dense_arrays(self.inputs, tensors, queries, keys)
        p = np.arange(queries)[:, None] + offset
        return np.broadcast_to(self._live(head, p, np.arange(keys)[None, :], values), (queries, keys)).copy()

    def _written(self, which, write):
        if len(self._parts) == 1:
            return self._parts[0][which]

        def name_of(part):
            return next(name for name, entries in self.inputs if any(entry is part for entry in entries))
        return "".join(part[which] if type(part) is tuple else write(name_of(part), part) for part in self._parts)

    def _operand(self, rank):
        return self._parts if self._rank >= rank else _joined([("(", "(")], self._parts, [(")", ")")])

    def _binary(self, other, symbol, combine, rank):
        if not isinstance(other, Mask):
            return NotImplemented
        # The right operand keeps its parentheses where the operators are the same: the repr reads back as it was built.
        written = f" {symbol} "
        a, b = self._live, other._live
        return Mask(_joined(self._operand(rank), [(written, written)], other._operand(rank + 1)),
                    lambda h, p, j, values: combine(a(h, p, j, values), b(h, p, j, values)),
                    tuple(dict.fromkeys(self._symbols + other._symbols)), rank)


def _joined(*lists):
    parts = []
    for part in (part for parts in lists for part in parts):
        if parts and type(part) is tuple and type(parts[-1]) is tuple:
            parts[-1] = parts[-1][0] + part[0], parts[-1][1] + part[1]
        else:
            parts.append(part)
    return parts


def dense_arrays(inputs, given, queries, keys):
    """[(inputs, array)] for NumPy."""
    found = []
    for (_, entries), array in zip(inputs, tensors.arrays_of(inputs, given)):
        for entry in entries:
            entry.check(array, None, {"queries": queries, "keys": keys})
        found.append((entries, tensors.to_numpy(array)))
    return found


def _bound(name, value, least=None, unbounded=False, symbolic=True):
    if symbolic and isinstance(value, Symbol):
        return value
    if unbounded and (value is None or value == math.inf):
        return math.inf
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer{' or None' if unbounded else ''}, found {value!r}") from None
    if least is not None and number < least:
        raise ValueError(f"{name}: expected at least {least}, found {number}")
    return number


def _atom(name, bounds, live, python_name=None):
    written = ", ".join("None" if bound == math.inf else repr(bound) for bound in bounds)
    text = ", ".join("inf" if bound == math.inf else f"%{bound.name}" if isinstance(bound, Symbol) else str(bound)
                     for bound in bounds)
    symbols = tuple(dict.fromkeys(bound.name for bound in bounds if isinstance(bound, Symbol)))

    def evaluate(h, p, j, values):
        return live(h, p, j, *(values[bound.name] if isinstance(bound, Symbol) else bound for bound in bounds))

    return Mask([(f"{python_name or name}({written})", f"{name}<{text}>" if bounds else name)], evaluate, symbols)


def all_():
    """Every pair."""
    return _atom("all", (), lambda h, p, j: np.logical_or(p >= j, p < j), "all_")


def causal():
    """j <= p"""
    return _atom("causal", (), lambda h, p, j: j <= p)


def window(left, right):
    """p - left <= j <= p + right; None is unbounded."""
    left, right = _bound("left", left, unbounded=True), _bound("right", right, unbounded=True)
    return _atom("window", (left, right), lambda h, p, j, left, right: (p - j <= left) & (j - p <= right))


def dilated(left, right, step):
    """Every step-th key, `left` of them to the left and `right` to the right."""
    left, right = _bound("left", left, unbounded=True), _bound("right", right, unbounded=True)
    step = _bound("step", step, 1, symbolic=False)
    return _atom("dilated", (left, right, step),
                 lambda h, p, j, left, right, step: ((p - j) % step == 0) & (p - j <= left * step) & (j - p <= right * step))


def stride(n):
    """(p - j) mod n = 0"""
    n = _bound("n", n, 1, symbolic=False)
    return _atom("stride", (n,), lambda h, p, j, n: (p - j) % n == 0)


def same_block(n):
    """p and j lie in the same block of n positions."""
    n = _bound("n", n, 1, symbolic=False)
    return _atom("same_block", (n,), lambda h, p, j, n: p // n == j // n)


def summary(n, c):
    """j is among the last c of its block of n positions."""
    n, c = _bound("n", n, 1, symbolic=False), _bound("c", c)
    return _atom("summary", (n, c), lambda h, p, j, n, c: (j % n >= n - c) & (p == p))


def global_(n):
    """p < n or j < n"""
    n = _bound("n", n)
    return _atom("global", (n,), lambda h, p, j, n: (p < n) | (j < n), "global_")


def keys(begin, end):
    """begin <= j < end"""
    begin, end = _bound("begin", begin), _bound("end", end, unbounded=True)
    return _atom("keys", (begin, end), lambda h, p, j, begin, end: (begin <= j) & (j < end) & (p == p))


def queries(begin, end):
    """begin <= p < end"""
    begin, end = _bound("begin", begin), _bound("end", end, unbounded=True)
    return _atom("queries", (begin, end), lambda h, p, j, begin, end: (begin <= p) & (p < end) & (j == j))


def heads(begin, end):
    """begin <= h < end"""
    begin, end = _bound("begin", begin, 0), _bound("end", end, 0)
    return _atom("heads", (begin, end), lambda h, p, j, begin, end: (begin <= h) & (h < end) & (p == p) & (j == j))


_OPERATORS = {ast.Add: ("+", operator.add), ast.Sub: ("-", operator.sub), ast.Mult: ("*", operator.mul),
              ast.FloorDiv: ("floordiv", operator.floordiv), ast.Mod: ("mod", operator.mod)}
_COMPARISONS = {ast.GtE: ("({0}) - ({1}) >= 0", operator.ge), ast.Gt: ("({0}) - ({1}) - 1 >= 0", operator.gt),
                ast.LtE: ("({1}) - ({0}) >= 0", operator.le), ast.Lt: ("({1}) - ({0}) - 1 >= 0", operator.lt),
                ast.Eq: ("({0}) - ({1}) == 0", operator.eq)}


def _expression(node, where, symbols):
    """(text for the compiler, function of (h, i, j, values), whether it is constant); new names join `symbols`"""
    if isinstance(node, ast.Name) and node.id in ("h", "i", "j"):
        index = "hij".index(node.id)
        return node.id, lambda *point: point[index], False
    if isinstance(node, ast.Name):
        name = Symbol(node.id).name
        if name not in symbols:
            symbols.append(name)
        return name, lambda *point: point[3][name], False
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return str(node.value), lambda *point: node.value, True
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        text, value, constant = _expression(node.operand, where, symbols)
        return f"-({text})", lambda *point: -value(*point), constant
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        symbol, compute = _OPERATORS[type(node.op)]
        left, left_value, left_constant = _expression(node.left, where, symbols)
        right, right_value, right_constant = _expression(node.right, where, symbols)
        if symbol in ("floordiv", "mod"):
            if not right_constant or right_value(0, 0, 0, {}) < 1:
                raise ValueError(f"{where}: expected a positive constant behind {'//' if symbol == 'floordiv' else '%'}, "
                                 f"found '{ast.unparse(node.right)}'")
        elif symbol == "*" and not (left_constant or right_constant):
            raise ValueError(f"{where}: expected a product with a constant, found '{ast.unparse(node)}'")
        return (f"({left}) {symbol} ({right})", lambda *point: compute(left_value(*point), right_value(*point)),
                left_constant and right_constant)
    raise ValueError(f"{where}: expected h, i, j, symbols, integers, +, -, *, // and %, found '{ast.unparse(node)}'")


def affine(condition):
    """A comparison of affine expressions of the head h, the query position i and the key position j, as Python writes it:
    `affine("(i - j) % 4 == 0")`. `//` and `%` take positive constants. Any other name is a symbol: `affine("j < n")`."""
    if not isinstance(condition, str):
        raise TypeError(f"condition: expected a text, found {condition!r}")
    try:
        node = ast.parse(condition.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"condition: {error.msg}: '{condition}'") from None
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
        raise ValueError(f"condition: expected one comparison by <, <=, ==, >= or >, found '{condition}'")
    symbols = []
    left, left_value, _ = _expression(node.left, "condition", symbols)
    right, right_value, _ = _expression(node.comparators[0], "condition", symbols)
    template, compare = _COMPARISONS[type(node.ops[0])]
    text = template.format(left, right)
    parameters = f"[{', '.join(symbols)}]" if symbols else ""
    arguments = f"({', '.join('%' + name for name in symbols)})" if symbols else ""
    return Mask([(f"affine({ast.unparse(node)!r})", f"affine_set<(h, i, j){parameters} : ({text})>{arguments}")],
                lambda *point: compare(left_value(*point), right_value(*point)) & (point[1] == point[1]) & (point[2] == point[2]),
                tuple(symbols))


def lengths(lengths):
    """j < lengths[b]: an array of one for each batch."""
    entry = input_of("lengths", lengths, INTEGERS, ("batch",))
    return Mask([("lengths(", "lengths("), entry, (")", ")")], lambda h, p, j, values: (j < values.array(entry)[values.batch]) & (p == p))


def documents(query_ids, key_ids=None):
    """The query and the key are of one document: arrays of batch x queries and batch x keys whose ids do not decrease, or one
    for both."""
    ids = input_of("documents", query_ids, INTEGERS, ("batch", "queries"))
    others = input_of("documents", query_ids if key_ids is None else key_ids, INTEGERS, ("batch", "keys"))

    def live(h, p, j, values):
        of_queries, of_keys = values.array(ids), values.array(others)
        return of_queries[values.batch % len(of_queries), p - values.offset] == of_keys[values.batch % len(of_keys), j]

    return Mask([("documents(", "documents("), ids, (", ", ", "), others, (")", ")")], live)


def blocks(query_block, key_block, row_ptr, col):
    """Row i // query_block of a table lists column j // key_block. Row n has the columns col[row_ptr[n]] to
    col[row_ptr[n + 1] - 1]; a row_ptr of batch or 1 x heads or 1 x rows has rows for each."""
    sizes = _bound("query_block", query_block, 1, symbolic=False), _bound("key_block", key_block, 1, symbolic=False)
    rows = input_of("row_ptr", row_ptr, INTEGERS, ("any",), ("batch|1", "heads|1", "any"))
    columns = input_of("col", col, INTEGERS, ("any",))

    def live(h, p, j, values):
        starts, table = values.array(rows), values.array(columns)
        if starts.ndim == 3:
            starts = starts[values.batch % starts.shape[0], h % starts.shape[1]]
        dense = np.zeros((len(starts) - 1, max(int(j.max(initial=0)) // sizes[1], int(table.max(initial=0))) + 1), dtype=bool)
        for row in range(len(starts) - 1):
            dense[row, table[starts[row]:starts[row + 1]]] = True
        return dense[(p - values.offset) // sizes[0], j // sizes[1]]

    return Mask([(f"blocks({sizes[0]}, {sizes[1]}, ", f"blocks<{sizes[0]}, {sizes[1]}>("), rows, (", ", ", "), columns, (")", ")")], live)


def bits(mask):
    """mask[b, h, i, j]: an array of Booleans or int8, each of whose dimensions may be 1; leading ones may be missing."""
    entry = input_of("bits", mask, {"i1": "bool", "i8": "int8"}, ("batch|1", "heads|1", "queries|1", "keys|1"))

    def live(h, p, j, values):
        array = values.array(entry)
        array = array[(None,) * (4 - array.ndim)]
        place = [0 if size == 1 else at for at, size in zip((values.batch, h, p - values.offset, j), array.shape)]
        return (array[tuple(place)] != 0) & (p == p) & (j == j)

    return Mask([("bits(", "bits("), entry, (")", ")")], live)


def strided(n):
    return causal() & (window(n, 0) | stride(n))


def fixed(n, c):
    return causal() & (same_block(n) | summary(n, c))


def chunked(n):
    return causal() & same_block(n)


def prefix(n):
    return causal() | keys(0, n)


def longformer(width, globals_):
    return window(width, width) | global_(globals_)


def streaming(sinks, width):
    return causal() & (keys(0, sinks) | window(width, 0))


_NAMES = {name: value for name, value in globals().items() if name in __all__ and name not in ("Mask", "Symbol", "sym", "parse")}


def parse(text):
    """The mask whose repr is `text`. Nothing but masks is evaluated."""
    def argument(node):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "sym":
                return sym(*map(ast.literal_eval, node.args))
            if node.func.id == "tensor":
                return tensors.parse(node)
        return ast.literal_eval(node)

    def build(node):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)):
            left, right = build(node.left), build(node.right)
            return left & right if isinstance(node.op, ast.BitAnd) else left | right
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            return ~build(node.operand)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _NAMES and not node.keywords:
            return _NAMES[node.func.id](*map(argument, node.args))
        raise ValueError(f"expected masks combined with &, | and ~, found '{ast.unparse(node)}'")

    try:
        return build(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"not a mask: '{text}': {error.msg}") from None
