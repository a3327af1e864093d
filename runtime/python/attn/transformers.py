# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""attention for the models of Hugging Face Transformers.

    import attn.transformers
    model = AutoModel.from_pretrained(name, attn_implementation="attn")

The model's own mask function is traced into a set, so causal, bidirectional, sliding-window and chunked models run as they
are, with and without a cache. Padding must leave each sequence one run of tokens, on either side; each such run is a launch
of the same kernel. Softcaps, sinks and position biases are passed on. What has no meaning here (dropout, packed sequences,
masks as tensors) is refused with an error that names it, never ignored.
"""

from __future__ import annotations

import itertools

import torch
from transformers import AttentionInterface, AttentionMaskInterface

from . import api, masks, trace
from . import torch as operators

__all__ = ["PreparedMask", "attention_forward", "prepare_mask", "register"]


class _Truth:
    """A traced condition, with what the library's combinators ask of tensors."""

    device = None

    def __init__(self, mask):
        self.mask = mask

    def to(self, *_, **__):
        return self

    def _combine(self, other, combine):
        if isinstance(other, bool):
            other = _Truth(masks.all_() if other else ~masks.all_())
        if not isinstance(other, _Truth):
            raise NotImplementedError(f"mask_function: a condition is combined with {type(other).__name__} data")
        a, b = self.mask, other.mask
        everything = masks.all_()
        if combine == "&":
            return _Truth(b if a == everything else a if b == everything else a & b)
        return _Truth(everything if everything in (a, b) else b if a == ~everything else a if b == ~everything else a | b)

    def __and__(self, other):
        return self._combine(other, "&")

    def __or__(self, other):
        return self._combine(other, "|")

    __rand__, __ror__ = __and__, __or__

    def __invert__(self):
        return _Truth(~self.mask)


class _Position(trace.Traced):
    """A traced position."""

    def _compare(self, other, symbol):
        if (self.text, symbol, getattr(other, "text", other)) in (("j", "<=", "i"), ("i", ">=", "j")):
            return _Truth(masks.causal())
        if (self.text, symbol) == ("i", ">=") and type(other) is int and other == 0:  # positions count from 0
            return _Truth(masks.all_())
        result = super()._compare(other, symbol)
        return result if isinstance(result, _Truth) else _Truth(result)

    def new_ones(self, *_, **__):
        return _Truth(masks.all_())

    def new_zeros(self, *_, **__):
        return _Truth(~masks.all_())


# Where the first key stands, for caches that have let keys go.
_ORIGIN = "origin"


def _trace(mask_function, batch, moved):
    result = mask_function(batch, _Position("h"), _Position("i"), _Position(f"(j + {_ORIGIN})" if moved else "j"))
    if isinstance(result, bool):
        return masks.all_() if result else ~masks.all_()
    if not isinstance(result, _Truth):
        raise NotImplementedError(f"mask_function: expected a comparison or several, found {type(result).__name__}")
    return result.mask


_NOT_A_SET = (NotImplementedError, IndexError, TypeError, AttributeError)


def _masks_of(mask_function, batch_size, moved):
    """One mask, or one for each batch where they differ."""
    try:
        return [_trace(mask_function, trace.BATCH, moved)]
    except _NOT_A_SET:
        pass
    try:
        found = [_trace(mask_function, batch, moved) for batch in range(batch_size)]
    except _NOT_A_SET as error:
        reason = str(error).removeprefix("mask_mod: ").removeprefix("mask_function: ")
        raise NotImplementedError(f"mask_function: expected comparisons of affine expressions of the positions: {reason}; "
                                  "use another attn_implementation") from error
    return found if any(mask != found[0] for mask in found) else found[:1]


class PreparedMask:
    """What a layer needs to know: runs of batches that share a mask, where their keys begin and end, and the position of the
    first query and the first key."""

    def __init__(self, runs, query_origin, key_origin, sizes):
        self.runs, self.query_origin, self.key_origin, self.sizes = runs, query_origin, key_origin, sizes

    def __repr__(self):
        return f"<attn.transformers.PreparedMask {self.runs}, first query {self.query_origin}, first key {self.key_origin}>"


def _key_ranges(padding):
    """(begin, end) of the keys of each batch; they must be one run."""
    ranges = []
    for batch, row in enumerate(padding.tolist()):
        live = sum(row)
        begin = row.index(True) if live else 0
        if live and not all(row[begin:begin + live]):
            raise NotImplementedError(f"attention_mask: expected the tokens of a sequence in one run, found gaps in sequence {batch}: "
                                      "use another attn_implementation for it")
        ranges.append((begin, begin + live))
    return ranges


