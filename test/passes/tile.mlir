// RUN: attn-opt %s --attn-tile --cse --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats
// RUN: attn-opt %s --attn-tile --cse | attn-opt | FileCheck %s

// STATS: attn-tile
// STATS-DAG: (S) 1 dropped-lse
// STATS-DAG: (S) 6 tiled

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>

// CHECK-DAG: #[[ROWS:.*]] = affine_map<(d0)[s0] -> (-d0 + s0, 128)>
// CHECK-DAG: #[[KV_HEAD:.*]] = affine_map<(d0) -> (d0 floordiv 4)>
// CHECK-DAG: #[[END:.*]] = affine_map<(d0)[s0, s1] -> (d0 - s0 + s1)>
// CHECK-DAG: #[[OFFSET:.*]] = affine_map<(d0)[s0] -> (d0 + s0)>

// Grouped heads, alignment at the end, both results.
// CHECK-LABEL: func.func @causal
// CHECK-SAME: %[[Q:.*]]: tensor<2x8x?x64xbf16>, %[[K:.*]]: tensor<2x2x?x64xbf16>, %[[V:.*]]: tensor<2x2x?x80xbf16>
// CHECK: %[[NQ:.*]] = tensor.dim %[[Q]], %{{.*}}
// CHECK-DAG: %[[OE:.*]] = tensor.empty(%[[NQ]]) : tensor<2x8x?x80xbf16>
// CHECK-DAG: %[[LE:.*]] = tensor.empty(%[[NQ]]) : tensor<2x8x?xf32>
// CHECK: scf.forall (%[[B:.*]], %[[H:.*]], %[[I:.*]]) = (0, 0, 0) to (2, 8, %[[NQ]]) step (1, 1, 128) shared_outs(%[[OO:.*]] = %[[OE]], %[[LL:.*]] = %[[LE]])
// CHECK: %[[N:.*]] = affine.min #[[ROWS]](%[[I]])[%[[NQ]]]
// CHECK: %[[QS:.*]] = tensor.extract_slice %[[Q]][%[[B]], %[[H]], %[[I]], 0] [1, 1, %[[N]], 64] [1, 1, 1, 1]
// CHECK: %[[HK:.*]] = affine.apply #[[KV_HEAD]](%[[H]])
// CHECK: %[[NK:.*]] = tensor.dim %[[K]], %{{.*}}
// CHECK: %[[KS:.*]] = tensor.extract_slice %[[K]][%[[B]], %[[HK]], 0, 0] [1, 1, %[[NK]], 64] [1, 1, 1, 1]
// CHECK: %[[VS:.*]] = tensor.extract_slice %[[V]][%[[B]], %[[HK]], 0, 0] [1, 1, %[[NK]], 80] [1, 1, 1, 1]
// CHECK: %[[P:.*]] = affine.apply #[[END]](%[[I]])[%[[NQ]], %[[NK]]]
// CHECK: %[[O:.*]], %[[L:.*]] = attn.attention %[[QS]], %[[KS]], %[[VS]] mask(causal) scale(1.250000e-01) align(%[[P]]) head(%[[H]]) :
// CHECK: tensor.parallel_insert_slice %[[O]] into %[[OO]][%[[B]], %[[H]], %[[I]], 0] [1, 1, %[[N]], 80]
// CHECK: tensor.parallel_insert_slice %[[L]] into %[[LL]][%[[B]], %[[H]], %[[I]]] [1, 1, %[[N]]]
// CHECK: {attn.mask = "causal", attn.schedule = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>}
func.func @causal(%q: tensor<2x8x?x64xbf16>, %k: tensor<2x2x?x64xbf16>, %v: tensor<2x2x?x80xbf16>)
    -> (tensor<2x8x?x80xbf16>, tensor<2x8x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(causal) scale(0.125) schedule(#s)
      : (tensor<2x8x?x64xbf16>, tensor<2x2x?x64xbf16>, tensor<2x2x?x80xbf16>)
     -> (tensor<2x8x?x80xbf16>, tensor<2x8x?xf32>)
  return %o, %lse : tensor<2x8x?x80xbf16>, tensor<2x8x?xf32>
}

// Static sizes that the tile divides: no minimum. The head base is added. Nobody reads the log-sum-exp.
// CHECK-LABEL: func.func @static
// CHECK-SAME: %[[H0:[a-z0-9]+]]: index
// CHECK: %[[R:.*]] = scf.forall (%{{.*}}, %[[H:.*]], %[[I:.*]]) = (0, 0, 0) to (1, 4, 256) step (1, 1, 128)
// CHECK: %[[P:.*]] = affine.apply #{{.*}}(%[[I]])
// CHECK: %[[HH:.*]] = affine.apply #[[OFFSET]](%[[H]])[%[[H0]]]
// CHECK: %[[O:.*]] = attn.attention {{.*}} align(%[[P]]) head(%[[HH]]) : (tensor<1x1x128x64xf16>, tensor<1x1x300x64xf16>, tensor<1x1x300x64xf16>) -> tensor<1x1x128x64xf16>
func.func @static(%q: tensor<1x4x256x64xf16>, %k: tensor<1x4x300x64xf16>, %h0: index) -> tensor<1x4x256x64xf16> {
  %o, %lse = attn.attention %q, %k, %k mask(heads<0, 2>) head(%h0) schedule(#s)
      : (tensor<1x4x256x64xf16>, tensor<1x4x300x64xf16>, tensor<1x4x300x64xf16>)
     -> (tensor<1x4x256x64xf16>, tensor<1x4x256xf32>)
  return %o : tensor<1x4x256x64xf16>
}

// An offset for each batch; symbols stay operands.
// CHECK-LABEL: func.func @offsets
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?xi32>, %[[W:[a-z0-9]+]]: index
// CHECK: scf.forall (%[[B:.*]], %[[H:.*]], %[[I:.*]]) =
// CHECK: %[[GROUP:.*]] = arith.divui
// CHECK: arith.divui %[[H]], %[[GROUP]]
// CHECK: %[[XB:.*]] = tensor.extract %[[X]][%[[B]]]
// CHECK: %[[XI:.*]] = arith.index_cast %[[XB]] : i32 to index
// CHECK: %[[P:.*]] = affine.apply #[[OFFSET]](%[[I]])[%[[XI]]]
// CHECK: attn.attention {{.*}} mask(causal & window<%[[W]], 0>) align(%[[P]])
// CHECK: attn.mask = "causal & window<s0, 0>"
func.func @offsets(%q: tensor<?x?x?x64xf16>, %k: tensor<?x?x?x64xf16>, %x: tensor<?xi32>, %w: index)
    -> tensor<?x?x?x64xf16> {
  %o = attn.attention %q, %k, %k mask(causal & window<%w, 0>) align(%x : tensor<?xi32>) schedule(#s)
      : (tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16>) -> tensor<?x?x?x64xf16>
  return %o : tensor<?x?x?x64xf16>
}

// CHECK-LABEL: func.func @start
// CHECK: scf.forall (%{{.*}}, %{{.*}}, %[[I:.*]]) =
// CHECK: attn.attention {{.*}} align(%[[I]])
func.func @start(%q: tensor<1x1x?x64xf16>) -> tensor<1x1x?x64xf16> {
  %o = attn.attention %q, %q, %q mask(causal) align(start) schedule(#s)
      : (tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>) -> tensor<1x1x?x64xf16>
  return %o : tensor<1x1x?x64xf16>
}

// The longest tiles of queries run first: global rows are the first ones, rows under a causal mask the last ones.
// CHECK-LABEL: func.func @global_rows
// CHECK: } {attn.ascending
// CHECK-LABEL: func.func @causal_rows
// CHECK-NOT: attn.ascending
func.func @global_rows(%q: tensor<1x2x?x32xf16>) -> tensor<1x2x?x32xf16> {
  %o = attn.attention %q, %q, %q mask(longformer<256, 16>)
      schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>)
      : (tensor<1x2x?x32xf16>, tensor<1x2x?x32xf16>, tensor<1x2x?x32xf16>) -> tensor<1x2x?x32xf16>
  return %o : tensor<1x2x?x32xf16>
}
func.func @causal_rows(%q: tensor<1x2x?x32xf16>) -> tensor<1x2x?x32xf16> {
  %o = attn.attention %q, %q, %q mask(causal & longformer<256, 16>)
      schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>)
      : (tensor<1x2x?x32xf16>, tensor<1x2x?x32xf16>, tensor<1x2x?x32xf16>) -> tensor<1x2x?x32xf16>
  return %o : tensor<1x2x?x32xf16>
}
