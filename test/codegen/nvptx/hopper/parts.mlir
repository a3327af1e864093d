// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a --attn-tile-program --attn-schedule --verify-diagnostics --split-input-file | FileCheck %s
// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a --attn-tile-program --attn-schedule --attn-to-nvvm --split-input-file 2>/dev/null | FileCheck %s --check-prefix=NVVM

!t = tensor<1x2x?x40xbf16>

// The first part writes its f32 tile as the accumulators lie; what the next one goes on from is read once for each tile of queries, before
// the query tile is waited for. Columns of panels that the head size does not fill are neither read nor written.
// CHECK-LABEL: func.func private @strided_0
// CHECK: } consumers(160) {
// CHECK-NOT: attn_nvptx.store
// CHECK: vector.transfer_write %{{.*}} : vector<192x64xf32>, memref<1x1x?x40xf32
// CHECK-NOT: attn_nvptx.store
// CHECK-LABEL: func.func private @strided_1
// CHECK: } consumers(160) {
// CHECK: vector.transfer_read %{{.*}} : memref<1x1x?xf32, strided<[?, ?, 128], offset: ?>>, vector<192xf32>
// CHECK: vector.transfer_read %{{.*}} : memref<1x1x?x40xf32, strided<[?, ?, ?, 1], offset: ?>>, vector<192x64xf32>
// CHECK: attn_nvptx.wait
// CHECK: attn_nvptx.store_box

// In pairs of columns: five for each of two rows.
// NVVM-LABEL: llvm.func @strided_0
// NVVM-COUNT-10: llvm.store %{{.*}} : vector<2xf32>, !llvm.ptr<1>
// NVVM-NOT: llvm.store %{{.*}} : vector<2xf32>, !llvm.ptr<1>
// NVVM-LABEL: llvm.func @strided_1
// NVVM-COUNT-22: llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr<1> -> f32
// NVVM-NOT: llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr<1> -> f32
func.func @strided(%q: !t, %k: !t, %v: !t) -> !t {
  // expected-remark @below {{part 1 of 2}}
  // expected-remark @below {{part 2 of 2}}
  %o = attn.attention %q, %k, %v mask(strided<128>) : (!t, !t, !t) -> !t
  return %o : !t
}

// -----

!t = tensor<1x2x?x64xbf16>

// Keys as they are and the last eight of each block are two slices of one ring: a tile of the latter is made up of boxes of eight rows. The
// first tile of all is one of the first slice or, if that has none, of the second: each has a mask of its own.
// CHECK-LABEL: func.func private @fixed_0
// CHECK: attn_nvptx.elect
// CHECK-DAG: %[[K:.*]] = attn_nvptx.tensor_map %arg1 box(96 x 64)
// CHECK-DAG: %[[KS:.*]] = attn_nvptx.tensor_map %arg1 box(8 x 64)
// CHECK: attn_nvptx.load_box %[[K]][%{{.*}}, %{{.*}}, %{{.*}}] to %[[KB:[0-9]+]]
// CHECK: attn_nvptx.load_box %[[KS]][%{{.*}}, %{{.*}}, %{{.*}}] selected(%{{.*}} count 8 step 128) to %[[KB]]
// CHECK: attn_nvptx.load_rows
// CHECK: } consumers(160) {
// CHECK: %[[STARTED:.*]]:4 = scf.if
// CHECK: attn_nvptx.wgmma %
// CHECK: else
// CHECK: attn_nvptx.wgmma %
// CHECK: scf.while {{.*}}%[[STARTED]]#0
func.func @fixed(%q: !t, %k: !t, %v: !t) -> !t {
  // expected-remark @below {{are made adjacent}}
  %o = attn.attention %q, %k, %v mask(fixed<128, 8>) : (!t, !t, !t) -> !t
  return %o : !t
}

// -----

!t = tensor<1x2x?x32xbf16>

// A box of one row of 64 bytes cannot stand everywhere in shared memory.
// CHECK-LABEL: func.func private @odd_0
// CHECK-NOT: attn_nvptx.tensor_map
// CHECK: attn_nvptx.load_rows
func.func @odd(%q: !t, %k: !t, %v: !t) -> !t {
  // expected-remark @below {{are made adjacent}}
  // expected-remark @below {{no tensor map}}
  %o = attn.attention %q, %k, %v mask(fixed<128, 7>) : (!t, !t, !t) -> !t
  return %o : !t
}
