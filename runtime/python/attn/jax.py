# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""attention for JAX on the CPU, as a custom call that jax.jit keeps in its programs.

    import attn.jax
    o = jax.jit(lambda q, k, v: attn.jax.attention(q, k, v, mask=attn.causal()))(q, k, v)

Symbols and the offset may be traced values: a program serves all of them.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from . import _attn, api, arrays
from .problem import from_key, problem_of

__all__ = ["attention"]

_TARGET = "attn_attention"


@functools.lru_cache(maxsize=None)
def _register():
    handler = _attn.xla_handler(api._session(api._host_device()))
    jax.ffi.register_ffi_target(_TARGET, handler, platform="cpu")


@functools.lru_cache(maxsize=4096)
def _source(element, sizes, key, scale, align, lse):
    problem = from_key(key)
    return _attn.make_source(element, sizes, problem.mask.mlir, problem.symbols, scale, align, lse, **problem.source_arguments())


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _call(source, lse, q, k, v, *others):
    shape = (*q.shape[:3], v.shape[3])
    types = [jax.ShapeDtypeStruct(shape, q.dtype)]
    if lse:
        types.append(jax.ShapeDtypeStruct(shape[:3], jnp.float32))
    return tuple(jax.ffi.ffi_call(_TARGET, types, vmap_method="sequential")(q, k, v, *others, source=source))


def _forward(source, lse, q, k, v, *others):
    raise NotImplementedError("backward not built yet: keep q, k and v out of what is differentiated, "
                              "for example with jax.lax.stop_gradient")


_call.defvjp(_forward, _forward)


def attention(q, k, v, mask=None, scale=None, return_lse=False, align="end", symbols=None, softcap=None, bias=None, alibi=None,
              sinks=None, score=None, tensors=None):
    """attn.attention for JAX's arrays in host memory, inside and outside of jax.jit and jax.vmap."""
    _register()
    q, k, v = map(jnp.asarray, (q, k, v))
    element = arrays.element_type(q.dtype)
    for name, array in (("q", q), ("k", k), ("v", v)):
        if arrays.element_type(array.dtype) is None:
            raise TypeError(f"{name}: expected elements of type float16, bfloat16 or float32, found {array.dtype}")
        if array.dtype != q.dtype:
            raise TypeError(f"{name}: expected elements of type {q.dtype} as in q, found {array.dtype}")
    arrays.check_shapes(q.shape, k.shape, v.shape)
    problem = problem_of(mask, softcap, bias, alibi, sinks, score)
    given = dict(symbols or {})
    if set(given) != set(problem.symbols):
        problem.values_of({name: 0 for name in given})  # says which is missing or unknown
    scalars = [_integer("symbols", given[name]) for name in problem.symbols]
    data = api.checked(problem, problem.arrays_of(tensors), "cpu", q, k)
    if not isinstance(align, str):
        scalars.append(_integer("align", align))
        align = "offset"
    elif align not in ("end", "start"):
        raise ValueError(f"align: expected 'end', 'start' or an integer, found '{align}'")
    source = _source(element, (-1, q.shape[1], k.shape[1], -1, -1, q.shape[3], v.shape[3]), problem.key,
                     None if scale is None else float(scale), align, bool(return_lse))
    results = _call(source, bool(return_lse), q, k, v, *map(jnp.asarray, data),
                    jnp.stack(scalars) if scalars else jnp.zeros((0,), jnp.int32))
    return results if return_lse else results[0]


def _integer(name, value):
    number = jnp.asarray(value)
    if number.shape != () or not jnp.issubdtype(number.dtype, jnp.integer):
        raise TypeError(f"{name}: expected an integer, found {value!r}")
    return number.astype(jnp.int64 if jax.config.jax_enable_x64 else jnp.int32)
