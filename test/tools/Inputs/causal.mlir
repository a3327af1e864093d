func.func @causal(%q: tensor<?x2x?x32xf16>, %k: tensor<?x2x?x32xf16>, %v: tensor<?x2x?x32xf16>)
    -> (tensor<?x2x?x32xf16>, tensor<?x2x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(causal)
    : (tensor<?x2x?x32xf16>, tensor<?x2x?x32xf16>, tensor<?x2x?x32xf16>) -> (tensor<?x2x?x32xf16>, tensor<?x2x?xf32>)
  return %o, %lse : tensor<?x2x?x32xf16>, tensor<?x2x?xf32>
}
