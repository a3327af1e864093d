// RUN: attn-opt %s '--attn-tile=q-tile=64 kv-tile=32 warps=1 stages=2' | FileCheck %s --check-prefix=TILE
// RUN: attn-opt %s '--attn-tile=q-tile=64 kv-tile=32 warps=1 stages=2' --attn-to-online --attn-tile-kv | FileCheck %s --check-prefix=KV

// A length is a symbol of the tile; documents are cut to its queries.
// TILE-LABEL: func.func @lengths_and_documents
// TILE: scf.forall (%[[B:.*]], %[[H:.*]], %[[I:.*]]) =
// TILE-DAG: %[[E:.*]] = tensor.extract %arg1[%[[B]]] : tensor<2xi32>
// TILE-DAG: %[[LEN:.*]] = arith.index_cast %[[E]] : i32 to index
// TILE-DAG: %[[QI:.*]] = tensor.extract_slice %arg2[%[[B]], %[[I]]] [1, %{{.*}}] [1, 1] : tensor<2x100xi64> to tensor<1x?xi64>
// TILE-DAG: %[[KI:.*]] = tensor.extract_slice %arg2[%[[B]], 0] [1, 100] [1, 1] : tensor<2x100xi64> to tensor<1x100xi64>
// TILE: attn.attention {{.*}} mask(causal & keys<0, %[[LEN]]> & documents(%[[QI]], %[[KI]]))
// TILE-SAME: tensor<1x?xi64>, tensor<1x100xi64>)

// Four searches at once, then the interval of the outer keys except that of the inner ones; pairs are bits.
// KV-LABEL: func.func @lengths_and_documents
// KV: scf.while {{.*}} : (index, index, index, index, index) -> (index, index, index, index, index)
// KV-COUNT-4: tensor.extract %{{.*}} : tensor<1x100xi64>
// KV: %[[ROWS:.*]] = vector.transfer_read {{.*}} : tensor<1x?xi64>, vector<64x1xi64>
// KV: attn.for_tiles {{.*}} except
// KV: %[[KEYS:.*]] = vector.transfer_read {{.*}} : tensor<1x100xi64>, vector<1x32xi64>
// KV: %[[SAME:.*]] = arith.cmpi eq, {{.*}} : vector<64x32xi64>
// KV: attn.online_attention {{.*}} mask(causal & keys<0, %{{.*}}> & bits(%[[SAME]]))
// KV-SAME: vector<64x32xi1>
// The full loop asks nothing.
// KV: attn.for_tiles
// KV-NOT: arith.cmpi eq
// KV: attn.online_attention
// KV-NOT: mask(
func.func @lengths_and_documents(%q: tensor<2x4x100x64xf16>, %len: tensor<2xi32>, %ids: tensor<2x100xi64>)
    -> tensor<2x4x100x64xf16> {
  %o = attn.attention %q, %q, %q mask(causal & lengths(%len) & documents(%ids, %ids))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi32>, tensor<2x100xi64>)
     -> tensor<2x4x100x64xf16>
  return %o : tensor<2x4x100x64xf16>
}

// The table stays whole; the tile says which query is its first one. Where only the table has pairs the filter says
// where it goes on.
// TILE-LABEL: func.func @blocks
// TILE: scf.forall (%[[B:.*]], %[[H:.*]], %[[I:.*]]) =
// TILE: %[[ROW:.*]] = tensor.extract_slice %arg1[%[[B]], %[[H]], 0] [1, 1, 3] [1, 1, 1]
// TILE: mask(causal & blocks<64, 32, %[[I]]>(%[[ROW]], %arg2))
// KV-LABEL: func.func @blocks
// KV: attn.for_tiles %{{.*}} where {
// KV: attn.condition %{{.*}} next(%{{.*}})
// KV: attn.for_tiles %{{.*}} where {
// KV: attn.condition %{{.*}} next(%{{.*}})
func.func @blocks(%q: tensor<2x4x100x64xf16>, %rows: tensor<2x4x3xi32>, %columns: tensor<?xi32>) -> tensor<2x4x100x64xf16> {
  %o = attn.attention %q, %q, %q mask(causal & blocks<64, 32>(%rows, %columns))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x3xi32>, tensor<?xi32>)
     -> tensor<2x4x100x64xf16>
  return %o : tensor<2x4x100x64xf16>
}

// Outside the table a window has pairs: every tile of the loop is asked.
// KV-LABEL: func.func @blocks_or_window
// KV: attn.for_tiles %{{.*}} where {
// KV: attn.condition %{{[0-9a-z_]+$}}
func.func @blocks_or_window(%q: tensor<2x4x100x64xf16>, %rows: tensor<3xi32>, %columns: tensor<?xi32>)
    -> tensor<2x4x100x64xf16> {
  %o = attn.attention %q, %q, %q mask(window<5, 5> | blocks<64, 32>(%rows, %columns))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<3xi32>, tensor<?xi32>)
     -> tensor<2x4x100x64xf16>
  return %o : tensor<2x4x100x64xf16>
}

// A dimension of size 1 belongs to every tile.
// TILE-LABEL: func.func @bits
// TILE: tensor.extract_slice %arg1[%{{.*}}, 0, %{{.*}}, 0] [1, 1, %{{.*}}, 100] [1, 1, 1, 1] : tensor<2x1x100x100xi8>
// KV-LABEL: func.func @bits
// KV: attn.for_tiles
// KV: where
// KV: %[[SOME:.*]] = attn.any_bit true in %{{.*}}[%{{.*}}] count 32 : tensor<1x1x?x100xi8>
// KV: attn.condition
// KV: vector.transfer_read {{.*}} : tensor<1x1x?x100xi8>, vector<64x32xi8>
func.func @bits(%q: tensor<2x4x100x64xf16>, %m: tensor<2x1x100x100xi8>) -> tensor<2x4x100x64xf16> {
  %o = attn.attention %q, %q, %q mask(bits(%m))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x1x100x100xi8>)
     -> tensor<2x4x100x64xf16>
  return %o : tensor<2x4x100x64xf16>
}
