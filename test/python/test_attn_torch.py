# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The PyTorch operators."""

import unittest

import torch

import attn
import attn.torch

F = torch.nn.functional


def inputs(queries=19, keys=27, dtype=torch.float16, heads=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    make = lambda *shape: torch.randn(shape, generator=generator).to(dtype)  # noqa: E731
    return make(2, heads, queries, 32), make(2, 2, keys, 32), make(2, 2, keys, 32)


def judge(q, k, v, live=None, is_causal=False):
    return F.scaled_dot_product_attention(q.double(), k.double(), v.double(), attn_mask=live, is_causal=is_causal,
                                          enable_gqa=True)


class Torch(unittest.TestCase):
    def close(self, found, expected, tolerance=4e-3):
        self.assertLess((found.double() - expected).abs().max().item(), tolerance)

    def test_numbers(self):
        mask = attn.causal() & attn.window(7, 0)
        for dtype, tolerance in ((torch.float16, 4e-3), (torch.bfloat16, 3e-2)):
            q, k, v = inputs(dtype=dtype)
            live = torch.from_numpy(mask.to_dense(19, 27))
            for function in (attn.attention, attn.torch.attention):
                o, lse = function(q, k, v, mask=mask, return_lse=True)
                self.assertEqual((o.dtype, lse.dtype), (dtype, torch.float32))
                self.close(o, judge(q, k, v, live), tolerance)
                torch.testing.assert_close(function(q, k, v, mask=mask), o, rtol=0, atol=0)

    def test_is_causal(self):
        q, k, v = inputs()
        self.close(attn.attention(q, k, v, **attn.translate.pytorch_is_causal()), judge(q, k, v, is_causal=True))

    def test_flex_attention_means_the_same(self):
        from torch.nn.attention.flex_attention import create_mask
        for own in (lambda b, h, q, kv: (q >= kv) & (q - kv <= 5), lambda b, h, q, kv: (q - kv) % 3 == 0,
                    lambda b, h, q, kv: (torch.abs(q - kv) <= 4) if isinstance(q, torch.Tensor) else abs(q - kv) <= 4):
            theirs = create_mask(own, None, None, 19, 27, device="cpu")[0, 0]
            ours = attn.translate.flex_attention(own)
            torch.testing.assert_close(torch.from_numpy(ours["mask"].to_dense(19, 27, offset=0)), theirs)

    def test_opcheck(self):
        q, k, v = inputs()
        for operator in (torch.ops.attn.attention.default, torch.ops.attn.attention_lse.default):
            torch.library.opcheck(operator, (q, k, v, "causal()", None, "end", 0))
            torch.library.opcheck(operator, (q, k, v, "window(3, 1)", 0.2, "offset", 2))

    def test_compiles_without_a_break_for_every_length(self):
        graphs = []
        def backend(graph, example):
            graphs.append(graph)
            return graph.forward
        @torch.compile(fullgraph=True, dynamic=True, backend=backend)
        def layer(q, k, v):
            return attn.torch.attention(q * 0.5, k, v, mask=attn.causal(), align="start") + 1
        before = attn.api._session("sim").statistics()["compilations"] if attn.device_for(inputs()[0]) == "sim" else None
        for queries, keys in ((19, 27), (33, 40), (7, 64)):
            q, k, v = inputs(queries, keys)
            self.close(layer(q, k, v), judge(q * 0.5, k, v, is_causal=True) + 1)
        self.assertEqual(len(graphs), 1)
        if before is not None:
            self.assertLessEqual(attn.api._session("sim").statistics()["compilations"] - before, 1)

    def test_no_gradient_is_made_up(self):
        q, k, v = inputs()
        q.requires_grad_()
        with self.assertRaisesRegex(NotImplementedError, "backward not built yet"):
            attn.attention(q, k, v)
        with self.assertRaisesRegex(NotImplementedError, "backward not built yet"):
            attn.torch.attention(q, k, v).sum().backward()
        with torch.no_grad():
            self.close(attn.attention(q, k, v), judge(q, k, v))

    def test_mixed_libraries_and_devices(self):
        q, k, v = inputs()
        with self.assertRaisesRegex(ValueError, "k: expected an array on cpu as q is, found one on meta|k: expected an array "
                                    "in host memory or on a CUDA device, found meta"):
            attn.attention(q, k.to("meta"), v)
        with self.assertRaisesRegex(TypeError, "v: expected elements of type f16 as in q, found bf16"):
            attn.attention(q, k, v.bfloat16())


if __name__ == "__main__":
    unittest.main()
