// RUN: attn-opt %s --attn-assign-schedule="target=sm_90a persistent=true overlap=false" --attn-tile-program --attn-schedule --split-input-file | FileCheck %s
// RUN: attn-opt %s --attn-nvptx="target=sm_90a persistent=true" --split-input-file | FileCheck %s --check-prefix=THREAD

// A block takes several query tiles, and both roles walk the same ones. The rings of K and V go on from one to the next; the
// place of the query tile is a slot of its own, whose phase is the number of the round. It is released before the output leaves,
// which has a place of its own here, so that the next tiles come in the meantime.

// CHECK-LABEL: func.func private @f_0
// CHECK-SAME: persistent = true
// CHECK: scf.forall (%{{.*}}) = (0, 0, 0) to (2, 8, %{{.*}}) step (1, 1, 192)
// CHECK: %[[QFULL:.*]] = attn_nvptx.barriers {{.*}} : memref<1xi64
// CHECK: %[[QEMPTY:.*]] = attn_nvptx.barriers {{.*}} arrivals %c12_i32 : memref<1xi64
// CHECK: %[[KEMPTY:.*]] = attn_nvptx.barriers {{.*}} arrivals %c12_i32 : memref<4xi64

// As many heads together as share the L2 cache: 2^25 bytes of keys and values of 128 bytes each, by groups of 4.
// CHECK: %[[LENGTH:.*]] = arith.maxui
// CHECK: %[[FIT:.*]] = arith.divui %c524288{{.*}}, %[[LENGTH]]
// CHECK: %[[HEADS:.*]] = arith.maxui %[[FIT]]

// CHECK: attn_nvptx.roles producer(32) {
// CHECK: attn_nvptx.elect
// CHECK: attn_nvptx.for_items heads(%[[HEADS]]) carry(%c0_i32{{.*}}, %c1_i32{{.*}}) {
// CHECK-NEXT: ^bb0(%[[B:.*]]: index, %[[H:.*]]: index, %[[I:.*]]: index, %[[ROUND:.*]]: i32, %[[SLOT:.*]]: i32, %[[PARITY:.*]]: i32):
// CHECK: %[[PHASE:.*]] = arith.andi %[[ROUND]]
// CHECK: %[[BEFORE:.*]] = arith.xori %[[PHASE]]
// CHECK: attn_nvptx.wait %[[QEMPTY]][%{{.*}}] parity %[[BEFORE]]
// CHECK: attn_nvptx.load_box %{{.*}}[%[[B]], %[[H]], %{{.*}}] {{.*}} signal %[[QFULL]]
// CHECK: scf.while (%{{.*}}, %{{.*}} = %[[SLOT]], %{{.*}} = %[[PARITY]])
// CHECK: attn_nvptx.wait %[[KEMPTY]]
// CHECK: attn_nvptx.next
// CHECK: } else {
// CHECK: attn_nvptx.for_items
// CHECK: attn_nvptx.load_rows
// CHECK: attn_nvptx.next

// CHECK: } consumers(160) {
// CHECK: attn_nvptx.for_items heads(%[[HEADS]]) carry(%c0_i32{{.*}}, %c0_i32{{.*}}) {
// CHECK-NEXT: ^bb0(%[[B:.*]]: index, %[[H:.*]]: index, %[[I:.*]]: index, %[[ROUND:.*]]: i32, %[[SLOT:.*]]: i32, %[[PARITY:.*]]: i32):
// CHECK: %[[PHASE:.*]] = arith.andi %[[ROUND]]
// CHECK: attn_nvptx.wait %[[QFULL]][%{{.*}}] parity %[[PHASE]]
// CHECK: scf.while (%{{.*}}, %{{.*}} = %[[SLOT]], %{{.*}} = %[[PARITY]]
// CHECK: attn_nvptx.wgmma
// CHECK: attn_nvptx.release %[[QEMPTY]]
// CHECK: attn_nvptx.store_wait
// CHECK: vector.transfer_write
// CHECK: attn_nvptx.store_box %{{.*}} to %{{.*}}[%[[B]], %[[H]], %[[I]]]
// CHECK: attn_nvptx.next
// CHECK-NEXT: }
// CHECK: attn_nvptx.store_wait

// THREAD-LABEL: llvm.func @f_0
// THREAD: mov.u32 $0, %nctaid.x;
func.func @f(%q: tensor<2x8x?x64xbf16>, %k: tensor<2x2x?x64xbf16>, %v: tensor<2x2x?x64xbf16>) -> tensor<2x8x?x64xbf16> {
  %o = attn.attention %q, %k, %v mask(causal)
    : (tensor<2x8x?x64xbf16>, tensor<2x2x?x64xbf16>, tensor<2x2x?x64xbf16>) -> tensor<2x8x?x64xbf16>
  return %o : tensor<2x8x?x64xbf16>
}

// -----

// Where the output takes the place of the query tile, that is released once it has left.
// CHECK-LABEL: func.func private @g_0
// CHECK: %[[QEMPTY:.*]] = attn_nvptx.barriers {{.*}} arrivals %c8_i32 : memref<1xi64
// CHECK: } consumers(240) {
// CHECK: attn_nvptx.for_items
// CHECK: nvvm.barrier id = {{.*}} number_of_threads
// CHECK-NEXT: attn_nvptx.shared at 0
// CHECK-NOT: attn_nvptx.release %[[QEMPTY]]
// CHECK: attn_nvptx.store_box
// CHECK: attn_nvptx.store_wait
// CHECK: attn_nvptx.release %[[QEMPTY]]
// CHECK: attn_nvptx.next
func.func @g(%q: tensor<2x8x?x256xf16>, %k: tensor<2x2x?x256xf16>, %v: tensor<2x2x?x256xf16>) -> tensor<2x8x?x256xf16> {
  %o = attn.attention %q, %k, %v : (tensor<2x8x?x256xf16>, tensor<2x2x?x256xf16>, tensor<2x2x?x256xf16>) -> tensor<2x8x?x256xf16>
  return %o : tensor<2x8x?x256xf16>
}

// -----

// A mask without a live pair has nothing to load, and a block for each tile.
// CHECK-LABEL: func.func private @h_0
// CHECK-NOT: attn_nvptx.for_items
func.func @h(%q: tensor<2x8x?x64xf16>, %k: tensor<2x2x?x64xf16>, %v: tensor<2x2x?x64xf16>) -> tensor<2x8x?x64xf16> {
  %o = attn.attention %q, %k, %v mask(keys<3, 3>) : (tensor<2x8x?x64xf16>, tensor<2x2x?x64xf16>, tensor<2x2x?x64xf16>) -> tensor<2x8x?x64xf16>
  return %o : tensor<2x8x?x64xf16>
}
