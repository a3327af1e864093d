// RUN: attn-opt %s | FileCheck %s
// RUN: attn-opt %s | attn-opt | FileCheck %s
// RUN: attn-opt %s --mlir-print-op-generic | attn-opt | FileCheck %s
// RUN: attn-opt %s --emit-bytecode | attn-opt | FileCheck %s

// Every op, every clause and every attribute, read back from its own output, from the generic form and from bytecode.

// CHECK-LABEL: @defaults
// CHECK-SAME: (%[[Q:.*]]: tensor<2x8x100x64xbf16>, %[[K:.*]]: tensor<2x2x120x64xbf16>, %[[V:.*]]: tensor<2x2x120x40xbf16>)
func.func @defaults(%q: tensor<2x8x100x64xbf16>, %k: tensor<2x2x120x64xbf16>, %v: tensor<2x2x120x40xbf16>)
    -> tensor<2x8x100x40xbf16> {
  // CHECK: %{{.*}} = attn.attention %[[Q]], %[[K]], %[[V]] : (tensor<2x8x100x64xbf16>, tensor<2x2x120x64xbf16>, tensor<2x2x120x40xbf16>) -> tensor<2x8x100x40xbf16>
  %o = attn.attention %q, %k, %v mask(all) align(end)
      : (tensor<2x8x100x64xbf16>, tensor<2x2x120x64xbf16>, tensor<2x2x120x40xbf16>) -> tensor<2x8x100x40xbf16>
  return %o : tensor<2x8x100x40xbf16>
}

// CHECK-LABEL: @every_clause
// CHECK-SAME: %[[W:[^:]*]]: index, %[[H:[^:]*]]: index, %[[X:[^:]*]]: tensor<?xi32>
func.func @every_clause(%q: tensor<?x?x?x64xf16>, %w: index, %h: index, %x: tensor<?xi32>)
    -> (tensor<?x?x?x64xf16>, tensor<?x?x?xf32>) {
  // CHECK: %{{.*}}, %{{.*}} = attn.attention %{{.*}}, %{{.*}}, %{{.*}} mask(causal & window<%[[W]], 0>) scale(1.250000e-01) align(%[[X]] : tensor<?xi32>) head(%[[H]])
  // CHECK-SAME: schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = true>) {note = "kept"}
  // CHECK-SAME: -> (tensor<?x?x?x64xf16>, tensor<?x?x?xf32>)
  %o, %lse = attn.attention %q, %q, %q head(%h) align(%x : tensor<?xi32>) scale(0.125) mask(causal & window<%w, 0>)
      schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = true>) {note = "kept"}
      : (tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16>) -> (tensor<?x?x?x64xf16>, tensor<?x?x?xf32>)
  return %o, %lse : tensor<?x?x?x64xf16>, tensor<?x?x?xf32>
}

// CHECK-LABEL: @alignments
// CHECK-SAME: %[[X:[^:]*]]: index
func.func @alignments(%q: tensor<2x1x?x16xf32>, %x: index, %y: tensor<2xi64>, %z: tensor<2xindex>) {
  // CHECK: align(start)
  %0 = attn.attention %q, %q, %q align(start)
      : (tensor<2x1x?x16xf32>, tensor<2x1x?x16xf32>, tensor<2x1x?x16xf32>) -> tensor<2x1x?x16xf32>
  // CHECK: align(%[[X]])
  %1 = attn.attention %q, %q, %q align(%x)
      : (tensor<2x1x?x16xf32>, tensor<2x1x?x16xf32>, tensor<2x1x?x16xf32>) -> tensor<2x1x?x16xf32>
  // CHECK: align(%{{.*}} : tensor<2xi64>)
  %2 = attn.attention %q, %q, %q align(%y : tensor<2xi64>)
      : (tensor<2x1x?x16xf32>, tensor<2x1x?x16xf32>, tensor<2x1x?x16xf32>) -> tensor<2x1x?x16xf32>
  // CHECK: align(%{{.*}} : tensor<2xindex>)
  %3 = attn.attention %q, %q, %q align(%z : tensor<2xindex>)
      : (tensor<2x1x?x16xf32>, tensor<2x1x?x16xf32>, tensor<2x1x?x16xf32>) -> tensor<2x1x?x16xf32>
  return
}

