from collections.abc import Mapping
from typing import Any

import torch

from . import Align
from .masks import Mask

def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Mask | None = None, scale: float | None = None,
              return_lse: bool = False, align: Align = "end", symbols: Mapping[str, int] | None = None) -> Any: ...
