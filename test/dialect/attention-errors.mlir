// RUN: attn-opt %s -split-input-file -verify-diagnostics

// One function for every constraint of docs/Spec.md on attn.attention, named after it.

func.func @A1_rank(%q: tensor<2x?x64xf16>, %k: tensor<1x2x?x64xf16>) {
  // expected-error @below {{operand #0 must be 4-d tensor of f16, bf16 or f32 (A1), but got 'tensor<2x?x64xf16>'}}
  %o = attn.attention %q, %k, %k
      : (tensor<2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return
}

// -----

func.func @A1_element_type(%q: tensor<1x2x?x64xf64>) {
  // expected-error @below {{operand #0 must be 4-d tensor of f16, bf16 or f32 (A1), but got 'tensor<1x2x?x64xf64>'}}
  %o = attn.attention %q, %q, %q
      : (tensor<1x2x?x64xf64>, tensor<1x2x?x64xf64>, tensor<1x2x?x64xf64>) -> tensor<1x2x?x64xf64>
  return
}

// -----

func.func @A1_lse_type(%q: tensor<1x2x?x64xf16>) {
  // expected-error @below {{result #1 must be 3-d tensor of f32 (A1), but got 'tensor<1x2x?xf16>'}}
  %o, %lse = attn.attention %q, %q, %q
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> (tensor<1x2x?x64xf16>, tensor<1x2x?xf16>)
  return
}

// -----

// expected-note @below {{v is a 'tensor<1x2x?x64xbf16>'}}
func.func @A2_one_element_type(%q: tensor<1x2x?x64xf16>, %v: tensor<1x2x?x64xbf16>) {
  // expected-error @below {{expected q, k, v and o of one element type, or o of f32, found 'f16' for q and 'bf16' for v (A2)}}
  %o = attn.attention %q, %q, %v
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xbf16>) -> tensor<1x2x?x64xf16>
  return
}

// -----

func.func @A2_element_type_of_o(%q: tensor<1x2x?x64xf16>) {
  // expected-error @below {{expected q, k, v and o of one element type, or o of f32, found 'f16' for q and 'bf16' for o (A2)}}
  // expected-note @below {{o is a 'tensor<1x2x?x64xbf16>'}}
  %o = attn.attention %q, %q, %q
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xbf16>
  return
}

// -----

// expected-note @below {{k is a 'tensor<3x2x?x64xf16>'}}
func.func @A3_batch_of_k(%q: tensor<2x2x?x64xf16>, %k: tensor<3x2x?x64xf16>) {
  // expected-error @below {{expected q and k of one batch size, found 2 and 3 (A3)}}
  %o = attn.attention %q, %k, %k
      : (tensor<2x2x?x64xf16>, tensor<3x2x?x64xf16>, tensor<3x2x?x64xf16>) -> tensor<2x2x?x64xf16>
  return
}

// -----

// expected-note @below {{v is a 'tensor<3x2x?x64xf16>'}}
func.func @A3_batch_of_v(%q: tensor<2x2x?x64xf16>, %k: tensor<?x2x?x64xf16>, %v: tensor<3x2x?x64xf16>) {
  // expected-error @below {{expected q and v of one batch size, found 2 and 3 (A3)}}
  %o = attn.attention %q, %k, %v
      : (tensor<2x2x?x64xf16>, tensor<?x2x?x64xf16>, tensor<3x2x?x64xf16>) -> tensor<2x2x?x64xf16>
  return
}

// -----

