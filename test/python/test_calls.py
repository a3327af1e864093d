# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What changes from call to call: symbols, offsets, sizes; what is refused; what calls cost."""

import gc
import threading
import time
import unittest

import numpy as np

import attn
from attn import arrays, masks
from test_attn import inputs, reference


def compilations():
    return attn.statistics()["compilations"]


class Symbols(unittest.TestCase):
    def test_one_kernel_for_every_value(self):
        mask = attn.causal() & attn.window(attn.sym("reach"), 0) | attn.keys(0, attn.sym("sinks"))
        self.assertEqual(mask.symbols, ("reach", "sinks"))
        before, kernels = compilations(), set()
        for reach, sinks, queries, keys in ((3, 0, 37, 53), (0, 5, 37, 53), (1000, 2, 20, 70), (7, -4, 64, 64), (-1, 9, 33, 9)):
            q, k, v = inputs((2, 4, queries, 32), keys, seed=abs(reach))
            symbols = {"reach": reach, "sinks": sinks}
            live = mask.to_dense(queries, keys, symbols=symbols)
            by_hand = np.array([[i - reach <= j <= i or j < sinks for j in range(keys)]
                                for i in range(keys - queries, keys)])
            np.testing.assert_array_equal(live, by_hand)
            o, lse = attn.attention(q, k, v, mask=mask, symbols=symbols, return_lse=True)
            expected, expected_lse = reference(q, k, v, live)
            np.testing.assert_allclose(o.astype(np.float64), expected, atol=4e-3)
            np.testing.assert_allclose(lse, expected_lse, atol=2e-3)
            kernels.add(attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48, mask=mask, return_lse=True))
        self.assertEqual(compilations() - before, 1)
        self.assertEqual(len(kernels), 1)

    def test_literal_sets_have_them_too(self):
        mask = attn.affine("(i - j) % 4 < gap") & attn.affine("j + shift <= i")
        self.assertEqual(mask.symbols, ("gap", "shift"))
        q, k, v = inputs()
        before = compilations()
        for gap, shift in ((1, 0), (3, 5), (4, -60), (0, 0)):
            symbols = {"shift": shift, "gap": gap}
            o = attn.attention(q, k, v, mask=mask, symbols=symbols)
            expected, _ = reference(q, k, v, mask.to_dense(37, 53, symbols=symbols))
            np.testing.assert_allclose(o.astype(np.float64), expected, atol=4e-3)
        self.assertLessEqual(compilations() - before, 1)

    def test_repr_reads_back(self):
        w = attn.sym("w")
        for mask in (attn.window(w, 3), attn.dilated(w, None, 2), attn.global_(w), attn.keys(w, attn.sym("n")),
                     attn.queries(1, w), attn.heads(0, w), attn.prefix(w), attn.longformer(w, w), attn.streaming(4, w),
                     attn.affine("2 * i - w > j"), ~attn.window(w, 0) & attn.summary(8, w)):
            for back in (eval(repr(mask), vars(attn)), masks.parse(repr(mask))):
                self.assertEqual(back, mask)
                self.assertEqual((back.mlir, back.symbols), (mask.mlir, mask.symbols))
            self.assertIn("%w", mask.mlir)
        self.assertNotEqual(attn.window(w, 0), attn.window(attn.sym("x"), 0))
        self.assertEqual(hash(attn.sym("w")), hash(w))

    def test_errors(self):
        mask = attn.window(attn.sym("w"), 0)
        q, k, v = inputs()
        for call, kind, text in [
            (lambda: attn.attention(q, k, v, mask=mask), ValueError, "symbols: expected a value for 'w', found none"),
            (lambda: attn.attention(q, k, v, mask=mask, symbols={"w": 1.5}), TypeError,
             "symbols: expected an integer for 'w', found 1.5"),
            (lambda: attn.attention(q, k, v, mask=mask, symbols={"w": 1, "x": 2}), ValueError,
             "symbols: expected values for 'w', found one for 'x'"),
            (lambda: attn.attention(q, k, v, symbols={"x": 2}), ValueError, "symbols: expected values for none, found one for 'x'"),
            (lambda: attn.attention(q, k, v, mask=mask, symbols=7), TypeError,
             "symbols: expected a mapping of names to integers, found 7"),
            (lambda: attn.attention(q, k, v, mask=mask, symbols={"w": 1 << 50}), ValueError,
             "symbols: expected a value for 'w' within +-2^40, found 1125899906842624"),
            (lambda: mask.to_dense(3, 3), ValueError, "symbols: expected a value for 'w', found none"),
            (lambda: attn.stride(attn.sym("w")), TypeError, "n: expected an integer, found sym('w')"),
            (lambda: attn.sym("1w"), ValueError, "name: expected a name other than q, k, v, o, lse, offset, h, i, j, found '1w'"),
            (lambda: attn.sym("q"), ValueError, "name: expected a name other than q, k, v, o, lse, offset, h, i, j, found 'q'"),
            (lambda: attn.sym(3), TypeError, "name: expected a text, found 3"),
        ]:
            with self.assertRaises(kind) as caught:
                call()
            self.assertEqual(str(caught.exception), text)


