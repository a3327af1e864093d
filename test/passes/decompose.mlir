// RUN: attn-opt %s --attn-decompose --cse --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats

// STATS: attn-decompose
// STATS-NEXT: (S) 12 decomposed
// STATS-NEXT: (S) 9 masked
// STATS-NEXT: (S) 1 wide-constraints

// CHECK-DAG: #[[QK0:.*]] = affine_map<(d0, d1, d2) -> (d0, d2)>
// CHECK-DAG: #[[QK1:.*]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK-DAG: #[[QK2:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-DAG: #[[PV1:.*]] = affine_map<(d0, d1, d2) -> (d2, d0)>
// CHECK-DAG: #[[PV2:.*]] = affine_map<(d0, d1, d2) -> (d1, d0)>

// Without a mask: no guard, no selection, no masked product.
// CHECK-LABEL: func.func @full
// CHECK-SAME: %[[Q:.*]]: vector<32x64xbf16>, %[[K:.*]]: vector<16x64xbf16>, %[[V:.*]]: vector<16x24xbf16>, %[[M:.*]]: vector<32xf32>, %[[L:.*]]: vector<32xf32>, %[[A:.*]]: vector<32x24xf32>
// CHECK: %[[S:.*]] = vector.contract {indexing_maps = [#[[QK0]], #[[QK1]], #[[QK2]]], iterator_types = ["parallel", "parallel", "reduction"], kind = #vector.kind<add>} %[[Q]], %[[K]], %{{.*}} : vector<32x64xbf16>, vector<16x64xbf16> into vector<32x16xf32>
// CHECK-NOT: arith.select
// CHECK: %[[NEG_INF:.*]] = arith.constant dense<0xFF800000> : vector<32xf32>
// CHECK: %[[RM:.*]] = vector.multi_reduction <maxnumf>, %[[S]], %[[NEG_INF]] [1]
// CHECK: %[[C:.*]] = arith.constant dense<0.180336{{.*}}> : vector<32xf32>
// CHECK: %[[RS:.*]] = arith.mulf %[[RM]], %[[C]]
// CHECK: %[[MN:.*]] = arith.maxnumf %[[M]], %[[RS]]
// A row without a score above -inf so far.
// CHECK: %[[LOWEST:.*]] = arith.constant dense<-3.40282347E+38> : vector<32xf32>
// CHECK: %[[MS:.*]] = arith.maxnumf %[[MN]], %[[LOWEST]]
// CHECK-NOT: arith.cmpf
// CHECK: %[[D:.*]] = arith.subf %[[M]], %[[MS]]
// CHECK: %[[ALPHA:.*]] = math.exp2 %[[D]]
// CHECK: %[[NEG:.*]] = arith.negf %[[MS]]
// CHECK: %[[COL:.*]] = vector.shape_cast %[[NEG]] : vector<32xf32> to vector<32x1xf32>
// CHECK: %[[SHIFT:.*]] = vector.broadcast %[[COL]] : vector<32x1xf32> to vector<32x16xf32>
// CHECK: %[[E:.*]] = math.fma %[[S]], %{{.*}}, %[[SHIFT]]
// CHECK: %[[P:.*]] = math.exp2 %[[E]]
// The sum is of the weights before they are rounded.
// CHECK: %[[PS:.*]] = vector.multi_reduction <add>, %[[P]], %{{.*}} [1]
// CHECK: %[[LN:.*]] = math.fma %[[L]], %[[ALPHA]], %[[PS]]
// CHECK: %[[PB:.*]] = arith.truncf %[[P]] : vector<32x16xf32> to vector<32x16xbf16>
// CHECK: %[[AS:.*]] = arith.mulf %[[A]], %{{.*}} : vector<32x24xf32>
// CHECK: %[[AN:.*]] = vector.contract {indexing_maps = [#[[QK1]], #[[PV1]], #[[PV2]]], iterator_types = ["parallel", "parallel", "reduction"], kind = #vector.kind<add>} %[[PB]], %[[V]], %[[AS]] : vector<32x16xbf16>, vector<16x24xbf16> into vector<32x24xf32>
// CHECK: return %[[MN]], %[[LN]], %[[AN]]
func.func @full(%q: vector<32x64xbf16>, %k: vector<16x64xbf16>, %v: vector<16x24xbf16>, %m: vector<32xf32>,
    %l: vector<32xf32>, %a: vector<32x24xf32>) -> (vector<32xf32>, vector<32xf32>, vector<32x24xf32>) {
  %0:3 = attn.online_attention %q, %k, %v init(%m, %l, %a) scale(0.125)
      : vector<32x64xbf16>, vector<16x64xbf16>, vector<16x24xbf16>, vector<32x24xf32>
  return %0#0, %0#1, %0#2 : vector<32xf32>, vector<32xf32>, vector<32x24xf32>
}