// expected-note @below {{v is a 'tensor<1x2x?x64xf16>'}}
func.func @A4_kv_heads(%q: tensor<1x4x?x64xf16>, %v: tensor<1x2x?x64xf16>) {
  // expected-error @below {{expected k and v of one number of heads, found 4 and 2 (A4)}}
  %o = attn.attention %q, %q, %v
      : (tensor<1x4x?x64xf16>, tensor<1x4x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x4x?x64xf16>
  return
}

// -----

// expected-note @below {{k is a 'tensor<1x3x?x64xf16>'}}
func.func @A5_groups(%q: tensor<1x8x?x64xf16>, %k: tensor<1x3x?x64xf16>) {
  // expected-error @below {{expected the number of query heads to be a multiple of the 3 KV heads, found 8; 9 is the nearest above (A5)}}
  %o = attn.attention %q, %k, %k
      : (tensor<1x8x?x64xf16>, tensor<1x3x?x64xf16>, tensor<1x3x?x64xf16>) -> tensor<1x8x?x64xf16>
  return
}

// -----

// expected-note @below {{k is a 'tensor<1x0x?x64xf16>'}}
func.func @A5_no_kv_heads(%q: tensor<1x8x?x64xf16>, %k: tensor<1x0x?x64xf16>) {
  // expected-error @below {{expected the number of query heads to be a multiple of the 0 KV heads, found 8 (A5)}}
  %o = attn.attention %q, %k, %k
      : (tensor<1x8x?x64xf16>, tensor<1x0x?x64xf16>, tensor<1x0x?x64xf16>) -> tensor<1x8x?x64xf16>
  return
}

// -----

// expected-note @below {{q is a 'tensor<1x2x?x20xf16>'}}
func.func @A6_head_size(%q: tensor<1x2x?x20xf16>) {
  // expected-error @below {{head size must be a multiple of 8 in 16..256, found 20; 24 is the nearest above (A6)}}
  %o = attn.attention %q, %q, %q
      : (tensor<1x2x?x20xf16>, tensor<1x2x?x20xf16>, tensor<1x2x?x20xf16>) -> tensor<1x2x?x20xf16>
  return
}

// -----

// expected-note @below {{q is a 'tensor<1x2x?x8xf16>'}}
func.func @A6_small_head_size(%q: tensor<1x2x?x8xf16>) {
  // expected-error @below {{head size must be a multiple of 8 in 16..256, found 8; 16 is the nearest above (A6)}}
  %o = attn.attention %q, %q, %q
      : (tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>) -> tensor<1x2x?x8xf16>
  return
}

// -----

// expected-note @below {{q is a 'tensor<1x2x?x264xf16>'}}
func.func @A6_large_head_size(%q: tensor<1x2x?x264xf16>) {
  // expected-error @below {{head size must be a multiple of 8 in 16..256, found 264; 256 is the nearest below (A6)}}
  %o = attn.attention %q, %q, %q
      : (tensor<1x2x?x264xf16>, tensor<1x2x?x264xf16>, tensor<1x2x?x264xf16>) -> tensor<1x2x?x264xf16>
  return
}

// -----

// expected-note @below {{q is a 'tensor<1x2x?x?xf16>'}}
func.func @A6_dynamic_head_size(%q: tensor<1x2x?x?xf16>) {
  // expected-error @below {{expected a static head size, the last dimension of q, found '?' (A6)}}
  %o = attn.attention %q, %q, %q
      : (tensor<1x2x?x?xf16>, tensor<1x2x?x?xf16>, tensor<1x2x?x?xf16>) -> tensor<1x2x?x?xf16>
  return
}

// -----

// expected-note @below {{k is a 'tensor<1x2x?x?xf16>'}}
func.func @A6_dynamic_head_size_of_k(%q: tensor<1x2x?x64xf16>, %k: tensor<1x2x?x?xf16>) {
  // expected-error @below {{expected a static head size, the last dimension of k, found '?' (A6)}}
  %o = attn.attention %q, %k, %q
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x?xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return
}

// -----

// expected-note @below {{k is a 'tensor<1x2x?x32xf16>'}}
func.func @A7_head_sizes_differ(%q: tensor<1x2x?x64xf16>, %k: tensor<1x2x?x32xf16>) {
  // expected-error @below {{expected q and k of one head size, found 64 and 32 (A7)}}
  %o = attn.attention %q, %k, %q
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x32xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return
}

// -----

// expected-note @below {{v is a 'tensor<1x2x?x100xf16>'}}
func.func @A8_head_size_of_v(%q: tensor<1x2x?x64xf16>, %v: tensor<1x2x?x100xf16>) {
  // expected-error @below {{head size of v must be a multiple of 8 in 16..256, found 100; 104 is the nearest above (A8)}}
  %o = attn.attention %q, %q, %v
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x100xf16>) -> tensor<1x2x?x100xf16>
  return
}

// -----

// expected-note @below {{v is a 'tensor<1x2x?x?xf16>'}}
func.func @A8_dynamic_head_size_of_v(%q: tensor<1x2x?x64xf16>, %v: tensor<1x2x?x?xf16>) {
  // expected-error @below {{expected a static head size of v, the last dimension of v, found '?' (A8)}}
  %o = attn.attention %q, %q, %v
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x?xf16>) -> tensor<1x2x?x?xf16>
  return
}

