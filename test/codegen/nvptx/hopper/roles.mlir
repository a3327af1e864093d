// RUN: attn-opt %s --attn-assign-schedule="target=sm_90a overlap=false persistent=false" --attn-tile-program --attn-schedule | FileCheck %s
// RUN: attn-opt %s --emit=ptx --target=sm_90a | FileCheck %s --check-prefix=PTX

// Both roles walk the same tiles, first the partial, then the full ones. The warps that load wait until a slot is empty and
// fill it, by boxes if the tensors allow it, else row by row; the warps that compute wait until it is full and release it as
// soon as its product is done. Only partial tiles have masks and take what is not finite out of v.

// CHECK-LABEL: func.func private @f_0
// CHECK-SAME: producer_registers = 32, consumer_registers = 160
// CHECK: %[[FIT:.*]] = attn_nvptx.tensor_maps_fit
// CHECK: %[[Q:.*]] = attn_nvptx.shared at 0 : memref<1x1x192x64xbf16, #gpu.address_space<workgroup>>
// CHECK: %[[QFULL:.*]] = attn_nvptx.barriers
// CHECK: %[[K:.*]] = attn_nvptx.shared at 24576 : memref<4x1x128x64xbf16, #gpu.address_space<workgroup>>
// CHECK: %[[KFULL:.*]] = attn_nvptx.barriers
// CHECK: %[[KEMPTY:.*]] = attn_nvptx.barriers {{.*}} arrivals %c12_i32
// CHECK: %[[V:.*]] = attn_nvptx.shared at 90112 : memref<4x1x128x64xbf16, #gpu.address_space<workgroup>>
// CHECK: %[[VFULL:.*]] = attn_nvptx.barriers
// CHECK: %[[VEMPTY:.*]] = attn_nvptx.barriers

// CHECK: attn_nvptx.roles producer(32) {
// CHECK: scf.if
// CHECK: attn_nvptx.elect
// CHECK: attn_nvptx.tensor_map %{{.*}} box(192 x 64)
// CHECK: attn_nvptx.load_box {{.*}} to %[[Q]]
// CHECK: scf.while
// CHECK: attn_nvptx.wait %[[KEMPTY]]
// CHECK: attn_nvptx.load_box {{.*}} to %[[K]]{{.*}} signal %[[KFULL]]
// CHECK: attn_nvptx.wait %[[VEMPTY]]
// CHECK: attn_nvptx.load_box {{.*}} to %[[V]]{{.*}} signal %[[VFULL]]
// CHECK: scf.while
// CHECK: attn_nvptx.load_box
// CHECK: } else {
// CHECK: attn_nvptx.load_rows {{.*}} to %[[Q]]
// CHECK: attn_nvptx.load_rows {{.*}} to %[[K]]
// CHECK: attn_nvptx.load_rows {{.*}} to %[[V]]

// CHECK: } consumers(160) {
// CHECK: attn_nvptx.wait %[[QFULL]]
// CHECK: scf.while
// CHECK: attn_nvptx.wait %[[KFULL]]
// CHECK: %[[S:.*]] = attn_nvptx.wgmma %[[Q]], %[[K]]{{.*}} depth 64 :
// CHECK-NEXT: attn_nvptx.wgmma_wait %[[S]] pending 0
// CHECK-NEXT: attn_nvptx.release %[[KEMPTY]]
// CHECK: attn_nvptx.wait %[[VFULL]]
// CHECK-NEXT: %[[A:.*]] = attn_nvptx.absorb
// CHECK-NEXT: %[[O:.*]] = attn_nvptx.wgmma %{{.*}}, %[[V]]{{.*}} depth 128 transposed into %[[A]]
// CHECK-NEXT: attn_nvptx.wgmma_wait %[[O]] pending 0
// CHECK-NEXT: attn_nvptx.release %[[VEMPTY]]
// CHECK: scf.while
// CHECK: attn_nvptx.wgmma {{.*}} depth 64 :
// CHECK-NOT: vector<192x128xi1>
// CHECK: attn_nvptx.wgmma {{.*}} depth 128 transposed
// CHECK-NOT: nvvm.barrier
// CHECK: %[[O:.*]] = attn_nvptx.shared at 155648 : memref<1x1x192x64xbf16, #gpu.address_space<workgroup>>
// CHECK: vector.transfer_write %{{.*}}, %[[O]]
// CHECK: scf.if
// CHECK: %[[OMAP:.*]] = attn_nvptx.tensor_map %{{.*}} box(16 x 64)
// CHECK: attn_nvptx.store_box %[[O]] to %[[OMAP]]
// CHECK: } else {
// CHECK: attn_nvptx.store %[[O]] to
// CHECK: attn_nvptx.store_wait

// PTX: .target sm_90a
// PTX: .param .align 64 .b8 f_0_param_{{[0-9]+}}[128]
// PTX: .reqntid 512
// PTX: mbarrier.init.shared
// PTX: fence.mbarrier_init.release.cluster
// PTX: setmaxnreg.dec.sync.aligned.u32 32;
// PTX: cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
// PTX: setmaxnreg.inc.sync.aligned.u32 160;
// PTX-COUNT-36: wgmma.mma_async.sync.aligned.m64n{{128|64}}k16.f32.bf16.bf16
// PTX-NOT: wgmma.mma_async
// PTX: fence.proxy.async.shared::cta
// PTX: cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group
// PTX: cp.async.bulk.commit_group
// PTX: cp.async.bulk.wait_group.read 	0
func.func @f(%q: tensor<2x8x?x64xbf16>, %k: tensor<2x2x?x64xbf16>, %v: tensor<2x2x?x64xbf16>) -> tensor<2x8x?x64xbf16> {
  %o = attn.attention %q, %k, %v mask(causal)
    : (tensor<2x8x?x64xbf16>, tensor<2x2x?x64xbf16>, tensor<2x2x?x64xbf16>) -> tensor<2x8x?x64xbf16>
  return %o : tensor<2x8x?x64xbf16>
}
