// RUN: attn-opt %s --attn-tile --cse --split-input-file --verify-diagnostics | FileCheck %s --check-prefix=TILE
// RUN: attn-opt %s --attn-tile --attn-to-online --attn-tile-kv --cse --split-input-file --verify-diagnostics | FileCheck %s --check-prefix=ONLINE
// RUN: attn-opt %s --attn-tile --attn-to-online --attn-tile-kv --split-input-file --verify-diagnostics | attn-opt --split-input-file --attn-decompose --cse | FileCheck %s --check-prefix=ROWS

// The rows of a tile are those of several query heads that read the same KV head.

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, heads = 8>

// Seven heads, the whole group, in a tile with rows for eight.
// TILE-LABEL: func.func @group
// TILE: scf.forall (%[[B:.*]], %[[H:.*]], %[[I:.*]]) = (0, 0, 0) to (%{{.*}}, 28, %{{.*}}) step (1, 7, 16)
// TILE: tensor.extract_slice %{{.*}}[%[[B]], %[[H]], %[[I]], 0] [1, 7, %{{.*}}, 64] {{.*}} to tensor<1x7x?x64xf16>
// TILE: %[[KV:.*]] = affine.apply #{{.*}}(%[[H]])
// TILE: tensor.extract_slice %{{.*}}[%[[B]], %[[KV]], 0, 0] [1, 1, %{{.*}}, 64]
// TILE: -> (tensor<1x7x?x64xf16>, tensor<1x7x?xf32>)
// TILE: tensor.parallel_insert_slice {{.*}}[%[[B]], %[[H]], %[[I]], 0] [1, 7, %{{.*}}, 64]

// ONLINE-LABEL: func.func @group
// ONLINE: %[[Q:.*]] = vector.transfer_read {{.*}} {in_bounds = [false, false, true]} : tensor<1x7x?x64xf16>, vector<8x16x64xf16>
// ONLINE: vector.shape_cast %[[Q]] : vector<8x16x64xf16> to vector<128x64xf16>
// ONLINE: attn.online_attention {{.*}} mask(causal) rows(%{{.*}}, %{{.*}}) heads(8) keys(
// ONLINE: %[[O:.*]] = vector.shape_cast %{{.*}} : vector<128x64xf16> to vector<8x16x64xf16>
// ONLINE: vector.transfer_write %[[O]], {{.*}} {in_bounds = [false, false, true]} : vector<8x16x64xf16>, tensor<1x7x?x64xf16>
// ONLINE: %[[L:.*]] = vector.shape_cast %{{.*}} : vector<128xf32> to vector<8x16xf32>
// ONLINE: vector.transfer_write %[[L]], {{.*}} : vector<8x16xf32>, tensor<1x7x?xf32>

// A row's position is that of its query.
// ROWS-LABEL: func.func @group
// ROWS: %[[STEP:.*]] = vector.shape_cast %{{.*}} : vector<128xi32> to vector<128x1xi32>
// ROWS: %[[SIXTEEN:.*]] = arith.constant dense<16> : vector<128x1xi32>
// ROWS: %[[QUERY:.*]] = arith.remui %[[STEP]], %[[SIXTEEN]]
// ROWS: arith.addi %[[QUERY]]
func.func @group(%q: tensor<?x28x?x64xf16>, %k: tensor<?x4x?x64xf16>) -> (tensor<?x28x?x64xf16>, tensor<?x28x?xf32>) {
  %o, %l = attn.attention %q, %k, %k mask(causal) schedule(#s)
      : (tensor<?x28x?x64xf16>, tensor<?x4x?x64xf16>, tensor<?x4x?x64xf16>) -> (tensor<?x28x?x64xf16>, tensor<?x28x?xf32>)
  return %o, %l : tensor<?x28x?x64xf16>, tensor<?x28x?xf32>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, heads = 8>

// Some heads of a larger group, and as many queries as there is room for: everything exists.
// TILE-LABEL: func.func @part
// TILE: step (1, 8, 16)
// ONLINE-LABEL: func.func @part
// ONLINE: vector.transfer_read {{.*}} {in_bounds = [true, true, true]} : tensor<1x8x16x64xf16>, vector<8x16x64xf16>
// ONLINE: vector.transfer_write {{.*}} {in_bounds = [true, true, true]}
// ROWS-LABEL: func.func @part
func.func @part(%q: tensor<2x16x48x64xf16>, %k: tensor<2x1x?x64xf16>) -> tensor<2x16x48x64xf16> {
  %o = attn.attention %q, %k, %k schedule(#s)
      : (tensor<2x16x48x64xf16>, tensor<2x1x?x64xf16>, tensor<2x1x?x64xf16>) -> tensor<2x16x48x64xf16>
  return %o : tensor<2x16x48x64xf16>
}