// -----

// expected-note @below {{v is a 'tensor<1x2x99x64xf16>'}}
func.func @A9_lengths(%q: tensor<1x2x?x64xf16>, %k: tensor<1x2x100x64xf16>, %v: tensor<1x2x99x64xf16>) {
  // expected-error @below {{expected k and v of one length, found 100 and 99 (A9)}}
  %o = attn.attention %q, %k, %v
      : (tensor<1x2x?x64xf16>, tensor<1x2x100x64xf16>, tensor<1x2x99x64xf16>) -> tensor<1x2x?x64xf16>
  return
}

// -----

func.func @A10_shape_of_o(%q: tensor<1x2x?x64xf16>, %v: tensor<1x2x?x32xf16>) {
  // expected-error @below {{expected o to be 'tensor<1x2x?x32xf16>', found 'tensor<1x2x?x64xf16>' (A10)}}
  %o = attn.attention %q, %q, %v
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x32xf16>) -> tensor<1x2x?x64xf16>
  return
}

// -----

func.func @A11_shape_of_lse(%q: tensor<1x2x7x64xf16>) {
  // expected-error @below {{expected lse to be 'tensor<1x2x7xf32>', found 'tensor<1x7x2xf32>' (A11)}}
  %o, %lse = attn.attention %q, %q, %q
      : (tensor<1x2x7x64xf16>, tensor<1x2x7x64xf16>, tensor<1x2x7x64xf16>) -> (tensor<1x2x7x64xf16>, tensor<1x7x2xf32>)
  return
}

// -----

func.func @A12_scale(%q: tensor<1x2x?x64xf16>) {
  // expected-error @below {{expected a finite scale, found inf (A12)}}
  %o = "attn.attention"(%q, %q, %q) <{
      mask = #attn.mask<all>, alignment = #attn<alignment end>, scale = 0x7F800000 : f32,
      operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0>}> ({})
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return
}

// -----

func.func @A12_scale_too_large(%q: tensor<1x2x?x64xf16>) {
  // expected-error @below {{expected a finite scale, found -inf (A12)}}
  %o = attn.attention %q, %q, %q scale(-1.0e39)
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return
}

// -----

func.func @A13_offset_without_its_alignment(%q: tensor<1x2x?x64xf16>, %x: index) {
  // expected-error @below {{expected an offset only with alignment offset, found alignment start (A13)}}
  %o = "attn.attention"(%q, %q, %q, %x) <{
      mask = #attn.mask<all>, alignment = #attn<alignment start>, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0>}> ({})
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, index) -> tensor<1x2x?x64xf16>
  return
}

// -----

func.func @A13_alignment_without_its_offset(%q: tensor<1x2x?x64xf16>) {
  // expected-error @below {{expected an offset with alignment offset, found none (A13)}}
  %o = "attn.attention"(%q, %q, %q) <{
      mask = #attn.mask<all>, alignment = #attn<alignment offset>, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0>}> ({})
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return
}

// -----

// expected-note @below {{the offset is a 'tensor<3xi32>'}}
func.func @A14_number_of_offsets(%q: tensor<2x2x?x64xf16>, %x: tensor<3xi32>) {
  // expected-error @below {{expected one offset for each of the 2 batches, found 3 (A14)}}
  %o = attn.attention %q, %q, %q align(%x : tensor<3xi32>)
      : (tensor<2x2x?x64xf16>, tensor<2x2x?x64xf16>, tensor<2x2x?x64xf16>) -> tensor<2x2x?x64xf16>
  return
}

// -----

func.func @A14_type_of_the_offset(%q: tensor<2x2x?x64xf16>, %x: i32) {
  // expected-error @below {{operand #3 must be index or 1-d tensor of i32, i64 or index (A14), but got 'i32'}}
  %o = attn.attention %q, %q, %q align(%x : i32)
      : (tensor<2x2x?x64xf16>, tensor<2x2x?x64xf16>, tensor<2x2x?x64xf16>) -> tensor<2x2x?x64xf16>
  return
}

// -----

func.func @A15_symbol_without_a_value(%q: tensor<1x2x?x64xf16>, %w: index) {
  // expected-error @below {{expected a value for symbol s1 of the mask, found 1 values (A15)}}
  %o = "attn.attention"(%q, %q, %q, %w) <{
      mask = #attn.mask<window<s0, s1>>, alignment = #attn<alignment end>,
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0>}> ({})
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, index) -> tensor<1x2x?x64xf16>
  return
}