// CHECK-LABEL: @continued
func.func @continued(%q: tensor<1x2x?x64xf16>, %o0: tensor<1x2x?x64xf32>, %l0: tensor<1x2x?xf32>)
    -> (tensor<1x2x?x64xf32>, tensor<1x2x?xf32>) {
  // CHECK: attn.attention %{{.*}}, %{{.*}}, %{{.*}} mask(causal) init(%{{.*}}, %{{.*}} : tensor<1x2x?x64xf32>, tensor<1x2x?xf32>) :
  %o, %l = attn.attention %q, %q, %q init(%o0, %l0 : tensor<1x2x?x64xf32>, tensor<1x2x?xf32>) mask(causal)
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> (tensor<1x2x?x64xf32>, tensor<1x2x?xf32>)
  return %o, %l : tensor<1x2x?x64xf32>, tensor<1x2x?xf32>
}

// CHECK-LABEL: @bits
func.func @bits(%bits: tensor<1x1x128x?xi8>, %flags: memref<1x1x?x1xi1, strided<[?, ?, ?, 1], offset: ?>>, %column: index) {
  // CHECK: attn.any_bit true in %{{.*}}[%{{.*}}] count 64 : tensor<1x1x128x?xi8>
  %any = attn.any_bit true in %bits[%column] count 64 : tensor<1x1x128x?xi8>
  // CHECK: attn.any_bit false in %{{.*}}[%{{.*}}] count 16 : memref<1x1x?x1xi1, strided<[?, ?, ?, 1], offset: ?>>
  %all = attn.any_bit false in %flags[%column] count 16 : memref<1x1x?x1xi1, strided<[?, ?, ?, 1], offset: ?>>
  return
}

// CHECK-LABEL: @rows
func.func @rows(%k: tensor<1x1x1000x64xf16>, %m: memref<1x1x?x64xf16, strided<[?, ?, ?, 1], offset: ?>>) {
  // CHECK: attn.select_rows %{{.*}} first 120 count 8 step 128 : tensor<1x1x1000x64xf16> to tensor<1x1x56x64xf16>
  %0 = attn.select_rows %k first 120 count 8 step 128 : tensor<1x1x1000x64xf16> to tensor<1x1x56x64xf16>
  // CHECK: attn.select_rows %{{.*}} first 0 count 1 step 4 : memref<1x1x?x64xf16, strided<[?, ?, ?, 1], offset: ?>> to memref<1x1x?x64xf16, strided<[?, ?, ?, 1], offset: ?>>
  %1 = attn.select_rows %m first 0 count 1 step 4 : memref<1x1x?x64xf16, strided<[?, ?, ?, 1], offset: ?>> to memref<1x1x?x64xf16, strided<[?, ?, ?, 1], offset: ?>>
  return
}

// Scales that decimal notation does not hold come back bit for bit.
// CHECK-LABEL: @scales
func.func @scales(%q: tensor<1x1x?x16xf32>) {
  // CHECK: scale(0.0883883461)
  %0 = attn.attention %q, %q, %q scale(0.08838834764)
      : (tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>) -> tensor<1x1x?x16xf32>
  // CHECK: scale(-2.000000e+00)
  %1 = attn.attention %q, %q, %q scale(-2.0)
      : (tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>) -> tensor<1x1x?x16xf32>
  // CHECK: scale(0.000000e+00)
  %2 = attn.attention %q, %q, %q scale(0.0)
      : (tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>) -> tensor<1x1x?x16xf32>
  return
}