class Offsets(unittest.TestCase):
    def test_one_kernel_for_every_offset(self):
        q, k, v = inputs()
        kernel = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48, mask=attn.causal(), align="offset")
        before = compilations()
        for offset in (-3, 0, 16, 200):
            expected, _ = reference(q, k, v, attn.causal().to_dense(37, 53, offset))
            for o in (kernel(q, k, v, align=offset), attn.attention(q, k, v, mask=attn.causal(), align=offset)):
                np.testing.assert_allclose(o.astype(np.float64), expected, atol=4e-3)
        self.assertEqual(compilations(), before)

    def test_one_offset_for_each_batch(self):
        q, k, v = inputs()
        offsets = np.array([2, 16])
        o = attn.attention(q, k, v, mask=attn.causal() & attn.window(9, 0), align=offsets)
        for batch, offset in enumerate(offsets):
            one = slice(batch, batch + 1)
            live = (attn.causal() & attn.window(9, 0)).to_dense(37, 53, int(offset))
            expected, _ = reference(q[one], k[one], v[one], live)
            np.testing.assert_allclose(o[one].astype(np.float64), expected, atol=4e-3)

    def test_errors(self):
        q, k, v = inputs()
        later = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48, align="offset")
        fixed = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48)
        for call, kind, text in [
            (lambda: attn.attention(q, k, v, align=np.zeros(3, np.int64)), ValueError,
             "align: expected 2 offsets, one for each batch, found 3"),
            (lambda: attn.attention(q, k, v, align=np.zeros(2, np.int32)), TypeError,
             "align: expected offsets of type int64, found int32"),
            (lambda: attn.attention(q, k, v, align=np.zeros((2, 2), np.int64)), TypeError,
             "align: expected 'end', 'start', an integer or an array of one for each batch, found "),
            (lambda: attn.attention(q, k, v, align=1.5), TypeError,
             "align: expected 'end', 'start', an integer or an array of one for each batch, found 1.5"),
            (lambda: attn.attention(q, k, v, align=1 << 41), ValueError, "align: expected an offset within +-2^40, found "),
            (lambda: later(q, k, v), ValueError, "align: expected the offset of query 0, found none"),
            (lambda: fixed(q, k, v, align=3), ValueError, "align: this kernel was compiled for 'end', found 3"),
            (lambda: later.draw(), ValueError, "offset: expected the offset of query 0, which this kernel is given at each call"),
        ]:
            with self.assertRaises(kind) as caught:
                call()
            self.assertTrue(str(caught.exception).startswith(text), str(caught.exception))