// One comparison for the constraint, one for the end of the keys; the masked product.
// CHECK-LABEL: func.func @causal
// CHECK: %[[BASE:.*]] = affine.apply #{{.*}}()[%{{.*}}, %{{.*}}]
// CHECK: %[[LOW:.*]] = arith.minsi %[[BASE]], %c1073741824
// CHECK: %[[CLAMPED:.*]] = arith.maxsi %[[LOW]], %c-1073741824
// CHECK: %[[STEP:.*]] = vector.step : vector<32xindex>
// CHECK: %[[NARROW:.*]] = arith.index_cast %[[STEP]] : vector<32xindex> to vector<32xi32>
// CHECK: %[[ROW:.*]] = vector.shape_cast %[[NARROW]] : vector<32xi32> to vector<32x1xi32>
// CHECK: vector.step : vector<16xindex>
// CHECK: %[[KEY:.*]] = vector.shape_cast %{{.*}} : vector<16xi32> to vector<1x16xi32>
// CHECK: %[[BASE32:.*]] = arith.index_cast %[[CLAMPED]] : index to i32
// CHECK: %[[SPLAT:.*]] = vector.broadcast %[[BASE32]] : i32 to vector<32x1xi32>
// CHECK: %[[ROWS:.*]] = arith.addi %[[ROW]], %[[SPLAT]] : vector<32x1xi32>
// CHECK: %[[LHS:.*]] = vector.broadcast %[[ROWS]] : vector<32x1xi32> to vector<32x16xi32>
// CHECK: %[[RHS:.*]] = vector.broadcast %[[KEY]] : vector<1x16xi32> to vector<32x16xi32>
// CHECK: %[[CAUSAL:.*]] = arith.cmpi sge, %[[LHS]], %[[RHS]]
// CHECK: %[[IN:.*]] = arith.cmpi sge, %{{.*}}, %{{.*}} : vector<1x16xi32>
// CHECK: %[[IN2:.*]] = vector.broadcast %[[IN]] : vector<1x16xi1> to vector<32x16xi1>
// CHECK: %[[LIVE:.*]] = arith.andi %[[CAUSAL]], %[[IN2]] : vector<32x16xi1>
// CHECK: %[[S:.*]] = vector.contract
// CHECK: %[[SM:.*]] = arith.select %[[LIVE]], %[[S]], %{{.*}}
// CHECK: %[[MN:.*]] = arith.maxnumf
// CHECK: %[[MS:.*]] = arith.maxnumf %[[MN]], %{{.*}}
// CHECK: arith.subf %{{.*}}, %[[MS]]
// CHECK: %[[LIVE3:.*]] = vector.broadcast %[[LIVE]] : vector<32x16xi1> to vector<24x32x16xi1>
// CHECK: vector.mask %[[LIVE3]] { vector.contract {{.*}} } : vector<24x32x16xi1> -> vector<32x24xf32>
func.func @causal(%q: vector<32x64xbf16>, %k: vector<16x64xbf16>, %v: vector<16x24xbf16>, %m: vector<32xf32>,
    %l: vector<32xf32>, %a: vector<32x24xf32>, %p0: index, %p1: index, %j0: index, %n: index) -> vector<32x24xf32> {
  %0:3 = attn.online_attention %q, %k, %v init(%m, %l, %a) scale(0.125) mask(causal) rows(%p0, %p1) keys(%j0, %n)
      : vector<32x64xbf16>, vector<16x64xbf16>, vector<16x24xbf16>, vector<32x24xf32>
  return %0#2 : vector<32x24xf32>
}

