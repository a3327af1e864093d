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

    def test_flex_attention_scores_mean_the_same(self):
        from torch.nn.attention.flex_attention import flex_attention
        slopes, bias, by_batch = torch.rand(4), torch.randn(4, 19, 27), torch.randn(2, 27).to(torch.float16)
        keep, half = torch.rand(19, 27) < 0.8, torch.tensor(0.5)
        q, k, v = inputs(dtype=torch.float32)
        for own in (
            lambda s, b, h, q, kv: s - slopes[h] * (q - kv).abs(),
            lambda s, b, h, q, kv: 2.0 * torch.tanh(s / 2.0),
            lambda s, b, h, q, kv: torch.where(q >= kv, s, -float("inf")),
            lambda s, b, h, q, kv: s + bias[h, q, kv] - bias[h][q][kv] * half,
            lambda s, b, h, q, kv: s * by_batch[b, kv] + torch.sigmoid(s).clamp(0.1, 0.7) - bias[1, q, kv],
            lambda s, b, h, q, kv: torch.where((kv % 3 == 1) & ~(q // 4 == kv // 5) | (b == 1), -s, 1 - s),
            lambda s, b, h, q, kv: torch.maximum(s, torch.abs(s) ** 2 - torch.exp(-s)) + (h + 1) / (b + 2) + (q - kv).to(s.dtype),
        ):
            ours = attn.translate.flex_attention(score_mod=own)
            theirs = flex_attention(q, k, v, score_mod=own, enable_gqa=True)
            self.close(attn.attention(q, k, v, **ours), theirs, 1e-4)
            self.close(attn.torch.attention(q, k, v, **ours), theirs, 1e-4)
        for own, text in (
            (lambda s, b, h, q, kv: s + bias[h, q - kv, 0], r"a tensor is read at \[h, \(i - j\)\]"),
            (lambda s, b, h, q, kv: s + bias[h], r"'add\(s, tensor\[h\]\)' uses 'tensor\[h\]' of 3 dimensions: expected an element"),
            (lambda s, b, h, q, kv: s + bias, r"'add\(s, <Tensor>\)' uses Tensor data"),
            (lambda s, b, h, q, kv: s.sin(), r"'sin\(s\)' is no function that a score may have"),
            (lambda s, b, h, q, kv: torch.floor(s), r"'floor\(s\)' is no function"),
            (lambda s, b, h, q, kv: s if q > kv else -s, r"the truth of '\(i > j\)' decides .*: use torch.where"),
            (lambda s, b, h, q, kv: s % 2, r"expected an integer and a positive constant around // and %, found 's % 2'"),
            (lambda s, b, h, q, kv: s.to(torch.int32), r"'to\(s, <dtype>\)' is no function"),
            (lambda s, b, h, q, kv: torch.where(keep[q, kv], s, 0), "x0: expected elements of type float16, .*, found bool"),
            (lambda s, b, h, q, kv: None, "'the result' uses NoneType data"),
        ):
            with self.assertRaisesRegex(NotImplementedError, f"score_mod: {text}"):
                attn.translate.flex_attention(score_mod=own)

    def test_flex_attention_masks_over_data_mean_the_same(self):
        from torch.nn.attention.flex_attention import create_mask, flex_attention, create_block_mask
        ids, starts, lengths = torch.randint(0, 3, (2, 27)).sort().values, torch.tensor([2, 0]), torch.tensor([9, 27])
        keep, by_head = torch.rand(27, 27) < 0.4, torch.rand(4, 27) < 0.5
        q, k, v = inputs(27, 27, dtype=torch.float32)
        for own in (
            lambda b, h, q, kv: (ids[b, q] == ids[b, kv]) & (q >= kv),
            lambda b, h, q, kv: ids[0][kv] == ids[0][q],
            lambda b, h, q, kv: (kv < lengths[b]) & (ids[b, q] != ids[b, kv]),
            lambda b, h, q, kv: (kv >= starts[b]) & (kv < lengths[b]) & (q >= kv),
            lambda b, h, q, kv: (q >= kv) | ~keep[q][kv],
            lambda b, h, q, kv: ~by_head[h, kv] & keep[q, kv] & (lengths[b] > kv),
        ):
            ours = attn.translate.flex_attention(own)
            theirs = create_mask(own, 2, 4, 27, 27, device="cpu")
            for b in range(2):
                for h in range(4):
                    torch.testing.assert_close(torch.from_numpy(ours["mask"].to_dense(27, 27, 0, head=h, batch=b)), theirs[b, h])
            expected = flex_attention(q, k, v, block_mask=create_block_mask(own, 2, 4, 27, 27, device="cpu"), enable_gqa=True)
            self.close(attn.attention(q, k, v, **ours), expected, 1e-5)
            self.close(attn.torch.attention(q, k, v, **ours), expected, 1e-5)
        for own, text in (
            (lambda b, h, q, kv: q < lengths[b], r"'tensor\[b\] > i' is no mask over data: expected ids"),
            (lambda b, h, q, kv: ids[b, q] < ids[b, kv], r"'tensor\[b, i\] < tensor\[b, j\]' is no mask over data"),
            (lambda b, h, q, kv: keep[q - kv, kv], r"a tensor is read at \[\(i - j\)\]"),
            (lambda b, h, q, kv: keep[kv, q], r"'tensor\[j, i\]' is read with a stride of 27 along 'j': expected 1"),
            (lambda b, h, q, kv: ids[b, q], r"'tensor\[b, i\]' of 2 dimensions and torch.int64 decides"),
            (lambda b, h, q, kv: keep[q, kv] and q >= kv, r"the truth of 'tensor\[i, j\]' decides"),
        ):
            with self.assertRaisesRegex(NotImplementedError, f"mask_mod: {text}"):
                attn.translate.flex_attention(own)

    def test_opcheck(self):
        q, k, v = inputs()
        offsets = torch.tensor([3, 8])
        for operator in (torch.ops.attn.attention.default, torch.ops.attn.attention_lse.default):
            torch.library.opcheck(operator, (q, k, v, [], "causal()"))
            torch.library.opcheck(operator, (q, k, v, [], "window(3, 1)", 0.2, "offset", 2))
            torch.library.opcheck(operator, (q, k, v, [], "window(sym('w'), 1)", None, "offsets", 0, offsets, [4]))

    def test_opcheck_of_data_and_scores(self):
        q, k, v = inputs()
        problem = attn.api.problem_of(attn.lengths(torch.tensor([5, 27])) & attn.causal(), 30.0, alibi=torch.rand(4),
                                      score=attn.score("s + x", x=torch.rand(1, 1, 19, 27)))
        data = problem.arrays_of(None)
        self.assertEqual(len(data), 3)
        for operator in (torch.ops.attn.attention.default, torch.ops.attn.attention_lse.default):
            torch.library.opcheck(operator, (q, k, v, data, problem.mask.key, None, "end", 0, None, [], repr(problem.key[1:])))

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

    def test_data_and_scores_compile_without_a_break(self):
        graphs = []
        def backend(graph, example):
            graphs.append(graph)
            return graph.forward
        @torch.compile(fullgraph=True, dynamic=True, backend=backend)
        def layer(q, k, v, slopes, n, cap):
            return attn.torch.attention(q, k, v, mask=MASK, softcap=3.0, alibi=SLOPES, score=SCORE, symbols={"at": cap},
                                        tensors={"n": n, "slopes": slopes})
        MASK = attn.lengths(attn.tensor("n", "i64")) & attn.causal()
        SLOPES = attn.tensor("slopes", "f32")
        SCORE = attn.score("where(j < at, s, s / 2)")
        before = attn.statistics()["compilations"]
        for queries, keys, at in ((19, 27, 9), (33, 40, 5), (7, 64, 30), (50, 50, 3)):
            q, k, v = inputs(queries, keys)
            slopes, n = torch.rand(4), torch.tensor([keys - 3, keys])
            distance = (torch.arange(queries)[:, None] + keys - queries - torch.arange(keys)).abs()
            scores = 3 * torch.tanh(q.double() @ k.double().repeat_interleave(2, 1).transpose(2, 3) * 32 ** -0.5 / 3)
            scores = scores - slopes.double()[:, None, None] * distance
            scores = torch.where(torch.arange(keys) < at, scores, scores / 2)
            live = torch.stack([torch.from_numpy(MASK.to_dense(queries, keys, batch=b, tensors={"n": n})) for b in range(2)])[:, None]
            weights = torch.softmax(torch.where(live, scores, -torch.inf), -1).nan_to_num()
            self.close(layer(q, k, v, slopes, n, at), weights @ v.double().repeat_interleave(2, 1))
        self.assertEqual(len(graphs), 1)
        self.assertEqual(attn.statistics()["compilations"] - before, 1)

    def test_data_that_a_graph_carries(self):
        graphs = []
        def backend(graph, example):
            graphs.append(graph)
            return graph.forward
        def layer(q, k, v, n, slopes, bias):
            return attn.torch.attention(q, k, v, mask=attn.causal() & attn.lengths(n), alibi=slopes, bias=bias, softcap=3.0)
        compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=backend)
        for length in (10, 20, 33):
            data = torch.tensor([length - 2, length]), torch.rand(4), torch.randn(1, 1, length, length)
            torch.testing.assert_close(compiled(*inputs(length, length), *data), layer(*inputs(length, length), *data), rtol=0, atol=0)
        self.assertEqual(len(graphs), 1)

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
        slopes = torch.rand(4, requires_grad=True)
        q = q.detach()
        with self.assertRaisesRegex(NotImplementedError, "alibi: backward not built yet"):
            attn.attention(q, k, v, alibi=slopes)
        with self.assertRaisesRegex(NotImplementedError, "backward not built yet"):
            attn.torch.attention(q, k, v, alibi=slopes).sum().backward()
        with torch.no_grad():
            torch.testing.assert_close(attn.attention(q, k, v, alibi=slopes), attn.torch.attention(q, k, v, alibi=slopes))

    def test_mixed_libraries_and_devices(self):
        q, k, v = inputs()
        with self.assertRaisesRegex(ValueError, "k: expected an array on cpu as q is, found one on meta|k: expected an array "
                                    "in host memory or on a CUDA device, found meta"):
            attn.attention(q, k.to("meta"), v)
        with self.assertRaisesRegex(TypeError, "v: expected elements of type f16 as in q, found bf16"):
            attn.attention(q, k, v.bfloat16())


if __name__ == "__main__":
    unittest.main()
