// RUN: attn-opt %s --attn-check-input --split-input-file --verify-diagnostics

func.func @other_op(%q: tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16> {
  %o = attn.attention %q, %q, %q
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  // expected-error @+1 {{'arith.addf' op cannot be compiled here; a function may hold attn.attention, tensor.empty, tensor.dim, constants and arith, affine and index ops on scalars, and return}}
  %r = arith.addf %o, %q : tensor<1x2x?x64xf16>
  return %r : tensor<1x2x?x64xf16>
}

// -----

func.func @constant_tensor(%q: tensor<2x2x100x64xf16>) -> tensor<2x2x100x64xf16> {
  // expected-error @+1 {{'arith.constant' op is a tensor, and kernels hold none: expected an argument of the function in its place, for which the caller passes the values}}
  %c = arith.constant dense<[70, 99]> : tensor<2xi32>
  // expected-note @+1 {{operand #3 of attn.attention reads it here}}
  %o = attn.attention %q, %q, %q mask(lengths(%c))
      : (tensor<2x2x100x64xf16>, tensor<2x2x100x64xf16>, tensor<2x2x100x64xf16>, tensor<2xi32>) -> tensor<2x2x100x64xf16>
  return %o : tensor<2x2x100x64xf16>
}

// -----

func.func @control_flow(%q: tensor<1x2x?x64xf16>, %c: i1) -> tensor<1x2x?x64xf16> {
  // expected-error @+1 {{'scf.if' op cannot be compiled here}}
  %o = scf.if %c -> tensor<1x2x?x64xf16> {
    %a = attn.attention %q, %q, %q
        : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
    scf.yield %a : tensor<1x2x?x64xf16>
  } else {
    scf.yield %q : tensor<1x2x?x64xf16>
  }
  return %o : tensor<1x2x?x64xf16>
}

// -----

// expected-error @+1 {{expected straight-line code, found 2 blocks}}
func.func @branches(%q: tensor<1x2x?x64xf16>) {
  cf.br ^next
^next:
  return
}

// -----

// expected-note @+1 {{the value is defined here}}
func.func @returns_argument(%q: tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16> {
  // expected-error @+1 {{expected result #0 to be a result of attn.attention, found an argument; no kernel would write it}}
  return %q : tensor<1x2x?x64xf16>
}

// -----

func.func @returns_twice(%q: tensor<1x2x?x64xf16>) -> (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) {
  %o = attn.attention %q, %q, %q
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  // expected-error @+1 {{result #1 is the same value as result #0; return it once and let the caller use it twice}}
  return %o, %o : tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>
}

// -----

func.func @returns_scalar(%w: index) -> index {
  // expected-error @+1 {{expected only tensors to be returned, found result #0 of type 'index'}}
  return %w : index
}

// -----

func.func @uninitialised(%q: tensor<1x2x4x64xf16>) -> tensor<1x2x4x64xf16> {
  // expected-note @+1 {{it is made here}}
  %e = tensor.empty() : tensor<1x2x4x64xf16>
  // expected-error @+1 {{reads an uninitialised tensor}}
  %o = attn.attention %q, %e, %q
      : (tensor<1x2x4x64xf16>, tensor<1x2x4x64xf16>, tensor<1x2x4x64xf16>) -> tensor<1x2x4x64xf16>
  return %o : tensor<1x2x4x64xf16>
}