// A scale that is not positive comes before the mask; f32 is not rounded.
// CHECK-LABEL: func.func @negative_scale
// CHECK: %[[S:.*]] = vector.contract
// CHECK: %[[SC:.*]] = arith.mulf %[[S]], %{{.*}} : vector<16x16xf32>
// CHECK: %[[RM:.*]] = vector.multi_reduction <maxnumf>, %[[SC]]
// CHECK-NEXT: arith.maxnumf %{{.*}}, %[[RM]]
// CHECK: %[[E:.*]] = arith.addf %[[SC]], %{{.*}}
// CHECK: math.exp2 %[[E]]
// CHECK-NOT: arith.truncf
func.func @negative_scale(%q: vector<16x16xf32>, %m: vector<16xf32>) -> vector<16x16xf32> {
  %0:3 = attn.online_attention %q, %q, %q init(%m, %m, %q) scale(-0.5)
      : vector<16x16xf32>, vector<16x16xf32>, vector<16x16xf32>, vector<16x16xf32>
  return %0#2 : vector<16x16xf32>
}

// A mask of everything needs the end of the keys only...
// CHECK-LABEL: func.func @all
// CHECK: arith.cmpi sge, %{{.*}}, %{{.*}} : vector<1x16xi32>
// CHECK-NOT: arith.cmpi
// CHECK: vector.contract
func.func @all(%q: vector<16x16xf32>, %m: vector<16xf32>, %p0: index, %p1: index, %j0: index, %n: index)
    -> vector<16x16xf32> {
  %0:3 = attn.online_attention %q, %q, %q init(%m, %m, %q) scale(0.5) mask(all) rows(%p0, %p1) keys(%j0, %n)
      : vector<16x16xf32>, vector<16x16xf32>, vector<16x16xf32>, vector<16x16xf32>
  return %0#2 : vector<16x16xf32>
}

// ... and not even that where the keys were read in bounds.
// CHECK-LABEL: func.func @all_in_bounds
// CHECK-NOT: arith.cmpi
// CHECK-NOT: vector.mask
// CHECK: return
func.func @all_in_bounds(%q: vector<16x16xf32>, %kv: tensor<1x1x64x16xf32>, %m: vector<16xf32>, %p0: index,
    %p1: index, %j0: index) -> vector<16x16xf32> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %zero = arith.constant 0.0 : f32
  %k = vector.transfer_read %kv[%c0, %c0, %j0, %c0], %zero {in_bounds = [true, true]} : tensor<1x1x64x16xf32>, vector<16x16xf32>
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %q) scale(0.5) mask(all) rows(%p0, %p1) keys(%j0, %c64)
      : vector<16x16xf32>, vector<16x16xf32>, vector<16x16xf32>, vector<16x16xf32>
  return %0#2 : vector<16x16xf32>
}

// One remainder for each row and each key, one comparison for each pair.
// CHECK-LABEL: func.func @stride
// CHECK: %[[R:.*]] = arith.remui %{{.*}}, %{{.*}} : vector<32x1xi32>
// CHECK: %[[C:.*]] = arith.remui %{{.*}}, %{{.*}} : vector<1x16xi32>
// CHECK: %[[R2:.*]] = vector.broadcast %[[R]]
// CHECK: %[[C2:.*]] = vector.broadcast %[[C]]
// CHECK: arith.cmpi eq, %[[R2]], %[[C2]] : vector<32x16xi32>
// CHECK-NOT: arith.remui
// CHECK: return
func.func @stride(%q: vector<32x16xf32>, %k: vector<16x16xf32>, %m: vector<32xf32>, %p0: index, %p1: index,
    %j0: index, %n: index) -> vector<32x16xf32> {
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %q) scale(0.5) mask(stride<5>) rows(%p0, %p1) keys(%j0, %n)
      : vector<32x16xf32>, vector<16x16xf32>, vector<16x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// A remainder that is compared with an order: a minimum for each pair.
