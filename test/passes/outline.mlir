// RUN: attn-opt %s --attn-outline --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats

// STATS: attn-outline
// STATS-NEXT: (S) 2 kernels

#layout = strided<[?, 1], offset: ?>

// Inputs in order of use, the scalars, outputs. Scalar arithmetic and dimensions move into the kernel.
// CHECK-LABEL: func.func @f(
// CHECK-SAME: %[[W:[a-z0-9]+]]: index, %[[OUT:[a-z0-9]+]]: memref<?x16xf32, {{[^>]*}}>>, %[[B:[a-z0-9]+]]: memref<?x16xf32, {{[^>]*}}>>, %[[A:[a-z0-9]+]]: memref<?x16xf32, {{[^>]*}}>>, %[[UNUSED:[a-z0-9]+]]: memref
// CHECK-NEXT: call @f_0(%[[A]], %[[B]], %[[W]], %[[OUT]])
// CHECK-NEXT: call @f_1(%[[OUT]], %[[B]])
// CHECK-NEXT: return

// CHECK: func.func private @f_0(
// CHECK-SAME: %[[A:[a-z0-9]+]]: memref<?x16xf32, {{[^>]*}}>>, %[[B:[a-z0-9]+]]: memref<?x16xf32, {{[^>]*}}>>, %[[W:[a-z0-9]+]]: index, %[[OUT:[a-z0-9]+]]: memref<?x16xf32, {{[^>]*}}>>)
// CHECK-SAME: attributes {attn.kernel, attn.mask = "window<s0, 0>", attn.schedule = #attn.schedule<q_tile = 16, kv_tile = 16, warps = 1, stages = 1, q_in_registers = false>}
// CHECK-DAG: %[[N:.*]] = memref.dim %[[B]]
// CHECK-DAG: %[[W1:.*]] = arith.addi %[[W]], %{{.*}}
// CHECK: scf.forall (%[[I:.*]]) = (0) to (%[[N]])
// CHECK: vector.transfer_read %[[A]][%[[I]]
// CHECK: vector.transfer_read %[[B]][%[[W1]]
// CHECK: memref.subview %[[OUT]]
// CHECK: } {mapping
// CHECK-NEXT: return

// CHECK: func.func private @f_1(
// CHECK-SAME: attributes {attn.kernel}
func.func @f(%w: index, %out: memref<?x16xf32, #layout>, %b: memref<?x16xf32, #layout>, %a: memref<?x16xf32, #layout>,
    %unused: memref<?x16xf32, #layout>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %n = memref.dim %b, %c0 : memref<?x16xf32, #layout>
  %w1 = arith.addi %w, %c1 : index
  scf.forall (%i) = (0) to (%n) step (16) {
    %x = vector.transfer_read %a[%i, %c0], %zero : memref<?x16xf32, #layout>, vector<16x16xf32>
    %y = vector.transfer_read %b[%w1, %c0], %zero : memref<?x16xf32, #layout>, vector<16x16xf32>
    %z = arith.addf %x, %y : vector<16x16xf32>
    %o = memref.subview %out[%i, 0] [16, 16] [1, 1] : memref<?x16xf32, #layout> to memref<16x16xf32, #layout>
    vector.transfer_write %z, %o[%c0, %c0] : vector<16x16xf32>, memref<16x16xf32, #layout>
  } {attn.mask = "window<s0, 0>", attn.schedule = #attn.schedule<q_tile = 16, kv_tile = 16, warps = 1, stages = 1, q_in_registers = false>, mapping = [#gpu.block<x>]}
  scf.forall (%i) = (0) to (16) step (16) {
    %x = vector.transfer_read %out[%i, %c0], %zero : memref<?x16xf32, #layout>, vector<16x16xf32>
    vector.transfer_write %x, %b[%i, %c0] : vector<16x16xf32>, memref<?x16xf32, #layout>
  }
  return
}
