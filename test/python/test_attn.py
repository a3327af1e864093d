# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Python package, in the simulator where there is nothing better."""

import json
import threading
import unittest
import xml.dom.minidom

import numpy as np

import attn
from attn import masks, translate


def reference(q, k, v, live, scale=None):
    """o and lse in float64; `live` is queries x keys."""
    group = q.shape[1] // k.shape[1]
    q, k, v = (array.astype(np.float64) for array in (q, np.repeat(k, group, 1), np.repeat(v, group, 1)))
    scores = np.where(live, q @ k.swapaxes(2, 3) * (scale or q.shape[3] ** -0.5), -np.inf)
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = weights.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        return weights / np.where(total == 0, 1, total) @ v, (np.where(np.isinf(top), 0, top) + np.log(total))[..., 0]


def inputs(shape=(2, 4, 37, 32), keys=53, kv_heads=2, value_size=48, seed=0):
    random = np.random.default_rng(seed)
    batch, heads, queries, size = shape
    make = lambda *shape: random.standard_normal(shape).astype(np.float16)  # noqa: E731
    return make(*shape), make(batch, kv_heads, keys, size), make(batch, kv_heads, keys, value_size)


SAMPLES = [
    attn.all_(), attn.causal(), attn.window(5, 3), attn.window(None, 2), attn.dilated(3, 2, 4), attn.stride(3),
    attn.same_block(8), attn.summary(8, 2), attn.global_(3), attn.keys(4, 30), attn.queries(2, None), attn.strided(6),
    attn.fixed(8, 2), attn.chunked(9), attn.prefix(7), attn.longformer(4, 2), attn.streaming(2, 6),
    attn.affine("(i - j) % 3 == 1"), attn.affine("2 * i - j // 4 > 5 - h"),
    ~attn.causal() | attn.window(2, 2) & attn.stride(2), attn.causal() & (attn.window(2, 0) | attn.stride(4)),
    attn.causal() & (attn.stride(2) & attn.window(9, 9)), ~~attn.causal(), ~(attn.causal() & attn.stride(2)),
]


class Masks(unittest.TestCase):
    def test_repr_reads_back(self):
        for mask in SAMPLES:
            back = eval(repr(mask), vars(attn))
            self.assertEqual(back, mask)
            self.assertEqual(masks.parse(repr(mask)), mask)
            self.assertEqual(hash(back), hash(mask))
            self.assertEqual(back.mlir, mask.mlir)
        self.assertEqual(len(set(SAMPLES)), len(SAMPLES))
        self.assertNotEqual(attn.window(1, 2), attn.window(2, 1))

    def test_the_compiler_means_the_same(self):
        # With q = 0 the lse is the logarithm of the number of live keys, and o their share of each one-hot value.
        queries = keys = 40
        q = np.zeros((1, 1, queries, 16), np.float16)
        k = np.zeros((1, 1, keys, 16), np.float16)
        v = np.eye(keys, dtype=np.float16)[None, None]
        for mask in SAMPLES:
            live = mask.to_dense(queries, keys)
            o, lse = attn.attention(q, k, v, mask=mask, return_lse=True)
            np.testing.assert_array_equal(o[0, 0] != 0, live, err_msg=repr(mask))
            with np.errstate(divide="ignore"):
                np.testing.assert_allclose(lse[0, 0], np.log(live.sum(1)), atol=1e-3, err_msg=repr(mask))

    def test_dense_follows_the_offset(self):
        np.testing.assert_array_equal(attn.causal().to_dense(3, 5), np.tri(3, 5, 2, dtype=bool))
        np.testing.assert_array_equal(attn.causal().to_dense(3, 5, offset=0), np.tri(3, 5, dtype=bool))
        by_head = attn.heads(1, 2) & attn.causal() | attn.heads(0, 1)
        self.assertTrue(by_head.to_dense(4, 4, head=0).all())
        np.testing.assert_array_equal(by_head.to_dense(4, 4, head=1), np.tri(4, dtype=bool))

    def test_errors(self):
        for make, kind, text in [
            (lambda: attn.window(1.5, 0), TypeError, "left: expected an integer or None, found 1.5"),
            (lambda: attn.stride(0), ValueError, "n: expected at least 1, found 0"),
            (lambda: attn.affine("i * j > 0"), ValueError, "condition: expected a product with a constant, found 'i * j'"),
            (lambda: attn.affine("i % j == 0"), ValueError, "condition: expected a positive constant behind %, found 'j'"),
            (lambda: attn.affine("i"), ValueError, "condition: expected one comparison by <, <=, ==, >= or >, found 'i'"),
            (lambda: attn.affine("exit() > 0"), ValueError,
             "condition: expected h, i, j, symbols, integers, +, -, *, // and %, found 'exit()'"),
            (lambda: masks.parse("__import__('os')"), ValueError,
             "expected masks combined with &, | and ~, found '__import__('os')'"),
            (lambda: bool(attn.causal()), TypeError,
             "a mask is neither true nor false: combine masks with &, | and ~, not with and, or and not"),
        ]:
            with self.assertRaises(kind) as caught:
                make()
            self.assertEqual(str(caught.exception), text)


