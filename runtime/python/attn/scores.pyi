from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

class Score:
    expression: str | None
    mlir: str
    symbols: tuple[str, ...]
    inputs: list[tuple[str, list[Any]]]
    key: str
    def __init__(self, expression: str | None, mlir: str, symbols: tuple[str, ...], inputs: dict[str, Any]) -> None: ...
    def to_dense(self, queries: int, keys: int, offset: int | None = None, head: int = 0,
                 symbols: Mapping[str, int] | None = None, batch: int = 0, tensors: Mapping[str, Any] | None = None,
                 scores: Any = 0.0) -> npt.NDArray[np.float64]: ...

def score(expression: str | None = None, *, mlir: str | None = None, **inputs: Any) -> Score: ...
def parse(text: str) -> Score: ...
