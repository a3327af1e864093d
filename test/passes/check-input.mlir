// RUN: attn-opt %s --attn-check-input --attn-statistics 2>&1 | FileCheck %s

// CHECK: attn-check-input
// CHECK-DAG: (S) 3 attention-ops
// CHECK-DAG: (S) 2 functions

// What a function may hold passes unchanged.
// CHECK-LABEL: func.func @chain
// CHECK: arith.addi
// CHECK: attn.attention
// CHECK: attn.attention
func.func @chain(%q: tensor<1x2x?x64xf16>, %w: index) -> tensor<1x2x?x64xf16> {
  %c2 = arith.constant 2 : index
  %n = tensor.dim %q, %c2 : tensor<1x2x?x64xf16>
  %e = tensor.empty(%n) : tensor<1x2x?x64xf16>
  %m = tensor.dim %e, %c2 : tensor<1x2x?x64xf16>
  %w1 = arith.addi %w, %m : index
  %a = attn.attention %q, %q, %q mask(window<%w1, 0>)
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  %o = attn.attention %q, %a, %a
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return %o : tensor<1x2x?x64xf16>
}

// CHECK-LABEL: func.func @one
func.func @one(%q: tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16> {
  %o = attn.attention %q, %q, %q
      : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return %o : tensor<1x2x?x64xf16>
}

// CHECK-LABEL: func.func private @declared
func.func private @declared(tensor<4xf32>) -> tensor<4xf32>