class Attention(unittest.TestCase):
    def check(self, q, k, v, **arguments):
        o, lse = attn.attention(q, k, v, return_lse=True, **arguments)
        align = arguments.get("align", "end")
        offset = {"end": None, "start": 0}.get(align, align)
        live = arguments.get("mask", attn.all_()).to_dense(q.shape[2], k.shape[2], offset)
        expected, expected_lse = reference(q, k, v, live, arguments.get("scale"))
        np.testing.assert_allclose(o.astype(np.float64), expected, atol=4e-3)
        np.testing.assert_allclose(lse, expected_lse, atol=2e-3)
        self.assertEqual((o.dtype, lse.dtype), (q.dtype, np.float32))
        np.testing.assert_array_equal(attn.attention(q, k, v, **arguments), o)

    def test_numbers(self):
        q, k, v = inputs()
        self.check(q, k, v)
        self.check(q, k, v, mask=attn.causal() & attn.window(12, 0), scale=0.3)
        self.check(q, k, v, mask=attn.causal(), align="start")
        self.check(q, k, v, mask=attn.causal(), align=-3)
        self.check(*inputs((1, 1, 1, 64), 70, 1, 64, seed=3), mask=attn.stride(3))
        self.check(*inputs((1, 2, 70, 16), 5, 1, 16, seed=4), mask=attn.causal())  # rows without a key

    def test_float32(self):
        q, k, v = (array.astype(np.float32) for array in inputs())
        if attn.device_for(q) != "host":
            with self.assertRaisesRegex(ValueError, "no GPU schedule for element type 'f32'"):
                attn.attention(q, k, v)
            return
        o = attn.attention(q, k, v, mask=attn.causal())
        expected, _ = reference(q, k, v, attn.causal().to_dense(37, 53))
        self.assertEqual(o.dtype, np.float32)
        np.testing.assert_allclose(o, expected, atol=1e-5)

    def test_devices_agree(self):
        q, k, v = inputs()
        for device in {"sim", attn.device_for(q)}:
            o = attn.attention(q, k, v, mask=attn.causal(), device=device)
            expected, _ = reference(q, k, v, attn.causal().to_dense(37, 53))
            np.testing.assert_allclose(o.astype(np.float64), expected, atol=4e-3)
        kernel = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48, device=attn.device_for(q))
        if kernel.device == "host":
            with self.assertRaisesRegex(ValueError, "the code for the device 'host' is not PTX"):
                kernel.ptx

    def test_strided_views_are_not_copied(self):
        q, k, v = (np.ascontiguousarray(array.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3) for array in inputs())
        self.check(q, k, v, mask=attn.causal())
        for array in (q, k, v):
            array.flags.writeable = False
        self.check(q, k, v)
        kernel = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48)
        storage = np.full((2, 37, 4, 48), np.nan, np.float16)
        self.assertIs(kernel(q, k, v, out=storage.transpose(0, 2, 1, 3)).base, storage)
        np.testing.assert_array_equal(storage.transpose(0, 2, 1, 3), attn.attention(q, k, v))

    def test_one_kernel_for_every_length(self):
        kernel = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48, mask=attn.causal())
        self.assertIs(kernel, attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48, mask=attn.causal()))
        for queries, keys in ((1, 1), (64, 64), (65, 129), (3, 0), (0, 3)):
            q, k, v = inputs((1, 4, queries, 32), keys)
            expected, _ = reference(q, k, v, attn.causal().to_dense(queries, keys))
            np.testing.assert_allclose(kernel(q, k, v), expected, atol=4e-3)

    def test_one_query_has_a_kernel_of_its_own(self):
        def made():
            found = attn.statistics("sim")
            return found["compilations"] + found["disk_hits"]
        before, mask, counts = made(), attn.causal() & attn.window(41, 0), []
        for queries, keys in ((1, 30), (1, 70), (2, 70), (3, 30)):
            q, k, v = inputs((1, 6, queries, 16), keys)
            o = attn.attention(q, k, v, mask=mask, device="sim")
            expected, _ = reference(q, k, v, mask.to_dense(queries, keys))
            np.testing.assert_allclose(o.astype(np.float64), expected, atol=4e-3)
            counts.append(made() - before)
        self.assertEqual(counts, [1, 1, 2, 2])

    def test_what_a_kernel_tells(self):
        kernel = attn.compile(heads=2, head_size=64, mask=attn.causal() & attn.window(100, 0), device="sim")
        self.assertIn(".entry attention", kernel.ptx)
        self.assertIn("mask(causal & window<100, 0>)", kernel.mlir)
        report = kernel.report(512, 512)
        self.assertEqual(report["live_pairs"], sum(min(i, 100) + 1 for i in range(512)))
        # Queries 128 r to 128 r + 127 see the keys 128 r - 100 to 128 r + 127: 2 tiles of 64 keys, then 4 each.
        self.assertEqual(report["tiles"], {"empty": 18, "partial": 14, "full": 0})
        self.assertEqual(report["launches"][0]["mask"], "causal & window<100, 0>")
        picture = kernel.draw(64, 64, tile=(8, 8))
        svg = xml.dom.minidom.parseString(picture._repr_svg_())
        areas = {}
        for box in svg.getElementsByTagName("rect"):
            color, width = box.getAttribute("fill"), int(box.getAttribute("width")) // 16
            areas[color] = areas.get(color, 0) + width
        self.assertEqual(sorted(areas.values()), [8, 28, 28])

    def test_compiles_for_other_targets(self):
        source = attn.compile(heads=2, head_size=64, device="sim").mlir
        manifest, code = attn.api._session("sim").emit(source, target="sm_86")
        self.assertEqual(json.loads(manifest)["target"], "sm_86")
        self.assertIn(b".target sm_86", code)
        with self.assertRaisesRegex(ValueError, "found sm_20"):
            attn.api._session("sim").emit(source, target="sm_20")
        with self.assertRaisesRegex(ValueError, r"attention\.mlir:2:3: error: .*retrn"):
            attn.api._session("sim").emit("func.func @f() {\n  retrn\n}")

    def test_threads(self):
        q, k, v = inputs()
        expected = attn.attention(q, k, v, mask=attn.causal())
        wrong = []
        def work():
            for _ in range(3):
                if not np.array_equal(attn.attention(q, k, v, mask=attn.causal()), expected):
                    wrong.append(1)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertFalse(wrong)

    def test_errors(self):
        q, k, v = inputs()
        fixed = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48)
        readonly = np.zeros((2, 4, 37, 48), np.float16)
        readonly.flags.writeable = False
        for call, kind, text in [
            (lambda: attn.attention([1], k, v), TypeError, "q: expected an array of NumPy, PyTorch, JAX or another library"),
            (lambda: attn.attention(q, k.astype(np.int32), v), TypeError, "k: expected elements of type float16, bfloat16 "
             "or float32, found int32"),
            (lambda: attn.attention(q, k, v.astype(np.float32)), TypeError, "v: expected elements of type f16 as in q, "
             "found f32"),
            (lambda: attn.attention(q[0], k, v), ValueError, "q: expected batch x heads x length x head size, found shape "
             "(4, 37, 32)"),
            (lambda: attn.attention(q, k[:1], v), ValueError, "k: expected batch size 2 as in q, found 1"),
            (lambda: attn.attention(q, k[..., :16], v), ValueError, "k: expected head size 32 as in q, found 16"),
            (lambda: attn.attention(q, k, v[:, :, :5]), ValueError, "v: expected length 53 as in k, found 5"),
            (lambda: attn.attention(q, k, v[:, :1]), ValueError, "v: expected heads 2 as in k, found 1"),
            (lambda: attn.attention(q[:, :3], k, v), ValueError, "q: expected a number of heads that is a multiple of the "
             "2 of k, found 3"),
            (lambda: attn.attention(q, k, v, mask="causal"), TypeError, "mask: expected a mask such as attn.causal(), "
             "found str"),
            (lambda: attn.attention(q, k, v, scale="1"), TypeError, "scale: expected a number, found str"),
            (lambda: attn.attention(q, k, v, align="middle"), ValueError, "align: expected 'end', 'start', an integer or "
             "an array of one for each batch, found 'middle'"),
            (lambda: attn.attention(q, k, v, device="tpu"), ValueError, "unknown device 'tpu'"),
            (lambda: attn.attention(q, k, v.swapaxes(2, 3).copy().swapaxes(2, 3)), ValueError, "argument 2 'v': the last "
             "dimension must be contiguous"),
            (lambda: attn.compile(heads=2, head_size=20), ValueError, "(A6)"),
            (lambda: fixed(q[:, :2], k, v), ValueError, "q, k, v: this kernel is for (heads of q, heads of k, head size, "
             "head size of v) (4, 2, 32, 48) of f16, found (2, 2, 32, 48) of f16"),
            (lambda: fixed(q, k, v, out=readonly), ValueError, "out: expected an array that can be written, found a "
             "read-only one"),
            (lambda: fixed(q, k, v, out=np.zeros((2, 4, 36, 48), np.float16)), ValueError, "result 0 'o': dimension 2: "
             "expected size 37"),
        ]:
            with self.assertRaises(kind) as caught:
                call()
            self.assertIn(text, str(caught.exception))


