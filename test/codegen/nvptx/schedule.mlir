// RUN: attn-opt %s --pass-pipeline='builtin.module(attn-tile-program,func.func(attn-schedule))' -o %t
// RUN: FileCheck %s --input-file=%t
// What the pass writes can be read back.
// RUN: attn-opt %t | FileCheck %s

// CHECK-LABEL: func.func private @f_0
// CHECK-SAME: attn.shared_bytes = 49152
// CHECK: scf.forall
// The query tile, and rings of two tiles for K and V.
// CHECK: %[[Q:.*]] = attn_nvptx.shared at 0 : memref<1x128x64xbf16
// CHECK: %[[K:.*]] = attn_nvptx.shared at 16384 : memref<2x64x64xbf16
// CHECK: %[[V:.*]] = attn_nvptx.shared at 32768 : memref<2x64x64xbf16
// The first group: the query tile and the first key tile, wherever it lies.
// CHECK: attn_nvptx.load_async %{{.*}} to %[[Q]]
// CHECK: scf.if
// CHECK: attn_nvptx.load_async %{{.*}} to %[[K]]
// CHECK: attn_nvptx.load_async %{{.*}} to %[[V]]
// CHECK: nvvm.cp.async.commit.group
// The partial tiles. Their barrier also takes care of what is not finite in v.
// CHECK: scf.while
// CHECK: scf.condition
// CHECK: nvvm.cp.async.wait.group 0
// CHECK-NOT: nvvm.barrier
// CHECK: attn_nvptx.absorb %{{.*}} from %[[V]][%{{.*}}] where
// CHECK: scf.if
// CHECK: attn_nvptx.load_async %{{.*}} to %[[K]][%{{[^]]*}}] :
// CHECK: attn_nvptx.load_async %{{.*}} to %[[V]][%{{[^]]*}}] :
// CHECK: nvvm.cp.async.commit.group
// CHECK-DAG: vector.transfer_read %[[Q]]
// CHECK-DAG: vector.transfer_read %[[K]]
// CHECK-DAG: vector.transfer_read %[[V]]
// CHECK-NOT: vector.mask
// CHECK: scf.yield
// The full tiles: one barrier, loads without bounds.
// CHECK: scf.while
// CHECK: nvvm.cp.async.wait.group 0
// CHECK-NEXT: nvvm.barrier
// CHECK: attn_nvptx.load_async %{{.*}} to %[[K]][%{{.*}}] in_bounds
// CHECK: attn_nvptx.load_async %{{.*}} to %[[V]][%{{.*}}] in_bounds
// CHECK-NOT: attn_nvptx.absorb
// CHECK: scf.yield
// The output is staged over the query tile.
// CHECK: nvvm.cp.async.wait.group 0
// CHECK-NEXT: nvvm.barrier
// CHECK: %[[STAGE:.*]] = attn_nvptx.shared at 0
// CHECK: vector.transfer_write %{{.*}}, %[[STAGE]]
// CHECK: nvvm.barrier
// CHECK: attn_nvptx.store %[[STAGE]] to
func.func @f(%q: tensor<1x8x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16> {
  %o = attn.attention %q, %k, %v mask(causal)
      schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>)
      : (tensor<1x8x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16>
  return %o : tensor<1x8x?x64xbf16>
}

// Three stages keep two tiles in flight, and padded columns their place.
// CHECK-LABEL: func.func private @three_0
// CHECK: attn_nvptx.shared at 0 : memref<1x64x48xf16
// CHECK: attn_nvptx.shared at 6144 : memref<3x32x48xf16
// CHECK: attn_nvptx.shared at 15360 : memref<3x32x32xf16
// CHECK-COUNT-2: nvvm.cp.async.commit.group
// With the query tile in registers, it is read once, before the loops.
// CHECK: nvvm.cp.async.wait.group 1
// CHECK-NEXT: nvvm.barrier
// CHECK: vector.transfer_read {{.*}} : memref<1x64x48xf16
// CHECK: scf.while
// CHECK: nvvm.cp.async.wait.group 1
// CHECK-NOT: memref<1x64x48xf16
func.func @three(%q: tensor<1x8x?x40xf16>, %k: tensor<1x2x?x40xf16>, %v: tensor<1x2x?x24xf16>) -> tensor<1x8x?x24xf16> {
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 64, kv_tile = 32, warps = 4, stages = 3, q_in_registers = true>)
      : (tensor<1x8x?x40xf16>, tensor<1x2x?x40xf16>, tensor<1x2x?x24xf16>) -> tensor<1x8x?x24xf16>
  return %o : tensor<1x8x?x24xf16>
}
