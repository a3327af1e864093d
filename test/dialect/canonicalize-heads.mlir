// RUN: attn-opt %s --canonicalize | FileCheck %s

// A range of heads that only a run-time value makes too long is legal, and stays so when the value turns out to be a constant.

// CHECK-LABEL: @too_long
func.func @too_long(%q: tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16> {
  // CHECK: %[[N:.*]] = arith.constant 12 : index
  %n = arith.constant 12 : index
  // CHECK: mask(heads<3, %[[N]]> & causal)
  %o = attn.attention %q, %q, %q mask(heads<3, %n> & causal)
      : (tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16>
  return %o : tensor<1x8x?x64xf16>
}

// CHECK-LABEL: @fits
func.func @fits(%q: tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16> {
  %n = arith.constant 7 : index
  // CHECK: mask(heads<3, 7> & causal)
  %o = attn.attention %q, %q, %q mask(heads<3, %n> & causal)
      : (tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>, tensor<1x8x?x64xf16>) -> tensor<1x8x?x64xf16>
  return %o : tensor<1x8x?x64xf16>
}
