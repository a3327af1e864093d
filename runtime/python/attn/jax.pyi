from collections.abc import Mapping
from typing import Any

from .masks import Mask
from .scores import Score

def attention(q: Any, k: Any, v: Any, mask: Mask | None = None, scale: float | None = None, return_lse: bool = False,
              align: Any = "end", symbols: Mapping[str, Any] | None = None, softcap: float | None = None, bias: Any = None,
              alibi: Any = None, sinks: Any = None, score: Score | None = None,
              tensors: Mapping[str, Any] | None = None) -> Any: ...
