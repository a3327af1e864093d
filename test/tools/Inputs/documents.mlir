func.func @f(%q: tensor<1x2x?x32xf16>, %k: tensor<1x2x?x32xf16>, %v: tensor<1x2x?x32xf16>,
             %qi: tensor<1x?xi32>, %ki: tensor<1x?xi32>)
    -> (tensor<1x2x?x32xf16>, tensor<1x2x?xf32>) {
  // One packed sequence.
  %o, %lse = attn.attention %q, %k, %v mask(causal & documents(%qi, %ki))
      : (tensor<1x2x?x32xf16>, tensor<1x2x?x32xf16>, tensor<1x2x?x32xf16>, tensor<1x?xi32>, tensor<1x?xi32>)
     -> (tensor<1x2x?x32xf16>, tensor<1x2x?xf32>)
  return %o, %lse : tensor<1x2x?x32xf16>, tensor<1x2x?xf32>
}