// CHECK-LABEL: func.func @remainder
// CHECK: %[[SUM:.*]] = arith.addi %{{.*}}, %{{.*}} : vector<32x16xi32>
// CHECK: %[[LESS:.*]] = arith.subi %[[SUM]], %{{.*}} : vector<32x16xi32>
// CHECK: arith.minui %[[SUM]], %[[LESS]] : vector<32x16xi32>
// CHECK-NOT: arith.remui {{.*}} : vector<32x16xi32>
// CHECK: return
func.func @remainder(%q: vector<32x16xf32>, %k: vector<16x16xf32>, %m: vector<32xf32>, %p0: index, %p1: index,
    %j0: index, %n: index) -> vector<32x16xf32> {
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %q) scale(0.5)
      mask(affine_set<(h, i, j) : ((i + j) mod 7 - 3 >= 0)>) rows(%p0, %p1) keys(%j0, %n)
      : vector<32x16xf32>, vector<16x16xf32>, vector<16x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// Both constraints of a block structure are quotients of one side each.
// CHECK-LABEL: func.func @same_block
// CHECK: arith.divui %{{.*}} : vector<32x1xi32>
// CHECK-NOT: arith.divui {{.*}} : vector<32x16xi32>
// CHECK: arith.cmpi eq, %{{.*}} : vector<32x16xi32>
func.func @same_block(%q: vector<32x16xf32>, %k: vector<16x16xf32>, %m: vector<32xf32>, %p0: index, %p1: index,
    %j0: index, %n: index) -> vector<32x16xf32> {
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %q) scale(0.5) mask(same_block<5>) rows(%p0, %p1) keys(%j0, %n)
      : vector<32x16xf32>, vector<16x16xf32>, vector<16x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// What depends on the head alone is one scalar.
// CHECK-LABEL: func.func @heads
// CHECK: %[[SCALAR:.*]] = arith.cmpi sge, %{{.*}}, %{{.*}} : index
// CHECK: vector.broadcast %{{.*}} : i1 to vector<1x16xi1>
// CHECK: vector.broadcast %{{.*}} : vector<1x16xi1> to vector<32x16xi1>
func.func @heads(%q: vector<32x16xf32>, %k: vector<16x16xf32>, %m: vector<32xf32>, %p0: index, %p1: index,
    %j0: index, %n: index, %h: index) -> vector<32x16xf32> {
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %q) scale(0.5) mask(heads<2, 4>) rows(%p0, %p1) keys(%j0, %n) head(%h)
      : vector<32x16xf32>, vector<16x16xf32>, vector<16x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// Coefficients that 32 bits cannot hold.
// CHECK-LABEL: func.func @wide
// CHECK: arith.cmpi sge, %{{.*}} : vector<32x16xi64>
func.func @wide(%q: vector<32x16xf32>, %k: vector<16x16xf32>, %m: vector<32xf32>, %p0: index, %p1: index,
    %j0: index, %n: index) -> vector<32x16xf32> {
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %q) scale(0.5)
      mask(affine_set<(h, i, j) : (10000000000 * i - 9999999999 * j >= 0)>) rows(%p0, %p1) keys(%j0, %n)
      : vector<32x16xf32>, vector<16x16xf32>, vector<16x16xf32>, vector<32x16xf32>
  return %0#2 : vector<32x16xf32>
}

