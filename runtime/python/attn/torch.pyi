from collections.abc import Mapping
from typing import Any

import torch

from . import Align
from .masks import Mask
from .scores import Score

def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Mask | None = None, scale: float | None = None,
              return_lse: bool = False, align: Align = "end", symbols: Mapping[str, int] | None = None,
              softcap: float | None = None, bias: torch.Tensor | None = None, alibi: torch.Tensor | None = None,
              sinks: torch.Tensor | None = None, score: Score | None = None,
              tensors: Mapping[str, torch.Tensor] | None = None) -> Any: ...
