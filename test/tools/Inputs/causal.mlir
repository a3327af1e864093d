func.func @causal(%q: tensor<?x2x?x32xf16>, %k: tensor<?x2x?x32xf16>, %v: tensor<?x2x?x32xf16>)
    -> (tensor<?x2x?x32xf16>, tensor<?x2x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(causal)
    schedule(#attn.schedule<q_tile = 128, kv_tile = 32, warps = 4, stages = 2, q_in_registers = false>)
    : (tensor<?x2x?x32xf16>, tensor<?x2x?x32xf16>, tensor<?x2x?x32xf16>) -> (tensor<?x2x?x32xf16>, tensor<?x2x?xf32>)
  return %o, %lse : tensor<?x2x?x32xf16>, tensor<?x2x?xf32>
}
