from collections.abc import Callable
from typing import Any

import torch

from .masks import Mask

class PreparedMask:
    runs: list[tuple[slice, Mask, dict[str, int]]]
    query_origin: int
    key_origin: int
    sizes: tuple[int, int, int]
    def __init__(self, runs: list[tuple[slice, Mask, dict[str, int]]], query_origin: int, key_origin: int,
                 sizes: tuple[int, int, int]) -> None: ...

def prepare_mask(batch_size: int, q_length: int, kv_length: int, q_offset: int = 0, kv_offset: int = 0,
                 mask_function: Callable[..., Any] | None = None, attention_mask: torch.Tensor | None = None,
                 **_: Any) -> PreparedMask: ...
def attention_forward(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                      attention_mask: PreparedMask | None, scaling: float | None = None, dropout: float = 0.0,
                      is_causal: bool | None = None, softcap: float | None = None, s_aux: torch.Tensor | None = None,
                      sinks: torch.Tensor | None = None, position_bias: torch.Tensor | None = None, **others: Any) -> tuple[torch.Tensor, None]: ...
def register(name: str = "attn") -> None: ...
