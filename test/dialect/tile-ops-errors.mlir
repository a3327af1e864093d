// RUN: attn-opt %s -split-input-file -verify-diagnostics

// One function for every constraint of docs/Spec.md on attn.online_attention (O), attn.select_rows (V), attn.for_tiles
// (T) and the schedule (S), named after it.

func.func @O1_tile(%q: vector<64x32xf64>, %r: vector<64xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{operand #0 must be 2-d vector of f16, bf16 or f32 (O1), but got 'vector<64x32xf64>'}}
  %m, %l, %o = attn.online_attention %q, %q, %q init(%r, %r, %a) scale(1.0)
      : vector<64x32xf64>, vector<64x32xf64>, vector<64x32xf64>, vector<64x32xf32>
  return
}

// -----

func.func @O1_keys(%q: vector<64x32xf16>, %k: tensor<64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{operand #1 must be 2-d vector or 4-d tensor of f16, bf16 or f32 (O1), but got 'tensor<64x32xf16>'}}
  %m, %l, %o = attn.online_attention %q, %k, %k init(%r, %r, %a) scale(1.0)
      : vector<64x32xf16>, tensor<64x32xf16>, tensor<64x32xf16>, vector<64x32xf32>
  return
}

// -----

func.func @O1_accumulator(%q: vector<64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf16>) {
  // expected-error @below {{operand #5 must be 2-d vector of f32 (O1), but got 'vector<64x32xf16>'}}
  %m, %l, %o = attn.online_attention %q, %q, %q init(%r, %r, %a) scale(1.0)
      : vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>
  return
}

// -----

func.func @O2_tile_and_slice(%q: vector<64x32xf16>, %v: tensor<1x1x64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{expected k and v to be both tiles or both slices, found 'vector<64x32xf16>' and 'tensor<1x1x64x32xf16>' (O2)}}
  %m, %l, %o = attn.online_attention %q, %q, %v init(%r, %r, %a) scale(1.0)
      : vector<64x32xf16>, vector<64x32xf16>, tensor<1x1x64x32xf16>, vector<64x32xf32>
  return
}

// -----

func.func @O3_element_types(%q: vector<64x32xf16>, %v: vector<64x32xbf16>, %r: vector<64xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{expected q, k and v of one element type, found 'f16', 'f16' and 'bf16' (O3)}}
  %m, %l, %o = attn.online_attention %q, %q, %v init(%r, %r, %a) scale(1.0)
      : vector<64x32xf16>, vector<64x32xf16>, vector<64x32xbf16>, vector<64x32xf32>
  return
}

// -----

func.func @O4_slice(%q: vector<64x32xf16>, %k: tensor<1x2x64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{expected a slice of one batch and one head, found 'tensor<1x2x64x32xf16>' (O4)}}
  %m, %l, %o = attn.online_attention %q, %k, %k init(%r, %r, %a) scale(1.0)
      : vector<64x32xf16>, tensor<1x2x64x32xf16>, tensor<1x2x64x32xf16>, vector<64x32xf32>
  return
}

// -----

func.func @O5_head_size(%q: vector<64x32xf16>, %k: tensor<1x1x?x?xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{expected q and k of one head size, found 'vector<64x32xf16>' and 'tensor<1x1x?x?xf16>' (O5)}}
  %m, %l, %o = attn.online_attention %q, %k, %k init(%r, %r, %a) scale(1.0)
      : vector<64x32xf16>, tensor<1x1x?x?xf16>, tensor<1x1x?x?xf16>, vector<64x32xf32>
  return
}

// -----

func.func @O6_length(%q: vector<64x32xf16>, %v: vector<48x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{expected k and v of one length, found 'vector<64x32xf16>' and 'vector<48x32xf16>' (O6)}}
  %m, %l, %o = attn.online_attention %q, %q, %v init(%r, %r, %a) scale(1.0)
      : vector<64x32xf16>, vector<64x32xf16>, vector<48x32xf16>, vector<64x32xf32>
  return
}

// -----

func.func @O7_accumulator(%q: vector<64x32xf16>, %r: vector<64xf32>, %a: vector<64x40xf32>) {
  // expected-error @below {{expected an accumulator of type 'vector<64x32xf32>', found 'vector<64x40xf32>' -> 'vector<64x40xf32>' (O7)}}
  %m, %l, %o = attn.online_attention %q, %q, %q init(%r, %r, %a) scale(1.0)
      : vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>, vector<64x40xf32>
  return
}

