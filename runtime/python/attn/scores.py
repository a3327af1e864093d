# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Changes of scores: a function of the scaled score of a pair, its batch, head and positions, and of tensors.

A score is written as Python writes it, `score("s - x * abs(i - j)", x=slopes)`, or as the body of a score region in MLIR
(docs/Spec.md). `repr` makes it again, and two scores are equal when they are written alike and read the same data.
"""

from __future__ import annotations

import ast
import functools
import math
import struct

import numpy as np

from . import masks, tensors
from .arrays import FLOATS
from .masks import Symbol, sym
from .tensors import check_name, input_of

__all__ = ["Score", "parse", "score"]

# What an expression is: a float, an index or a truth value.
_FLOAT, _INDEX, _BOOL = "f32", "index", "i1"
_INDICES = ("b", "h", "i", "j")
_BINARY = {ast.Add: ("addf", "addi"), ast.Sub: ("subf", "subi"), ast.Mult: ("mulf", "muli"), ast.Div: ("divf", None)}
_COMPARISONS = {ast.Lt: ("olt", "slt"), ast.LtE: ("ole", "sle"), ast.Gt: ("ogt", "sgt"), ast.GtE: ("oge", "sge"),
                ast.Eq: ("oeq", "eq"), ast.NotEq: ("une", "ne")}
_BITWISE = {ast.BitAnd: "andi", ast.BitOr: "ori", ast.BitXor: "xori"}
# Functions of one float: the op, and what computes it here.
_FUNCTIONS = {"exp": np.exp, "exp2": np.exp2, "log": np.log, "log2": np.log2, "tanh": np.tanh, "sqrt": np.sqrt,
              "rsqrt": lambda x: 1 / np.sqrt(x)}
_EVALUATION = {**_FUNCTIONS, "abs": np.abs, "where": np.where, "min": np.minimum, "max": np.maximum, "inf": math.inf,
               "float": lambda x: np.asarray(x, np.float64), "sigmoid": lambda x: 1 / (1 + np.exp(-x))}


class _Emitter:
    """Writes an expression as the body of a score region; refuses what has no meaning there."""

    def __init__(self, inputs):
        self.inputs, self.symbols, self.lines, self._seen = inputs, [], [], {}

    def refuse(self, node, expected):
        raise ValueError(f"score: expected {expected}, found '{ast.unparse(node)}'")

    def op(self, kind, text, type_=None):
        """The value of an op; ops that are written alike are one."""
        line = f"{text} : {type_ or kind}"
        if line not in self._seen:
            name = f"%_{len(self._seen)}"
            self.lines.append(f"      {name} = {line}")
            self._seen[line] = kind, name
        return self._seen[line]

    def constant(self, kind, value):
        if kind == _FLOAT:
            value = np.float32(value)
            exact = f"0x{struct.unpack('<I', struct.pack('<f', value))[0]:08X}"
            text = f"{float(value):.9e}" if np.isfinite(value) else exact
            return self.op(kind, f"arith.constant {text}")
        return self.op(kind, f"arith.constant {value}")

    def float(self, value):
        kind, name = value
        if kind == _FLOAT:
            return value
        if kind == _BOOL:
            return self.select(value, self.constant(_FLOAT, 1), self.constant(_FLOAT, 0))
        _, wide = self.op("i64", f"arith.index_cast {name}", "index to i64")
        return self.op(_FLOAT, f"arith.sitofp {wide}", "i64 to f32")

    def binary(self, op, kind, a, b):
        return self.op(kind, f"{op} {a[1]}, {b[1]}")

    def select(self, condition, a, b):
        return self.op(a[0], f"arith.select {condition[1]}, {a[1]}, {b[1]}")

    def alike(self, *values):
        """The values as indices if all of them are, else as floats."""
        if all(kind == _INDEX for kind, _ in values):
            return _INDEX, values
        return _FLOAT, [self.float(value) for value in values]

    def emit(self, node):
        number = _number(node)
        if number is not None:
            if type(number) is int and abs(number) > 1 << 40:
                self.refuse(node, "an integer within +-2^40")
            return self.constant(_INDEX if type(number) is int else _FLOAT, number)
        if isinstance(node, ast.Name):
            return self.name(node.id)
        method = getattr(self, f"emit_{type(node).__name__}", None)
        if method is None:
            self.refuse(node, "arithmetic, comparisons and functions of s, b, h, i, j, inputs, symbols and numbers")
        return method(node)

    def name(self, name):
        if name == "s" or name in self.inputs:
            return _FLOAT, f"%{name}"
        if name not in _INDICES and name not in self.symbols:
            self.symbols.append(_check_name(name))
        return _INDEX, f"%{name}"

    def emit_UnaryOp(self, node):
        value = self.emit(node.operand)
        if isinstance(node.op, ast.Invert) and value[0] == _BOOL:
            return self.binary("arith.xori", _BOOL, value, self.constant(_BOOL, 1))
        if not isinstance(node.op, ast.USub):
            self.refuse(node, "- of a number or ~ of a comparison")
        if value[0] == _INDEX:
            return self.binary("arith.subi", _INDEX, self.constant(_INDEX, 0), value)
        return self.op(_FLOAT, f"arith.negf {self.float(value)[1]}")

    def emit_BinOp(self, node):
        if isinstance(node.op, ast.Pow):
            exponent = _number(node.right)
            if exponent is None:
                self.refuse(node, "a constant exponent")
            return self.power(self.float(self.emit(node.left)), exponent)
        a, b = self.emit(node.left), self.emit(node.right)
        if type(node.op) in _BITWISE:
            if a[0] != _BOOL or b[0] != _BOOL:
                self.refuse(node, "comparisons around &, | and ^")
            return self.binary(f"arith.{_BITWISE[type(node.op)]}", _BOOL, a, b)
        kind, (a, b) = self.alike(a, b)
        if isinstance(node.op, (ast.FloorDiv, ast.Mod)):
            divisor = _number(node.right)
            if kind != _INDEX or divisor is None or divisor < 1:
                self.refuse(node, "an integer and a positive constant around // and %")
            quotient = self.binary("arith.floordivsi", _INDEX, a, b)
            return quotient if isinstance(node.op, ast.FloorDiv) else \
                self.binary("arith.subi", _INDEX, a, self.binary("arith.muli", _INDEX, quotient, b))
        if type(node.op) not in _BINARY:
            self.refuse(node, "+, -, *, /, //, % or **")
        of_floats, of_indices = _BINARY[type(node.op)]
        if of_indices is None or kind == _FLOAT:
            return self.binary(f"arith.{of_floats}", _FLOAT, self.float(a), self.float(b))
        return self.binary(f"arith.{of_indices}", _INDEX, a, b)

    def power(self, base, exponent):
        if exponent == 2:
            return self.binary("arith.mulf", _FLOAT, base, base)
        return self.binary("math.powf", _FLOAT, base, self.constant(_FLOAT, exponent))

    def emit_Compare(self, node):
        if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
            self.refuse(node, "one comparison by <, <=, ==, !=, >= or >")
        kind, (a, b) = self.alike(self.emit(node.left), self.emit(node.comparators[0]))
        of_floats, of_indices = _COMPARISONS[type(node.ops[0])]
        name = f"arith.cmpf {of_floats}" if kind == _FLOAT else f"arith.cmpi {of_indices}"
        return self.op(_BOOL, f"{name}, {a[1]}, {b[1]}", kind)

    def emit_Call(self, node):
        name = node.func.id if isinstance(node.func, ast.Name) else None
        counts = {"where": 3, "min": 2, "max": 2}
        if name not in _EVALUATION or name == "inf" or node.keywords or len(node.args) != counts.get(name, 1):
            self.refuse(node, f"one of {', '.join(sorted(set(_EVALUATION) - {'inf'}))} with its arguments")
        values = [self.emit(argument) for argument in node.args]
        if name == "where":
            if values[0][0] != _BOOL:
                self.refuse(node, "a comparison as the first argument of where")
            if values[1][0] == values[2][0] == _BOOL:
                return self.select(*values)
            _, (a, b) = self.alike(*values[1:])
            return self.select(values[0], a, b)
        if name in ("min", "max"):
            kind, (a, b) = self.alike(*values)
            return self.binary(f"arith.{name}si" if kind == _INDEX else f"arith.{name}imumf", kind, a, b)
        if name == "abs" and values[0][0] == _INDEX:
            negative = self.binary("arith.subi", _INDEX, self.constant(_INDEX, 0), values[0])
            return self.binary("arith.maxsi", _INDEX, values[0], negative)
        x = self.float(values[0])
        if name == "float":
            return x
        if name == "abs":
            return self.op(_FLOAT, f"math.absf {x[1]}")
        if name == "sigmoid":
            one = self.constant(_FLOAT, 1)
            power = self.op(_FLOAT, f"math.exp {self.op(_FLOAT, f'arith.negf {x[1]}')[1]}")
            return self.binary("arith.divf", _FLOAT, one, self.binary("arith.addf", _FLOAT, one, power))
        return self.op(_FLOAT, f"math.{name} {x[1]}")


def _check_name(name):
    if name in _EVALUATION or name in ("s", "b"):
        raise ValueError(f"score: expected a name other than s, b and those of functions, found '{name}'")
    return check_name("score", name)


def _number(node):
    """The value of a literal, with its sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Name) and node.id == "inf":
        return math.inf
    return node.value if isinstance(node, ast.Constant) and type(node.value) in (int, float) else None


