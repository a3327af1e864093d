"""Functions of one attention op, as text, for the scripts that measure the compiler."""

MASKS = {
    "all": "",
    "causal": "mask(causal)",
    "window": "mask(causal & window<%w, 0>)",
    "longformer": "mask(longformer<256, 16>)",
    "streaming": "mask(streaming<4, 1024>)",
    "strided": "mask(strided<128>)",
    "fixed": "mask(fixed<128, 8>)",
    "heads": "mask(heads<0, 4> & causal | heads<4, 8> & window<64, 64>)",
}


def source(element, head_size, value_size, mask):
    q = f"tensor<?x8x?x{head_size}x{element}>"
    k = f"tensor<?x2x?x{head_size}x{element}>"
    v = f"tensor<?x2x?x{value_size}x{element}>"
    o = f"tensor<?x8x?x{value_size}x{element}>"
    lse = "tensor<?x8x?xf32>"
    return f"""func.func @f(%q: {q}, %k: {k}, %v: {v}, %w: index) -> ({o}, {lse}) {{
  %o, %lse = attn.attention %q, %k, %v {MASKS[mask]} : ({q}, {k}, {v}) -> ({o}, {lse})
  return %o, %lse : {o}, {lse}
}}
"""