// -----

func.func @O7_row_state(%q: vector<64x32xf16>, %r: vector<64xf32>, %s: vector<32xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{expected max and sum of type 'vector<64xf32>', found 'vector<32xf32>' (O7)}}
  %m, %l, %o = "attn.online_attention"(%q, %q, %q, %r, %s, %a) <{
      scale = 1.0 : f32, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0>}> ({})
      : (vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>, vector<64xf32>, vector<32xf32>, vector<64x32xf32>)
     -> (vector<64xf32>, vector<64xf32>, vector<64x32xf32>)
  return
}

// -----

func.func @O7_slice_of_dynamic_head_size(%q: vector<64x32xf16>, %k: tensor<1x1x?x32xf16>, %v: tensor<1x1x?x?xf16>,
                                         %r: vector<64xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{expected v of a static head size, found 'tensor<1x1x?x?xf16>' (O7)}}
  %m, %l, %o = attn.online_attention %q, %k, %v init(%r, %r, %a) scale(1.0)
      : vector<64x32xf16>, tensor<1x1x?x32xf16>, tensor<1x1x?x?xf16>, vector<64x32xf32>
  return
}

// -----

func.func @O8_scale(%q: vector<64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>) {
  // expected-error @below {{expected a finite scale, found inf (O8)}}
  %m, %l, %o = attn.online_attention %q, %q, %q init(%r, %r, %a) scale(1.0e50)
      : vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf32>
  return
}

// -----

func.func @O9_mask_without_positions(%q: vector<64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>, %p: index) {
  // expected-error @below {{expected two values for rows and two for keys with a mask or a score region, found 2 and 1 (O9)}}
  %m, %l, %o = "attn.online_attention"(%q, %q, %q, %r, %r, %a, %p, %p, %p) <{
      mask = #attn.mask<causal>, scale = 1.0 : f32, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 2, 1, 0, 0, 0>}> ({})
      : (vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>, vector<64xf32>, vector<64xf32>, vector<64x32xf32>,
         index, index, index) -> (vector<64xf32>, vector<64xf32>, vector<64x32xf32>)
  return
}

// -----

func.func @O9_positions_without_a_mask(%q: vector<64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>, %p: index) {
  // expected-error @below {{expected rows, keys, symbols, tensors and head only with a mask or a score region (O9)}}
  %m, %l, %o = "attn.online_attention"(%q, %q, %q, %r, %r, %a, %p) <{
      scale = 1.0 : f32, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0>}> ({})
      : (vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>, vector<64xf32>, vector<64xf32>, vector<64x32xf32>, index)
     -> (vector<64xf32>, vector<64xf32>, vector<64x32xf32>)
  return
}

// -----

func.func @O10_symbols(%q: vector<64x32xf16>, %r: vector<64xf32>, %a: vector<64x32xf32>, %p: index) {
  // expected-error @below {{expected a value for symbol s0 of the mask, found 0 values (O10)}}
  %m, %l, %o = "attn.online_attention"(%q, %q, %q, %r, %r, %a, %p, %p, %p, %p) <{
      mask = #attn.mask<window<s0, 0>>, scale = 1.0 : f32,
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 2, 2, 0, 0, 0>}> ({})
      : (vector<64x32xf16>, vector<64x32xf16>, vector<64x32xf16>, vector<64xf32>, vector<64xf32>, vector<64x32xf32>,
         index, index, index, index) -> (vector<64xf32>, vector<64xf32>, vector<64x32xf32>)
  return
}

// -----

func.func @T1_bounds(%lo: index) {
  // expected-error @below {{expected as many upper bounds as lower bounds, found 1 and 2 (T1)}}
  "attn.for_tiles"(%lo, %lo, %lo) <{operandSegmentSizes = array<i32: 2, 1, 0, 0, 0>}> ({}, {
  ^body(%t: index):
    attn.yield
  }) : (index, index, index) -> ()
  return
}

// -----

func.func @T1_bounds_to_except(%lo: index) {
  // expected-error @below {{expected as many upper bounds as lower bounds to except, found 0 and 1 (T1)}}
  "attn.for_tiles"(%lo, %lo, %lo) <{operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>}> ({}, {
  ^body(%t: index):
    attn.yield
  }) : (index, index, index) -> ()
  return
}

// -----

func.func @T2_no_interval() {
  // expected-error @below {{expected at least one interval, found none (T2)}}
  attn.for_tiles %t in [] {
  }
  return
}

// -----

func.func @T3_results(%lo: index, %a: f32) {
  // expected-error @below {{expected results of the types of the initial values, ('f32'), found ('f64') (T3)}}
  %r = "attn.for_tiles"(%lo, %lo, %a) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 1>}> ({}, {
  ^body(%t: index, %x: f32):
    attn.yield %x : f32
  }) : (index, index, f32) -> f64
  return
}