@functools.lru_cache(maxsize=1024)
def _emit(expression, names):
    """(the region's body, the names of its symbols) of an expression in which `names` are tensors"""
    emitter = _Emitter(names)
    _, result = emitter.float(emitter.emit(ast.parse(expression, mode="eval").body))
    return "\n".join([*emitter.lines, f"      attn.yield {result} : f32"]), tuple(emitter.symbols)


class Score:
    """A function from the scaled score of a pair to its score."""

    __slots__ = ("expression", "mlir", "symbols", "inputs", "key")

    def __init__(self, expression, mlir, symbols, inputs):
        self.expression, self.mlir, self.symbols = expression, mlir, symbols
        self.inputs = [(name, [entry]) for name, entry in inputs.items()]
        # The repr, with a name in the place of data.
        self.key = self._written(lambda name, entry: entry.named(name))

    def __eq__(self, other):
        if not isinstance(other, Score):
            return NotImplemented
        return self is other or self.key == other.key and all(
            tensors.same(mine.array, theirs.array) for (_, (mine,)), (_, (theirs,)) in zip(self.inputs, other.inputs))

    def __hash__(self):
        return hash(self.key)

    def __repr__(self):
        return self._written(lambda name, entry: repr(entry.tensor))

    def _written(self, write):
        first = repr(self.expression) if self.expression is not None else f"mlir={self.mlir!r}"
        symbols = self.symbols if self.expression is None else ()
        return ", ".join([f"score({first}", *(f"{name}=sym({name!r})" for name in symbols),
                          *(f"{name}={write(name, entry)}" for name, (entry,) in self.inputs)]) + ")"

    def to_dense(self, queries, keys, offset=None, head=0, symbols=None, batch=0, tensors=None, scores=0.0):
        """What becomes of `scores`, a number or an array of queries x keys, in float64; for debugging. Positions are those of
        Mask.to_dense."""
        if self.expression is None:
            raise NotImplementedError("score: a region of MLIR is not evaluated here; write it as an expression")
        offset = keys - queries if offset is None else offset
        i, j = np.arange(queries)[:, None], np.arange(keys)[None, :]
        values = dict(zip(self.symbols, masks.values_of(self.symbols, symbols)))
        values.update(_EVALUATION, s=np.asarray(scores, np.float64), b=np.int64(batch), h=np.int64(head), i=i + offset, j=j)
        found = masks.dense_arrays(self.inputs, tensors, queries, keys)
        for (name, _), (_, array) in zip(self.inputs, found):
            array = array.astype(np.float64)
            place = (head,) if array.ndim == 1 else (batch, head, i, j)
            values[name] = array[tuple(0 if size == 1 else at for at, size in zip(place, array.shape))]
        with np.errstate(all="ignore"):
            result = eval(compile(self.expression, "score", "eval"), {"__builtins__": {}}, values)
        return np.broadcast_to(np.asarray(result, np.float64), (queries, keys)).copy()


