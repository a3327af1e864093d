// RUN: attn-opt %s --attn-tile --split-input-file --verify-diagnostics
// RUN: not attn-opt %s --attn-tile=q-tile=24 2>&1 | FileCheck %s

// CHECK: error: in the tile options: q_tile must be a positive multiple of 16, found 24

func.func @no_schedule(%q: tensor<1x1x?x64xf16>) -> tensor<1x1x?x64xf16> {
  // expected-error @+1 {{expected a schedule, found none; attn-assign-schedule gives it the default of the target, the option q-tile one for all ops}}
  %o = attn.attention %q, %q, %q
      : (tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>) -> tensor<1x1x?x64xf16>
  return %o : tensor<1x1x?x64xf16>
}
