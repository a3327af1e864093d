// RUN: attn-opt %s --attn-decompose --split-input-file --verify-diagnostics

func.func @slices(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %p0: index, %n: index) {
  // expected-error @+1 {{expected tiles of k and v, found 'tensor<1x1x?x16xf32>'; attn-tile-kv makes them}}
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %q) scale(0.5) mask(all) rows(%p0, %n) keys(%p0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return
}
