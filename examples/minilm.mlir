// Real data: one layer of MiniLM (12 heads of size 32) on a paragraph of 220 tokens, with the logarithm of the softmax
// denominator. test/data/minilm/README.md says where the tensors come from; o.npy there is the model's own output.
//
//   cd test/data/minilm
//   attn-run ../../../examples/minilm.mlir --input=q.npy --input=k.npy --input=v.npy --output=/tmp/o.npy --check
func.func @minilm(%q: tensor<1x12x?x32xf16>, %k: tensor<1x12x?x32xf16>, %v: tensor<1x12x?x32xf16>)
    -> (tensor<1x12x?x32xf16>, tensor<1x12x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(all)
      : (tensor<1x12x?x32xf16>, tensor<1x12x?x32xf16>, tensor<1x12x?x32xf16>)
     -> (tensor<1x12x?x32xf16>, tensor<1x12x?xf32>)
  return %o, %lse : tensor<1x12x?x32xf16>, tensor<1x12x?xf32>
}