class Explicit(unittest.TestCase):
    def test_sizes_may_be_fixed(self):
        q, k, v = inputs()
        kernel = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48, batch=2, keys=53, dtype=np.float16)
        self.assertIn("tensor<2x4x?x32xf16>", kernel.mlir)
        expected, _ = reference(q, k, v, attn.all_().to_dense(37, 53))
        np.testing.assert_allclose(kernel(q, k, v).astype(np.float64), expected, atol=4e-3)
        with self.assertRaisesRegex(ValueError, "argument 1 'k': dimension 2: expected size 53, found 50"):
            kernel(q, k[:, :, :50], v[:, :, :50])

    def test_what_notebooks_show(self):
        kernel = attn.compile(heads=2, head_size=64, mask=attn.causal() & attn.window(40, 0))
        self.assertIn("<svg", kernel._repr_html_())
        self.assertIn("causal() &amp; window(40, 0)", kernel._repr_html_())
        self.assertEqual(repr(kernel), f"<attn.Kernel causal() & window(40, 0), 2 heads on 2, head size 64, f16, {kernel.device}>")
        self.assertEqual(kernel.draw()._repr_html_(), kernel.draw().svg)
        with_symbol = attn.compile(heads=2, head_size=64, mask=attn.window(attn.sym("w"), 0))
        self.assertNotIn("<svg", with_symbol._repr_html_())
        self.assertEqual(with_symbol.report(64, 64, symbols={"w": 0})["live_pairs"], 64)

    def test_errors(self):
        for arguments, kind, text in [
            (dict(heads=3, kv_heads=2, head_size=64), ValueError, "heads: expected a multiple of the 2 kv_heads, found 3"),
            (dict(heads=0, head_size=64), ValueError, "heads: expected at least 1, found 0"),
            (dict(heads=2, head_size="64"), TypeError, "head_size: expected an integer, found '64'"),
            (dict(heads=2, head_size=64, batch=-1), ValueError, "batch: expected at least 0, found -1"),
            (dict(heads=2, head_size=64, dtype="f64"), TypeError, "dtype: expected f16, bf16 or f32, found 'f64'"),
            (dict(heads=2, head_size=64, scale=True), TypeError, "scale: expected a number, found bool"),
            (dict(heads=2, head_size=64, scale=float("inf")), ValueError, "scale: expected a finite number"),
        ]:
            with self.assertRaises(kind) as caught:
                attn.compile(**arguments)
            self.assertEqual(str(caught.exception), text)


class Foreign:
    """An array of another library: what DLPack asks of it, wrong in one respect."""

    def __init__(self, array, place=(1, 0), capsule=None):
        self.array, self.place, self.capsule = array, place, capsule
        self.shape, self.dtype = array.shape, array.dtype

    def __dlpack_device__(self):
        return self.place

    def __dlpack__(self, **arguments):
        return self.array.__dlpack__(**arguments) if self.capsule is None else self.capsule()


def refuse():
    raise RuntimeError("the array was deleted")


class BadArrays(unittest.TestCase):
    def test_errors(self):
        q, k, v = inputs()
        kernel = attn.compile(heads=4, kv_heads=2, head_size=32, value_head_size=48)
        used = k.__dlpack__()
        np.from_dlpack(Foreign(k, capsule=lambda: used))
        readonly = np.zeros((2, 4, 37, 48), np.float16)
        readonly.flags.writeable = False
        for call, kind, text in [
            (lambda: attn.attention(q, Foreign(k, (2, 0)), v), ValueError, "k: expected an array on cpu as q is, found one on cuda:0"),
            (lambda: attn.attention(q, Foreign(k, (8, 0)), v), ValueError,
             "k: expected an array in host memory or on a CUDA device, found DLPack device 8"),
            (lambda: attn.attention(q, k, v, device="cuda"), ValueError, "cuda"),
            (lambda: attn.attention(q, k, used), TypeError, "v: expected an array of NumPy, PyTorch, JAX or another library with "
             "DLPack, found a used DLPack capsule; pass the array that it was made from"),
            (lambda: attn.attention(q, k.__dlpack__(), v), TypeError, "found a bare DLPack capsule"),
            (lambda: attn.attention(q, Foreign(k, capsule=lambda: used), v), ValueError,
             "k: expected an array that DLPack can describe, found one whose capsule was used before"),
            (lambda: attn.attention(q, k, Foreign(v, capsule=refuse)), ValueError,
             "v: expected an array that DLPack can describe, found one that it cannot: the array was deleted"),
            (lambda: kernel(q, k, v, out=readonly), ValueError, "out: expected an array that can be written, found a read-only one"),
            (lambda: kernel(q, k, v, out=np.zeros((2, 4, 37, 48), np.float32)), ValueError,
             "result 0 'o': expected element type f16, found f32"),
            (lambda: kernel(q, k, v, lse=readonly), ValueError, "lse: this kernel was compiled without return_lse=True"),
            (lambda: kernel(q, k, v, out=[1]), TypeError, "out: expected an array of NumPy, PyTorch, JAX or another library"),
            (lambda: kernel(q, k, v, out=Foreign(readonly, (2, 0))), ValueError,
             "out: expected an array on cpu as q is, found one on cuda:0"),
            (lambda: attn.attention(q, k, v[..., ::-1]), ValueError, "argument 2 'v': the last dimension must be contiguous"),
            (lambda: attn.attention(q, k, v, out=q[..., :1]), ValueError, "result 0 'o': "),
        ]:
            with self.assertRaises((TypeError, ValueError, RuntimeError)) as caught:
                call()
            self.assertIn(text, str(caught.exception))
            if text != "cuda":  # without a driver, or with one: the array is not there
                self.assertIs(type(caught.exception), kind)

    def test_arrays_of_any_library(self):
        q, k, v = inputs()
        expected = attn.attention(q, k, v)
        np.testing.assert_array_equal(attn.attention(q, Foreign(k), Foreign(v)), expected)
        with self.assertRaisesRegex(TypeError, "q: expected .* and the array API, found Foreign"):
            attn.attention(Foreign(q), k, v)
        out = np.empty_like(expected)
        self.assertIs(attn.attention(Foreign(q), k, v, out=out), out)
        np.testing.assert_array_equal(out, expected)

    def test_the_stream_is_the_librarys(self):
        array = Foreign(inputs()[0])
        self.assertEqual(arrays.stream_of(array), 0)
        array.__cuda_array_interface__ = {"version": 3, "stream": 0x51}
        self.assertEqual(arrays.stream_of(array), 0x51)
        array.__cuda_array_interface__ = {"version": 3, "stream": None}
        self.assertEqual(arrays.stream_of(array), 0)


