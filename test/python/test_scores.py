# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Masks that read data and changes of scores, against NumPy."""

import unittest

import numpy as np

import attn
from attn import masks, scores
from test_attn import inputs

BATCHES, HEADS, QUERIES, KEYS = 2, 4, 37, 53


def reference(q, k, v, live, change=lambda s: s, sinks=None):
    """o and lse in float64; `live` and what `change` makes of the scaled scores are batch x heads x queries x keys."""
    group = q.shape[1] // k.shape[1]
    q, k, v = (array.astype(np.float64) for array in (q, np.repeat(k, group, 1), np.repeat(v, group, 1)))
    s = np.where(live, change(q @ k.swapaxes(2, 3) * q.shape[3] ** -0.5), -np.inf)
    top = s.max(-1, keepdims=True, initial=-np.inf)
    if sinks is not None:
        top = np.maximum(top, sinks.astype(np.float64)[:, None, None])
    top = np.where(np.isinf(top), 0, top)
    weights = np.exp(s - top)
    total = weights.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks.astype(np.float64)[:, None, None] - top)
    with np.errstate(divide="ignore"):
        return weights / np.where(total == 0, 1, total) @ v, (top + np.log(total))[..., 0]


def dense(thing, offset=KEYS - QUERIES, scores=None, **options):
    """A mask, or what becomes of `scores`, as batch x heads x queries x keys."""
    def at(b, h):
        more = {} if scores is None else {"scores": scores[b, h]}
        return thing.to_dense(QUERIES, KEYS, offset, head=h, batch=b, **more, **options)
    return np.array([[at(b, h) for h in range(HEADS)] for b in range(BATCHES)])


random = np.random.default_rng(7)
LENGTHS = np.array([20, 53], np.int32)
QUERY_IDS = np.sort(random.integers(0, 4, (BATCHES, QUERIES)), axis=1)
KEY_IDS = np.sort(random.integers(0, 4, (BATCHES, KEYS)), axis=1)
BITS = random.random((BATCHES, 1, QUERIES, KEYS)) < 0.4
ROW_PTR, COL = np.array([0, 2, 2, 5], np.int32), np.array([0, 3, 1, 2, 6], np.int32)
ROWS_BY_HEAD = np.array([[[0, 1, 2, 2], [2, 3, 3, 5], [0, 0, 1, 2], [0, 2, 2, 5]]], np.int32)
DATA_MASKS = [
    attn.lengths(LENGTHS), attn.documents(QUERY_IDS, KEY_IDS), attn.bits(BITS), attn.bits(BITS[0, 0].astype(np.int8)),
    attn.blocks(16, 8, ROW_PTR, COL), attn.blocks(16, 8, ROWS_BY_HEAD, COL),
    attn.causal() & attn.lengths(LENGTHS) | attn.keys(0, 2) & ~attn.documents(QUERY_IDS, KEY_IDS),
    ~(attn.window(9, 9) & attn.bits(BITS)) & attn.lengths(LENGTHS),
]


