// RUN: attn-opt %s --attn-compact --verify-diagnostics

func.func @f(%q: vector<64x32xf16>, %k: tensor<1x1x4096x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>, %p: index) -> vector<64x32xf32> {
  %c0 = arith.constant 0 : index
  %n = arith.constant 4096 : index
  // expected-error @below {{expected an enclosing scf.forall with attn.schedule; attn-tile makes them}}
  %m, %l, %o = attn.online_attention %q, %k, %k init(%r, %r, %a) scale(1.0) mask(fixed<64, 4>) rows(%p, %n) keys(%c0, %n)
      : vector<64x32xf16>, tensor<1x1x4096x32xf16>, tensor<1x1x4096x32xf16>, vector<64x32xf32>
  return %o : vector<64x32xf32>
}