@torch.compiler.disable  # it looks at the padding
def prepare_mask(batch_size, q_length, kv_length, q_offset=0, kv_offset=0, mask_function=None, attention_mask=None, **_):
    """The library's mask interface: the model's mask as sets."""
    q_offset, kv_offset = int(q_offset), int(kv_offset)
    found = [masks.all_()] if mask_function is None else _masks_of(mask_function, batch_size, kv_offset != 0)
    ranges = [(0, kv_length)] * batch_size
    if attention_mask is not None:
        if attention_mask.ndim != 2:
            raise NotImplementedError(f"attention_mask: expected batch x tokens, found shape {tuple(attention_mask.shape)}")
        padding = attention_mask.to(torch.bool)
        if padding.shape[1] < kv_offset + kv_length:  # what is missing has not been seen yet
            padding = torch.nn.functional.pad(padding, (0, kv_offset + kv_length - padding.shape[1]))
        padding = padding[:, kv_offset:kv_offset + kv_length]
        if not bool(padding.all()):
            ranges = _key_ranges(padding)
    runs, at = [], 0
    each = zip(found * batch_size if len(found) == 1 else found, ranges)
    for (mask, (begin, end)), group in itertools.groupby(each, lambda pair: pair):
        count = len(list(group))
        symbols = {_ORIGIN: kv_offset} if _ORIGIN in mask.symbols else {}
        if (begin, end) != (0, kv_length):
            mask = mask & masks.keys(masks.sym("begin"), masks.sym("end"))
            symbols.update(begin=begin, end=end)
        runs.append((slice(at, at + count), mask, symbols))
        at += count
    return PreparedMask(runs, q_offset, kv_offset, (batch_size, q_length, kv_length))


# Arguments that change the result.
_REFUSED = ("head_mask", "cache", "cu_seq_lens_q", "cu_seq_lens_k", "block_indices")


def attention_forward(module, query, key, value, attention_mask, scaling=None, dropout=0.0, is_causal=None, softcap=None, s_aux=None,
                      sinks=None, position_bias=None, **others):
    """The library's attention interface: o as batch x length x heads x head size, and no weights."""
    for name in _REFUSED:
        if others.get(name) is not None:
            raise NotImplementedError(f"{name}: this attention has none; use another attn_implementation")
    if dropout and module.training:
        raise NotImplementedError(f"dropout: expected 0, found {dropout}; call model.eval()")
    if others.get("output_attentions"):
        raise NotImplementedError("output_attentions: the weights are never made; use attn_implementation='eager'")
    if torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
        raise NotImplementedError("backward not built yet: call the model under torch.no_grad()")
    if attention_mask is None:
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        queries, keys = query.shape[2], key.shape[2]
        attention_mask = PreparedMask([(slice(0, query.shape[0]), masks.causal() if causal and queries > 1 else masks.all_(), {})],
                                      0, 0, (query.shape[0], queries, keys))
    elif not isinstance(attention_mask, PreparedMask):
        raise NotImplementedError("attention_mask: expected batch x tokens or none, found a "
                                  f"{type(attention_mask).__name__} of shape {tuple(attention_mask.shape)}: "
                                  "a mask is a set here, not a tensor")
    batch, queries, keys = attention_mask.sizes
    if (batch, queries) != (query.shape[0], query.shape[2]) or key.shape[2] != keys:
        raise ValueError(f"attention_mask: expected one for {query.shape[0]} x {query.shape[2]} queries and {key.shape[2]} keys, "
                         f"found one for {batch} x {queries} and {keys}")
    if sinks is None:
        sinks = s_aux
    if sinks is not None:
        sinks = sinks.detach().reshape(-1).float()
    if position_bias is not None:
        position_bias = position_bias.detach().contiguous()

    def changes(rows):
        bias = position_bias
        return dict(softcap=softcap, sinks=sinks, bias=bias[rows] if bias is not None and len(bias) > 1 else bias)

    if torch.compiler.is_compiling():
        outputs = [operators.attention(query[rows], key[rows], value[rows], mask=mask, scale=scaling,
                                       align=attention_mask.query_origin, symbols=symbols, **changes(rows))
                   for rows, mask, symbols in attention_mask.runs]
        return torch.cat(outputs).transpose(1, 2).contiguous(), None
    # The layer wants length x heads: the kernel writes it so.
    out = query.new_empty((query.shape[0], query.shape[2], query.shape[1], value.shape[3]))
    view = out.transpose(1, 2)
    for rows, mask, symbols in attention_mask.runs:
        api.attention(query[rows], key[rows], value[rows], mask=mask, scale=scaling, align=attention_mask.query_origin,
                      symbols=symbols, out=view[rows], **changes(rows))
    return out, None


def register(name="attn"):
    """Makes attn_implementation=name known; importing this module has done so for "attn"."""
    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, prepare_mask)


register()
