// RUN: attn-opt %s --attn-assign-schedule=target=sm_80 | FileCheck %s
// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a | FileCheck %s --check-prefix=HOPPER
// RUN: not attn-opt %s --attn-assign-schedule="target=sm_90a heads=16 q-tile=192" 2>&1 | FileCheck %s --check-prefix=WARPS
// RUN: not attn-opt %s --attn-assign-schedule="target=sm_80 heads=3" 2>&1 | FileCheck %s --check-prefix=DIVIDE
// RUN: not attn-opt %s --attn-assign-schedule="target=sm_80 heads=-4" 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// RUN: attn-opt %s --attn-assign-schedule=target=sm_80 --attn-tile-program --attn-schedule | FileCheck %s --check-prefix=COPIES
// RUN: attn-opt %s --emit=report --entry=decode --args=3x8x1x128,3x2x1000x128 | FileCheck %s --check-prefix=REPORT

// Where few queries are known to be, as in decoding, the rows of a tile are those of all heads of a group.

// WARPS: error: {{.*}}cannot have tiles with the rows of 16 heads: the 16 rows of a warp would be of parts of heads
// DIVIDE: error: {{.*}}expected a positive number of heads that divides the 128 rows of a tile, found 3
// NEGATIVE: error: {{.*}}expected a positive number of heads that divides the 128 rows of a tile, found -4

// One tile instead of four.
// CHECK-LABEL: @decode
// CHECK: heads = 4>
// HOPPER-LABEL: @decode
// HOPPER: persistent = true, heads = 4>
// COPIES-LABEL: func.func private @decode_0
// COPIES: step (1, 4, 32)
// COPIES: attn_nvptx.load_async %{{.*}}[%{{.*}}] to %{{.*}}[%{{.*}}] heads(4) : memref<1x4x?x128xf16
// COPIES: attn_nvptx.store %{{.*}} to %{{.*}} heads(4) : {{.*}}, memref<1x4x?x128xf16
// REPORT: "heads_per_tile": 4,
// REPORT: "tiles": {
// REPORT-NEXT: "total": 96,
// REPORT: "live_pairs": 24000,
// REPORT: "executed_pairs": 786432,
func.func @decode(%q: tensor<?x8x1x128xf16>, %k: tensor<?x2x?x128xf16>) -> tensor<?x8x1x128xf16> {
  %o = attn.attention %q, %k, %k mask(causal)
    : (tensor<?x8x1x128xf16>, tensor<?x2x?x128xf16>, tensor<?x2x?x128xf16>) -> tensor<?x8x1x128xf16>
  return %o : tensor<?x8x1x128xf16>
}

// A group of seven, in a tile with rows for eight, or for twelve where it has 192.
// CHECK-LABEL: @seven
// CHECK: heads = 8>
// HOPPER-LABEL: @seven
// HOPPER: q_tile = 192{{.*}}heads = 12>
func.func @seven(%q: tensor<1x7x5x64xf16>, %k: tensor<1x1x?x64xf16>) -> tensor<1x7x5x64xf16> {
  %o = attn.attention %q, %k, %k
    : (tensor<1x7x5x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>) -> tensor<1x7x5x64xf16>
  return %o : tensor<1x7x5x64xf16>
}

// 200 queries of four heads fill 7 tiles of 32 x 4 rows instead of 8; 256 fill 8 either way.
// CHECK-LABEL: @some
// CHECK: heads = 4>
// CHECK-LABEL: @many
// CHECK-NOT: heads =
// CHECK-LABEL: @open
func.func @some(%q: tensor<1x4x200x128xf16>, %k: tensor<1x1x?x128xf16>) -> tensor<1x4x200x128xf16> {
  %o = attn.attention %q, %k, %k
    : (tensor<1x4x200x128xf16>, tensor<1x1x?x128xf16>, tensor<1x1x?x128xf16>) -> tensor<1x4x200x128xf16>
  return %o : tensor<1x4x200x128xf16>
}
func.func @many(%q: tensor<1x4x256x128xf16>, %k: tensor<1x1x?x128xf16>) -> tensor<1x4x256x128xf16> {
  %o = attn.attention %q, %k, %k
    : (tensor<1x4x256x128xf16>, tensor<1x1x?x128xf16>, tensor<1x1x?x128xf16>) -> tensor<1x4x256x128xf16>
  return %o : tensor<1x4x256x128xf16>
}

// Lengths that are not known, masks that tell the heads apart, heads without a group: one head.
// CHECK-NOT: heads =
func.func @open(%q: tensor<1x4x?x128xf16>, %k: tensor<1x1x?x128xf16>) -> tensor<1x4x?x128xf16> {
  %o = attn.attention %q, %k, %k
    : (tensor<1x4x?x128xf16>, tensor<1x1x?x128xf16>, tensor<1x1x?x128xf16>) -> tensor<1x4x?x128xf16>
  return %o : tensor<1x4x?x128xf16>
}
func.func @apart(%q: tensor<1x4x1x128xf16>, %k: tensor<1x1x?x128xf16>) -> tensor<1x4x1x128xf16> {
  %o = attn.attention %q, %k, %k mask(heads<0, 2> | window<64, 0>)
    : (tensor<1x4x1x128xf16>, tensor<1x1x?x128xf16>, tensor<1x1x?x128xf16>) -> tensor<1x4x1x128xf16>
  return %o : tensor<1x4x1x128xf16>
}
func.func @single(%q: tensor<1x4x1x128xf16>, %k: tensor<1x4x?x128xf16>) -> tensor<1x4x1x128xf16> {
  %o = attn.attention %q, %k, %k
    : (tensor<1x4x1x128xf16>, tensor<1x4x?x128xf16>, tensor<1x4x?x128xf16>) -> tensor<1x4x1x128xf16>
  return %o : tensor<1x4x1x128xf16>
}
