// ALiBi, a padding mask that came as a bias (-inf where a key is padding), and a sink for each head. A row whose every key
// is padding gets o = 0 and lse = the sink.
//
//   attn-run examples/alibi.mlir --random=2x8x300x64,2x8x300x64,2x8x300x64,2x1x1x300,8,8 --check
func.func @alibi(%q: tensor<2x8x?x64xf16>, %k: tensor<2x8x?x64xf16>, %v: tensor<2x8x?x64xf16>,
                 %padding: tensor<2x1x1x?xf32>, %slopes: tensor<8xf32>, %sinks: tensor<8xf32>)
    -> (tensor<2x8x?x64xf16>, tensor<2x8x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(causal) bias(%padding : tensor<2x1x1x?xf32>) alibi(%slopes : tensor<8xf32>)
      sinks(%sinks : tensor<8xf32>)
      : (tensor<2x8x?x64xf16>, tensor<2x8x?x64xf16>, tensor<2x8x?x64xf16>) -> (tensor<2x8x?x64xf16>, tensor<2x8x?xf32>)
  return %o, %lse : tensor<2x8x?x64xf16>, tensor<2x8x?xf32>
}
