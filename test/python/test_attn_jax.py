# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""JAX's arrays, eagerly and inside of jax.jit."""

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

    def test_scan_and_vmap(self):
        q, k, v = arrays()
        once = attn.jax.attention(q, k, v)
        stacked = jax.vmap(lambda scale: attn.jax.attention(q * scale, k, v))(jnp.asarray([1, 0], jnp.float16))
        np.testing.assert_array_equal(np.asarray(stacked[0]), np.asarray(once))
        _, steps = jax.lax.scan(lambda at, _: (at + 1, attn.jax.attention(q, k, v, mask=attn.causal(), align=at)), 3, None, length=2)
        np.testing.assert_array_equal(np.asarray(steps[1]), np.asarray(attn.jax.attention(q, k, v, mask=attn.causal(), align=4)))

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
