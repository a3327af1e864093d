// RUN: attn-opt %s --canonicalize | FileCheck %s

!t = tensor<1x2x?x16xf16>

// CHECK-LABEL: @absorbed
func.func @absorbed(%q: !t) -> !t {
  // CHECK: mask(causal)
  %o = attn.attention %q, %q, %q mask(causal & window<inf, 0>) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: @everything
func.func @everything(%q: !t) -> !t {
  // CHECK: attn.attention
  // CHECK-NOT: causal
  %o = attn.attention %q, %q, %q mask(causal | !causal) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: @nothing
func.func @nothing(%q: !t) -> !t {
  // CHECK: mask(!all)
  %o = attn.attention %q, %q, %q mask(keys<0, 8> & keys<8, inf>) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: @constant_symbol
func.func @constant_symbol(%q: !t) -> !t {
  %c = arith.constant 128 : index
  // CHECK: mask(window<128, 0>)
  %o = attn.attention %q, %q, %q mask(causal & window<%c, 5>) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: @unwritable_constant
func.func @unwritable_constant(%q: !t) -> !t {
  // CHECK: %[[C:.*]] = arith.constant -3
  %c = arith.constant -3 : index
  // CHECK: mask(global<%[[C]]> & causal)
  %o = attn.attention %q, %q, %q mask(global<%c> & causal) : (!t, !t, !t) -> !t
  return %o : !t
}

// The window by %v lies in the union's other part, so %v is no longer needed and %w becomes the first symbol.
// CHECK-LABEL: @unused_symbol
// CHECK-SAME: (%{{.*}}: tensor<1x2x?x16xf16>, %[[V:.*]]: index, %[[W:.*]]: index)
func.func @unused_symbol(%q: !t, %v: index, %w: index) -> !t {
  // CHECK: mask(causal | keys<0, %[[W]]>)
  %o = attn.attention %q, %q, %q mask(window<%v, 0> | causal | keys<0, %w>) : (!t, !t, !t) -> !t
  return %o : !t
}

// The generic form shows numbers: each value once, in order of appearance.
// CHECK-LABEL: @renumbered
// CHECK-SAME: (%{{.*}}: tensor<1x2x?x16xf16>, %[[V:.*]]: index, %[[W:.*]]: index)
func.func @renumbered(%q: !t, %v: index, %w: index) -> !t {
  // CHECK: mask(window<%[[W]], %[[V]]> & keys<%[[V]], inf>)
  %o = "attn.attention"(%q, %q, %q, %v, %w, %v)
    <{mask = #attn.mask<window<s1, s0> & keys<s2, inf>>, alignment = #attn<alignment end>,
      operandSegmentSizes = array<i32: 1, 1, 1, 3, 0, 0, 0, 0, 0, 0, 0>}> ({})
    : (!t, !t, !t, index, index, index) -> !t
  return %o : !t
}

// CHECK-LABEL: @kept
func.func @kept(%q: !t, %w: index) -> !t {
  // CHECK: mask(heads<0, 1> & (window<%{{.*}}, 0> | stride<4>) | heads<1, 2> & causal)
  %o = attn.attention %q, %q, %q mask(heads<0, 1> & (window<%w, 0> | stride<4>) | heads<1, 2> & causal) : (!t, !t, !t) -> !t
  return %o : !t
}
