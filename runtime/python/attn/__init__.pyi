from typing import Any, Literal

from . import masks as masks, translate as translate
from .masks import (Mask as Mask, affine as affine, all_ as all_, causal as causal, chunked as chunked, dilated as dilated,
                    fixed as fixed, global_ as global_, heads as heads, keys as keys, longformer as longformer,
                    prefix as prefix, queries as queries, same_block as same_block, streaming as streaming, stride as stride,
                    strided as strided, summary as summary, window as window)

__version__: str
Align = Literal["end", "start"] | int

class Picture:
    svg: str

class Kernel:
    mask: Mask
    align: Align
    device: str
    has_lse: bool
    @property
    def ptx(self) -> str: ...
    @property
    def mlir(self) -> str: ...
    def report(self, queries: int | None = None, keys: int | None = None, offset: int | None = None,
               tile: tuple[int, int] = (128, 64)) -> dict[str, Any]: ...
    def draw(self, queries: int = 256, keys: int = 256, offset: int | None = None,
             tile: tuple[int, int] = (16, 16)) -> Picture: ...
    def __call__(self, q: Any, k: Any, v: Any, out: Any = None, lse: Any = None, stream: int | None = None) -> Any: ...

def attention(q: Any, k: Any, v: Any, mask: Mask | None = None, scale: float | None = None, return_lse: bool = False,
              device: str | None = None, align: Align = "end") -> Any: ...
def compile(*, heads: int, kv_heads: int | None = None, head_size: int, value_head_size: int | None = None,
            dtype: str = "f16", mask: Mask | None = None, scale: float | None = None, align: Align = "end",
            return_lse: bool = False, device: str | None = None) -> Kernel: ...
def device_for(array: Any) -> str: ...
