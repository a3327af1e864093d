// RUN: attn-opt %s --attn-pack --cse --split-input-file --verify-diagnostics --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats
// RUN: attn-opt %s --attn-pack --attn-tile --cse --split-input-file 2>/dev/null | FileCheck %s --check-prefix=TILE
// RUN: attn-opt %s --attn-pack --split-input-file 2>/dev/null | attn-opt --split-input-file

// STATS: attn-pack
// STATS-DAG: 1 packed
// STATS-DAG: 0 refused

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>

// Static lengths that the modulus divides: equal classes, residues that are the numbers of the classes.
// CHECK-LABEL: func.func @static(
// CHECK-SAME: %[[Q:.*]]: tensor<1x4x4096x64xf16>, %[[K:.*]]: tensor<1x2x4096x64xf16>
// CHECK: %[[OE:.*]] = tensor.empty() : tensor<1x4x4096x64xf16>
// CHECK: scf.forall (%[[R:.*]]) in (4) shared_outs(%[[OO:.*]] = %[[OE]]) -> (tensor<1x4x4096x64xf16>) {
// CHECK: %[[QS:.*]] = tensor.extract_slice %[[Q]][0, 0, %[[R]], 0] [1, 4, 1024, 64] [1, 1, 4, 1]
// CHECK: %[[KS:.*]] = tensor.extract_slice %[[K]][0, 0, %[[R]], 0] [1, 2, 1024, 64] [1, 1, 4, 1]
// CHECK: %[[O:.*]] = attn.attention %[[QS]], %[[KS]], %[[KS]] mask(window<256, 256>) align(%{{.*}}) schedule(
// CHECK: tensor.parallel_insert_slice %[[O]] into %[[OO]][0, 0, %[[R]], 0] [1, 4, 1024, 64] [1, 1, 4, 1]
// CHECK: } {attn.mask = "dilated<256, 256, 4>", attn.residues = 4 : i64}
// TILE: #[[ROW_OF:.*]] = affine_map<(d0, d1) -> (d0 + (d1 floordiv 4) * 4)>
// TILE-LABEL: func.func @static(
// TILE: scf.forall (%[[B:.*]], %[[H:.*]], %[[R:.*]], %[[I:.*]]) = (0, 0, 0, 0) to (1, 4, 4, 4096) step (1, 1, 1, 512)
// TILE: %[[ROW:.*]] = affine.apply #[[ROW_OF]](%[[R]], %[[I]])
// TILE: attn.attention {{.*}} : (tensor<1x1x128x64xf16>, tensor<1x1x1024x64xf16>,
// TILE: tensor.parallel_insert_slice %{{.*}}[%[[B]], %[[H]], %[[ROW]], 0] [1, 1, 128, 64] [1, 1, 4, 1]
// TILE: {attn.mask = "dilated<256, 256, 4>", attn.schedule = #attn.schedule<
func.func @static(%q: tensor<1x4x4096x64xf16>, %k: tensor<1x2x4096x64xf16>) -> tensor<1x4x4096x64xf16> {
  // expected-remark @+1 {{mask dilated<256, 256, 4> runs as 4 residue classes, each of them window<256, 256>}}
  %o, %lse = attn.attention %q, %k, %k mask(dilated<256, 256, 4>) schedule(#s)
      : (tensor<1x4x4096x64xf16>, tensor<1x2x4096x64xf16>, tensor<1x2x4096x64xf16>) -> (tensor<1x4x4096x64xf16>, tensor<1x4x4096xf32>)
  return %o : tensor<1x4x4096x64xf16>
}

// -----

// Dynamic lengths, alignment at the end: the offset decides which keys a class of queries sees. A literal set is as good as
// an atom, and a part that depends on the residue gets it as a symbol.
// CHECK-DAG: #[[RESIDUE:.*]] = affine_map<(d0)[s0, s1] -> ((d0 + s0 - s1) mod 5)>
// CHECK-DAG: #[[SHIFT:.*]] = affine_map<(d0)[s0, s1] -> ((d0 + s0 - s1) floordiv 5)>
// CHECK-DAG: #[[COUNT:.*]] = affine_map<(d0)[s0] -> ((-d0 + s0) ceildiv 5)>
// CHECK-LABEL: func.func @dynamic(
// CHECK-SAME: %[[Q:.*]]: tensor<1x1x?x64xf16>, %[[K:.*]]: tensor<1x1x?x64xf16>, %[[W:.*]]: index
// CHECK: scf.forall (%[[R:.*]]) in (5) shared_outs(%[[OO:.*]] = %{{.*}}, %[[LL:.*]] = %{{.*}})
// CHECK: %[[X:.*]] = affine.apply #[[RESIDUE]](%[[R]])[%{{.*}}, %{{.*}}]
// CHECK: %[[C:.*]] = affine.apply #[[SHIFT]](%[[R]])[%{{.*}}, %{{.*}}]
// CHECK: %[[ROWS:.*]] = affine.apply #[[COUNT]](%[[R]])[%{{.*}}]
// CHECK: %[[KEYS:.*]] = affine.apply
// CHECK: tensor.extract_slice %[[Q]][0, 0, %[[R]], 0] [1, 1, %[[ROWS]], 64] [1, 1, 5, 1]
// CHECK: tensor.extract_slice %[[K]][0, 0, %[[X]], 0] [1, 1, %[[KEYS]], 64] [1, 1, 5, 1]
// CHECK: attn.attention {{.*}} mask(affine_set<(d0, d1, d2)[s0, s1] : (d2 * -5 - s0 + s1 >= 0)>(%[[X]], %[[W]])) align(%[[C]])
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[OO]][0, 0, %[[R]], 0] [1, 1, %[[ROWS]], 64] [1, 1, 5, 1]
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[LL]][0, 0, %[[R]]] [1, 1, %[[ROWS]]] [1, 1, 5]
// TILE-LABEL: func.func @dynamic(
// TILE: scf.forall (%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) = (0, 0, 0, 0) to (1, 1, 5, %{{.*}}) step (1, 1, 1, 640)
// TILE: arith.cmpi eq
// TILE: arith.select
#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>
func.func @dynamic(%q: tensor<1x1x?x64xf16>, %k: tensor<1x1x?x64xf16>, %w: index) -> (tensor<1x1x?x64xf16>, tensor<1x1x?xf32>) {
  // expected-remark @+1 {{runs as 5 residue classes}}
  %o, %lse = attn.attention %q, %k, %k mask(affine_set<(h, i, j)[n] : ((i - j) mod 5 == 0, n - j >= 0)>(%w)) schedule(#s)
      : (tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>) -> (tensor<1x1x?x64xf16>, tensor<1x1x?xf32>)
  return %o, %lse : tensor<1x1x?x64xf16>, tensor<1x1x?xf32>
}

// -----

// A divisor of the modulus, where the classes of the whole would be short.
// CHECK-LABEL: func.func @divisor(
// CHECK: scf.forall (%{{.*}}) in (16)
// CHECK: mask(causal & stride<8>)
// TILE-LABEL: func.func @divisor(
#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>
func.func @divisor(%q: tensor<1x1x2048x64xf16>) -> tensor<1x1x2048x64xf16> {
  // expected-remark @+1 {{mask causal & stride<128> runs as 16 residue classes, each of them causal & stride<8>}}
  %o = attn.attention %q, %q, %q mask(causal & stride<128>) schedule(#s)
      : (tensor<1x1x2048x64xf16>, tensor<1x1x2048x64xf16>, tensor<1x1x2048x64xf16>) -> tensor<1x1x2048x64xf16>
  return %o : tensor<1x1x2048x64xf16>
}

// -----

// Fewer queries than classes: one query reads one key of 128.
// CHECK-LABEL: func.func @one_query(
// CHECK: scf.forall (%{{.*}}) in (1)
// TILE-LABEL: func.func @one_query(
#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>
func.func @one_query(%q: tensor<1x1x1x64xf16>, %k: tensor<1x1x16384x64xf16>) -> tensor<1x1x1x64xf16> {
  // expected-remark @+1 {{runs as 128 residue classes, each of them causal}}
  %o = attn.attention %q, %k, %k mask(causal & stride<128>) schedule(#s)
      : (tensor<1x1x1x64xf16>, tensor<1x1x16384x64xf16>, tensor<1x1x16384x64xf16>) -> tensor<1x1x1x64xf16>
  return %o : tensor<1x1x1x64xf16>
}

// -----

// What has no classes is left alone, without a remark.
// CHECK-LABEL: func.func @none(
// CHECK-NOT: scf.forall
// CHECK: attn.attention
// TILE-LABEL: func.func @none(
#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>
func.func @none(%q: tensor<1x1x2048x64xf16>) -> tensor<1x1x2048x64xf16> {
  %o = attn.attention %q, %q, %q mask(causal & (window<128, 0> | same_block<64>)) schedule(#s)
      : (tensor<1x1x2048x64xf16>, tensor<1x1x2048x64xf16>, tensor<1x1x2048x64xf16>) -> tensor<1x1x2048x64xf16>
  return %o : tensor<1x1x2048x64xf16>
}

// -----

// Offsets of their own: the loop is one over batches too.
// CHECK-LABEL: func.func @batches(
// CHECK-SAME: %[[Q:.*]]: tensor<2x1x2048x64xf16>, %[[X:.*]]: tensor<2xi32>
// CHECK: scf.forall (%[[B:.*]], %[[R:.*]]) in (2, 4)
// CHECK: %[[V:.*]] = tensor.extract %[[X]][%[[B]]]
// CHECK: %[[OFFSET:.*]] = arith.index_cast %[[V]]
// CHECK: %[[RESIDUE:.*]] = affine.apply #{{.*}}(%[[R]], %[[OFFSET]])
// CHECK: tensor.extract_slice %[[Q]][%[[B]], 0, %[[R]], 0] [1, 1, 512, 64] [1, 1, 4, 1]
// CHECK: tensor.extract_slice %[[Q]][%[[B]], 0, %[[RESIDUE]], 0] [1, 1, 512, 64] [1, 1, 4, 1]
// CHECK: tensor.parallel_insert_slice %{{.*}}[%[[B]], 0, %[[R]], 0] [1, 1, 512, 64] [1, 1, 4, 1]
// TILE-LABEL: func.func @batches(
// TILE: scf.forall (%[[B:.*]], %[[H:.*]], %[[R:.*]], %[[I:.*]]) = (0, 0, 0, 0) to (2, 1, 4, 2048) step (1, 1, 1, 512)
// TILE: tensor.extract_slice %{{.*}}[%[[B]], 0, %[[R]], 0] [1, 1, 512, 64] [1, 1, 4, 1]
// TILE: tensor.extract_slice %{{.*}}[0, %[[H]], %{{.*}}, 0] [1, 1, 128, 64] [1, 1, 1, 1]
// TILE: tensor.parallel_insert_slice %{{.*}}[%[[B]], %[[H]], %{{.*}}, 0] [1, 1, 128, 64] [1, 1, 4, 1]
#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>
func.func @batches(%q: tensor<2x1x2048x64xf16>, %x: tensor<2xi32>) -> tensor<2x1x2048x64xf16> {
  // expected-remark @+1 {{mask stride<4> runs as 4 residue classes, each of them all}}
  %o = attn.attention %q, %q, %q mask(stride<4>) schedule(#s) align(%x : tensor<2xi32>)
      : (tensor<2x1x2048x64xf16>, tensor<2x1x2048x64xf16>, tensor<2x1x2048x64xf16>) -> tensor<2x1x2048x64xf16>
  return %o : tensor<2x1x2048x64xf16>
}

// -----

// Heads that see different masks, one kind with classes: a loop for each kind, which write into the same tensors.
// CHECK-LABEL: func.func @heads(
// CHECK-SAME: %[[Q:.*]]: tensor<1x8x2048x64xf16>, %[[K:.*]]: tensor<1x4x2048x64xf16>
// CHECK: %[[E:.*]] = tensor.empty()
// CHECK: %[[FIRST:.*]] = scf.forall (%[[R:.*]]) in (1) shared_outs(%[[O:.*]] = %[[E]])
// CHECK: tensor.extract_slice %[[Q]][0, 0, %[[R]], 0] [1, 4, 2048, 64] [1, 1, 1, 1]
// CHECK: tensor.extract_slice %[[K]][0, 0, %[[R]], 0] [1, 2, 2048, 64] [1, 1, 1, 1]
// CHECK: mask(window<128, 0>)
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[O]][0, 0, %[[R]], 0] [1, 4, 2048, 64] [1, 1, 1, 1]
// CHECK: {attn.mask = "window<128, 0>", attn.residues = 1 : i64}
// CHECK: scf.forall (%[[R:.*]]) in (16) shared_outs(%[[O:.*]] = %[[FIRST]])
// CHECK: tensor.extract_slice %[[Q]][0, 4, %[[R]], 0] [1, 4, 128, 64] [1, 1, 16, 1]
// CHECK: tensor.extract_slice %[[K]][0, 2, %[[R]], 0] [1, 2, 128, 64] [1, 1, 16, 1]
// CHECK: mask(causal)
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[O]][0, 4, %[[R]], 0] [1, 4, 128, 64] [1, 1, 16, 1]
// TILE-LABEL: func.func @heads(
// TILE: scf.forall (%{{.*}}) = (0, 0, 0, 0) to (1, 4, 1, 2048) step (1, 1, 1, 128)
// TILE: scf.forall (%{{.*}}, %[[H:.*]], %{{.*}}, %{{.*}}) = (0, 0, 0, 0) to (1, 4, 16, 2048) step (1, 1, 1, 2048)
// TILE: %[[H4:.*]] = affine.apply #{{.*}}(%[[H]])
// TILE: tensor.parallel_insert_slice %{{.*}}[%{{.*}}, %[[H4]], %{{.*}}, 0] [1, 1, 128, 64] [1, 1, 16, 1]
#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>
func.func @heads(%q: tensor<1x8x2048x64xf16>, %k: tensor<1x4x2048x64xf16>) -> tensor<1x8x2048x64xf16> {
  // expected-remark @+2 {{heads 0 to 3: mask window<128, 0> runs as 1 residue classes, each of them window<128, 0>}}
  // expected-remark @+1 {{heads 4 to 7: mask causal & stride<16> runs as 16 residue classes, each of them causal}}
  %o = attn.attention %q, %k, %k mask(causal & (heads<0, 4> & window<128, 0> | heads<4, 8> & stride<16>)) schedule(#s)
      : (tensor<1x8x2048x64xf16>, tensor<1x4x2048x64xf16>, tensor<1x4x2048x64xf16>) -> tensor<1x8x2048x64xf16>
  return %o : tensor<1x8x2048x64xf16>
}

// -----

// What has classes, and why they are not used.
// CHECK-LABEL: func.func @short(
// CHECK-NOT: scf.forall
// TILE-LABEL: func.func @short(
#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>
func.func @short(%q: tensor<2x1x60x64xf16>) -> tensor<2x1x60x64xf16> {
  // expected-remark @+1 {{the residue classes of mask stride<4> are not packed: the classes would be shorter than a tile}}
  %o = attn.attention %q, %q, %q mask(stride<4>) schedule(#s)
      : (tensor<2x1x60x64xf16>, tensor<2x1x60x64xf16>, tensor<2x1x60x64xf16>) -> tensor<2x1x60x64xf16>
  return %o : tensor<2x1x60x64xf16>
}
func.func @key_heads(%q: tensor<1x8x2048x64xf16>, %k: tensor<1x4x2048x64xf16>) -> tensor<1x8x2048x64xf16> {
  // expected-remark @+1 {{are not packed: heads that share a key head see different masks}}
  %o = attn.attention %q, %k, %k mask(causal & (heads<0, 3> & window<128, 0> | heads<3, 8> & stride<16>)) schedule(#s)
      : (tensor<1x8x2048x64xf16>, tensor<1x4x2048x64xf16>, tensor<1x4x2048x64xf16>) -> tensor<1x8x2048x64xf16>
  return %o : tensor<1x8x2048x64xf16>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>

// A union whose terms have different classes: the window as it is, with an o of f32; the rest of the stride, in classes, continues
// from there. The second op has an lse of its own to hand out, and takes one in.
// CHECK-LABEL: func.func @union(
// CHECK: %[[O0:.*]], %[[L0:.*]] = attn.attention %{{.*}}, %{{.*}}, %{{.*}} mask(window<128, 0>) schedule(
// CHECK-SAME: -> (tensor<1x4x4096x32xf32>, tensor<1x4x4096xf32>)
// CHECK: scf.forall (%[[R:.*]]) in (32) shared_outs(
// CHECK: %[[OS:.*]] = tensor.extract_slice %[[O0]][0, 0, %[[R]], 0] [1, 4, 128, 32] [1, 1, 32, 1]
// CHECK: %[[LS:.*]] = tensor.extract_slice %[[L0]][0, 0, %[[R]]] [1, 4, 128] [1, 1, 32]
// CHECK: attn.attention {{.*}} mask(window<inf, -5> & stride<4>) align(%{{.*}}) init(%[[OS]], %[[LS]] : tensor<1x4x128x32xf32>, tensor<1x4x128xf32>)
// CHECK: {attn.mask = "window<inf, -129> & stride<128>", attn.residues = 32 : i64}
func.func @union(%q: tensor<1x4x4096x64xf16>, %k: tensor<1x2x4096x64xf16>, %v: tensor<1x2x4096x32xf16>)
    -> (tensor<1x4x4096x32xf16>, tensor<1x4x4096xf32>) {
  // expected-remark @+2 {{part 1 of 2 of mask causal & (window<128, 0> | stride<128>), window<128, 0>, runs as it is}}
  // expected-remark @+1 {{part 2 of 2 of mask causal & (window<128, 0> | stride<128>), window<inf, -129> & stride<128>, runs as 32 residue classes, each of them window<inf, -5> & stride<4>}}
  %o, %lse = attn.attention %q, %k, %v mask(strided<128>) schedule(#s)
      : (tensor<1x4x4096x64xf16>, tensor<1x2x4096x64xf16>, tensor<1x2x4096x32xf16>) -> (tensor<1x4x4096x32xf16>, tensor<1x4x4096xf32>)
  return %o, %lse : tensor<1x4x4096x32xf16>, tensor<1x4x4096xf32>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>

// Only some heads see the union: what is handed on has these heads alone.
// CHECK-LABEL: func.func @union_of_some_heads(
// CHECK: tensor.empty() : tensor<1x8x16384x64xf16>
// CHECK: scf.forall
// CHECK: attn.residues = 1
// CHECK: %[[O0:.*]] = tensor.empty() : tensor<1x6x16384x64xf32>
// CHECK: %[[L0:.*]] = tensor.empty() : tensor<1x6x16384xf32>
// CHECK: %[[PART:.*]]:2 = scf.forall {{.*}} shared_outs(%[[OO:.*]] = %[[O0]], %[[LL:.*]] = %[[L0]])
// CHECK: attn.residues = 1
// CHECK: scf.forall (%[[R:.*]]) in (128)
// CHECK: tensor.extract_slice %{{.*}}[0, 2, %[[R]], 0] [1, 6, 128, 64] [1, 1, 128, 1]
// CHECK: tensor.extract_slice %{{.*}}[0, 1, %[[R]], 0] [1, 3, 128, 64] [1, 1, 128, 1]
// CHECK: tensor.extract_slice %[[PART]]#0[0, 0, %[[R]], 0] [1, 6, 128, 64] [1, 1, 128, 1]
// CHECK: tensor.parallel_insert_slice %{{.*}} into %{{.*}}[0, 2, %[[R]], 0] [1, 6, 128, 64] [1, 1, 128, 1]
func.func @union_of_some_heads(%q: tensor<1x8x16384x64xf16>, %k: tensor<1x4x16384x64xf16>) -> tensor<1x8x16384x64xf16> {
  // expected-remark @+3 {{heads 0 to 1: mask causal runs as 1 residue classes, each of them causal}}
  // expected-remark @+2 {{heads 2 to 7: part 1 of 2 of mask}}
  // expected-remark @+1 {{heads 2 to 7: part 2 of 2 of mask}}
  %o = attn.attention %q, %k, %k mask(heads<0, 2> & causal | heads<2, 8> & strided<128>) schedule(#s)
      : (tensor<1x8x16384x64xf16>, tensor<1x4x16384x64xf16>, tensor<1x4x16384x64xf16>) -> tensor<1x8x16384x64xf16>
  return %o : tensor<1x8x16384x64xf16>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>

// Too short for parts of its own; and a sequence that is already continued is continued by every part.
// CHECK-LABEL: func.func @short_union(
// CHECK-NOT: scf.forall
func.func @short_union(%q: tensor<1x4x512x64xf16>) -> tensor<1x4x512x64xf16> {
  // expected-remark @+1 {{are not packed: its parts have different classes, and one after the other they would not take fewer tiles}}
  %o = attn.attention %q, %q, %q mask(strided<4>) schedule(#s)
      : (tensor<1x4x512x64xf16>, tensor<1x4x512x64xf16>, tensor<1x4x512x64xf16>) -> tensor<1x4x512x64xf16>
  return %o : tensor<1x4x512x64xf16>
}
// CHECK-LABEL: func.func @continued(
// CHECK-SAME: %[[Q:.*]]: tensor<1x4x?x64xf16>, %[[O:.*]]: tensor<1x4x?x64xf32>, %[[L:.*]]: tensor<1x4x?xf32>
// CHECK: scf.forall
// CHECK: %[[OS:.*]] = tensor.extract_slice %[[O]][0, 0,
// CHECK: %[[LS:.*]] = tensor.extract_slice %[[L]][0, 0,
// CHECK: attn.attention {{.*}} init(%[[OS]], %[[LS]] :
func.func @continued(%q: tensor<1x4x?x64xf16>, %o0: tensor<1x4x?x64xf32>, %l0: tensor<1x4x?xf32>) -> tensor<1x4x?x64xf16> {
  // expected-remark @+1 {{mask causal & stride<8> runs as 8 residue classes}}
  %o = attn.attention %q, %q, %q mask(causal & stride<8>) init(%o0, %l0 : tensor<1x4x?x64xf32>, tensor<1x4x?xf32>) schedule(#s)
      : (tensor<1x4x?x64xf16>, tensor<1x4x?x64xf16>, tensor<1x4x?x64xf16>) -> tensor<1x4x?x64xf16>
  return %o : tensor<1x4x?x64xf16>
}
