// RUN: attn-opt %s --pass-pipeline='builtin.module(func.func(attn-refine-shapes))' --verify-diagnostics

// expected-error @below {{the types make one size both 2 and 3; no input fits}}
func.func @contradiction(%q: tensor<?x1x?x32xf16>) -> (tensor<2x1x?x32xf16>, tensor<3x1x?x32xf16>) {
  %a = attn.attention %q, %q, %q
      : (tensor<?x1x?x32xf16>, tensor<?x1x?x32xf16>, tensor<?x1x?x32xf16>) -> tensor<2x1x?x32xf16>
  %b = attn.attention %q, %q, %q
      : (tensor<?x1x?x32xf16>, tensor<?x1x?x32xf16>, tensor<?x1x?x32xf16>) -> tensor<3x1x?x32xf16>
  return %a, %b : tensor<2x1x?x32xf16>, tensor<3x1x?x32xf16>
}
