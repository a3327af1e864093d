// Two ops, the second on what the first gives; dynamic lengths, grouped heads, a symbol.
func.func @chained(%q: tensor<?x4x?x40xf32>, %k: tensor<?x2x?x40xf32>, %v: tensor<?x2x?x40xf32>, %w: index)
    -> (tensor<?x4x?x40xf32>, tensor<?x4x?xf32>) {
  %a = attn.attention %q, %k, %v mask(window<%w, 5>)
    : (tensor<?x4x?x40xf32>, tensor<?x2x?x40xf32>, tensor<?x2x?x40xf32>) -> tensor<?x4x?x40xf32>
  %o, %lse = attn.attention %a, %k, %v mask(!causal) align(start)
    : (tensor<?x4x?x40xf32>, tensor<?x2x?x40xf32>, tensor<?x2x?x40xf32>) -> (tensor<?x4x?x40xf32>, tensor<?x4x?xf32>)
  return %o, %lse : tensor<?x4x?x40xf32>, tensor<?x4x?xf32>
}
