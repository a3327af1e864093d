// RUN: attn-opt %s --attn-tile --attn-to-online --attn-compact --cse --split-input-file --verify-diagnostics --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats
// RUN: attn-opt %s --attn-tile --attn-to-online --attn-compact --split-input-file 2>/dev/null | attn-opt --split-input-file
// RUN: attn-opt %s --attn-tile-program --split-input-file 2>/dev/null | FileCheck %s --check-prefix=PROGRAM

// STATS: attn-compact
// STATS-DAG: 1 compacted
// STATS-DAG: 1 column-sets

#s = #attn.schedule<q_tile = 128, kv_tile = 128, warps = 4, stages = 2, q_in_registers = false>

// Two terms of a union: the block's own keys as they are, then the summaries of the blocks before it, in the same rows.
// CHECK-LABEL: func.func @fixed(
// CHECK: %[[KC:.*]] = attn.select_rows %[[K:.*]] first 120 count 8 step 128 : tensor<1x1x4096x64xf16> to tensor<1x1x256x64xf16>
// CHECK: %[[VC:.*]] = attn.select_rows %[[V:.*]] first 120 count 8 step 128
// CHECK: %[[M:.*]], %[[S:.*]], %[[A:.*]] = attn.online_attention %[[Q:.*]], %[[K]], %[[V]] init({{.*}}) {{.*}} mask(causal & same_block<128>) rows(%[[P0:.*]], %[[P1:.*]]) keys(%[[C0:.*]], %{{.*}})
// CHECK: attn.online_attention %[[Q]], %[[KC]], %[[VC]] init(%[[M]], %[[S]], %[[A]]) {{.*}} mask(affine_set<(d0, d1, d2) : (-d2 + (d1 floordiv 128) * 8 - 1 >= 0)>) rows(%[[P0]], %[[P1]]) keys(%[[C0]], %c256)
// The bounds of all loops stand before the first loop.
// PROGRAM-LABEL: func.func private @fixed_0(
// PROGRAM: %[[ROWS:.*]] = attn.select_rows %{{.*}} : memref<1x1x4096x64xf16,
// PROGRAM: attn.for_tiles
// PROGRAM-NOT: affine.m{{in|ax}}
// PROGRAM: vector.transfer_read %[[ROWS]]
// PROGRAM-NOT: affine.m{{in|ax}}
// PROGRAM: attn.for_tiles %{{.*}} in [%c0 to %{{.*}}] iter_args(
// PROGRAM: vector.transfer_read %[[ROWS]]
func.func @fixed(%q: tensor<1x4x4096x64xf16>, %k: tensor<1x2x4096x64xf16>, %v: tensor<1x2x4096x64xf16>) -> tensor<1x4x4096x64xf16> {
  // expected-remark @+1 {{keys with j mod 128 in 120 to 127 of mask causal & (same_block<128> | summary<128, 8>) are made adjacent: mask affine_set<(d0, d1, d2) : (-d2 + (d1 floordiv 128) * 8 - 1 >= 0)>}}
  %o = attn.attention %q, %k, %v mask(fixed<128, 8>) schedule(#s)
      : (tensor<1x4x4096x64xf16>, tensor<1x2x4096x64xf16>, tensor<1x2x4096x64xf16>) -> tensor<1x4x4096x64xf16>
  return %o : tensor<1x4x4096x64xf16>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>

// A literal set alone, any number of keys: those past the last whole block are counted at run time.
// CHECK-DAG: #[[COUNT:.*]] = affine_map<()[s0] -> (((s0 - 3) floordiv 20) * 2 + 2, ((s0 - 3) floordiv 20) * 2 + (s0 - 3) mod 20)>
// CHECK-LABEL: func.func @columns(
// CHECK: attn.select_rows %{{.*}} first 3 count 2 step 20 : tensor<1x1x?x64xf16> to tensor<1x1x?x64xf16>
// CHECK: %[[N:.*]] = affine.min #[[COUNT]]()[%{{.*}}]
// CHECK: attn.online_attention {{.*}} keys(%{{.*}}, %[[N]])
// CHECK-NOT: attn.online_attention
func.func @columns(%q: tensor<1x4x?x64xf16>, %k: tensor<1x2x?x64xf16>) -> tensor<1x4x?x64xf16> {
  // expected-remark @+1 {{keys with j mod 20 in 3 to 4 of mask}}
  %o = attn.attention %q, %k, %k mask(causal & affine_set<(h, i, j) : ((j + 4) mod 10 - 7 >= 0, 8 - (j + 4) mod 10 >= 0, j mod 4 - (j mod 2) - 2 * (h floordiv 100) >= 0, 9 - j mod 20 >= 0)>) schedule(#s)
      : (tensor<1x4x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x4x?x64xf16>
  return %o : tensor<1x4x?x64xf16>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>

// Nothing is gained: the summaries are half of the keys, or there are few keys.
// CHECK-LABEL: func.func @many(
// CHECK-NOT: attn.select_rows
func.func @many(%q: tensor<1x4x1024x64xf16>) -> (tensor<1x4x1024x64xf16>, tensor<1x4x1024x64xf16>) {
  %o = attn.attention %q, %q, %q mask(causal & window<200, 0> & (keys<8, 800> | summary<4, 2>)) schedule(#s)
      : (tensor<1x4x1024x64xf16>, tensor<1x4x1024x64xf16>, tensor<1x4x1024x64xf16>) -> tensor<1x4x1024x64xf16>
  %p = attn.attention %q, %q, %q mask(causal) schedule(#s)
      : (tensor<1x4x1024x64xf16>, tensor<1x4x1024x64xf16>, tensor<1x4x1024x64xf16>) -> tensor<1x4x1024x64xf16>
  return %o, %p : tensor<1x4x1024x64xf16>, tensor<1x4x1024x64xf16>
}
// CHECK-LABEL: func.func @few(
// CHECK-NOT: attn.select_rows
func.func @few(%q: tensor<1x4x128x64xf16>) -> tensor<1x4x128x64xf16> {
  %o = attn.attention %q, %q, %q mask(fixed<16, 2>) schedule(#s)
      : (tensor<1x4x128x64xf16>, tensor<1x4x128x64xf16>, tensor<1x4x128x64xf16>) -> tensor<1x4x128x64xf16>
  return %o : tensor<1x4x128x64xf16>
}