// -----

// expected-note @below {{s0 is bound to this value}}
func.func @A15_value_without_a_symbol(%q: tensor<1x2x?x64xf16>, %w: index) {
  // expected-error @below {{expected every bound value to occur in the mask, found no s0 in 'causal & window<s1, 0>' (A15)}}
  %o = "attn.attention"(%q, %q, %q, %w, %w) <{
      mask = #attn.mask<causal & window<s1, 0>>, alignment = #attn<alignment end>,
      operandSegmentSizes = array<i32: 1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0>}> ({})
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, index, index) -> tensor<1x2x?x64xf16>
  return
}

// -----

func.func @A16_heads_that_do_not_exist(%q: tensor<1x8x?x64xf16>) {
  // expected-error @below {{expected the range of 'heads<4, 12>' to lie in the 8 query heads, found 12; 8 is the nearest (A16)}}
  %o = attn.attention %q, %q, %q mask(heads<0, 4> & causal | heads<4, 12>)
      : (tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16>
  return
}

// -----

func.func @A16_negative_head(%q: tensor<1x8x?x64xf16>) {
  // expected-error @below {{expected the range of 'heads<-1, 4>' to lie in the 8 query heads, found -1; 0 is the nearest (A16)}}
  %o = attn.attention %q, %q, %q mask(!heads<-1, 4>)
      : (tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16>
  return
}

// -----

func.func @A20_shape_of_o(%q: tensor<1x8x?x64xf16>, %o: tensor<1x8x?x32xf32>, %l: tensor<1x8x?xf32>) {
  // expected-error @below {{expected the initial o to be 'tensor<1x8x?x64xf32>', found 'tensor<1x8x?x32xf32>' (A20)}}
  %r = attn.attention %q, %q, %q init(%o, %l : tensor<1x8x?x32xf32>, tensor<1x8x?xf32>)
      : (tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16>
  return
}

// -----

func.func @A20_shape_of_lse(%q: tensor<1x8x40x64xf16>, %o: tensor<1x8x40x64xf32>, %l: tensor<1x8x41xf32>) {
  // expected-error @below {{expected the initial lse to be 'tensor<1x8x40xf32>', found 'tensor<1x8x41xf32>' (A20)}}
  %r = attn.attention %q, %q, %q init(%o, %l : tensor<1x8x40x64xf32>, tensor<1x8x41xf32>)
      : (tensor<1x8x40x64xf16>, tensor<1x8x40x64xf16>, tensor<1x8x40x64xf16>) -> tensor<1x8x40x64xf16>
  return
}

// -----

func.func @A20_element_type(%q: tensor<1x8x?x64xf16>, %l: tensor<1x8x?xf32>) {
  // expected-error @below {{operand #3 must be 4-d tensor of f32 (A20), but got 'tensor<1x8x?x64xf16>'}}
  %r = attn.attention %q, %q, %q init(%q, %l : tensor<1x8x?x64xf16>, tensor<1x8x?xf32>)
      : (tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16>
  return
}

// -----

func.func @A20_only_one(%q: tensor<1x8x?x64xf16>, %l: tensor<1x8x?xf32>) {
  // expected-error @below {{expected an initial o with an initial lse, found only one of the two (A20)}}
  %r = "attn.attention"(%q, %q, %q, %l) <{alignment = #attn<alignment end>, mask = #attn.mask<all>,
      operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1>}> ({})
      : (tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?xf32>) -> tensor<1x8x?x64xf16>
  return
}

// -----

func.func @clause_twice(%q: tensor<1x8x?x64xf16>) {
  // expected-error @below {{clause 'mask' is given twice}}
  %o = attn.attention %q, %q, %q mask(causal) scale(1.0) mask(all)
      : (tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16>
  return
}

// -----

func.func @types(%q: tensor<1x8x?x64xf16>) {
  // expected-error @below {{expected the types of q, k, v -> the types of o and, if wanted, lse}}
  %o = attn.attention %q, %q, %q : (tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16>
  return
}

// -----

func.func @missing_mask(%q: tensor<1x8x?x64xf16>) {
  // expected-error @below {{requires attribute 'mask'}}
  %o = "attn.attention"(%q, %q, %q) <{
      alignment = #attn<alignment end>, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0>}> ({})
      : (tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16>
  return
}
