from collections.abc import Sequence
from typing import Any

class Tensor:
    name: str | None
    array: Any
    element: str
    shape: tuple[int | None, ...] | None
    def __init__(self, name: str | None, array: Any, element: str, shape: tuple[int | None, ...] | None) -> None: ...

def tensor(value: Any, dtype: Any = None, shape: Sequence[int | None] | None = None) -> Tensor: ...
