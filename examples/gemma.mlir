// A local layer in the manner of Gemma 2: scores are capped at 50, a query sees the last 256 keys, four query heads share
// a KV head. The cap comes before the mask; tiles outside the window are never computed.
//
//   attn-run examples/gemma.mlir --random=1x8x600x128,1x2x600x128,1x2x600x128 --check
func.func @gemma(%q: tensor<1x8x?x128xbf16>, %k: tensor<1x2x?x128xbf16>, %v: tensor<1x2x?x128xbf16>)
    -> tensor<1x8x?x128xbf16> {
  %o = attn.attention %q, %k, %v mask(causal & window<255, 0>) scale(0.0625) softcap(50.0)
      : (tensor<1x8x?x128xbf16>, tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>) -> tensor<1x8x?x128xbf16>
  return %o : tensor<1x8x?x128xbf16>
}
