// RUN: attn-opt %s --attn-tile-program="q-tile=32 kv-tile=16" | FileCheck %s
// RUN: attn-opt %s --attn-tile-program="q-tile=32 kv-tile=16" | attn-opt | FileCheck %s

// CHECK-LABEL: func.func @f(
// CHECK-SAME: %[[Q:[a-z0-9]+]]: memref<2x8x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>, %[[K:[a-z0-9]+]]: memref<2x2x?x64xbf16, {{[^>]*}}>>, %[[V:[a-z0-9]+]]: memref<2x2x?x24xbf16, {{[^>]*}}>>, %[[W:[a-z0-9]+]]: index, %[[X:[a-z0-9]+]]: memref<2xi64, {{[^>]*}}>>, %[[O:[a-z0-9]+]]: memref<2x8x?x24xbf16, {{[^>]*}}>>, %[[L:[a-z0-9]+]]: memref<2x8x?xf32, {{[^>]*}}>>) {
// CHECK-NEXT: call @f_0(%[[Q]], %[[K]], %[[V]], %[[X]], %[[W]], %[[O]], %[[L]])
// CHECK-NEXT: return
// CHECK: func.func private @f_0({{.*}}) attributes {attn.kernel, attn.mask = "causal & window<s0, 0>", attn.schedule = #attn.schedule<q_tile = 32, kv_tile = 16, warps = 1, stages = 2, q_in_registers = false>} {
// CHECK: scf.forall (%{{.*}}, %{{.*}}, %{{.*}}) = (0, 0, 0) to (2, 8, %{{.*}}) step (1, 1, 32) {
// CHECK: vector.transfer_read {{.*}} vector<32x64xbf16>
// CHECK: attn.for_tiles {{.*}} except
// CHECK: vector.mask
// CHECK: attn.for_tiles
// CHECK-NOT: vector.mask
// CHECK: vector.transfer_write
// CHECK: vector.transfer_write
// CHECK-NOT: tensor
func.func @f(%q: tensor<2x8x?x64xbf16>, %k: tensor<2x2x?x64xbf16>, %v: tensor<2x2x?x24xbf16>, %w: index,
    %x: tensor<2xi64>) -> (tensor<2x8x?x24xbf16>, tensor<2x8x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(causal & window<%w, 0>) align(%x : tensor<2xi64>)
      : (tensor<2x8x?x64xbf16>, tensor<2x2x?x64xbf16>, tensor<2x2x?x24xbf16>)
     -> (tensor<2x8x?x24xbf16>, tensor<2x8x?xf32>)
  return %o, %lse : tensor<2x8x?x24xbf16>, tensor<2x8x?xf32>
}
