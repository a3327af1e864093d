// RUN: attn-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(attn-assign-host-schedule{cpu=x86-64-v4}),attn-tile-program,attn-pack-heads)" | FileCheck %s
// RUN: attn-opt %s --split-input-file --attn-host="cpu=x86-64-v4" | FileCheck %s --check-prefix=HOST

// Eight query heads on two: four rows a tile, and as many parts as keep a large machine busy.
// CHECK-LABEL: func.func private @decode_0(
// CHECK-SAME: attn.group = 4 : i64
// CHECK-SAME: attn.rows = 4 : i64
// CHECK-SAME: attn.splits = 64 : i64, attn.tiles_per_split = 16 : i64
// CHECK: scf.forall ({{.*}}) = (0, 0, 0) to (1, 8, 1) step (1, 4, 96)
// A part ends with its state; a second function merges the states. With so few rows the lanes are along
// the head size; the next tile is fetched ahead.
// HOST-LABEL: func.func @decode_0(
// HOST-SAME: attn.state = {{[0-9]+}} : i64
// HOST: scf.if
// HOST: llvm.intr.prefetch
// HOST: vector.reduction <add>, {{.*}} fastmath<reassoc> : vector<16xf32> into f32
// HOST: vector.insert {{.*}} [3] : f32 into vector<16xf32>
// HOST-LABEL: func.func @decode_0_merge(
// HOST-NOT: attn.for_tiles
// HOST: "llvm.x86.avx512.mask.scalef.ps.512"
func.func @decode(%q: tensor<1x8x1x64xf32>, %k: tensor<1x2x?x64xf32>, %v: tensor<1x2x?x64xf32>, %w: index) -> tensor<1x8x1x64xf32> {
  %o = attn.attention %q, %k, %v mask(causal & window<%w, 0>)
      : (tensor<1x8x1x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) -> tensor<1x8x1x64xf32>
  return %o : tensor<1x8x1x64xf32>
}

// -----

// Where the mask depends on the head, heads are not rows of one tile; 5000 keys are five parts.
// CHECK-LABEL: func.func private @heads_0(
// CHECK-NOT: attn.group
// CHECK-SAME: attn.rows = 3 : i64
// CHECK-SAME: attn.splits = 5 : i64
// CHECK: step (1, 1, 96)
func.func @heads(%q: tensor<1x4x3x64xf16>, %k: tensor<1x1x5000x64xf16>) -> tensor<1x4x3x64xf16> {
  %o = attn.attention %q, %k, %k mask(heads<1, 3> | keys<0, 100>)
      : (tensor<1x4x3x64xf16>, tensor<1x1x5000x64xf16>, tensor<1x1x5000x64xf16>) -> tensor<1x4x3x64xf16>
  return %o : tensor<1x4x3x64xf16>
}

// -----

// At most 128 rows: half of the 16 heads at a time. Few keys are one part.
// CHECK-LABEL: func.func private @many_0(
// CHECK-SAME: attn.group = 8 : i64
// CHECK-SAME: attn.rows = 128 : i64
// CHECK-NOT: attn.splits
// CHECK: step (1, 8, 96)
// HOST-NOT: @many_0_merge
func.func @many(%q: tensor<1x16x16x64xf16>, %k: tensor<1x1x900x64xf16>) -> tensor<1x16x16x64xf16> {
  %o = attn.attention %q, %k, %k
      : (tensor<1x16x16x64xf16>, tensor<1x1x900x64xf16>, tensor<1x1x900x64xf16>) -> tensor<1x16x16x64xf16>
  return %o : tensor<1x16x16x64xf16>
}

// -----

// More queries, or a number that only a run knows: as always.
// CHECK-LABEL: func.func private @prefill_0(
// CHECK-NOT: attn.rows
// CHECK-LABEL: func.func private @open_0(
// CHECK-NOT: attn.rows
func.func @prefill(%q: tensor<1x4x17x64xf16>, %k: tensor<1x2x?x64xf16>) -> tensor<1x4x17x64xf16> {
  %o = attn.attention %q, %k, %k
      : (tensor<1x4x17x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x4x17x64xf16>
  return %o : tensor<1x4x17x64xf16>
}
func.func @open(%q: tensor<1x4x?x64xf16>, %k: tensor<1x2x?x64xf16>) -> tensor<1x4x?x64xf16> {
  %o = attn.attention %q, %k, %k
      : (tensor<1x4x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x4x?x64xf16>
  return %o : tensor<1x4x?x64xf16>
}
