# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors of f16, bf16 and f32 as NumPy arrays or PyTorch tensors, behind one small interface.

A tensor is *stored* as integers of its bits (NumPy) or as PyTorch's own type. `xp` is the module with the functions
that both have in common.
"""

import numpy as np

POISON = {"f16": 0x7E5A, "bf16": 0x7FDA, "f32": 0x7FDA5A5A}  # a NaN that arithmetic does not produce
INTEGER = {"f16": np.int16, "bf16": np.int16, "f32": np.int32}


def round_to_bits(values, element):
    """float32 values, rounded to the element type, as integers of its bits."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    if element == "f32":
        return values.view(np.int32)
    if element == "f16":
        return values.astype(np.float16).view(np.int16)
    bits = values.view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded).view(np.int16)


class NumpyArrays:
    xp = np
    is_cuda = False
    stream = None

    def store(self, bits, element):
        """From a NumPy array of the elements' bits."""
        return bits

    def integers(self, values):
        return values

    def poisoned(self, shape, element):
        return np.full(shape, POISON[element], INTEGER[element])

    def bits(self, stored):
        return stored

    def real(self, stored, element, double):
        """The values in float64, or in float32."""
        if element == "bf16":
            values = (stored.astype(np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = stored.view({"f16": np.float16, "f32": np.float32}[element])
        return values.astype(np.float64 if double else np.float32)

    def rounded(self, values, element):
        """float32 values as the element type holds them, in float32."""
        return self.real(round_to_bits(values, element), element, double=False)

    def synchronize(self):
        pass


class TorchArrays:
    def __init__(self, device):
        import torch
        self.xp = torch
        self.device = torch.device(device)
        self.is_cuda = self.device.type == "cuda"
        self.types = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
        # Products in f32 are those of the yardstick: in full.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False

    @property
    def stream(self):
        return self.xp.cuda.current_stream().cuda_stream if self.is_cuda else None

    def store(self, bits, element):
        return self.xp.from_numpy(np.ascontiguousarray(bits)).to(self.device).view(self.types[element])

    def integers(self, values):
        return self.xp.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def poisoned(self, shape, element):
        integer = self.xp.int32 if element == "f32" else self.xp.int16
        return self.xp.full(tuple(shape), POISON[element], dtype=integer, device=self.device).view(self.types[element])

    def bits(self, stored):
        return stored.view(self.xp.int32 if stored.dtype == self.xp.float32 else self.xp.int16)

    def real(self, stored, element, double):
        return stored.to(self.xp.float64 if double else self.xp.float32)

    def rounded(self, values, element):
        return values.to(self.types[element]).to(self.xp.float32)

    def synchronize(self):
        if self.is_cuda:
            self.xp.cuda.synchronize()
