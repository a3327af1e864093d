// RUN: attn-opt %s --attn-tile-kv=kv-tile=32 --cse --split-input-file --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats

// Of the first part of this file:
// STATS: attn-tile-kv
// STATS-NEXT: (S) 0 full-inexact
// STATS-NEXT: (S) 6 full-loops
// STATS-NEXT: (S) 0 inexact
// STATS-NEXT: (S) 5 omitted
// STATS-NEXT: (S) 7 partial-loops
// STATS-NEXT: (S) 9 tiled

// Two loops that meet: partial tiles from where the full ones end.
// CHECK-DAG: #[[FIRST:.*]] = affine_map<(d0) -> (d0 * 32)>
// CHECK-LABEL: func.func @causal
// CHECK-SAME: %[[Q:.*]]: vector<32x16xf32>, %[[K:.*]]: tensor<1x1x?x16xf32>, %[[M:.*]]: vector<32xf32>, %[[A:.*]]: vector<32x16xf32>, %[[P0:.*]]: index, %[[P1:.*]]: index, %{{.*}}: index, %[[N:.*]]: index
// CHECK: %[[FULL:.*]] = affine.min
// CHECK: %[[LIVE:.*]] = affine.min
// CHECK: %[[FROM:.*]] = affine.max #{{.*}}()[%[[FULL]]]
// CHECK: %[[PART:.*]]:3 = attn.for_tiles %[[T:.*]] in [%[[FROM]] to %[[LIVE]]] iter_args(%[[MI:.*]] = %[[M]], %[[LI:.*]] = %[[M]], %[[AI:.*]] = %[[A]])
// CHECK: %[[J:.*]] = affine.apply #[[FIRST]](%[[T]])
// CHECK: %[[KT:.*]] = vector.transfer_read %[[K]][%[[C0:.*]], %[[C0]], %[[J]], %[[C0]]], %{{.*}} {in_bounds = [false, true]} : tensor<1x1x?x16xf32>, vector<32x16xf32>
// CHECK: %[[MN:.*]], %[[LN:.*]], %[[AN:.*]] = attn.online_attention %[[Q]], %[[KT]], %{{.*}} init(%[[MI]], %[[LI]], %[[AI]]) scale(2.500000e-01) mask(causal) rows(%[[P0]], %[[P1]]) keys(%[[J]], %[[N]])
// CHECK: attn.yield %[[MN]], %[[LN]], %[[AN]]
// CHECK: attn.for_tiles %{{.*}} in [%{{.*}} to %[[FULL]]] iter_args(%{{.*}} = %[[PART]]#0, %{{.*}} = %[[PART]]#1, %{{.*}} = %[[PART]]#2)
// CHECK: vector.transfer_read {{.*}} {in_bounds = [true, true]}
// CHECK-NOT: mask
// CHECK: attn.yield
func.func @causal(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index, %n: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(causal) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// CHECK-LABEL: func.func @all_dynamic
// CHECK: attn.for_tiles {{.*}} iter_args
// CHECK: mask(all)
// CHECK: attn.for_tiles {{.*}} iter_args
// CHECK-NOT: mask
func.func @all_dynamic(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index, %n: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(all) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// No tail, no partial tile.
// CHECK-LABEL: func.func @all_divisible
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C2:.*]] = arith.constant 2 : index
// CHECK: attn.for_tiles %{{.*}} in [%{{.*}} to %[[C2]]]
// CHECK-NOT: mask
// CHECK-NOT: attn.for_tiles
// CHECK: return
func.func @all_divisible(%q: vector<32x16xf32>, %k: tensor<1x1x64x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %n = arith.constant 64 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(all) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x64x16xf32>, tensor<1x1x64x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// CHECK-LABEL: func.func @all_tail
// CHECK-DAG: %[[C2:.*]] = arith.constant 2 : index
// CHECK-DAG: %[[C3:.*]] = arith.constant 3 : index
// CHECK: attn.for_tiles %{{.*}} in [%[[C2]] to %[[C3]]]
// CHECK: mask(all)
// CHECK: attn.for_tiles %{{.*}} in [%[[C0]] to %[[C2]]]
func.func @all_tail(%q: vector<32x16xf32>, %k: tensor<1x1x70x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %n = arith.constant 70 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(all) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x70x16xf32>, tensor<1x1x70x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// CHECK-LABEL: func.func @nothing
// CHECK-NOT: attn.for_tiles
// CHECK: return %{{.*}} : vector<32x16xf32>
func.func @nothing(%q: vector<32x16xf32>, %k: tensor<1x1x64x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %n = arith.constant 64 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(keys<0, 0>) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x64x16xf32>, tensor<1x1x64x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// Full tiles in the middle: the partial loop leaves them out.
// CHECK-LABEL: func.func @window
// CHECK: attn.for_tiles %{{.*}} in [%{{.*}} to %{{.*}}] except [%[[FLO:.*]] to %[[FHI:.*]]] iter_args
// CHECK: mask(causal & window<%{{.*}}, 0>)
// CHECK: attn.for_tiles %{{.*}} in [%[[FLO]] to %[[FHI]]] iter_args
func.func @window(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index, %n: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(causal & window<%w, 0>) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// CHECK-LABEL: func.func @sink
// CHECK: attn.for_tiles %{{.*}} in [%{{.*}} to %{{.*}}, %{{.*}} to %{{.*}}] except
func.func @sink(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index, %n: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(causal & (keys<0, 4> | window<%w, 0>)) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// A tile may hold no pair although its neighbours do.
// CHECK-LABEL: func.func @stride
// CHECK: attn.for_tiles %[[T:.*]] in {{.*}} where {
// CHECK: attn.condition
// CHECK: mask(stride<100>)
func.func @stride(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index, %n: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(stride<100>) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// A partial tile that cannot reach past the keys is read in bounds.
// CHECK-LABEL: func.func @whole_partial
// CHECK: attn.for_tiles
// CHECK: vector.transfer_read {{.*}} {in_bounds = [true, true]}
// CHECK: mask(window<3, 3>)
func.func @whole_partial(%q: vector<32x16xf32>, %k: tensor<1x1x64x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %n = arith.constant 64 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(window<3, 3>) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x64x16xf32>, tensor<1x1x64x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// -----

// Where the engine gives up, every tile is visited and a remark says so (tile-kv-errors.mlir).
// CHECK-LABEL: func.func @inexact
// CHECK: attn.for_tiles %{{.*}} in [%{{.*}} to %{{.*}}] iter_args
func.func @inexact(%q: vector<32x16xf32>, %k: tensor<1x1x?x16xf32>, %m: vector<32xf32>, %a: vector<32x16xf32>,
    %p0: index, %p1: index, %w: index, %n: index) -> vector<32x16xf32> {
  %c0 = arith.constant 0 : index
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(0.25)
      mask(affine_set<(h, i, j) : ((i + 2 * j) mod 100 - 98 >= 0, (3 * i - j) mod 77 - 76 >= 0)>) rows(%p0, %p1) keys(%c0, %n)
      : vector<32x16xf32>, tensor<1x1x?x16xf32>, tensor<1x1x?x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}
