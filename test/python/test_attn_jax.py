# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""JAX's arrays, eagerly and inside of jax.jit."""

import os
import pathlib
import subprocess
import unittest

import jax
import jax.numpy as jnp
import numpy as np

import attn
import attn.jax
from test_attn import inputs, reference


def arrays(*arguments, dtype=jnp.float16, **options):
    return [jnp.asarray(array, dtype) for array in inputs(*arguments, **options)]


def judge(q, k, v, live):
    return reference(*(np.asarray(array, np.float64) for array in (q, k, v)), live)


class Jax(unittest.TestCase):
    def test_eager(self):
        mask = attn.causal() & attn.window(9, 0)
        for dtype, tolerance in ((jnp.float16, 4e-3), (jnp.bfloat16, 3e-2)):
            q, k, v = arrays(dtype=dtype)
            o, lse = attn.attention(q, k, v, mask=mask, return_lse=True)
            expected, expected_lse = judge(q, k, v, mask.to_dense(37, 53))
            self.assertTrue(isinstance(o, jax.Array) and isinstance(lse, jax.Array))
            self.assertEqual((o.dtype, o.shape, lse.dtype, lse.shape), (dtype, (2, 4, 37, 48), jnp.float32, (2, 4, 37)))
            np.testing.assert_allclose(np.asarray(o, np.float64), expected, atol=tolerance)
            np.testing.assert_allclose(np.asarray(lse), expected_lse, atol=2e-2)
            np.testing.assert_array_equal(np.asarray(o), np.asarray(attn.jax.attention(q, k, v, mask=mask)))

    def test_results_are_not_copied(self):
        memory = attn._attn.empty((3, 5), "bf16")
        array = jax.dlpack.from_dlpack(memory)
        self.assertEqual((array.dtype, array.shape), (jnp.bfloat16, (3, 5)))
        self.assertEqual(array.unsafe_buffer_pointer(), jax.dlpack.from_dlpack(memory).unsafe_buffer_pointer())
        self.assertEqual(array.unsafe_buffer_pointer() % 64, 0)

    def test_jit_with_traced_symbols_and_offsets(self):
        mask = attn.causal() & attn.window(attn.sym("w"), 0)
        layer = jax.jit(lambda q, k, v, w, at: attn.jax.attention(q * 0.5, k, v, mask=mask, align=at, symbols={"w": w},
                                                                  return_lse=True))
        before = attn.statistics()["compilations"]
        for queries, keys, w, at in ((37, 53, 9, 16), (37, 53, 3, 0), (20, 64, 100, 44)):
            q, k, v = arrays((2, 4, queries, 32), keys)
            o, lse = layer(q, k, v, w, at)
            expected, expected_lse = judge(q * 0.5, k, v, mask.to_dense(queries, keys, at, symbols={"w": w}))
            np.testing.assert_allclose(np.asarray(o, np.float64), expected, atol=4e-3)
            np.testing.assert_allclose(np.asarray(lse), expected_lse, atol=2e-3)
        self.assertEqual(attn.statistics()["compilations"] - before, 1)
        text = layer.lower(q, k, v, w, at).as_text()
        self.assertEqual(text.count("custom_call @attn_attention"), 1)

    def test_data_and_scores(self):
        q, k, v = arrays(dtype=jnp.float32)
        lengths, slopes = np.array([20, 53], np.int32), np.array([0.5, 0.25, 0.125, 0.0625], np.float32)
        bits, x = np.random.default_rng(2).random((1, 4, 37, 53)) < 0.6, np.linspace(-1, 1, 53, dtype=np.float32).reshape(1, 1, 1, 53)
        mask = attn.lengths(attn.tensor("n", "i32")) & attn.bits(attn.tensor("m", "i1", (1, None, None, None)))
        def layer(q, k, v, n, m, slopes, x, at):
            return attn.jax.attention(q, k, v, mask=mask, softcap=2.0, alibi=slopes, score=attn.score("where(j < at, s, s + x)", x=x),
                                      symbols={"at": at}, tensors={"n": n, "m": m})
        def numpy(array):
            return np.asarray(array)
        change = attn.score("where(j < at, s, s + x)", x=x)
        distance = np.abs(np.arange(37)[:, None] + 16 - np.arange(53))
        expected = []
        for b in range(2):
            rows = []
            for h in range(4):
                s = numpy(q[b, h]).astype(np.float64) @ numpy(k[b, h // 2]).astype(np.float64).T * 32 ** -0.5
                s = change.to_dense(37, 53, symbols={"at": 7}, scores=2 * np.tanh(s / 2) - slopes[h] * distance)
                live = mask.to_dense(37, 53, head=h, batch=b, tensors={"n": lengths, "m": bits})
                weights = np.exp(np.where(live, s, -np.inf))
                rows.append(weights / np.maximum(weights.sum(-1, keepdims=True), 1e-300) @ numpy(v[b, h // 2]).astype(np.float64))
            expected.append(rows)
        for function in (layer, jax.jit(layer)):
            found = function(q, k, v, *map(jnp.asarray, (lengths, bits, slopes, x)), 7)
            np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)
        eager = attn.attention(q, k, v, mask=attn.lengths(jnp.asarray(lengths)) & attn.bits(jnp.asarray(bits)), softcap=2.0,
                               alibi=jnp.asarray(slopes), score=attn.score("where(j < at, s, s + x)", x=jnp.asarray(x)), symbols={"at": 7})
        np.testing.assert_allclose(np.asarray(eager), expected, atol=1e-5)
        with self.assertRaisesRegex(ValueError, r"alibi: expected heads \(4\), found shape \(3\)"):
            jax.jit(layer)(q, k, v, *map(jnp.asarray, (lengths, bits, slopes[:3], x)), 7)

    def test_scan_and_vmap(self):
        q, k, v = arrays()
        once = attn.jax.attention(q, k, v)
        stacked = jax.vmap(lambda scale: attn.jax.attention(q * scale, k, v))(jnp.asarray([1, 0], jnp.float16))
        np.testing.assert_array_equal(np.asarray(stacked[0]), np.asarray(once))
        _, steps = jax.lax.scan(lambda at, _: (at + 1, attn.jax.attention(q, k, v, mask=attn.causal(), align=at)), 3, None, length=2)
        np.testing.assert_array_equal(np.asarray(steps[1]), np.asarray(attn.jax.attention(q, k, v, mask=attn.causal(), align=4)))

    @unittest.skipUnless("ATTN_INCLUDE" in os.environ, "ATTN_INCLUDE names the folder of our headers")
    def test_our_declarations_are_those_of_the_header(self):
        source = pathlib.Path(__file__).with_name("XlaAbi.cpp")
        subprocess.run(["clang++-22", "-std=c++17", "-fsyntax-only", "-I", os.environ["ATTN_INCLUDE"], "-I", jax.ffi.include_dir(),
                        source], check=True)

    def test_errors(self):
        q, k, v = arrays()
        mask = attn.window(attn.sym("w"), 0)
        deleted = jnp.array(k)
        deleted.delete()
        for call, kind, text in [
            (lambda: attn.jax.attention(q, k, v.astype(jnp.float32)), TypeError,
             "v: expected elements of type float16 as in q, found float32"),
            (lambda: attn.jax.attention(q, k.astype(jnp.int32), v), TypeError,
             "k: expected elements of type float16, bfloat16 or float32, found int32"),
            (lambda: attn.attention(*(np.asarray(array.astype(jnp.bfloat16)) for array in (q, k, v))), TypeError,
             "q: expected elements of type float16 or float32 in an array of NumPy, found bfloat16"),
            (lambda: attn.jax.attention(q, k[:, :, :5], v), ValueError, "v: expected length 5 as in k, found 53"),
            (lambda: attn.jax.attention(q, k, v, mask=mask), ValueError, "symbols: expected a value for 'w', found none"),
            (lambda: attn.jax.attention(q, k, v, mask=mask, symbols={"w": 1.5}), TypeError, "symbols: expected an integer, found 1.5"),
            (lambda: attn.jax.attention(q, k, v, align="middle"), ValueError,
             "align: expected 'end', 'start' or an integer, found 'middle'"),
            (lambda: attn.attention(q, deleted, v), ValueError, "k: expected an array that DLPack can describe, found one that it "
             "cannot: "),
            (lambda: jax.grad(lambda q: attn.jax.attention(q, k, v).sum())(q), NotImplementedError, "backward not built yet"),
            (lambda: attn.jax.attention(q[..., :20], k[..., :20], v), Exception, "found 20; 24 is the nearest above (A6)"),
        ]:
            with self.assertRaises(kind) as caught:
                call()
            self.assertIn(text, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