// CHECK-LABEL: @mask_attributes
// CHECK-SAME: causal = #attn.mask<causal & !window<s0, inf> | keys<0, s1>>
// CHECK-SAME: literal = #attn.mask<affine_set<"(d0, d1, d2)[s0] : (d1 - d2 - s0 >= 0)">(s2)>
// CHECK-SAME: others = [#attn.mask<all>, #attn.mask<dilated<4, inf, 2> | stride<3> | same_block<8> | summary<8, 2>>, #attn.mask<global<4> & queries<0, 9> & heads<1, 2>>]
func.func private @mask_attributes() attributes {
  causal = #attn.mask<causal & !window<s0, inf> | keys<0, s1>>,
  literal = #attn.mask<affine_set<"(h, i, j)[n] : (i - j >= n)">(s2)>,
  others = [#attn.mask<all>, #attn.mask<dilated<4, inf, 2> | stride<3> | same_block<8> | summary<8, 2>>,
            #attn.mask<global<4> & queries<0, 9> & heads<1, 2>>]
}

// CHECK-LABEL: @online
// CHECK-SAME: %[[Q:[^:]*]]: vector<64x32xf16>, %[[K:[^:]*]]: vector<48x32xf16>, %[[S:[^:]*]]: tensor<1x1x?x32xf16>, %[[R:[^:]*]]: vector<64xf32>, %[[A:[^:]*]]: vector<64x32xf32>, %[[P:[^:]*]]: index
func.func @online(%q: vector<64x32xf16>, %k: vector<48x32xf16>, %s: tensor<1x1x?x32xf16>, %r: vector<64xf32>,
                  %a: vector<64x32xf32>, %p: index) {
  // CHECK: attn.online_attention %[[Q]], %[[K]], %[[K]] init(%[[R]], %[[R]], %[[A]]) scale(5.000000e-01) : vector<64x32xf16>, vector<48x32xf16>, vector<48x32xf16>, vector<64x32xf32>
  %0:3 = attn.online_attention %q, %k, %k init(%r, %r, %a) scale(0.5)
      : vector<64x32xf16>, vector<48x32xf16>, vector<48x32xf16>, vector<64x32xf32>
  // CHECK: attn.online_attention %[[Q]], %[[S]], %[[S]] init(%[[R]], %[[R]], %[[A]]) scale(5.000000e-01) mask(causal | keys<%[[P]], inf>) rows(%[[P]], %[[P]]) keys(%[[P]], %[[P]]) head(%[[P]]) : vector<64x32xf16>, tensor<1x1x?x32xf16>, tensor<1x1x?x32xf16>, vector<64x32xf32>
  %1:3 = attn.online_attention %q, %s, %s init(%r, %r, %a) scale(0.5) mask(causal | keys<%p, inf>)
      rows(%p, %p) keys(%p, %p) head(%p)
      : vector<64x32xf16>, tensor<1x1x?x32xf16>, tensor<1x1x?x32xf16>, vector<64x32xf32>
  return
}

func.func private @use(index)

// CHECK-LABEL: @tiles
// CHECK-SAME: %[[LO:[^:]*]]: index, %[[HI:[^:]*]]: index, %[[A:[^:]*]]: f32
func.func @tiles(%lo: index, %hi: index, %a: f32) -> (f32, f32) {
  // CHECK: attn.for_tiles %{{.*}} in [%[[LO]] to %[[HI]]] {
  // CHECK-NEXT: func.call @use
  // CHECK-NEXT: }
  attn.for_tiles %t in [%lo to %hi] {
    func.call @use(%t) : (index) -> ()
  }
  // CHECK: %{{.*}}:2 = attn.for_tiles %[[T:.*]] in [%[[LO]] to %[[HI]], %[[HI]] to %[[LO]]] except [%[[LO]] to %[[LO]]] iter_args(%[[X:.*]] = %[[A]], %[[Y:.*]] = %[[A]]) -> (f32, f32) where {
  // CHECK: %[[LIVE:.*]] = arith.cmpi slt, %[[T]], %[[HI]] : index
  // CHECK: attn.condition %[[LIVE]]
  // CHECK: } {
  // CHECK: attn.yield %[[Y]], %[[X]] : f32, f32
  // CHECK: } {note = "kept"}
  %r:2 = attn.for_tiles %t in [%lo to %hi, %hi to %lo] except [%lo to %lo] iter_args(%x = %a, %y = %a) -> (f32, f32) where {
    %live = arith.cmpi slt, %t, %hi : index
    attn.condition %live
  } {
    attn.yield %y, %x : f32, f32
  } {note = "kept"}
  return %r#0, %r#1 : f32, f32
}

// Clauses that change scores become one region, in a fixed order whatever theirs; a region that stands alone stays as it is.
// CHECK-LABEL: @scores
// CHECK-SAME: %[[Q:[^:]*]]: tensor<2x8x?x64xf16>, %[[B:[^:]*]]: tensor<1x8x1x?xbf16>, %[[S:[^:]*]]: tensor<8xf32>, %[[N:[^:]*]]: index
func.func @scores(%q: tensor<2x8x?x64xf16>, %b: tensor<1x8x1x?xbf16>, %s: tensor<8xf32>, %n: index) {
  // CHECK: attn.attention %[[Q]], %[[Q]], %[[Q]] mask(causal) sinks(%[[S]] : tensor<8xf32>) score(%[[B]], %[[S]], %[[N]] : tensor<1x8x1x?xbf16>, tensor<8xf32>, index) {
  // CHECK-NEXT: ^bb0(%[[X:.*]]: f32, %{{.*}}: index, %{{.*}}: index, %[[P:.*]]: index, %[[J:.*]]: index, %[[BX:.*]]: f32, %[[SX:.*]]: f32, %[[NX:.*]]: index):
  // CHECK: arith.constant 0.0333333351
  // CHECK: %[[T:.*]] = math.tanh
  // CHECK: %[[C:.*]] = arith.mulf %[[T]], %{{.*}}
  // CHECK: %[[Y:.*]] = arith.addf %[[C]], %[[BX]]
  // CHECK: %[[D:.*]] = arith.subi %[[P]], %[[J]]
  // CHECK: arith.mulf %[[SX]], %{{.*}}
  // CHECK: %[[Z:.*]] = arith.subf %[[Y]], %{{.*}}
  // CHECK: arith.cmpi slt, %[[P]], %[[NX]]
  // CHECK: %[[R:.*]] = arith.select %{{.*}}, %[[Z]], %{{.*}}
  // CHECK: attn.yield %[[R]] : f32
  %0 = attn.attention %q, %q, %q alibi(%s : tensor<8xf32>) sinks(%s : tensor<8xf32>)
      score(%n : index) {
    ^bb0(%x: f32, %batch: index, %h: index, %i: index, %j: index, %m: index):
      %early = arith.cmpi slt, %i, %m : index
      %zero = arith.constant 0.0 : f32
      %r = arith.select %early, %x, %zero : f32
      attn.yield %r : f32
  } bias(%b : tensor<1x8x1x?xbf16>) softcap(30.0) mask(causal)
      : (tensor<2x8x?x64xf16>, tensor<2x8x?x64xf16>, tensor<2x8x?x64xf16>) -> tensor<2x8x?x64xf16>
  // CHECK: attn.attention %{{.*}} score {
  // CHECK-NEXT: ^bb0(%[[X:[^:]*]]: f32,
  // CHECK-NEXT: attn.yield %[[X]] : f32
  // CHECK-NEXT: } {note = "kept"} :
  %1 = attn.attention %q, %q, %q score {
    ^bb0(%x: f32, %batch: index, %h: index, %i: index, %j: index):
      attn.yield %x : f32
  } {note = "kept"} : (tensor<2x8x?x64xf16>, tensor<2x8x?x64xf16>, tensor<2x8x?x64xf16>) -> tensor<2x8x?x64xf16>
  return
}

// CHECK-LABEL: @online_scores
// CHECK-SAME: %[[E:[^:]*]]: vector<1x48xf16>, %[[X:[^:]*]]: f32
func.func @online_scores(%e: vector<1x48xf16>, %x: f32, %q: vector<64x32xf16>, %k: vector<48x32xf16>,
                         %r: vector<64xf32>, %a: vector<64x32xf32>, %p: index) {
  // CHECK: attn.online_attention {{.*}} scale(5.000000e-01) rows(%{{.*}}, %{{.*}}) keys(%{{.*}}, %{{.*}}) head(%{{.*}}) score(%[[E]], %[[X]] : vector<1x48xf16>, f32) {
  %0:3 = attn.online_attention %q, %k, %k init(%r, %r, %a) scale(0.5) rows(%p, %p) keys(%p, %p) head(%p)
      score(%e, %x : vector<1x48xf16>, f32) {
    ^bb0(%s: f32, %batch: index, %h: index, %i: index, %j: index, %y: f32, %z: f32):
      %w = arith.addf %y, %z : f32
      attn.yield %w : f32
  } : vector<64x32xf16>, vector<48x32xf16>, vector<48x32xf16>, vector<64x32xf32>
  return
}
