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
        offsets = torch.tensor([3, 8])
        for operator in (torch.ops.attn.attention.default, torch.ops.attn.attention_lse.default):
            torch.library.opcheck(operator, (q, k, v, "causal()"))
            torch.library.opcheck(operator, (q, k, v, "window(3, 1)", 0.2, "offset", 2))
            torch.library.opcheck(operator, (q, k, v, "window(sym('w'), 1)", None, "offsets", 0, offsets, [4]))

    def test_symbols_and_offsets(self):
        q, k, v = inputs()
        mask = attn.causal() & attn.window(attn.sym("w"), 0)
        offsets = torch.tensor([2, 8])
        for function in (attn.attention, attn.torch.attention):
            o = function(q, k, v, mask=mask, symbols={"w": 5}, align=offsets)
            live = torch.stack([torch.from_numpy(mask.to_dense(19, 27, int(at), symbols={"w": 5})) for at in offsets])
            self.close(o, judge(q, k, v, live[:, None]))
            with self.assertRaisesRegex(ValueError, "symbols: expected a value for 'w', found none"):
                function(q, k, v, mask=mask)

    def test_compiles_without_a_break_for_every_length(self):
        graphs = []
        def backend(graph, example):
            graphs.append(graph)
            return graph.forward
        mask = attn.causal() & attn.window(attn.sym("w"), 0)
        @torch.compile(fullgraph=True, dynamic=True, backend=backend)
        def layer(q, k, v, w):
            return attn.torch.attention(q * 0.5, k, v, mask=mask, align="start", symbols={"w": w}) + 1
        before = attn.statistics()["compilations"]
        for queries, keys, w in ((19, 27, 9), (33, 40, 5), (7, 64, 30), (50, 50, 3)):
            q, k, v = inputs(queries, keys)
            live = torch.from_numpy(mask.to_dense(queries, keys, 0, symbols={"w": w}))
            self.close(layer(q, k, v, w), judge(q * 0.5, k, v, live) + 1)
        self.assertEqual(len(graphs), 1)
        self.assertEqual(attn.statistics()["compilations"] - before, 1)

    def test_strides_of_a_layer_are_kept(self):
        # batch x length x heads x head size, as layers project it: nothing is copied, and o may be written like that.
        q, k, v = (array.transpose(1, 2).contiguous().transpose(1, 2) for array in inputs())
        out = torch.empty(2, 19, 4, 32, dtype=q.dtype)
        attn.attention(q, k, v, out=out.transpose(1, 2))
        self.close(out.transpose(1, 2), judge(q, k, v))

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
