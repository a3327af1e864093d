func.func @f(%q: tensor<2x4x?x32xf16>, %k: tensor<2x2x?x32xf16>, %v: tensor<2x2x?x32xf16>, %len: tensor<2xi32>,
             %qi: tensor<2x?xi32>, %ki: tensor<2x?xi32>, %r: tensor<?xi64>, %c: tensor<?xi64>, %m: tensor<1x4x?x?xi1>)
    -> (tensor<2x4x?x32xf16>, tensor<2x4x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v
      mask(lengths(%len) & (causal & documents(%qi, %ki) | blocks<64, 32>(%r, %c)) & !(bits(%m) & window<3, 3>))
      : (tensor<2x4x?x32xf16>, tensor<2x2x?x32xf16>, tensor<2x2x?x32xf16>, tensor<2xi32>, tensor<2x?xi32>,
         tensor<2x?xi32>, tensor<?xi64>, tensor<?xi64>, tensor<1x4x?x?xi1>)
     -> (tensor<2x4x?x32xf16>, tensor<2x4x?xf32>)
  return %o, %lse : tensor<2x4x?x32xf16>, tensor<2x4x?xf32>
}
