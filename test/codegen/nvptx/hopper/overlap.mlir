// RUN: attn-opt %s --attn-assign-schedule="target=sm_90a persistent=false" --attn-tile-program --attn-schedule | FileCheck %s
// RUN: attn-opt %s --attn-assign-schedule="target=sm_90a persistent=false weights-in-shared=true kv-tile=80 stages=2" --attn-tile-program --attn-schedule \
// RUN:   | FileCheck %s --check-prefix=SHARED
// RUN: attn-opt %s --emit=ptx --target=sm_90a -o %t.ptx
// RUN: awk '/wgmma.wait_group.sync.aligned 1/ {n++} n == 2 {if (/wgmma.wait_group.sync.aligned 0/) exit; print}' %t.ptx \
// RUN:   | FileCheck %s --check-prefix=FULL

// Between the two waits of a full tile: its softmax, then the wait for V, which holds the second wait back, and no rounding.
// FULL: mbarrier.arrive.shared.b64
// FULL-COUNT-66: ex2.approx.ftz.f32
// FULL-NOT: {{ex2|cvt.rn.bf16x2}}
// FULL: mbarrier.try_wait.parity.shared.b64
// FULL-NOT: {{ex2|cvt.rn.bf16x2}}

// The product of the weights of a tile is issued after that of the scores of the next one. A pipeline is started by the first tile
// of all, if there is one, and ended by the last product; partial tiles wait for the product before their softmax, full ones
// after it, behind the wait for V that the next iteration needs. The first and the last turn are balanced.

// CHECK-LABEL: func.func private @f_0
// CHECK-SAME: overlap = true, turns = true
// CHECK: %[[Q:.*]] = attn_nvptx.shared at 0
// CHECK: attn_nvptx.barriers
// CHECK: %[[K:.*]] = attn_nvptx.shared
// CHECK: %[[KFULL:.*]] = attn_nvptx.barriers
// CHECK: %[[KEMPTY:.*]] = attn_nvptx.barriers
// CHECK: %[[V:.*]] = attn_nvptx.shared
// CHECK: %[[VFULL:.*]] = attn_nvptx.barriers
// CHECK: %[[VEMPTY:.*]] = attn_nvptx.barriers

// The copies come in the order of the products: K of a tile, then V of the one before, from whichever loop; the last V comes
// behind the loops, unless there was no tile.
// CHECK: attn_nvptx.roles producer(32) {
// CHECK: attn_nvptx.elect
// CHECK: %[[NONE:.*]] = arith.constant -1 : index
// CHECK: %[[R:.*]]:4 = scf.while ({{.*}}, %{{.*}} = %[[NONE]])
// CHECK: ^bb0(%{{.*}}: i32, %[[SLOT:.*]]: i32, %[[PARITY:.*]]: i32, %[[DUE:.*]]: index):
// CHECK: %[[PLACE:.*]] = arith.index_cast %[[SLOT]]
// CHECK: attn_nvptx.wait %[[KEMPTY]][%[[PLACE]]] parity %[[PARITY]]
// CHECK-NEXT: attn_nvptx.load_box %{{.*}} to %[[K]][%[[PLACE]]] signal %[[KFULL]]
// CHECK: %[[ISDUE:.*]] = arith.cmpi sge, %[[DUE]], %c0
// CHECK-NEXT: scf.if %[[ISDUE]] {
// CHECK: %[[BEFORE:.*]] = arith.index_cast
// CHECK-NEXT: attn_nvptx.wait %[[VEMPTY]][%[[BEFORE]]]
// CHECK-NEXT: attn_nvptx.load_box %{{.*}}, %[[DUE]]] to %[[V]][%[[BEFORE]]] signal %[[VFULL]]
// CHECK-NEXT: }
// CHECK-NEXT: %[[ROW:.*]] = affine.apply
// CHECK: scf.yield %{{.*}}, %[[ROW]] : i32, i32, i32, index
// CHECK: %[[T:.*]]:4 = scf.while ({{.*}} = %[[R]]#1, %{{.*}} = %[[R]]#2, %{{.*}} = %[[R]]#3)
// CHECK: attn_nvptx.wait %[[KEMPTY]]
// CHECK: attn_nvptx.wait %[[VEMPTY]]
// CHECK: scf.yield
// CHECK: arith.cmpi sge, %[[T]]#3
// CHECK-NEXT: scf.if
// CHECK-NOT: attn_nvptx.wait %[[KEMPTY]]
// CHECK: attn_nvptx.wait %[[VEMPTY]]
// CHECK-NEXT: attn_nvptx.load_box %{{.*}}, %[[T]]#3] to %[[V]]
// CHECK: } else {
// CHECK: attn_nvptx.load_rows

// CHECK: } consumers(160) {
// CHECK: scf.if

