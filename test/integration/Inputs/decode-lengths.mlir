func.func @f(%q: tensor<?x12x2x64xbf16>, %k: tensor<?x2x?x64xbf16>, %n: tensor<?xi32>) -> (tensor<?x12x2x64xbf16>, tensor<?x12x2xf32>) {
  %o, %lse = attn.attention %q, %k, %k mask(causal & lengths(%n))
      : (tensor<?x12x2x64xbf16>, tensor<?x2x?x64xbf16>, tensor<?x2x?x64xbf16>, tensor<?xi32>) -> (tensor<?x12x2x64xbf16>, tensor<?x12x2xf32>)
  return %o, %lse : tensor<?x12x2x64xbf16>, tensor<?x12x2xf32>
}