def score(expression=None, *, mlir=None, **inputs):
    """A change of scores as Python writes it: of the scaled score s, the batch b, the query head h, the query position i, the
    key position j and the inputs, arrays that have one element for each head or can be broadcast to batch x heads x queries x
    keys (a tensor stands for one that is given at each call). Any other name is a symbol. There are + - * / // % **, comparisons
    with & | ~, and abs, exp, exp2, log, log2, max, min, rsqrt, sigmoid, sqrt, tanh, float, where(condition, a, b) and inf.

    With `mlir` instead: the body of a score region, ops on %s, %b, %h, %i, %j and each input by its name, which may be a
    symbol there; it ends with attn.yield."""
    if (expression is None) == (mlir is None):
        raise ValueError("score: expected an expression or the region as mlir, found " + ("none" if mlir is None else "both"))
    text = mlir if expression is None else expression
    if not isinstance(text, str):
        hint = "; attn.translate.flex_attention(score_mod=...) traces a function" if callable(text) else ""
        raise TypeError(f"score: expected a text, found {text!r}{hint}")
    entries, symbols = {}, []
    for name, value in inputs.items():
        _check_name(name)
        if isinstance(value, Symbol) and mlir is not None:
            if value.name != name:
                raise ValueError(f"score: expected sym('{name}') for '{name}', found {value!r}")
            symbols.append(name)
            continue
        if tensors.is_named(value) and value.name != name:
            raise ValueError(f"score: expected a tensor of the name '{name}', found '{value.name}'")
        entry = _input(name, value)
        entries[name] = entry
    if mlir is not None:
        return Score(None, mlir, tuple(symbols), entries)
    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"score: {error.msg}: '{expression}'") from None
    written = ast.unparse(node)
    used = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    for name in entries:
        if name not in used:
            raise ValueError(f"score: expected inputs that occur in '{written}', found '{name}'")
    body, names = _emit(written, frozenset(entries))
    return Score(written, body, names, entries)


def _input(role, value):
    data = value.array if isinstance(value, tensors.Tensor) and value.array is not None else value
    per_head = len(getattr(data, "shape", None) or ()) == 1
    return input_of(role, value, FLOATS, ("heads",) if per_head else ("batch|1", "heads|1", "queries|1", "keys|1"))


def parse(text):
    """The score whose repr is `text`. Nothing but scores is evaluated."""
    node = ast.parse(text, mode="eval").body
    if not isinstance(node, ast.Call) or ast.unparse(node.func) != "score":
        raise ValueError(f"expected a score, found '{text}'")

    def argument(node):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else None
        if name == "sym":
            return sym(*map(ast.literal_eval, node.args))
        return tensors.parse(node) if name == "tensor" else ast.literal_eval(node)

    return score(*map(argument, node.args), **{keyword.arg: argument(keyword.value) for keyword in node.keywords})