class DataMasks(unittest.TestCase):
    def test_numbers(self):
        q, k, v = inputs((BATCHES, HEADS, QUERIES, 32), KEYS)
        for mask in DATA_MASKS:
            expected, expected_lse = reference(q, k, v, dense(mask))
            o, lse = attn.attention(q, k, v, mask=mask, return_lse=True)
            np.testing.assert_allclose(o.astype(np.float64), expected, atol=4e-3, err_msg=mask.mlir)
            np.testing.assert_allclose(lse, expected_lse, atol=2e-3, err_msg=mask.mlir)

    def test_dense_is_the_definition(self):
        b, h, i, j = np.ogrid[:BATCHES, :HEADS, :QUERIES, :KEYS]
        np.testing.assert_array_equal(dense(attn.lengths(LENGTHS)), np.broadcast_to(j < LENGTHS[b], (BATCHES, HEADS, QUERIES, KEYS)))
        np.testing.assert_array_equal(dense(attn.documents(QUERY_IDS, KEY_IDS)),
                                      np.broadcast_to(QUERY_IDS[b, i] == KEY_IDS[b, j], (BATCHES, HEADS, QUERIES, KEYS)))
        np.testing.assert_array_equal(dense(attn.bits(BITS)), np.broadcast_to(BITS, (BATCHES, HEADS, QUERIES, KEYS)))
        by_hand = np.zeros((HEADS, QUERIES, KEYS), bool)
        for head, rows in enumerate(ROWS_BY_HEAD[0]):
            for row in range(3):
                for column in COL[rows[row]:rows[row + 1]]:
                    by_hand[head, 16 * row:16 * row + 16, 8 * column:8 * column + 8] = True
        np.testing.assert_array_equal(dense(attn.blocks(16, 8, ROWS_BY_HEAD, COL)), np.broadcast_to(by_hand, (BATCHES, *by_hand.shape)))

    def test_repr_reads_back(self):
        small = [attn.lengths([3, 5]), attn.lengths(attn.tensor([3, 5], "i32")), attn.documents([[0, 0, 1]]),
                 attn.blocks(2, 2, [0, 1], [0]) & ~attn.causal(), attn.bits(np.eye(3, dtype=bool)),
                 attn.lengths(attn.tensor("n", "i64")) | attn.bits(attn.tensor("m", np.bool_, (None, 1, None, None)))]
        for mask in small + DATA_MASKS[:2]:
            for back in (eval(repr(mask), vars(attn)), masks.parse(repr(mask))):
                self.assertEqual(back, mask)
                self.assertEqual((repr(back), back.mlir, back.key, hash(back)), (repr(mask), mask.mlir, mask.key, hash(mask)))
        self.assertEqual(repr(small[1]), "lengths(tensor([3, 5], 'i32'))")
        self.assertEqual(small[-1].mlir, "lengths(%n) | bits(%m)")
        self.assertEqual(len(set(small + DATA_MASKS)), len(small + DATA_MASKS))
        self.assertNotEqual(attn.lengths([3, 5]), attn.lengths([3, 6]))
        self.assertNotEqual(attn.lengths([3, 5]), attn.lengths(np.array([3, 5], np.int32)))
        # A large array is not written out, and what stands for it is no Python.
        large = attn.bits(BITS)
        self.assertEqual(repr(large), "bits(tensor(<2 x 1 x 37 x 53 of i1>))")
        self.assertEqual(large, attn.bits(BITS.copy()))

    def test_one_kernel_for_all_data(self):
        q, k, v = inputs((BATCHES, HEADS, QUERIES, 32), KEYS)
        attn.attention(q, k, v, mask=attn.lengths(LENGTHS) & attn.causal())
        before = attn.statistics()["compilations"]
        for lengths in ([5, 7], [0, 53]):
            lengths = np.array(lengths, np.int32)
            mask = attn.lengths(lengths) & attn.causal()
            np.testing.assert_allclose(attn.attention(q, k, v, mask=mask), reference(q, k, v, dense(mask))[0], atol=4e-3)
        self.assertEqual(attn.statistics()["compilations"], before)

    def test_named_tensors(self):
        q, k, v = inputs((BATCHES, HEADS, QUERIES, 32), KEYS)
        mask = attn.lengths(attn.tensor("n", "i32")) & attn.documents(attn.tensor("a", "i64"), attn.tensor("b", "i64"))
        self.assertEqual(mask.tensors, ("n", "a", "b"))
        given = {"n": LENGTHS, "a": QUERY_IDS, "b": KEY_IDS}
        expected, _ = reference(q, k, v, dense(mask, tensors=given))
        kernel = attn.compile(heads=HEADS, kv_heads=2, head_size=32, value_head_size=48, mask=mask)
        self.assertEqual(kernel.tensors, ("n", "a", "b"))
        for o in (kernel(q, k, v, tensors=given), attn.attention(q, k, v, mask=mask, tensors=given)):
            np.testing.assert_allclose(o.astype(np.float64), expected, atol=4e-3)
        # A kernel that is compiled with data keeps them; one that is asked for data does not.
        bound = attn.compile(heads=HEADS, kv_heads=2, head_size=32, value_head_size=48, mask=attn.lengths(LENGTHS))
        self.assertEqual(bound.tensors, ())
        np.testing.assert_array_equal(bound(q, k, v), attn.attention(q, k, v, mask=attn.lengths(LENGTHS)))
        self.assertEqual(bound.report(QUERIES, KEYS)["live_pairs"], QUERIES * LENGTHS[0])
        self.assertNotIn("<svg", bound._repr_html_())
        self.assertIn("<svg", bound.draw(QUERIES, KEYS).svg)

    def test_a_tensor_in_two_places_is_one_argument(self):
        q, k, v = inputs((1, 1, 40, 16), 40, 1, 16)
        ids = np.sort(random.integers(0, 5, (1, 40))).astype(np.int32)
        mask = attn.documents(ids)
        self.assertEqual(mask.mlir, "documents(%_0, %_0)")
        np.testing.assert_allclose(attn.attention(q, k, v, mask=mask), reference(q, k, v, ids[0][:, None] == ids[0])[0], atol=4e-3)

    def test_errors(self):
        q, k, v = inputs((BATCHES, HEADS, QUERIES, 32), KEYS)
        call = lambda mask, **options: attn.attention(q, k, v, mask=mask, **options)  # noqa: E731
        named = attn.lengths(attn.tensor("n", "i32"))
        for wrong, kind, text in [
            (lambda: attn.lengths(LENGTHS.astype(np.float32)), TypeError, "lengths: expected elements of type int32 or int64, found "
             "float32"),
            (lambda: attn.lengths("n"), TypeError, "lengths: expected an array, found the name 'n': write "
             "attn.tensor('n', 'i32')"),
            (lambda: attn.lengths(QUERY_IDS), ValueError, "lengths: expected batch, found shape (2, 37)"),
            (lambda: attn.blocks(16, 8, QUERY_IDS, COL), ValueError, "row_ptr: expected any or batch or 1 x heads or 1 x any, found "
             "shape (2, 37)"),
            (lambda: attn.blocks(0, 8, ROW_PTR, COL), ValueError, "query_block: expected at least 1, found 0"),
            (lambda: attn.bits(attn.tensor("m", "i32")), TypeError, "bits: expected elements of type bool or int8, found i32"),
            (lambda: attn.tensor("n"), TypeError, "dtype: expected one of f16, bf16, f32, i1, i8, i32, i64, found None"),
            (lambda: attn.tensor("n", "i32", (3,)), ValueError, "shape: expected 1 for a dimension that is broadcast and None for "
             "another, found (3,)"),
            (lambda: attn.tensor("q", "i32"), ValueError, "name: expected a name other than q, k, v, o, lse, offset, h, i, j, found 'q'"),
            (lambda: attn.lengths(attn.tensor("n", "i32", (1,))), ValueError, "lengths: expected batch, found shape (1)"),
            (lambda: call(attn.lengths(np.array([1, 2, 3]))), ValueError, "lengths: expected batch (2), found shape (3)"),
            (lambda: call(attn.documents(QUERY_IDS)), ValueError, "documents: expected batch (2) x keys (53), found shape (2, 37)"),
            (lambda: call(attn.bits(BITS[:, :, :5])), ValueError, "bits: expected batch (2) x heads (1) x queries (37) x keys (53), "
             "found shape (2, 1, 5, 53)"),
            (lambda: call(named), ValueError, "tensors: expected an array for 'n', found none"),
            (lambda: call(named, tensors={"n": LENGTHS, "m": LENGTHS}), ValueError, "tensors: expected arrays for 'n', found one for 'm'"),
            (lambda: call(named, tensors=3), TypeError, "tensors: expected a mapping of names to arrays, found 3"),
            (lambda: call(named, tensors={"n": LENGTHS.astype(np.int64)}), TypeError, "lengths: expected elements of type i32, found i64"),
            (lambda: call(attn.causal(), tensors={"n": LENGTHS}), ValueError, "tensors: expected arrays for none, found one for 'n'"),
            (lambda: named.to_dense(3, 3), ValueError, "tensors: expected an array for 'n', found none"),
            (lambda: call(named | attn.bits(attn.tensor("n", "i8")), tensors={}), ValueError,
             "bits: expected 'n' to be i32 of shape (None,) as in lengths, found i8 of shape (None, None, None, None)"),
            # Of elements, before anything runs: R10 to R13.
            (lambda: call(attn.lengths(np.array([5, 54], np.int32))), ValueError, "'lengths': expected "),
            (lambda: call(attn.documents(QUERY_IDS[:, ::-1].copy(), KEY_IDS)), ValueError, "'q_ids': expected "),
            (lambda: call(attn.blocks(16, 8, ROW_PTR, np.array([0, 3, 1, 2, 7], np.int32))), ValueError, "'col': expected "),
            (lambda: call(attn.blocks(16, 8, ROW_PTR[:3], COL)), ValueError, "'row_ptr': "),
        ]:
            with self.assertRaises(kind) as caught:
                wrong()
            if text.startswith("'"):
                self.assertIn(text, str(caught.exception))
            else:
                self.assertEqual(str(caught.exception), text)


