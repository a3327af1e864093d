func.func @decode(%q: tensor<1x4x3x32xf32>, %k: tensor<1x2x?x32xf32>, %v: tensor<1x2x?x32xf32>) -> tensor<1x4x3x32xf32> {
  %o = attn.attention %q, %k, %v mask(causal)
      : (tensor<1x4x3x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>) -> tensor<1x4x3x32xf32>
  return %o : tensor<1x4x3x32xf32>
}
