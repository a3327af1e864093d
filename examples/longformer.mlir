// A long document in the manner of Longformer: every token sees the 128 tokens on either side and the first 16 tokens,
// which see everything. Most tiles of the 2048 x 2048 scores are empty: no code runs for them, and no mask is stored.
//
//   attn-run examples/longformer.mlir --random=1x2x2048x64,1x2x2048x64,1x2x2048x64 --check
func.func @longformer(%q: tensor<1x2x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>)
    -> (tensor<1x2x?x64xbf16>, tensor<1x2x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(longformer<128, 16>) scale(0.125)
      : (tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>)
     -> (tensor<1x2x?x64xbf16>, tensor<1x2x?xf32>)
  return %o, %lse : tensor<1x2x?x64xbf16>, tensor<1x2x?xf32>
}