SLOPES = np.array([0.5, 0.25, 0.125, 0.0625], np.float32)
BIAS = random.standard_normal((BATCHES, 1, QUERIES, KEYS)).astype(np.float16)
X = random.standard_normal((1, HEADS, 1, KEYS)).astype(np.float32)
EXPRESSIONS = [
    ("s", {}), ("s * 0.5 + 1", {}), ("s + x", {"x": X}), ("s - y * abs(i - j)", {"y": SLOPES}),
    ("where(j < 20, s, s - 3)", {}), ("where((i - j) % 3 == 1, -inf, s)", {}), ("s + (h + 1) / (b + 2)", {}),
    ("tanh(s / 3) * 3 + min(x, 0.25) ** 2", {"x": X}), ("max(s, -1) + sigmoid(s) - log(1 + exp(s))", {}),
    ("where((i >= j) & ~(i // 7 == j // 5) | (s > 1), s, -s)", {}), ("s + sqrt(float(j)) + rsqrt(j + 1) - log2(2 + i)", {}),
    ("s + exp2(-abs(x)) + float(i > j)", {"x": BIAS}), ("s + 0.1 * max(i - j, 2 * b)", {}), ("s + abs(x) ** 1.5", {"x": X}),
]


class Scores(unittest.TestCase):
    def check(self, live=None, change=lambda s: s, offset=KEYS - QUERIES, tolerance=4e-3, **options):
        q, k, v = inputs((BATCHES, HEADS, QUERIES, 32), KEYS)
        mask = options.get("mask", attn.all_())
        expected, expected_lse = reference(q, k, v, dense(mask, offset), change, options.get("sinks"))
        o, lse = attn.attention(q, k, v, return_lse=True, **options)
        np.testing.assert_allclose(o.astype(np.float64), expected, atol=tolerance)
        np.testing.assert_allclose(lse, expected_lse, atol=2e-3)

    def test_clauses(self):
        distance = np.abs(np.arange(QUERIES)[:, None] + KEYS - QUERIES - np.arange(KEYS))
        cap = lambda s: 2 * np.tanh(s / 2)  # noqa: E731
        alibi = SLOPES[:, None, None] * distance
        bias = BIAS.astype(np.float64)
        sinks = np.array([1, -np.inf, 0.5, -2], np.float32)
        self.check(change=cap, softcap=2)
        self.check(change=lambda s: s + bias, bias=BIAS)
        self.check(change=lambda s: s + bias[0, 0], bias=BIAS[0, 0])
        self.check(change=lambda s: s - alibi, alibi=SLOPES, mask=attn.causal())
        self.check(sinks=sinks, mask=attn.window(5, 0) & attn.stride(2))
        self.check(change=lambda s: cap(s) + bias - alibi, softcap=2.0, bias=BIAS, alibi=SLOPES, sinks=sinks, mask=attn.causal())

    def test_expressions(self):
        offset = KEYS - QUERIES
        for expression, data in EXPRESSIONS:
            change = attn.score(expression, **data)
            self.check(lambda s: s, lambda s, change=change: dense(change, offset, s), score=change, mask=attn.window(30, 20))
            for back in (eval(repr(change), vars(attn)), scores.parse(change.key)) if not data or "y" in data else ():
                self.assertEqual(back.mlir, change.mlir)
                self.assertEqual(back.expression, change.expression)

    def test_on_a_gpu(self):
        q, k, v = inputs((BATCHES, HEADS, QUERIES, 32), KEYS)
        for expression, data in EXPRESSIONS:
            kernel = attn.compile(heads=HEADS, kv_heads=2, head_size=32, value_head_size=48, score=attn.score(expression, **data),
                                  device="sim")
            self.assertIn(".entry attention", kernel.ptx)
        mask, change = attn.lengths(LENGTHS) & ~attn.documents(QUERY_IDS, KEY_IDS) | attn.bits(BITS), attn.score("s + x * (h + 1)", x=X)
        expected, _ = reference(q, k, v, dense(mask), lambda s: dense(change, 16, 2 * np.tanh(s / 2) + BIAS))
        o = attn.attention(q, k, v, mask=mask, softcap=2, bias=BIAS, score=change, device="sim")
        np.testing.assert_allclose(o.astype(np.float64), expected, atol=4e-3)

    def test_dense_is_the_definition(self):
        s = random.standard_normal((BATCHES, HEADS, QUERIES, KEYS))
        b, h, i, j = np.ogrid[:BATCHES, :HEADS, :QUERIES, :KEYS]
        found = dense(attn.score("where(i < j, s + x, y * s - z) + b", x=X, y=SLOPES), 3, s, symbols={"z": 4})
        np.testing.assert_allclose(found, np.where(i + 3 < j, s + X, SLOPES[h] * s - 4) + b)

    def test_after_the_clauses_with_symbols_and_names(self):
        q, k, v = inputs((BATCHES, HEADS, QUERIES, 32), KEYS)
        change = attn.score("where(j < n, s, s * x)", x=attn.tensor("x", "f32", (1, None, 1, None)))
        self.assertEqual((change.symbols, [name for name, _ in change.inputs]), (("n",), ["x"]))
        mask = attn.keys(0, attn.sym("n")) | attn.causal()
        kernel = attn.compile(heads=HEADS, kv_heads=2, head_size=32, value_head_size=48, mask=mask, score=change, softcap=2,
                              bias=attn.tensor("bias", "f16", (None, 1, None, None)), align="start")
        self.assertEqual((kernel.symbols, kernel.tensors), (("n",), ("bias", "x")))
        for n in (3, 30):
            given, symbols = {"x": X, "bias": BIAS}, {"n": n}
            expected, _ = reference(q, k, v, dense(mask, 0, symbols=symbols), lambda s: dense(
                change, 0, 2 * np.tanh(s / 2) + BIAS, symbols=symbols, tensors={"x": X}))
            np.testing.assert_allclose(kernel(q, k, v, symbols=symbols, tensors=given).astype(np.float64), expected, atol=4e-3)
            np.testing.assert_array_equal(
                attn.attention(q, k, v, mask=mask, softcap=2, bias=BIAS, score=attn.score("where(j < n, s, s * x)", x=X),
                               align="start", symbols=symbols), kernel(q, k, v, symbols=symbols, tensors=given))

    def test_regions(self):
        text = """%d = arith.subi %i, %n : index
%l = arith.cmpi slt, %j, %d : index
%t = arith.addf %s, %x : f32
%r = arith.select %l, %s, %t : f32
attn.yield %r : f32"""
        change = attn.score(mlir=text, x=X, n=attn.sym("n"))
        self.assertEqual(change, attn.score(mlir=text, n=attn.sym("n"), x=X.copy()))
        self.assertEqual(scores.parse(change.key).key, change.key)
        as_expression = attn.score("where(j < i - n, s, s + x)", x=X)
        self.check(change=lambda s: dense(as_expression, KEYS - QUERIES, s, symbols={"n": 4}), score=change, symbols={"n": 4})
        with self.assertRaisesRegex(NotImplementedError, "score: a region of MLIR is not evaluated here"):
            change.to_dense(3, 3)
        with self.assertRaisesRegex(ValueError, "attention.mlir:.* use of undeclared SSA value name"):
            attn.compile(heads=1, head_size=16, score=attn.score(mlir="attn.yield %z : f32"))

    def test_equality(self):
        self.assertEqual(attn.score("s+x", x=X), attn.score("s + x", x=X.copy()))
        self.assertEqual(hash(attn.score("s+x", x=X)), hash(attn.score("s + x", x=X + 1)))
        self.assertNotEqual(attn.score("s + x", x=X), attn.score("s + x", x=X + 1))
        self.assertNotEqual(attn.score("s + x", x=X), attn.score("s - x", x=X))
        self.assertEqual(repr(attn.score("s-x*abs(i-j)", x=np.array([0.5, -np.inf], np.float32))),
                         "score('s - x * abs(i - j)', x=tensor([0.5, -1e999], 'f32'))")

    def test_errors(self):
        q, k, v = inputs((BATCHES, HEADS, QUERIES, 32), KEYS)
        call = lambda **options: attn.attention(q, k, v, **options)  # noqa: E731
        for wrong, kind, text in [
            (lambda: call(softcap="2"), TypeError, "softcap: expected a number, found str"),
            (lambda: call(softcap=0), ValueError, "softcap: expected a finite number above 0, found 0.0"),
            (lambda: call(bias=3), TypeError, "bias: expected an array of NumPy, PyTorch, JAX or another library with DLPack, found int"),
            (lambda: call(bias=BITS), TypeError, "bias: expected elements of type float16, bfloat16 or float32, found bool"),
            (lambda: call(bias=BIAS[:, :, :7]), ValueError, "bias: expected batch (2) x heads (1) x queries (37) x keys (53), found "
             "shape (2, 1, 7, 53)"),
            (lambda: call(bias=BIAS[None]), ValueError, "bias: expected batch or 1 x heads or 1 x queries or 1 x keys or 1, found shape "
             "(1, 2, 1, 37, 53)"),
            (lambda: call(alibi=SLOPES[:3]), ValueError, "alibi: expected heads (4), found shape (3)"),
            (lambda: call(sinks=SLOPES.astype(np.float16)), TypeError, "sinks: expected elements of type float32, found float16"),
            (lambda: call(score=lambda s, b, h, i, j: s), TypeError, "score: expected a change such as attn.score('s / 2'), or "
             "attn.translate.flex_attention(score_mod=...) of a function, found function"),
            (lambda: call(score=attn.score("s + x", x=X[:, :3])), ValueError, "x: expected batch (1) x heads (4) x queries (1) x keys "
             "(53), found shape (1, 3, 1, 53)"),
            (lambda: call(score=attn.score("s + n")), ValueError, "symbols: expected a value for 'n', found none"),
            (lambda: call(score=attn.score("s + n", n=X), mask=attn.keys(0, attn.sym("n")), symbols={"n": 1}), ValueError,
             "n: expected a name of its own, found 'n', which stands for a symbol too"),
            (lambda: call(bias=attn.tensor("n", "f32"), mask=attn.lengths(attn.tensor("n", "i32"))), ValueError,
             "bias: expected a name of its own, found 'n', which stands for lengths too"),
            (lambda: attn.score("s +"), ValueError, "score: invalid syntax: 's +'"),
            (lambda: attn.score("s and i"), ValueError, "score: expected arithmetic, comparisons and functions of s, b, h, i, j, inputs, "
             "symbols and numbers, found 's and i'"),
            (lambda: attn.score("sin(s)"), ValueError, "score: expected one of abs, exp, exp2, float, log, log2, max, min, rsqrt, "
             "sigmoid, sqrt, tanh, where with its arguments, found 'sin(s)'"),
            (lambda: attn.score("s % 2"), ValueError, "score: expected an integer and a positive constant around // and %, found 's % 2'"),
            (lambda: attn.score("s ** s"), ValueError, "score: expected a constant exponent, found 's ** s'"),
            (lambda: attn.score("where(s, 1, 2)"), ValueError, "score: expected a comparison as the first argument of where, found "
             "'where(s, 1, 2)'"),
            (lambda: attn.score("0 < s < 1"), ValueError, "score: expected one comparison by <, <=, ==, !=, >= or >, found '0 < s < 1'"),
            (lambda: attn.score("s", x=X), ValueError, "score: expected inputs that occur in 's', found 'x'"),
            (lambda: attn.score("s + b", b=X), ValueError, "score: expected a name other than s, b and those of functions, found 'b'"),
            (lambda: attn.score("s + x", x=attn.tensor("y", "f32")), ValueError, "score: expected a tensor of the name 'x', found 'y'"),
            (lambda: attn.score(), ValueError, "score: expected an expression or the region as mlir, found none"),
            (lambda: attn.score(3), TypeError, "score: expected a text, found 3"),
        ]:
            with self.assertRaises(kind) as caught:
                wrong()
            self.assertEqual(str(caught.exception), text)


if __name__ == "__main__":
    unittest.main()
