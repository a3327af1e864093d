// RUN: attn-opt %s --pass-pipeline='builtin.module(attn-tile-program,func.func(attn-schedule),attn-to-nvvm)' -o %t
// RUN: FileCheck %s --input-file=%t
// The weights of the second product come from registers: per tile 8 query fragments of two row blocks and 16 pairs of
// column blocks of each of K and V, once in each loop.
// RUN: grep -c 'nvvm.ldmatrix.*mma_layout<row>' %t | FileCheck %s --check-prefix=ROW
// RUN: grep -c 'nvvm.ldmatrix.*mma_layout<col>' %t | FileCheck %s --check-prefix=COL
// RUN: grep -c 'nvvm.mma.sync' %t | FileCheck %s --check-prefix=MMA
// Row maxima take two shuffles for each of 4 rows in each loop; row sums are added up once for all.
// RUN: grep -c 'nvvm.shfl.sync.*bfly' %t | FileCheck %s --check-prefix=SHUFFLE
// ROW: {{^}}48{{$}}
// COL: {{^}}32{{$}}
// MMA: {{^}}256{{$}}
// 2 x 8 for the maxima, 8 for the sums, 2 that begin phases and 1 that decodes the block's number again.
// SHUFFLE: {{^}}27{{$}}

// CHECK: #[[GRID:.*]] = affine_map<()[s0] -> ((s0 ceildiv 128) * 8)>
// The kernel's calls stay, with a declaration.
// CHECK: func.func private @f_0
// CHECK-SAME: attn.kernel
// CHECK: gpu.module @attn_kernels
// CHECK: llvm.mlir.global external @attn_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
// Only the parameters that are used, and what each is.
// CHECK: llvm.func @f_0(
// CHECK-SAME: {attn.pointer = 0 : i64}
// CHECK-SAME: {attn.size = array<i64: 0, 2>}
// CHECK-SAME: {attn.stride = array<i64: 0, 1>}
// CHECK-SAME: {attn.stride = array<i64: 0, 2>}
// CHECK-SAME: {attn.pointer = 1 : i64}
// CHECK-SAME: attn.grid = #[[GRID]]
// CHECK-SAME: attn.grid_dims = array<i64: 0, 2>
// CHECK-SAME: attn.shared_bytes = 49152
// CHECK-SAME: nvvm.kernel
// CHECK-SAME: nvvm.reqntid = array<i32: 128, 1, 1>
// CHECK: nvvm.barrier #nvvm.reduction<or>
func.func @f(%q: tensor<1x8x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>) -> (tensor<1x8x?x64xbf16>, tensor<1x8x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(causal)
      schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>)
      : (tensor<1x8x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> (tensor<1x8x?x64xbf16>, tensor<1x8x?xf32>)
  return %o, %lse : tensor<1x8x?x64xbf16>, tensor<1x8x?xf32>
}
