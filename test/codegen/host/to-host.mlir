// RUN: attn-opt %s --attn-host="cpu=x86-64-v4 q-tile=96 kv-tile=64" | FileCheck %s
// RUN: attn-opt %s --attn-host="cpu=x86-64-v4-bf16 q-tile=96 kv-tile=64" | FileCheck %s --check-prefix=BF16
// RUN: attn-opt %s --attn-host="cpu=x86-64 q-tile=96 kv-tile=64" | FileCheck %s --check-prefix=SSE
// RUN: attn-opt %s --attn-host="cpu=x86-64-v4 q-tile=96 kv-tile=64" --attn-host-to-llvm | FileCheck %s --check-prefix=LLVM

// Nothing of the tile program is left but the loops over tiles, without iteration values: every vector is a register.
// CHECK-LABEL: func.func @dense_0(
// CHECK-SAME: !llvm.ptr, %{{.*}}: i64, %{{.*}}: !llvm.ptr) attributes {attn.mask = "all", attn.schedule = {{.*}}, attn.scratch = {{[0-9]+}} : i64}
// CHECK-NOT: {{vector<96|memref}}
// Scores: blocks of 8 keys by 3 registers, 4 steps of the head size at a time.
// CHECK: attn.for_tiles %{{[a-z0-9]+}} in
// CHECK-NOT: {{vector<96|memref}}
// CHECK: %{{[0-9]+}}:24 = scf.for
// CHECK-COUNT-96: math.fma
// Weights.
// CHECK: "llvm.x86.avx512.mask.scalef.ps.512"
// Values.
// CHECK: %{{[0-9]+}}:24 = scf.for
// CHECK-COUNT-96: math.fma
// CHECK-NOT: {{vector<96|memref}}
// CHECK: return

// Four lanes, no fused multiply-add, and a scale in two steps.
// SSE-LABEL: func.func @dense_0(
// SSE-NOT: math.fma
// SSE: vector<4xf32>

// LLVM-LABEL: llvm.func @dense_0(
// LLVM-NOT: attn.for_tiles
// LLVM-NOT: unrealized_conversion_cast
// LLVM: llvm.intr.fma
// LLVM: llvm.return
func.func @dense(%q: tensor<1x2x?x64xf32>, %k: tensor<1x2x512x64xf32>) -> tensor<1x2x?x64xf32> {
  %o = attn.attention %q, %k, %k
    : (tensor<1x2x?x64xf32>, tensor<1x2x512x64xf32>, tensor<1x2x512x64xf32>) -> tensor<1x2x?x64xf32>
  return %o : tensor<1x2x?x64xf32>
}

// Products of pairs of bf16 need no conversion of K, and pairs of rows of V; without the instruction, both become f32.
// BF16-LABEL: func.func @pairs_0(
// BF16: attn.for_tiles
// BF16-COUNT-96: "llvm.x86.avx512bf16.dpbf16ps.512"
// BF16-COUNT-96: "llvm.x86.avx512bf16.dpbf16ps.512"
func.func @pairs(%q: tensor<1x2x64x64xbf16>, %k: tensor<1x2x512x64xbf16>) -> tensor<1x2x64x64xbf16> {
  %o = attn.attention %q, %k, %k
    : (tensor<1x2x64x64xbf16>, tensor<1x2x512x64xbf16>, tensor<1x2x512x64xbf16>) -> tensor<1x2x64x64xbf16>
  return %o : tensor<1x2x64x64xbf16>
}

// Partial tiles: rows past the end are those of the last key; dead pairs leave the accumulator as it is. The mask comes
// first; scores, weights and values run from the first column with a live pair to the last one, in blocks of 8.
// CHECK-LABEL: func.func @masked_0(
// CHECK: attn.for_tiles
// CHECK: %[[LIVE:.*]]:2 = scf.for
// CHECK: llvm.bitcast %{{.*}} : vector<16xi1> to i16
// CHECK: vector.reduction <or>
// CHECK: %[[FIRST:.*]] = arith.andi %[[LIVE]]#0, %c-8
// CHECK: %[[MORE:.*]] = arith.addi %[[LIVE]]#1, %c7
// CHECK: %[[END:.*]] = arith.andi %[[MORE]], %c-8
// CHECK: scf.for %{{.*}} = %[[FIRST]] to %[[END]] step %c8
// CHECK: arith.minsi
// CHECK: llvm.bitcast %{{.*}} : i16 to vector<16xi1>
// CHECK: scf.for %{{.*}} = %[[FIRST]] to %[[END]] step %c4
// CHECK: "llvm.x86.avx512.mask.scalef.ps.512"
// CHECK: scf.for %{{.*}} = %[[FIRST]] to %[[END]] step %c4
// CHECK: arith.select %{{.*}}, %{{.*}}, %{{.*}} : vector<16xi1>, vector<16xf32>
// CHECK: attn.for_tiles
// CHECK-NOT: i16 to vector<16xi1>
// CHECK: return
func.func @masked(%q: tensor<1x2x?x64xf32>, %k: tensor<1x2x?x64xf32>) -> tensor<1x2x?x64xf32> {
  %o = attn.attention %q, %k, %k mask(causal)
    : (tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) -> tensor<1x2x?x64xf32>
  return %o : tensor<1x2x?x64xf32>
}