class Translators(unittest.TestCase):
    """Against the systems' own words, written out pair by pair."""

    def check(self, arguments, expected, queries=23, keys=31, head=0):
        offset = {"end": keys - queries, "start": 0}.get(arguments["align"], arguments["align"])
        live = arguments["mask"].to_dense(queries, keys, offset, head)
        own = np.array([[bool(expected(i, j)) for j in range(keys)] for i in range(queries)])
        np.testing.assert_array_equal(live, own, err_msg=repr(arguments))

    def test_flash_attention(self):
        # FlashAttention keeps the keys from i + Nk - Nq - left to i + Nk - Nq + right.
        for left, right in ((-1, -1), (4, 0), (3, 5), (-1, 2), (2, -1)):
            for causal in (False, True):
                def own(i, j):
                    r = 0 if causal else right
                    return (left < 0 or j >= i + 8 - left) and (r < 0 or j <= i + 8 + r)
                self.check(translate.flash_attention(causal, (left, right)), own)

    def test_pytorch(self):
        self.check(translate.pytorch_is_causal(), lambda i, j: np.tri(23, 31)[i, j])
        self.check(translate.pytorch_is_causal(False), lambda i, j: True)

    def test_splash(self):
        for offset in (-2, 0, 5):
            self.check(translate.splash_causal(offset), lambda i, j: i + offset >= j)
            for left, right in ((3, 2), (None, 1), (4, None)):
                self.check(translate.splash_local((left, right), offset),
                           lambda i, j: (left is None or i - left + offset <= j) and
                           (right is None or i + right + offset >= j))

    def test_cudnn(self):
        for left, right, bottom in ((4, 0, False), (1, 3, True), (None, 0, False), (None, None, True)):
            shift = 8 if bottom else 0
            self.check(translate.cudnn(left, right, bottom),
                       lambda i, j: (left is None or j > i + shift - left) and (right is None or j <= i + shift + right))
        with self.assertRaisesRegex(ValueError, "left_bound: expected at least 1, found 0"):
            translate.cudnn(0)

    def test_longformer(self):
        for dilation in (1, 3):
            self.check(translate.longformer(8, 2, dilation),
                       lambda i, j: i < 2 or j < 2 or (abs(i - j) <= 4 * dilation and (i - j) % dilation == 0),
                       queries=31, keys=31)

    def test_attention_gym(self):
        self.check(translate.attention_gym_dilated(9, 2), lambda i, j: abs(i - j) <= 9 and (i - j) % 2 == 0)

    def test_flex_attention(self):
        def sliding(b, h, q, kv):
            return (q >= kv) & (q - kv <= 7)
        for own in (
            sliding,
            lambda b, h, q, kv: q >= kv,
            lambda b, h, q, kv: (kv < 5) | (q >= kv),
            lambda b, h, q, kv: abs(q - kv) <= 4,
            lambda b, h, q, kv: (q - kv) % 3 == 0,
            lambda b, h, q, kv: ~(q // 8 == kv // 8) & (2 * q + 3 != kv),
            lambda b, h, q, kv: (h < 2) & (q >= kv) | (h >= 2) & (abs(q - kv) > 3),
            lambda b, h, q, kv: 5 < abs(kv - q),
        ):
            for head in (0, 3):
                self.check(translate.flex_attention(own), lambda i, j: np.all(own(0, np.int64(head), np.int64(i), np.int64(j))),
                           head=head)
        table, array = [0] * 10, np.zeros(10)
        for own, text in (
            (lambda b, h, q, kv: q * kv > 3, r"'\(i \* j\)' is not affine"),
            (lambda b, h, q, kv: q % kv == 0, r"'\(i % j\)' is not affine: the divisor"),
            (lambda b, h, q, kv: table[q] == table[kv], "'i' indexes data"),
            (lambda b, h, q, kv: array[q] == array[kv], "more than compare affine expressions: only integers"),
            (lambda b, h, q, kv: q >= kv and kv < 3, "neither true nor false"),
            (lambda b, h, q, kv: b == 0, "'b' decides"),
            (lambda b, h, q, kv: q.sin() > 0, r"'i\.sin' is not affine"),
            (lambda b, h, q, kv: q >= 0.5, "uses float data"),
        ):
            with self.assertRaisesRegex(NotImplementedError, text):
                translate.flex_attention(own)


if __name__ == "__main__":
    unittest.main()
