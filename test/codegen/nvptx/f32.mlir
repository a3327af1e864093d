// RUN: attn-opt %s --emit=ptx -o %t
// RUN: FileCheck %s --input-file=%t
// RUN: grep -c mma.sync %t | FileCheck %s --check-prefix=MMA

// 16 x 16 scores from heads of 16: four products of 16 x 8 x 8 for Q K^T and four for P V, each from three of TF32, the
// small ones first. Every operand becomes its nearest TF32 and the rest. Keys 2 t and 2 t + 1 of V stand where the
// weights of those keys do, so that no shuffle moves a weight. Rows are stored in pieces of 8 bytes.
#schedule = #attn.schedule<q_tile = 16, kv_tile = 16, warps = 1, stages = 2, q_in_registers = false>

// MMA: {{^}}24{{$}}
// CHECK: cp.async.cg.shared.global
// CHECK: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// CHECK: and.b32 {{.*}}, -8192;
// CHECK: sub.rn.f32
// CHECK: mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32
// CHECK: ex2.approx.ftz.f32
// CHECK-NOT: shfl.sync.idx
// CHECK: ld.shared.b32
// CHECK-NOT: ldmatrix
// CHECK: mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32
// CHECK: st.global.v2.b32
func.func @f(%q: tensor<1x2x64x16xf32>, %k: tensor<1x2x64x16xf32>, %v: tensor<1x2x64x16xf32>) -> tensor<1x2x64x16xf32> {
  %o = attn.attention %q, %k, %v schedule(#schedule)
    : (tensor<1x2x64x16xf32>, tensor<1x2x64x16xf32>, tensor<1x2x64x16xf32>) -> tensor<1x2x64x16xf32>
  return %o : tensor<1x2x64x16xf32>
}
