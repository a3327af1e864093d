// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a --attn-tile-program --attn-schedule | FileCheck %s

// Where shared memory has no room for it, the output tile takes the place of the query tile, once nobody reads that any more.
// CHECK: attn_nvptx.shared at 0 : memref<1x4x128x64xf16, #gpu.address_space<workgroup>>
// CHECK: } consumers(240) {
// CHECK: attn_nvptx.wgmma
// CHECK: nvvm.barrier id = {{.*}} number_of_threads
// CHECK: %[[O:.*]] = attn_nvptx.shared at 0 : memref<1x4x128x64xf16, #gpu.address_space<workgroup>>
// CHECK: attn_nvptx.store_box %[[O]] to
func.func @f(%q: tensor<2x8x?x256xf16>, %k: tensor<2x2x?x256xf16>, %v: tensor<2x2x?x256xf16>) -> tensor<2x8x?x256xf16> {
  %o = attn.attention %q, %k, %v : (tensor<2x8x?x256xf16>, tensor<2x2x?x256xf16>, tensor<2x2x?x256xf16>) -> tensor<2x8x?x256xf16>
  return %o : tensor<2x8x?x256xf16>
}