// -----

func.func @T4_body(%lo: index, %a: f32) {
  // expected-error @below {{expected a body of the tile number and the iteration values, ('index', 'f32'), found ('f32', 'index') (T4)}}
  %r = "attn.for_tiles"(%lo, %lo, %a) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 1>}> ({}, {
  ^body(%x: f32, %t: index):
    attn.yield %x : f32
  }) : (index, index, f32) -> f32
  return
}

// -----

func.func @T4_body_without_arguments(%lo: index) {
  // expected-error @below {{expected a body of the tile number and the iteration values, ('index'), found () (T4)}}
  "attn.for_tiles"(%lo, %lo) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>}> ({}, {
    attn.yield
  }) : (index, index) -> ()
  return
}

// -----

func.func @T5_yield(%lo: index, %a: f32) {
  // expected-error @below {{from Operation attn.yield to Region #1: successor operand type #0 'index' should match successor input type #0 'f32'}}
  %r = attn.for_tiles %t in [%lo to %lo] iter_args(%x = %a) -> (f32) {
    // expected-note @below {{region branch point}}
    attn.yield %t : index
  }
  return
}

// -----

func.func @T5_terminator(%lo: index, %c: i1) {
  // expected-error @below {{expected a body that ends with attn.yield, found 'attn.condition' (T5)}}
  attn.for_tiles %t in [%lo to %lo] {
    attn.condition %c
  }
  return
}

// -----

func.func @T6_filter(%lo: index, %a: f32) {
  // expected-error @below {{expected a filter of the tile number, ('index'), found ('index', 'f32') (T6)}}
  %r = "attn.for_tiles"(%lo, %lo, %a) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 1>}> ({
  ^filter(%t: index, %x: f32):
    %true = arith.constant true
    attn.condition %true
  }, {
  ^body(%t: index, %x: f32):
    attn.yield %x : f32
  }) : (index, index, f32) -> f32
  return
}

// -----

func.func @T6_terminator(%lo: index) {
  // expected-error @below {{expected a filter that ends with attn.condition, found 'attn.yield' (T6)}}
  attn.for_tiles %t in [%lo to %lo] where {
    attn.yield
  } {
  }
  return
}

// -----

