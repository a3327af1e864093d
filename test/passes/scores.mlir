// RUN: attn-opt %s --attn-tile --cse | FileCheck %s --check-prefix=TILE
// RUN: attn-opt %s --attn-tile --attn-to-online --cse | FileCheck %s --check-prefix=ONLINE
// RUN: attn-opt %s --attn-tile --attn-to-online --attn-tile-kv --cse | FileCheck %s --check-prefix=KV
// RUN: attn-opt %s --attn-pack --cse 2>/dev/null | FileCheck %s --check-prefix=PACK
// RUN: attn-opt %s --attn-pack --attn-tile --attn-to-online --attn-tile-kv --attn-decompose --cse 2>/dev/null | FileCheck %s --check-prefix=ALL

// What changes scores, on its way down: sliced with the op, read as tiles of its own shape, part of a residue class.

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>
!q = tensor<2x8x1000x64xbf16>
!k = tensor<2x2x1000x64xbf16>

// Dimensions of 1 are not sliced. The batch that the region uses becomes an input, the tile's own being 0.
// TILE-LABEL: func.func @inputs
// TILE: scf.forall (%[[B:.*]], %[[H:.*]], %[[I:.*]]) =
// TILE: %[[ROWS:.*]] = affine.min
// TILE: %[[PAIRS:.*]] = tensor.extract_slice %arg2[%[[B]], %[[H]], %[[I]], 0] [1, 1, %[[ROWS]], 1000]
// TILE: %[[KEYS:.*]] = tensor.extract_slice %arg3[0, 0, 0, 0] [1, 1, 1, 1000]
// TILE: %[[PERROW:.*]] = tensor.extract_slice %arg4[%[[B]], 0, %[[I]], 0] [1, 1, %[[ROWS]], 1]
// TILE: %[[SLOPE:.*]] = tensor.extract_slice %arg5[0, %[[H]], 0, 0] [1, 1, 1, 1]
// TILE: %[[HEAD:.*]] = tensor.extract_slice %arg6[%[[H]]] [1] [1]
// TILE: %[[SINK:.*]] = tensor.extract_slice %arg8[%[[H]]] [1] [1]
// TILE: attn.attention {{.*}} head(%[[H]]) sinks(%[[SINK]] : tensor<1xf32>) score(%[[PAIRS]], %[[KEYS]], %[[PERROW]], %[[SLOPE]], %[[HEAD]], %arg7, %[[B]] :
// TILE-NEXT: ^bb0(%{{.*}}: f32, %[[B0:[^:]*]]: index, {{.*}}, %[[BX:[^:]*]]: index):
// TILE-NEXT: arith.addi %[[B0]], %[[BX]] : index

// One value for a tile is a scalar; a sink is where the state begins.
// ONLINE-LABEL: func.func @inputs
// ONLINE: %[[SINK:.*]] = tensor.extract %{{.*}} : tensor<1xf32>
// ONLINE: %[[LOG:.*]] = arith.mulf %[[SINK]], %{{.*}} : f32
// ONLINE: %[[MAX:.*]] = vector.broadcast %[[LOG]] : f32 to vector<128xf32>
// ONLINE: %[[SUM:.*]] = arith.constant dense<1.000000e+00> : vector<128xf32>
// ONLINE: %[[SLOPE:.*]] = tensor.extract %{{.*}} : tensor<1x1x1x1xf32>
// ONLINE: %[[HEAD16:.*]] = tensor.extract %{{.*}} : tensor<1xbf16>
// ONLINE: %[[HEAD:.*]] = arith.extf %[[HEAD16]] : bf16 to f32
// ONLINE: attn.online_attention {{.*}} init(%[[MAX]], %[[SUM]], %{{.*}}) {{.*}} head(%{{.*}}) score(%{{.*}}, %{{.*}}, %{{.*}}, %[[SLOPE]], %[[HEAD]], %{{.*}}, %{{.*}} : tensor<1x1x?x1000xf16>, tensor<1x1x1x1000xf32>, tensor<1x1x?x1xf32>, f32, f32, index, index)

// What is the same for every key is read before the loops. A full tile has positions and no mask.
// KV-LABEL: func.func @inputs
// KV: %[[PERROW:.*]] = vector.transfer_read {{.*}} {in_bounds = [false, true]} : tensor<1x1x?x1xf32>, vector<128x1xf32>
// KV: attn.for_tiles
// KV: %[[J0:.*]] = affine.apply
// KV: %[[PAIRS:.*]] = vector.transfer_read %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %[[J0]]], %{{.*}} : tensor<1x1x?x1000xf16>, vector<128x64xf16>
// KV: %[[KEYS:.*]] = vector.transfer_read {{.*}} {in_bounds = [true, false]} : tensor<1x1x1x1000xf32>, vector<1x64xf32>
// KV: attn.online_attention {{.*}} mask(causal) rows({{.*}}) keys(%[[J0]], %{{.*}}) head(%{{.*}}) score(%[[PAIRS]], %[[KEYS]], %[[PERROW]],
// KV: attn.for_tiles
// KV: vector.transfer_read {{.*}} {in_bounds = [false, true]} : tensor<1x1x?x1000xf16>, vector<128x64xf16>
// KV: vector.transfer_read {{.*}} {in_bounds = [true, true]} : tensor<1x1x1x1000xf32>, vector<1x64xf32>
// KV: attn.online_attention
// KV-NOT: mask
// KV-SAME: rows({{.*}}) keys({{.*}}) head(%{{.*}}) score(%{{.*}}, %{{.*}}, %[[PERROW]],
func.func @inputs(%q: !q, %k: !k, %pairs: tensor<2x8x1000x1000xf16>, %keys: tensor<1x1x1x1000xf32>,
    %rows: tensor<2x1x1000x1xf32>, %slopes: tensor<1x8x1x1xf32>, %head: tensor<8xbf16>, %n: index, %t: tensor<8xf32>) -> !q {
  %o = attn.attention %q, %k, %k mask(causal) schedule(#s) sinks(%t : tensor<8xf32>)
      score(%pairs, %keys, %rows, %slopes, %head, %n : tensor<2x8x1000x1000xf16>, tensor<1x1x1x1000xf32>,
            tensor<2x1x1000x1xf32>, tensor<1x8x1x1xf32>, tensor<8xbf16>, index) {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index, %e0: f32, %e1: f32, %e2: f32, %e3: f32, %e4: f32, %m: index):
      %sum = arith.addi %b, %m : index
      %c = arith.cmpi slt, %sum, %h : index
      %r = arith.select %c, %s, %e0 : f32
      attn.yield %r : f32
  } : (!q, !k, !k) -> !q
  return %o : !q
}