// The first tile.
// CHECK: attn_nvptx.wait %[[KFULL]]
// CHECK-NEXT: attn_nvptx.take_turn at 2 first
// CHECK: %[[S:.*]] = attn_nvptx.wgmma %[[Q]], %[[K]]{{.*}} depth 64 :
// CHECK-NEXT: attn_nvptx.pass_turn at 2{{$}}
// CHECK-NEXT: attn_nvptx.wgmma_wait %[[S]] pending 0
// CHECK-NEXT: attn_nvptx.release %[[KEMPTY]]
// CHECK-NOT: arith.mulf {{.*}} : vector<192x64xf32>
// CHECK: attn_nvptx.wait %[[VFULL]]
// CHECK: arith.truncf %{{.*}} : vector<192x128xf32> to vector<192x128xbf16>
// CHECK: attn_nvptx.absorb

// A partial tile.
// CHECK: scf.while
// CHECK: ^bb0(%{{.*}}: i32, %[[SLOT:.*]]: i32, {{.*}}, %[[ACC:.*]]: vector<192x64xf32>, %[[P:.*]]: vector<192x128xbf16>):
// CHECK: attn_nvptx.wait %[[KFULL]]
// CHECK-NEXT: attn_nvptx.take_turn at 2{{$}}
// CHECK: %[[S:.*]] = attn_nvptx.wgmma %[[Q]], %[[K]]{{.*}} depth 64 :
// CHECK: %[[O:.*]] = attn_nvptx.wgmma %[[P]], %[[V]]{{.*}} depth 128 transposed into %[[ACC]]
// CHECK-NEXT: attn_nvptx.pass_turn at 2{{$}}
// CHECK-NEXT: attn_nvptx.wgmma_wait %[[S]] pending 1
// CHECK: attn_nvptx.release %[[KEMPTY]]
// CHECK-NEXT: %[[O1:.*]] = attn_nvptx.wgmma_wait %[[O]] pending 0
// CHECK: attn_nvptx.release %[[VEMPTY]]
// CHECK: math.exp2 %{{.*}} : vector<192x128xf32>
// CHECK: arith.truncf
// CHECK: arith.mulf %[[O1]]
// CHECK: attn_nvptx.wait %[[VFULL]]
// CHECK: attn_nvptx.absorb
// CHECK: scf.yield

// A full tile.
// CHECK: scf.while
// CHECK: %[[S:.*]] = attn_nvptx.wgmma %[[Q]], %[[K]]{{.*}} depth 64 :
// CHECK: %[[O:.*]] = attn_nvptx.wgmma %{{.*}}, %[[V]]{{.*}} depth 128 transposed into
// CHECK: attn_nvptx.wgmma_wait %[[S]] pending 1
// CHECK-NOT: pending 0
// CHECK: math.exp2 %{{.*}} : vector<192x128xf32>
// CHECK: attn_nvptx.wait %[[VFULL]]
// CHECK-NEXT: %[[O1:.*]] = attn_nvptx.wgmma_wait %[[O]] pending 0
// CHECK: attn_nvptx.release %[[VEMPTY]]
// CHECK-NEXT: arith.truncf
// CHECK: arith.mulf %[[O1]]
// CHECK: scf.yield

// The last product.
// CHECK: attn_nvptx.take_turn at 2{{$}}
// CHECK: %[[O:.*]] = attn_nvptx.wgmma
// CHECK-NEXT: attn_nvptx.pass_turn at 2 last
// CHECK-NEXT: attn_nvptx.wgmma_wait %[[O]] pending 0
// CHECK: attn_nvptx.release %[[VEMPTY]]
// CHECK: scf.yield
// CHECK: } else {
// CHECK-NEXT: scf.yield

// The columns of 80 keys take panels of 32.
// SHARED: %[[P:.*]] = attn_nvptx.shared at {{.*}} : memref<1x3x192x32xbf16, #gpu.address_space<workgroup>>
// SHARED: scf.while
// SHARED: scf.while
// SHARED: attn_nvptx.take_turn
// SHARED: attn_nvptx.wgmma %[[P]], %{{.*}} depth 80 transposed into
// SHARED: %[[R:.*]] = arith.truncf
// SHARED: vector.transfer_write %[[R]], %[[P]]
// SHARED-NEXT: attn_nvptx.publish at 5
func.func @f(%q: tensor<2x8x?x64xbf16>, %k: tensor<2x2x?x64xbf16>, %v: tensor<2x2x?x64xbf16>) -> tensor<2x8x?x64xbf16> {
  %o = attn.attention %q, %k, %v mask(causal)
    : (tensor<2x8x?x64xbf16>, tensor<2x2x?x64xbf16>, tensor<2x2x?x64xbf16>) -> tensor<2x8x?x64xbf16>
  return %o : tensor<2x8x?x64xbf16>
}
