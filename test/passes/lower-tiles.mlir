// RUN: attn-opt %s --attn-lower-tiles --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats

// STATS: attn-lower-tiles
// STATS-NEXT: (S) 1 for
// STATS-NEXT: (S) 3 while

// CHECK-LABEL: func.func @one_interval
// CHECK-SAME: %[[A:[a-z0-9]+]]: index, %[[B:[a-z0-9]+]]: index, %[[X:[a-z0-9]+]]: f32
// CHECK: %[[R:.*]] = scf.for %{{.*}} = %[[A]] to %[[B]] step %{{.*}} iter_args(%[[Y:.*]] = %[[X]]) -> (f32) {
// CHECK-NEXT: %[[Z:.*]] = arith.addf %[[Y]], %[[Y]]
// CHECK-NEXT: scf.yield %[[Z]]
// CHECK: return %[[R]]
func.func @one_interval(%a: index, %b: index, %x: f32) -> f32 {
  %r = attn.for_tiles %t in [%a to %b] iter_args(%y = %x) -> (f32) {
    %z = arith.addf %y, %y : f32
    attn.yield %z : f32
  }
  return %r : f32
}

// Several intervals, nothing excepted: the next tile is the least candidate.
// CHECK-LABEL: func.func @two_intervals
// CHECK-SAME: %[[A:[a-z0-9]+]]: index, %[[B:[a-z0-9]+]]: index, %[[C:[a-z0-9]+]]: index, %[[D:[a-z0-9]+]]: index
// CHECK: arith.minsi
// CHECK: scf.while (%[[T:.*]] = %{{.*}}, %{{.*}} = %{{.*}}) : (index, f32) -> (index, f32) {
// CHECK: %[[NONE:.*]] = arith.constant 9223372036854775807 : index
// CHECK: %[[SOME:.*]] = arith.cmpi ne, %[[T]], %[[NONE]]
// CHECK: scf.condition(%[[SOME]])
// CHECK: %[[FROM:.*]] = arith.addi
// CHECK: %[[MAX0:.*]] = arith.maxsi %[[FROM]], %[[A]]
// CHECK: %[[IN0:.*]] = arith.cmpi slt, %[[MAX0]], %[[B]]
// CHECK: %[[NEXT0:.*]] = arith.select %[[IN0]], %[[MAX0]]
// CHECK: %[[MAX1:.*]] = arith.maxsi %[[FROM]], %[[C]]
// CHECK: %[[IN1:.*]] = arith.cmpi slt, %[[MAX1]], %[[D]]
// CHECK: %[[NEXT1:.*]] = arith.select %[[IN1]], %[[MAX1]]
// CHECK: %[[NEXT:.*]] = arith.minsi %[[NEXT0]], %[[NEXT1]]
// CHECK: scf.yield %[[NEXT]]
// CHECK-NOT: scf.while
// CHECK: return
func.func @two_intervals(%a: index, %b: index, %c: index, %d: index, %x: f32) -> f32 {
  %r = attn.for_tiles %t in [%a to %b, %c to %d] iter_args(%y = %x) -> (f32) {
    %z = arith.addf %y, %y : f32
    attn.yield %z : f32
  }
  return %r : f32
}

// One excepted interval is skipped without a search.
// CHECK-LABEL: func.func @except
// CHECK: scf.while
// CHECK-NOT: scf.while
// CHECK: return
func.func @except(%a: index, %b: index, %c: index, %d: index) {
  attn.for_tiles %t in [%a to %b] except [%c to %d] {
    func.call @visit(%t) : (index) -> ()
  }
  return
}

// A filter is searched.
// CHECK-LABEL: func.func @filter
// CHECK: scf.while (%[[T:.*]] = %{{.*}}, %[[NEXT:.*]] = %{{.*}}) : (index, index) -> (index, index) {
// CHECK: %[[SOME:.*]] = arith.cmpi ne, %[[T]], %{{.*}}
// CHECK: %[[MOVES:.*]] = arith.cmpi ne, %[[T]], %[[NEXT]]
// CHECK: %[[ON:.*]] = arith.andi %[[SOME]], %[[MOVES]]
// CHECK: scf.condition(%[[ON]]) %[[T]], %[[NEXT]]
// CHECK: %[[TILE:.*]] = arith.select
// CHECK: arith.remui %[[TILE]]
// CHECK: scf.yield %[[TILE]]
// CHECK: scf.while
// CHECK: call @visit
// CHECK: scf.while
// CHECK: return
func.func @filter(%a: index, %b: index, %n: index) {
  %c0 = arith.constant 0 : index
  attn.for_tiles %t in [%a to %b] where {
    %m = arith.remui %t, %n : index
    %live = arith.cmpi eq, %m, %c0 : index
    attn.condition %live
  } {
    func.call @visit(%t) : (index) -> ()
  }
  return
}

func.func private @visit(index)
