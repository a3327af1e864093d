// RUN: attn-opt %s -split-input-file -verify-diagnostics

func.func @A17_floats(%q: tensor<2x4x100x64xf16>, %l: tensor<2xf32>) {
  // expected-error @below {{operand #3 must be variadic of ranked tensor of i1, i8, i32 or i64 (A17), but got 'tensor<2xf32>'}}
  %o = attn.attention %q, %q, %q mask(lengths(%l))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xf32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

func.func @A21_no_tensor(%q: tensor<2x4x100x64xf16>, %l: tensor<2xi32>) {
  // expected-error @below {{expected a tensor for t1 of the mask, found 1 tensors (A21)}}
  %o = "attn.attention"(%q, %q, %q, %l) <{
      mask = #attn.mask<documents(t0, t1)>, alignment = #attn<alignment end>,
      operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0>}> ({})
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

// expected-note @below {{t0 is bound to this value}}
func.func @A21_tensor_without_an_atom(%q: tensor<2x4x100x64xf16>, %l: tensor<2xi32>) {
  // expected-error @below {{expected every tensor to occur in the mask, found no t0 in 'causal' (A21)}}
  %o = "attn.attention"(%q, %q, %q, %l) <{
      mask = #attn.mask<causal>, alignment = #attn<alignment end>,
      operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0>}> ({})
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

// expected-note @below {{a tensor of the mask is this 'tensor<3xi32>'}}
func.func @A22_batches(%q: tensor<2x4x100x64xf16>, %l: tensor<3xi32>) {
  // expected-error @below {{'lengths(t0)': expected the lengths to be 2, found 3 (A22)}}
  %o = attn.attention %q, %q, %q mask(causal & lengths(%l))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<3xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

// expected-note @below {{the tensor is this value}}
func.func @A22_bytes(%q: tensor<2x4x100x64xf16>, %l: tensor<2xi8>) {
  // expected-error @below {{expected a tensor of i32 or i64 in 'lengths(t0)', found 'tensor<2xi8>' (A22)}}
  %o = attn.attention %q, %q, %q mask(lengths(%l))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi8>) -> tensor<2x4x100x64xf16>
  return
}

// -----

// expected-note @below {{a tensor of the mask is this 'tensor<2x100xi32>'}}
// expected-note @below {{a tensor of the mask is this 'tensor<2x90xi32>'}}
func.func @A23_keys(%q: tensor<2x4x100x64xf16>, %i: tensor<2x100xi32>, %j: tensor<2x90xi32>) {
  // expected-error @below {{'documents(t0, t1)': expected the ids of the keys to be 2x100, found 2x90 (A23)}}
  %o = attn.attention %q, %q, %q mask(documents(%i, %j))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x100xi32>, tensor<2x90xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

func.func @A23_types(%q: tensor<2x4x100x64xf16>, %i: tensor<2x100xi32>, %j: tensor<2x100xi64>) {
  // expected-error @below {{expected the tensors of 'documents(t0, t1)' to have one element type, found 'tensor<2x100xi32>' and 'tensor<2x100xi64>' (A23)}}
  %o = attn.attention %q, %q, %q mask(documents(%i, %j))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x100xi32>, tensor<2x100xi64>) -> tensor<2x4x100x64xf16>
  return
}

// -----

// expected-note @below {{a tensor of the mask is this 'tensor<2xi32>'}}
// expected-note @below {{a tensor of the mask is this 'tensor<?xi32>'}}
func.func @A24_rows(%q: tensor<2x4x100x64xf16>, %r: tensor<2xi32>, %c: tensor<?xi32>) {
  // expected-error @below {{'blocks<64, 32>(t0, t1)': expected the row offsets of the table to be 3, found 2 (A24)}}
  %o = attn.attention %q, %q, %q mask(blocks<64, 32>(%r, %c))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi32>, tensor<?xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

// expected-note @below {{a tensor of the mask is this 'tensor<2x4x100x99xi1>'}}
func.func @A30_sizes(%q: tensor<2x4x100x64xf16>, %m: tensor<2x4x100x99xi1>) {
  // expected-error @below {{'bits(t0)': expected the bits to be 2x4x100x100, found 2x4x100x99 (A30)}}
  %o = attn.attention %q, %q, %q mask(bits(%m))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x99xi1>) -> tensor<2x4x100x64xf16>
  return
}

// -----

// expected-note @below {{the tensor is this value}}
func.func @A30_words(%q: tensor<2x4x100x64xf16>, %m: tensor<2x1x100x100xi32>) {
  // expected-error @below {{expected a tensor of i1 or i8 in 'bits(t0)', found 'tensor<2x1x100x100xi32>' (A30)}}
  %o = attn.attention %q, %q, %q mask(bits(%m))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x1x100x100xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

func.func @R10_constant_length(%q: tensor<2x4x100x64xf16>) {
  // expected-note @below {{a tensor of the mask is this 'tensor<2xi32>'}}
  %l = arith.constant dense<[7, 101]> : tensor<2xi32>
  // expected-error @below {{'lengths(t0)': expected the lengths to lie in 0..100, the 100 keys stored, found 101 at 1 (R10)}}
  %o = attn.attention %q, %q, %q mask(lengths(%l))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

// expected-note @below {{a tensor of the mask is this 'tensor<1x3xi64>'}}
func.func @R11_constant_ids(%q: tensor<1x4x3x64xf16>, %i: tensor<1x3xi64>) {
  // expected-note @below {{a tensor of the mask is this 'tensor<1x3xi64>'}}
  %j = arith.constant dense<[[0, 2, 1]]> : tensor<1x3xi64>
  // expected-error @below {{'documents(t0, t1)': expected the ids of the keys not to decrease, found 1 after 2 at 2 (R11)}}
  %o = attn.attention %q, %q, %q mask(documents(%i, %j))
      : (tensor<1x4x3x64xf16>, tensor<1x4x3x64xf16>, tensor<1x4x3x64xf16>, tensor<1x3xi64>, tensor<1x3xi64>) -> tensor<1x4x3x64xf16>
  return
}

// -----

// expected-note @below {{a tensor of the mask is this 'tensor<5xi32>'}}
func.func @R12_constant_rows(%q: tensor<2x4x100x64xf16>, %c: tensor<5xi32>) {
  // expected-note @below {{a tensor of the mask is this 'tensor<3xi32>'}}
  %r = arith.constant dense<[0, 3, 6]> : tensor<3xi32>
  // expected-error @below {{'blocks<64, 32>(t0, t1)': expected the row offsets of the table to lie in 0..5, the 5 columns listed, found 6 at 2 (R12)}}
  %o = attn.attention %q, %q, %q mask(blocks<64, 32>(%r, %c))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<3xi32>, tensor<5xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

func.func @R13_constant_columns(%q: tensor<2x4x100x64xf16>) {
  // expected-note @below {{a tensor of the mask is this 'tensor<3xi32>'}}
  %r = arith.constant dense<[0, 2, 4]> : tensor<3xi32>
  // expected-note @below {{a tensor of the mask is this 'tensor<4xi32>'}}
  %c = arith.constant dense<[2, 3, 1, 1]> : tensor<4xi32>
  // expected-error @below {{'blocks<64, 32>(t0, t1)': expected the columns of a row of the table to rise, found 1 after 1 at 3 (R13)}}
  %o = attn.attention %q, %q, %q mask(blocks<64, 32>(%r, %c))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<3xi32>, tensor<4xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

func.func @type_missing(%q: tensor<2x4x100x64xf16>, %l: tensor<2xi32>) {
  // expected-error @below {{expected the types of q, k, v and the mask's tensors -> the types of o and, if wanted, lse}}
  %o = attn.attention %q, %q, %q mask(lengths(%l))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>) -> tensor<2x4x100x64xf16>
  return
}

// -----

func.func @one_tensor_too_few(%q: tensor<2x4x100x64xf16>, %l: tensor<2xi32>) {
  // expected-error @below {{expected ',' in 'documents', which takes 2 tensors (M1)}}
  %o = attn.attention %q, %q, %q mask(documents(%l))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

func.func @block_of_no_rows(%q: tensor<2x4x100x64xf16>, %l: tensor<2xi32>) {
  // expected-error @below {{the block height of 'blocks' must be at least 1, found 0 (M5)}}
  %o = attn.attention %q, %q, %q mask(blocks<0, 64>(%l, %l))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi32>) -> tensor<2x4x100x64xf16>
  return
}

// -----

func.func @O11_no_tensor(%q: vector<16x16xf16>, %k: tensor<1x1x?x16xf16>, %m: vector<16xf32>, %a: vector<16x16xf32>, %x: index) {
  // expected-error @below {{expected a tensor for t0 of the mask, found 0 tensors (O11)}}
  %r:3 = "attn.online_attention"(%q, %k, %k, %m, %m, %a, %x, %x, %x, %x) <{
      mask = #attn.mask<bits(t0)>, scale = 1.0 : f32,
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 2, 2, 0, 0, 0>}> ({})
      : (vector<16x16xf16>, tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>, vector<16xf32>, vector<16xf32>, vector<16x16xf32>,
         index, index, index, index) -> (vector<16xf32>, vector<16xf32>, vector<16x16xf32>)
  return
}

// -----

func.func @O12_vector_with_slices(%q: vector<16x16xf16>, %k: tensor<1x1x?x16xf16>, %m: vector<16xf32>,
                                  %a: vector<16x16xf32>, %x: index, %b: vector<16x1xi1>) {
  // expected-error @below {{expected tensors for the mask, as k and v are slices, found 'vector<16x1xi1>' (O12)}}
  %r:3 = attn.online_attention %q, %k, %k init(%m, %m, %a) scale(1.0) mask(bits(%b)) rows(%x, %x) keys(%x, %x)
      : vector<16x16xf16>, tensor<1x1x?x16xf16>, tensor<1x1x?x16xf16>, vector<16x16xf32>, vector<16x1xi1>
  return
}
