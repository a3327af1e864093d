// RUN: attn-opt %s --attn-tile-kv=kv-tile=32 --split-input-file --verify-diagnostics
// RUN: not attn-opt %s --attn-tile-kv 2>&1 | FileCheck %s

// CHECK: error: 'attn.online_attention' op expected an enclosing scf.forall with attn.schedule, or the option kv-tile above 0

func.func @inexact(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %n: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  // expected-remark @+1 {{admit key tiles without a live pair}}
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(affine_set<(h, i, j) : ((i + 2 * j) mod 100 - 98 >= 0, (3 * i - j) mod 77 - 76 >= 0)>)
      rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// -----

func.func @full_inexact(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %n: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  // expected-remark @+1 {{run as partial ones}}
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(!affine_set<(h, i, j) : ((i + 2 * j) mod 100 - 98 >= 0, (3 * i - j) mod 77 - 76 >= 0)>)
      rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// -----

func.func @no_mask(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>) {
  // expected-error @+1 {{expected a mask on slices; mask(all) makes every key live}}
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return
}

// -----

func.func @later_start(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %n: index) {
  // expected-error @+1 {{expected the slices to start at key 0}}
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25) mask(all) rows(%p0, %p1) keys(%p0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return
}
