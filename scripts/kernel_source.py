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
    "decode": "mask(causal & window<%w, 0>)",
}

# Of these the number of queries is known: the rows of a tile are those of all heads of a group.
QUERIES = {"decode": 3}

# Masks with tensors, the arguments that they need, and the tensors' types.
DATA_MASKS = {
    "documents": ("mask(causal & documents(%d, %d))", ", %d: tensor<?x?xi32>", ", tensor<?x?xi32>"),
    "blocks": ("mask(causal & blocks<128, 128>(%r, %c))", ", %r: tensor<?xi32>, %c: tensor<?xi32>",
               ", tensor<?xi32>, tensor<?xi32>"),
}

# Clauses that change scores, with the arguments that they need.
SCORES = {
    "softcap": ("softcap(30.0)", ""),
    "alibi": ("alibi(%s : tensor<8xf32>)", ", %s: tensor<8xf32>"),
    "bias": ("bias(%b : tensor<?x8x?x?x{element}>)", ", %b: tensor<?x8x?x?x{element}>"),
    "key-bias": ("bias(%b : tensor<?x1x1x?x{element}>)", ", %b: tensor<?x1x1x?x{element}>"),
    "sinks": ("sinks(%t : tensor<8xf32>)", ", %t: tensor<8xf32>"),
    "all-scores": ("softcap(30.0) bias(%b : tensor<?x8x?x?xf32>) alibi(%s : tensor<8xf32>) sinks(%s : tensor<8xf32>)",
                   ", %b: tensor<?x8x?x?xf32>, %s: tensor<8xf32>"),
}


def source(element, head_size, value_size, mask):
    """`mask` is a key of MASKS or DATA_MASKS, one of SCORES, which is then under a causal mask, or one of each as in `softcap+all`."""
    score, _, mask = mask.partition("+")
    if score not in SCORES:
        score, mask = "", score
    clause, arguments = SCORES[score] if score else ("", "")
    mask_text, data, types = DATA_MASKS.get(mask) or (MASKS[mask or "causal"], "", "")
    clause, arguments = clause.replace("{element}", element), arguments.replace("{element}", element)
    queries = QUERIES.get(mask, "?")
    q = f"tensor<?x8x{queries}x{head_size}x{element}>"
    k = f"tensor<?x2x?x{head_size}x{element}>"
    v = f"tensor<?x2x?x{value_size}x{element}>"
    o = f"tensor<?x8x{queries}x{value_size}x{element}>"
    lse = f"tensor<?x8x{queries}xf32>"
    return f"""func.func @f(%q: {q}, %k: {k}, %v: {v}, %w: index{arguments}{data}) -> ({o}, {lse}) {{
  %o, %lse = attn.attention %q, %k, %v {mask_text} {clause} : ({q}, {k}, {v}{types}) -> ({o}, {lse})
  return %o, %lse : {o}, {lse}
}}
"""
