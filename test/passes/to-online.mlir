// RUN: attn-opt %s --attn-tile --attn-to-online --cse --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats

// STATS: attn-to-online
// STATS-NEXT: (S) 2 converted

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>

// CHECK-LABEL: func.func @both_results
// CHECK: scf.forall (%[[B:.*]], %[[H:.*]], %[[I:.*]]) = {{.*}} shared_outs(%[[OO:.*]] = %{{.*}}, %[[LL:.*]] = %{{.*}})
// CHECK: %[[ROWS:.*]] = affine.min
// CHECK: %[[QS:.*]] = tensor.extract_slice %arg0
// CHECK: %[[KS:.*]] = tensor.extract_slice %arg1
// CHECK: %[[VS:.*]] = tensor.extract_slice %arg2
// CHECK: %[[P0:.*]] = affine.apply
// CHECK: %[[C0:.*]] = arith.constant 0 : index
// CHECK: %[[PAD:.*]] = arith.constant 0.000000e+00 : bf16
// CHECK: %[[Q:.*]] = vector.transfer_read %[[QS]][%[[C0]], %[[C0]], %[[C0]], %[[C0]]], %[[PAD]] {in_bounds = [false, true]} : tensor<1x1x?x64xbf16>, vector<128x64xbf16>
// CHECK: %[[P1:.*]] = affine.apply
// CHECK: %[[NEG_INF:.*]] = arith.constant dense<0xFF800000> : vector<128xf32>
// CHECK: %[[ZERO_ROW:.*]] = arith.constant dense<0.000000e+00> : vector<128xf32>
// CHECK: %[[ZERO:.*]] = arith.constant dense<0.000000e+00> : vector<128x80xf32>
// CHECK: %[[M:.*]], %[[L:.*]], %[[A:.*]] = attn.online_attention %[[Q]], %[[KS]], %[[VS]] init(%[[NEG_INF]], %[[ZERO_ROW]], %[[ZERO]]) scale(1.250000e-01) mask(causal) rows(%[[P0]], %[[P1]]) keys(%[[C0]], %{{.*}}) : vector<128x64xbf16>, tensor<1x1x?x64xbf16>, tensor<1x1x?x80xbf16>, vector<128x80xf32>
// CHECK: %[[EMPTY:.*]] = arith.cmpf oeq, %[[L]], %[[ZERO_ROW]]
// CHECK: %[[ONE:.*]] = arith.constant dense<1.000000e+00>
// CHECK: %[[INVERSE:.*]] = arith.divf %[[ONE]], %[[L]]
// CHECK: %[[FACTOR:.*]] = arith.select %[[EMPTY]], %[[ZERO_ROW]], %[[INVERSE]]
// CHECK: %[[COLUMN:.*]] = vector.shape_cast %[[FACTOR]] : vector<128xf32> to vector<128x1xf32>
// CHECK: %[[WIDE:.*]] = vector.broadcast %[[COLUMN]] : vector<128x1xf32> to vector<128x80xf32>
// CHECK: %[[O:.*]] = arith.mulf %[[A]], %[[WIDE]]
// CHECK: %[[OB:.*]] = arith.truncf %[[O]] : vector<128x80xf32> to vector<128x80xbf16>
// CHECK: %[[OS:.*]] = tensor.extract_slice %[[OO]][%[[B]], %[[H]], %[[I]], 0] [1, 1, %[[ROWS]], 80]
// CHECK: %[[OW:.*]] = vector.transfer_write %[[OB]], %[[OS]]{{.*}} {in_bounds = [false, true]}
// CHECK: %[[LOG:.*]] = math.log2 %[[L]]
// CHECK: %[[SUM:.*]] = arith.addf %[[M]], %[[LOG]]
// CHECK: %[[LN2:.*]] = arith.constant dense<0.693147{{.*}}>
// CHECK: %[[LSE:.*]] = arith.mulf %[[SUM]], %[[LN2]]
// CHECK: %[[LS:.*]] = tensor.extract_slice %[[LL]][%[[B]], %[[H]], %[[I]]] [1, 1, %[[ROWS]]]
// CHECK: %[[LW:.*]] = vector.transfer_write %[[LSE]], %[[LS]]
// CHECK: tensor.parallel_insert_slice %[[OW]] into %[[OO]]
// CHECK: tensor.parallel_insert_slice %[[LW]] into %[[LL]]
func.func @both_results(%q: tensor<2x8x?x64xbf16>, %k: tensor<2x2x?x64xbf16>, %v: tensor<2x2x?x80xbf16>)
    -> (tensor<2x8x?x80xbf16>, tensor<2x8x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(causal) scale(0.125) schedule(#s)
      : (tensor<2x8x?x64xbf16>, tensor<2x2x?x64xbf16>, tensor<2x2x?x80xbf16>)
     -> (tensor<2x8x?x80xbf16>, tensor<2x8x?xf32>)
  return %o, %lse : tensor<2x8x?x80xbf16>, tensor<2x8x?xf32>
}

// f32 is not rounded; whole tiles are read and written in bounds; the head is kept for a mask that asks for it; the
// default scale is 1 / sqrt(64).
// CHECK-LABEL: func.func @whole_tiles
// CHECK: scf.forall (%{{.*}}, %[[H:.*]], %{{.*}}) =
// CHECK: vector.transfer_read {{.*}} {in_bounds = [true, true]} : tensor<1x1x128x64xf32>, vector<128x64xf32>
// CHECK: attn.online_attention {{.*}} scale(1.250000e-01) mask(heads<0, 1>) rows({{.*}}) keys({{.*}}) head(%[[H]])
// CHECK-NOT: arith.truncf
// CHECK: vector.transfer_write {{.*}} {in_bounds = [true, true]}
// CHECK-NOT: math.log2
func.func @whole_tiles(%q: tensor<1x2x256x64xf32>) -> tensor<1x2x256x64xf32> {
  %o = attn.attention %q, %q, %q mask(heads<0, 1>) schedule(#s)
      : (tensor<1x2x256x64xf32>, tensor<1x2x256x64xf32>, tensor<1x2x256x64xf32>) -> tensor<1x2x256x64xf32>
  return %o : tensor<1x2x256x64xf32>
}
