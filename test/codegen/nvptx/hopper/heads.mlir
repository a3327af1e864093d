// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a --attn-tile-program --attn-schedule --split-input-file | FileCheck %s
// RUN: attn-opt %s --attn-nvptx=target=sm_90a --split-input-file | FileCheck %s --check-prefix=THREAD

// Decoding: the rows of a tile are those of the eight heads of a group, one box of eight heads. Each warp stores its own 16 rows,
// which are those of one head.

// CHECK-LABEL: func.func private @f_0
// CHECK: scf.forall {{.*}} to (%{{.*}}, 64, 2) step (1, 8, 16)
// CHECK: %[[Q:.*]] = attn_nvptx.tensor_map %{{.*}} box(16 x 64) heads(8)
// CHECK: attn_nvptx.tensor_map %{{.*}} box(128 x 64) : memref<?x8x?x128xbf16
// CHECK: attn_nvptx.load_box %[[Q]][%[[B:.*]], %[[H:.*]], %{{.*}}] to
// CHECK: attn_nvptx.load_rows {{.*}} heads(8) : memref<1x8x?x128xbf16
// CHECK: } consumers(240) {
// CHECK: %[[O:.*]] = attn_nvptx.tensor_map %{{.*}} box(16 x 64) : memref<?x64x2x128xbf16
// CHECK: attn_nvptx.store_box %{{.*}} to %[[O]][%{{.*}}] heads(8 of 8)
// CHECK: attn_nvptx.store %{{.*}} to %{{.*}} heads(8)

// A box of 16 queries of 8 heads, and of 16 queries of one.
// THREAD-LABEL: llvm.func @f_0
// THREAD-SAME: attn.tensor_map = array<i64: 0, 8, 16, 64>
// THREAD-SAME: attn.tensor_map = array<i64: 1, 1, 128, 64>
// THREAD-SAME: attn.tensor_map = array<i64: 2, 1, 16, 64>
func.func @f(%q: tensor<?x64x2x128xbf16>, %k: tensor<?x8x?x128xbf16>) -> tensor<?x64x2x128xbf16> {
  %o = attn.attention %q, %k, %k mask(causal) : (tensor<?x64x2x128xbf16>, tensor<?x8x?x128xbf16>, tensor<?x8x?x128xbf16>) -> tensor<?x64x2x128xbf16>
  return %o : tensor<?x64x2x128xbf16>
}

// -----

// Of nine heads, in rows for sixteen, the last warp would store half a box: all rows are stored one by one.
// CHECK-LABEL: func.func private @nine_0
// CHECK: attn_nvptx.tensor_map %{{.*}} box(8 x 64) heads(16)
// CHECK-NOT: attn_nvptx.store_box
// CHECK: attn_nvptx.store %{{.*}} to %{{.*}} heads(16) : {{.*}}, memref<1x9x
// THREAD-LABEL: llvm.func @nine_0
func.func @nine(%q: tensor<1x9x1x128xbf16>, %k: tensor<1x1x?x128xbf16>) -> tensor<1x9x1x128xbf16> {
  %o = attn.attention %q, %k, %k : (tensor<1x9x1x128xbf16>, tensor<1x1x?x128xbf16>, tensor<1x1x?x128xbf16>) -> tensor<1x9x1x128xbf16>
  return %o : tensor<1x9x1x128xbf16>
}
