from collections.abc import Mapping
from typing import Any, Literal

from . import masks as masks, scores as scores, translate as translate
from .masks import (Mask as Mask, Symbol as Symbol, affine as affine, all_ as all_, bits as bits, blocks as blocks,
                    causal as causal, chunked as chunked, dilated as dilated, documents as documents, fixed as fixed,
                    global_ as global_, heads as heads, keys as keys, lengths as lengths, longformer as longformer,
                    prefix as prefix, queries as queries, same_block as same_block, streaming as streaming,
                    stride as stride, strided as strided, summary as summary, sym as sym, window as window)
from .scores import Score as Score, score as score
from .tensors import Tensor as Tensor, tensor as tensor

__version__: str
# Where query 0 stands: a name, an offset, or an array of one for each batch.
Align = Literal["end", "start", "offset", "offsets"] | int | Any

class Picture:
    svg: str
    def _repr_svg_(self) -> str: ...
    def _repr_html_(self) -> str: ...

class Kernel:
    align: Align
    device: str
    has_lse: bool
    @property
    def mask(self) -> Mask: ...
    @property
    def score(self) -> Score | None: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def tensors(self) -> tuple[str, ...]: ...
    @property
    def ptx(self) -> str: ...
    @property
    def mlir(self) -> str: ...
    def report(self, queries: int | None = None, keys: int | None = None, offset: int | None = None,
               tile: tuple[int, int] = (128, 64), symbols: Mapping[str, int] | None = None,
               tensors: Mapping[str, Any] | None = None) -> dict[str, Any]: ...
    def draw(self, queries: int = 256, keys: int = 256, offset: int | None = None, tile: tuple[int, int] = (16, 16),
             symbols: Mapping[str, int] | None = None, tensors: Mapping[str, Any] | None = None) -> Picture: ...
    def _repr_html_(self) -> str: ...
    def __call__(self, q: Any, k: Any, v: Any, out: Any = None, lse: Any = None, stream: int | None = None,
                 symbols: Mapping[str, int] | None = None, align: Align | None = None,
                 tensors: Mapping[str, Any] | None = None) -> Any: ...

def attention(q: Any, k: Any, v: Any, mask: Mask | None = None, scale: float | None = None, return_lse: bool = False,
              device: str | None = None, align: Align = "end", symbols: Mapping[str, int] | None = None, out: Any = None,
              stream: int | None = None, softcap: float | None = None, bias: Any = None, alibi: Any = None,
              sinks: Any = None, score: Score | None = None, tensors: Mapping[str, Any] | None = None) -> Any: ...
def compile(*, heads: int, kv_heads: int | None = None, head_size: int, value_head_size: int | None = None,
            dtype: Any = "f16", mask: Mask | None = None, scale: float | None = None, align: Align = "end",
            return_lse: bool = False, device: str | None = None, batch: int | None = None, queries: int | None = None,
            keys: int | None = None, softcap: float | None = None, bias: Any = None, alibi: Any = None, sinks: Any = None,
            score: Score | None = None) -> Kernel: ...
def device_for(array: Any) -> str: ...
def statistics(device: str | None = None) -> dict[str, int]: ...