func.func private @S1() attributes {attn.schedule =
    // expected-error @below {{q_tile must be a positive multiple of 16, found 24 (S1)}}
    #attn.schedule<q_tile = 24, kv_tile = 64, warps = 1, stages = 2, q_in_registers = false>}

// -----

func.func private @S2() attributes {attn.schedule =
    // expected-error @below {{kv_tile must be a positive multiple of 16, found 0 (S2)}}
    #attn.schedule<q_tile = 64, kv_tile = 0, warps = 1, stages = 2, q_in_registers = false>}

// -----

func.func private @S3() attributes {attn.schedule =
    // expected-error @below {{warps must be 1 to 32 and divide the 4 blocks of 16 rows of q_tile, found 3 (S3)}}
    #attn.schedule<q_tile = 64, kv_tile = 64, warps = 3, stages = 2, q_in_registers = false>}

// -----

func.func private @S4() attributes {attn.schedule =
    // expected-error @below {{stages must be 1 to 8, found 9 (S4)}}
    #attn.schedule<q_tile = 64, kv_tile = 64, warps = 4, stages = 9, q_in_registers = false>}

// -----

func.func private @S5() attributes {attn.schedule =
    // expected-error @below {{producer_registers and consumer_registers must be multiples of 8 from 24 to 240, or both 0, found 24 and 0 (S5)}}
    #attn.schedule<q_tile = 128, kv_tile = 64, warps = 8, stages = 2, q_in_registers = false, producer_registers = 24>}

// -----

func.func private @S6() attributes {attn.schedule =
    // expected-error @below {{with roles, q_tile must be 64 rows for every four warps, found 128 rows and 4 warps (S6)}}
    #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, producer_registers = 24, consumer_registers = 240>}

// -----

func.func @B1_rank(%m: tensor<128x100xi8>, %j: index) {
  // expected-error @below {{operand #0 must be 4-d tensor or memref of i1 or i8 (B1), but got 'tensor<128x100xi8>'}}
  %0 = attn.any_bit true in %m[%j] count 16 : tensor<128x100xi8>
  return
}

// -----

func.func @B2_heads(%m: tensor<1x4x128x100xi8>, %j: index) {
  // expected-error @below {{expected one batch and one head, found 'tensor<1x4x128x100xi8>' (B2)}}
  %0 = attn.any_bit true in %m[%j] count 16 : tensor<1x4x128x100xi8>
  return
}

// -----

func.func @B3_count(%m: tensor<1x1x128x100xi8>, %j: index) {
  // expected-error @below {{expected a count of at least 1, found 0 (B3)}}
  %0 = attn.any_bit true in %m[%j] count 0 : tensor<1x1x128x100xi8>
  return
}

// -----

func.func private @S7() attributes {attn.schedule =
    // expected-error @below {{overlap, turns, weights_in_shared and persistent need producer_registers and consumer_registers (S7)}}
    #attn.schedule<q_tile = 128, kv_tile = 64, warps = 8, stages = 2, q_in_registers = false, persistent = true>}

// -----

func.func private @S8() attributes {attn.schedule =
    // expected-error @below {{turns need overlap (S8)}}
    #attn.schedule<q_tile = 128, kv_tile = 64, warps = 8, stages = 2, q_in_registers = false, producer_registers = 24, consumer_registers = 240, turns = true>}

// -----

func.func @V1_rank(%k: tensor<1x100x64xf16>) {
  // expected-error @below {{operand #0 must be 4-d tensor or memref of f16, bf16 or f32 (V1), but got 'tensor<1x100x64xf16>'}}
  %0 = attn.select_rows %k first 3 count 2 step 8 : tensor<1x100x64xf16> to tensor<1x100x64xf16>
  return
}

// -----

func.func @V2_beyond_the_step(%k: tensor<1x1x100x64xf16>) {
  // expected-error @below {{expected 0 <= first, 1 <= count and first + count <= step, found first 7, count 2, step 8 (V2)}}
  %0 = attn.select_rows %k first 7 count 2 step 8 : tensor<1x1x100x64xf16> to tensor<1x1x25x64xf16>
  return
}

// -----

func.func @V2_nothing(%k: tensor<1x1x100x64xf16>) {
  // expected-error @below {{found first 0, count 0, step 8 (V2)}}
  %0 = attn.select_rows %k first 0 count 0 step 8 : tensor<1x1x100x64xf16> to tensor<1x1x0x64xf16>
  return
}

// -----

func.func @V3_number_of_rows(%k: tensor<1x1x100x64xf16>) {
  // expected-error @below {{expected a result of type 'tensor<1x1x25x64xf16>', found 'tensor<1x1x26x64xf16>' (V3)}}
  %0 = attn.select_rows %k first 3 count 2 step 8 : tensor<1x1x100x64xf16> to tensor<1x1x26x64xf16>
  return
}

// -----

func.func private @S9() attributes {attn.schedule =
    // expected-error @below {{heads must be positive and divide the 128 rows of q_tile, found 3 (S9)}}
    #attn.schedule<q_tile = 128, kv_tile = 64, warps = 8, stages = 2, q_in_registers = false, heads = 3>}

// -----

func.func @O23_heads(%q: vector<128x64xf16>, %k: vector<32x64xf16>, %m: vector<128xf32>, %a: vector<128x64xf32>, %i: index) {
  // expected-error @below {{expected a number of heads that divides the 128 rows, found 5 (O23)}}
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(1.0) mask(causal) rows(%i, %i) heads(5) keys(%i, %i)
      : vector<128x64xf16>, vector<32x64xf16>, vector<32x64xf16>, vector<128x64xf32>
  return
}

// -----

func.func @O23_head(%q: vector<128x64xf16>, %k: vector<32x64xf16>, %m: vector<128xf32>, %a: vector<128x64xf32>, %i: index) {
  // expected-error @below {{expected no head, tensors or score region with rows of several heads (O23)}}
  %0:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(1.0) mask(causal) rows(%i, %i) heads(4) keys(%i, %i) head(%i)
      : vector<128x64xf16>, vector<32x64xf16>, vector<32x64xf16>, vector<128x64xf32>
  return
}
