// RUN: attn-opt %s -split-input-file -verify-diagnostics

// The constraints on what changes scores, broken one at a time.

!t = tensor<1x8x?x64xf16>

func.func @A18_shape(%q: !t, %b: tensor<1x4x?x?xf16>) { // expected-note {{the input is defined here}}
  // expected-error @below {{expected score input 0 to be broadcastable to B x Hq x Nq x Nk, 'tensor<1x8x?x?xf16>', found 'tensor<1x4x?x?xf16>' (A18)}}
  %o = attn.attention %q, %q, %q bias(%b : tensor<1x4x?x?xf16>) : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A18_per_head(%q: !t, %b: tensor<4xf32>) { // expected-note {{the input is defined here}}
  // expected-error @below {{expected score input 0 to be one element for each query head, 'tensor<8xf32>', found 'tensor<4xf32>' (A18)}}
  %o = attn.attention %q, %q, %q alibi(%b : tensor<4xf32>) : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A18_type(%q: !t, %b: tensor<1x8x?xf16>) {
  // expected-error @below {{must be variadic of 4-d or 1-d tensor of f16, bf16 or f32, or index (A18), but got 'tensor<1x8x?xf16>'}}
  %o = attn.attention %q, %q, %q bias(%b : tensor<1x8x?xf16>) : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A19_number_of_sinks(%q: !t, %s: tensor<2xf32>) { // expected-note {{the sinks are a 'tensor<2xf32>'}}
  // expected-error @below {{expected one sink for each of the 8 query heads, found 2 (A19)}}
  %o = attn.attention %q, %q, %q sinks(%s : tensor<2xf32>) : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A19_type(%q: !t, %s: tensor<8xf16>) {
  // expected-error @below {{must be 1-d tensor of f32 (A19), but got 'tensor<8xf16>'}}
  %o = attn.attention %q, %q, %q sinks(%s : tensor<8xf16>) : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A25_cap(%q: !t) {
  // expected-error @below {{expected a soft cap above 0 and finite, as its inverse, found -2.000000e+00 (A25)}}
  %o = attn.attention %q, %q, %q softcap(-2.0) : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A26_arguments(%q: !t) {
  // expected-error @below {{expected a score region of the score, batch, head, query and key position, and an element of each of 0 inputs, ('f32', 'index', 'index', 'index', 'index'), found ('f32', 'index') (A26)}}
  %o = attn.attention %q, %q, %q score {
    ^bb0(%s: f32, %b: index):
      attn.yield %s : f32
  } : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

// A region that other clauses come before is checked when it is read.
func.func @A26_after_a_clause(%q: !t, %e: tensor<8xbf16>) {
  // expected-error @below {{found ('f32', 'index', 'index', 'index', 'index', 'bf16') (A26)}}
  %o = attn.attention %q, %q, %q softcap(2.0) score(%e : tensor<8xbf16>) {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index, %x: bf16):
      attn.yield %s : f32
  } : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A26_inputs_without_a_region(%q: !t, %e: tensor<8xf32>) {
  // expected-error @below {{found () (A26)}}
  %o = "attn.attention"(%q, %q, %q, %e) <{
      mask = #attn.mask<all>, alignment = #attn<alignment end>,
      operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0>}> ({}) : (!t, !t, !t, tensor<8xf32>) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A27_result(%q: !t) {
  // expected-error @below {{expected a score region that ends with attn.yield of one f32 (A27)}}
  %o = attn.attention %q, %q, %q score {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index):
      attn.yield %i : index
  } : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A28_op(%q: !t) {
  // expected-error @below {{expected a score region of scalar arith and math ops, found 'vector.broadcast' (A28)}}
  %o = attn.attention %q, %q, %q score {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index):
      %v = vector.broadcast %s : f32 to vector<2xf32> // expected-note {{the op is here}}
      attn.yield %s : f32
  } : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A28_type(%q: !t) {
  // expected-error @below {{expected values of type f32, index, i1, i32 and i64 in a score region, found 'f64' (A28)}}
  %o = attn.attention %q, %q, %q score {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index):
      %v = arith.extf %s : f32 to f64 // expected-note {{the op is here}}
      attn.yield %s : f32
  } : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

// What the region needs is an input.
func.func @captures(%q: !t, %x: f32) {
  %o = attn.attention %q, %q, %q score {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index):
      // expected-error @below {{use of undeclared SSA value name}}
      %y = arith.addf %s, %x : f32
      attn.yield %y : f32
  } : (!t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @A29_sinks_and_a_state(%q: !t, %t: tensor<8xf32>, %a: tensor<1x8x?x64xf32>, %l: tensor<1x8x?xf32>) {
  // expected-error @below {{expected sinks or an initial state, found both; the state is what holds the sinks then (A29)}}
  %o = "attn.attention"(%q, %q, %q, %t, %a, %l) <{
      mask = #attn.mask<all>, alignment = #attn<alignment end>,
      operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1>}> ({})
      : (!t, !t, !t, tensor<8xf32>, tensor<1x8x?x64xf32>, tensor<1x8x?xf32>) -> !t
  return
}

// -----

!t = tensor<1x8x?x64xf16>

func.func @twice(%q: !t) {
  // expected-error @below {{clause 'softcap' is given twice}}
  %o = attn.attention %q, %q, %q softcap(1.0) softcap(2.0) : (!t, !t, !t) -> !t
  return
}

// -----

func.func @O21_shape(%q: vector<64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>, %p: index, %b: vector<64x48xf32>) {
  // expected-error @below {{expected score inputs of one batch and one head, or broadcastable to tiles of 64 x 64, found 'vector<64x48xf32>' (O21)}}
  %0:3 = attn.online_attention %q, %q, %q init(%r, %r, %a) scale(0.5) rows(%p, %p) keys(%p, %p)
      score(%b : vector<64x48xf32>) {
    ^bb0(%s: f32, %bb: index, %h: index, %i: index, %j: index, %x: f32):
      attn.yield %x : f32
  } : vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf32>
  return
}

// -----

func.func @O22_arguments(%q: vector<64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>, %p: index) {
  // expected-error @below {{found ('f32') (O22)}}
  %0:3 = attn.online_attention %q, %q, %q init(%r, %r, %a) scale(0.5) rows(%p, %p) keys(%p, %p) score {
    ^bb0(%s: f32):
      attn.yield %s : f32
  } : vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf32>
  return
}
