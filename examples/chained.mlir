// The two attentions of a decoder layer, projections left out: causal self-attention, whose result then queries an encoded
// source of another length. Each op becomes a kernel, launched in order.
//
//   attn-run examples/chained.mlir --random=1x4x97x64,1x4x97x64,1x4x97x64,1x4x150x64,1x4x150x48 --check
func.func @chained(%q: tensor<1x4x?x64xbf16>, %k: tensor<1x4x?x64xbf16>, %v: tensor<1x4x?x64xbf16>,
                   %source_k: tensor<1x4x?x64xbf16>, %source_v: tensor<1x4x?x48xbf16>) -> tensor<1x4x?x48xbf16> {
  %self = attn.attention %q, %k, %v mask(causal)
      : (tensor<1x4x?x64xbf16>, tensor<1x4x?x64xbf16>, tensor<1x4x?x64xbf16>) -> tensor<1x4x?x64xbf16>
  %cross = attn.attention %self, %source_k, %source_v
      : (tensor<1x4x?x64xbf16>, tensor<1x4x?x64xbf16>, tensor<1x4x?x48xbf16>) -> tensor<1x4x?x48xbf16>
  return %cross : tensor<1x4x?x48xbf16>
}
