// RUN: attn-opt %s --attn-tile-program --attn-schedule --attn-to-nvvm | FileCheck %s
// RUN: attn-opt %s --emit=ptx | FileCheck %s --check-prefix=PTX

// 16 x 16 scores from heads of 16: two products of 16 x 8 x 16 for Q K^T and two for P V, one warp. Nothing of a tile
// remains at this level, and full tiles, the only ones here, run no predicate.

#schedule = #attn.schedule<q_tile = 16, kv_tile = 16, warps = 1, stages = 2, q_in_registers = false>

// CHECK: gpu.module
// CHECK: llvm.func @{{.*}}f_0({{.*}}) attributes {{.*}}nvvm.kernel{{.*}}nvvm.reqntid = array<i32: 32, 1, 1>
// CHECK: nvvm.cp.async.commit.group
// CHECK: nvvm.cp.async.wait.group 0
// CHECK: nvvm.barrier
// CHECK-COUNT-2: nvvm.mma.sync
// CHECK: ex2.approx.ftz
// CHECK-COUNT-2: nvvm.mma.sync
// CHECK-NOT: nvvm.mma.sync
// CHECK-NOT: vector<16x

// PTX: .visible .entry f_0(
// PTX: .reqntid 32
// PTX: cp.async.cg.shared.global
// PTX-COUNT-2: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
// PTX: ex2.approx.ftz.f32
// PTX-COUNT-2: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
// PTX-NOT: mma.sync
func.func @f(%q: tensor<1x2x64x16xf16>, %k: tensor<1x2x64x16xf16>, %v: tensor<1x2x64x16xf16>) -> tensor<1x2x64x16xf16> {
  %o = attn.attention %q, %k, %v schedule(#schedule)
    : (tensor<1x2x64x16xf16>, tensor<1x2x64x16xf16>, tensor<1x2x64x16xf16>) -> tensor<1x2x64x16xf16>
  return %o : tensor<1x2x64x16xf16>
}
