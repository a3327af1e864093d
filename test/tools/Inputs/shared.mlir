// Keys that are the values too.
func.func @shared(%q: tensor<1x2x70x32xbf16>, %k: tensor<1x2x70x32xbf16>) -> tensor<1x2x70x32xbf16> {
  %o = attn.attention %q, %k, %k mask(causal)
      : (tensor<1x2x70x32xbf16>, tensor<1x2x70x32xbf16>, tensor<1x2x70x32xbf16>) -> tensor<1x2x70x32xbf16>
  return %o : tensor<1x2x70x32xbf16>
}