// A residue class sees the positions of the whole problem; its rows and keys of a bias are apart.
// PACK-LABEL: func.func @packed
// PACK: scf.forall (%[[R:.*]]) in (4)
// PACK: %[[X:.*]] = affine.apply
// PACK: tensor.extract_slice %arg2[0, 0, %[[R]], %[[X]]] [1, 8, 250, %{{.*}}] [1, 1, 4, 4]
// PACK: attn.attention {{.*}} sinks(%arg3 : tensor<8xf32>) score(%{{.*}}, %[[X]], %[[X]] :
// PACK-NEXT: ^bb0(%[[S:.*]]: f32, %{{.*}}: index, %{{.*}}: index, %[[I:.*]]: index, %[[J:.*]]: index, %{{.*}}: f32, %[[XI:.*]]: index, %[[XJ:.*]]: index):
// PACK-DAG: %[[I4:.*]] = arith.muli %[[I]], %c4
// PACK-DAG: %[[P:.*]] = arith.addi %[[I4]], %[[XI]]
// PACK-DAG: %[[J4:.*]] = arith.muli %[[J]], %c4
// PACK-DAG: %[[K:.*]] = arith.addi %[[J4]], %[[XJ]]
// PACK: arith.cmpi slt, %[[P]], %[[K]]
// Each part of the heads has its own sinks, and counts heads from its first.
// PACK-LABEL: func.func @packed_heads
// PACK: tensor.extract_slice %arg2[0] [4] [1]
// PACK: scf.forall
// PACK: %[[SINKS:.*]] = tensor.extract_slice %arg2[4] [4] [1]
// PACK: attn.attention {{.*}} sinks(%[[SINKS]] : tensor<4xf32>) score(%c4
// PACK-NEXT: ^bb0(%{{[^:]*}}: f32, %{{[^:]*}}: index, %[[H:[^:]*]]: index, {{.*}}, %[[FIRST:[^:]*]]: index):
// PACK: arith.addi %[[H]], %[[FIRST]]

// Positions that differ by multiples of 4 on both sides are compared by one number for a row and one for a key.
// ALL-LABEL: func.func @packed
// ALL: arith.cmpi slt, %{{.*}}, %{{.*}} : vector<128x64xi32>
func.func @packed(%q: tensor<1x8x1000x64xbf16>, %k: tensor<1x8x999x64xbf16>, %b: tensor<1x8x1000x999xf32>, %t: tensor<8xf32>)
    -> tensor<1x8x1000x64xbf16> {
  %o = attn.attention %q, %k, %k mask(stride<4>) sinks(%t : tensor<8xf32>) schedule(#s) score(%b : tensor<1x8x1000x999xf32>) {
    ^bb0(%s: f32, %bb: index, %h: index, %i: index, %j: index, %e: f32):
      %c = arith.cmpi slt, %i, %j : index
      %r = arith.select %c, %s, %e : f32
      attn.yield %r : f32
  } : (tensor<1x8x1000x64xbf16>, tensor<1x8x999x64xbf16>, tensor<1x8x999x64xbf16>) -> tensor<1x8x1000x64xbf16>
  return %o : tensor<1x8x1000x64xbf16>
}

func.func @packed_heads(%q: tensor<1x8x1024x64xbf16>, %k: tensor<1x8x1024x64xbf16>, %t: tensor<8xf32>) -> tensor<1x8x1024x64xbf16> {
  %o = attn.attention %q, %k, %k mask(heads<0, 4> & stride<4> | heads<4, 8> & causal) schedule(#s) sinks(%t : tensor<8xf32>) score {
    ^bb0(%s: f32, %bb: index, %h: index, %i: index, %j: index):
      %h64 = arith.index_cast %h : index to i64
      %f = arith.sitofp %h64 : i64 to f32
      %r = arith.addf %s, %f : f32
      attn.yield %r : f32
  } : (tensor<1x8x1024x64xbf16>, tensor<1x8x1024x64xbf16>, tensor<1x8x1024x64xbf16>) -> tensor<1x8x1024x64xbf16>
  return %o : tensor<1x8x1024x64xbf16>
}
