// RUN: attn-opt %s --attn-tile-program --attn-schedule | FileCheck %s

// Q once, then one wait, one barrier and one group of copies for each key tile, in both loops; the copies of the next tile
// are issued before the products of this one. Only partial tiles have masks; there the barrier also takes what is not
// finite out of v.

#schedule = #attn.schedule<q_tile = 64, kv_tile = 32, warps = 4, stages = 2, q_in_registers = false>

// CHECK-LABEL: func.func private @f_0
// CHECK: attn_nvptx.shared at 0 : memref<1x64x64xbf16, #gpu.address_space<workgroup>>
// CHECK: attn_nvptx.shared at 8192 : memref<2x32x64xbf16, #gpu.address_space<workgroup>>
// CHECK: attn_nvptx.shared at 16384 : memref<2x32x64xbf16, #gpu.address_space<workgroup>>
// CHECK: attn_nvptx.load_async
// CHECK: nvvm.cp.async.commit.group

// CHECK: scf.while
// CHECK: nvvm.cp.async.wait.group 0
// CHECK: attn_nvptx.absorb {{.*}} : vector<64x64xf32>, memref<2x32x64xbf16
// CHECK: attn_nvptx.load_async {{.*}} : memref<1x1x?x64xbf16, {{.*}}>, memref<2x32x64xbf16
// CHECK: attn_nvptx.load_async {{.*}} : memref<1x1x?x64xbf16, {{.*}}>, memref<2x32x64xbf16
// CHECK: nvvm.cp.async.commit.group
// CHECK: vector.contract
// CHECK: arith.select {{.*}} vector<64x32xi1>, vector<64x32xf32>
// CHECK: vector.contract

// CHECK: scf.while
// CHECK: nvvm.cp.async.wait.group 0
// CHECK-NEXT: nvvm.barrier
// CHECK: attn_nvptx.load_async
// CHECK: nvvm.cp.async.commit.group
// CHECK: vector.contract
// CHECK-NOT: vector<64x32xi1>
// CHECK: vector.contract
// CHECK: scf.yield
// CHECK: attn_nvptx.store {{.*}} : memref<1x64x64xbf16, #gpu.address_space<workgroup>>
func.func @f(%q: tensor<1x2x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>) -> tensor<1x2x?x64xbf16> {
  %o = attn.attention %q, %k, %v mask(causal) schedule(#schedule)
    : (tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> tensor<1x2x?x64xbf16>
  return %o : tensor<1x2x?x64xbf16>
}

// In f32 the parts of an infinity would make NaN: V is cleared in full tiles too, for all rows. Columns are padded to 128
// bytes, and the output is written as it lies in registers.
// CHECK-LABEL: func.func private @f32_0
// CHECK: attn_nvptx.shared at 0 : memref<1x64x64xf32, #gpu.address_space<workgroup>>
// CHECK: attn_nvptx.shared at 16384 : memref<2x32x64xf32, #gpu.address_space<workgroup>>
// CHECK: scf.while
// CHECK: attn_nvptx.absorb {{.*}} where {{.*}} : vector<64x40xf32>, memref<2x32x64xf32
// CHECK: scf.while
// CHECK-NOT: nvvm.barrier
// CHECK: attn_nvptx.absorb {{%[^ ]*}} from {{[^ ]*}} : vector<64x40xf32>, memref<2x32x64xf32
// CHECK-NOT: attn_nvptx.store
// CHECK: vector.transfer_write {{.*}} : vector<64x40xf32>, memref<1x1x?x40xf32
func.func @f32(%q: tensor<1x2x?x40xf32>, %k: tensor<1x2x?x40xf32>, %v: tensor<1x2x?x40xf32>) -> tensor<1x2x?x40xf32> {
  %o = attn.attention %q, %k, %v mask(causal) schedule(#schedule)
    : (tensor<1x2x?x40xf32>, tensor<1x2x?x40xf32>, tensor<1x2x?x40xf32>) -> tensor<1x2x?x40xf32>
  return %o : tensor<1x2x?x40xf32>
}