// The scores, their region, the mask, and only then the change of base. The distance of the positions is one scalar, the
// same for all pairs, and a number for each row and each key.
// CHECK-LABEL: func.func @score
// CHECK-SAME: %[[B:[^:]*]]: vector<32x16xbf16>, %[[X:[^:]*]]: f32
// CHECK: %[[LIVE:.*]] = arith.andi %{{.*}} : vector<32x16xi1>
// CHECK: %[[S:.*]] = vector.contract
// CHECK: %[[SS:.*]] = arith.mulf %[[S]], %{{.*}} : vector<32x16xf32>
// CHECK: %[[BF:.*]] = arith.extf %[[B]] : vector<32x16xbf16> to vector<32x16xf32>
// CHECK: %[[TANH:.*]] = math.tanh %{{.*}} : vector<32x16xf32>
// CHECK: %[[CAPPED:.*]] = arith.mulf %[[TANH]]
// CHECK: %[[BIASED:.*]] = arith.addf %[[CAPPED]], %[[BF]] : vector<32x16xf32>
// CHECK: %[[D0:.*]] = arith.subi %{{.*}}, %{{.*}} : index
// CHECK: %[[D1:.*]] = arith.index_cast %[[D0]] : index to i64
// CHECK: %[[D2:.*]] = arith.sitofp %[[D1]] : i64 to f32
// CHECK-DAG: %[[KEY:.*]] = arith.sitofp %{{.*}} : vector<1x16xi32> to vector<1x16xf32>
// CHECK-DAG: %[[ROW:.*]] = arith.sitofp %{{.*}} : vector<32x1xi32> to vector<32x1xf32>
// CHECK: %[[ROWS:.*]] = arith.addf %[[ROW]], %{{.*}} : vector<32x1xf32>
// CHECK-NOT: sitofp
// CHECK: %[[ABS:.*]] = math.absf
// CHECK: %[[PENALTY:.*]] = arith.mulf %{{.*}}, %[[ABS]]
// CHECK: %[[NEW:.*]] = arith.subf %[[BIASED]], %[[PENALTY]]
// CHECK: arith.select %[[LIVE]], %[[NEW]], %{{.*}}
// CHECK: arith.constant dense<1.442695{{.*}}> : vector<32xf32>
func.func @score(%b: vector<32x16xbf16>, %x: f32, %q: vector<32x64xbf16>, %k: vector<16x64xbf16>, %v: vector<16x24xbf16>,
    %m: vector<32xf32>, %a: vector<32x24xf32>, %p0: index, %p1: index, %j0: index, %n: index) -> vector<32x24xf32> {
  %0:3 = attn.online_attention %q, %k, %v init(%m, %m, %a) scale(0.125) mask(causal) rows(%p0, %p1) keys(%j0, %n)
      score(%b, %x : vector<32x16xbf16>, f32) {
    ^bb0(%s: f32, %bb: index, %h: index, %i: index, %j: index, %e: f32, %slope: f32):
      %cap = arith.constant 5.0 : f32
      %t = math.tanh %s : f32
      %c = arith.mulf %t, %cap : f32
      %d = arith.addf %c, %e : f32
      %dist = arith.subi %i, %j : index
      %dist64 = arith.index_cast %dist : index to i64
      %distf = arith.sitofp %dist64 : i64 to f32
      %abs = math.absf %distf : f32
      %pen = arith.mulf %slope, %abs : f32
      %r = arith.subf %d, %pen : f32
      attn.yield %r : f32
  } : vector<32x64xbf16>, vector<16x64xbf16>, vector<16x24xbf16>, vector<32x24xf32>
  return %0#2 : vector<32x24xf32>
}

// Without a mask positions are known all the same; comparisons of positions are in 32 bits, relative to the tile.
// CHECK-LABEL: func.func @score_positions
// CHECK: vector.contract
// CHECK: %[[LOW:.*]] = arith.minsi
// CHECK: %[[BASE:.*]] = arith.maxsi %[[LOW]]
// CHECK: arith.index_cast %[[BASE]] : index to i32
// CHECK: %[[NEAR:.*]] = arith.cmpi slt, %{{.*}}, %{{.*}} : vector<32x16xi32>
// CHECK: arith.select %[[NEAR]]
// CHECK-NOT: vector.mask
func.func @score_positions(%q: vector<32x64xbf16>, %k: vector<16x64xbf16>, %v: vector<16x24xbf16>, %m: vector<32xf32>,
    %a: vector<32x24xf32>, %p0: index, %p1: index, %j0: index, %n: index) -> vector<32x24xf32> {
  %0:3 = attn.online_attention %q, %k, %v init(%m, %m, %a) scale(1.0) rows(%p0, %p1) keys(%j0, %n) score {
    ^bb0(%s: f32, %bb: index, %h: index, %i: index, %j: index):
      %c2 = arith.constant 2 : index
      %i2 = arith.muli %i, %c2 : index
      %near = arith.cmpi slt, %i2, %j : index
      %half = arith.constant 0.5 : f32
      %t = arith.mulf %s, %half : f32
      %r = arith.select %near, %s, %t : f32
      attn.yield %r : f32
  } : vector<32x64xbf16>, vector<16x64xbf16>, vector<16x24xbf16>, vector<32x24xf32>
  return %0#2 : vector<32x24xf32>
}