class Threads(unittest.TestCase):
    def count_during(self, work):
        """How far another thread counts meanwhile, by steps that need the interpreter."""
        done = threading.Event()
        thread = threading.Thread(target=lambda: (work(), done.set()))
        thread.start()
        steps = 0
        while not done.is_set():
            steps += 1
            time.sleep(1e-4)
        thread.join()
        return steps

    def test_others_run_while_kernels_compile_and_run(self):
        session = attn.api._session("sim")
        source = attn.compile(heads=2, head_size=64, mask=attn.causal(), device="sim").mlir
        sources = [source.replace("mask(causal)", f"mask(causal & window<{n}, 0>)") for n in range(3)]
        self.assertNotEqual(sources[0], source)
        # While the interpreter is held, the other thread does not get to its second step.
        self.assertGreater(self.count_during(lambda: [session.compile(text) for text in sources]), 10)
        q, k, v = inputs((1, 4, 300, 64), 300, 2, 64)
        kernel = attn.compile(heads=4, kv_heads=2, head_size=64, device="sim")
        self.assertGreater(self.count_during(lambda: kernel(q, k, v)), 10)


class Cost(unittest.TestCase):
    """With nothing to compute, so that calls are what is measured."""

    def setUp(self):
        self.arrays = inputs((1, 1, 0, 16), 4, 1, 16)
        self.mask = attn.window(attn.sym("w"), 0)

    def call(self, w=3):
        return attn.attention(*self.arrays, mask=self.mask, symbols={"w": w})

    def test_no_memory_over_100000_calls(self):
        def resident():
            gc.collect()
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096
        for w in range(2000):
            self.call(w)
        before = resident()
        for w in range(100_000):
            self.call(w)
        self.assertLess(resident() - before, 1 << 20)

    def test_a_hit_adds_less_than_30_microseconds(self):
        def seconds(function, calls=500):
            best = 1.0
            for _ in range(20):
                start = time.process_time()
                for _ in range(calls):
                    function()
                best = min(best, (time.process_time() - start) / calls)
            return best
        lengths, slopes = np.array([3], np.int32), np.ones(1, np.float32)
        data = dict(mask=attn.lengths(lengths) & self.mask, softcap=30.0, score=attn.score("s + x", x=slopes))
        for problem, arrays_ in ((dict(mask=self.mask), []), (data, [lengths, slopes])):
            out = attn.attention(*self.arrays, **problem, symbols={"w": 3})
            kernel = attn.compile(heads=1, head_size=16, **problem)
            launch = seconds(lambda: kernel._native.run([*self.arrays, *arrays_], [out], [3], 0))
            self.assertLess(seconds(lambda: attn.attention(*self.arrays, **problem, symbols={"w": 3})) - launch, 30e-6)


if __name__ == "__main__":
    unittest.main()
