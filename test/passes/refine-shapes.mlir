// RUN: attn-opt %s --pass-pipeline='builtin.module(func.func(attn-refine-shapes))' --split-input-file | FileCheck %s
// RUN: attn-opt %s --pass-pipeline='builtin.module(func.func(attn-refine-shapes))' --split-input-file --attn-statistics 2>&1 >/dev/null \
// RUN:   | FileCheck %s --check-prefix=STATISTICS
// STATISTICS: refined

// The result states the batch size of the arguments, v the length of k.
// CHECK-LABEL: func.func @result
// CHECK-SAME: (%[[Q:.*]]: tensor<3x4x?x32xf16>, %{{.*}}: tensor<3x2x77x32xf16>, %{{.*}}: tensor<3x2x77x32xf16>) -> tensor<3x4x?x32xf16>
func.func @result(%q: tensor<?x4x?x32xf16>, %k: tensor<?x?x?x32xf16>, %v: tensor<?x2x77x32xf16>) -> tensor<3x?x?x32xf16> {
  %o = attn.attention %q, %k, %v : (tensor<?x4x?x32xf16>, tensor<?x?x?x32xf16>, tensor<?x2x77x32xf16>) -> tensor<3x?x?x32xf16>
  return %o : tensor<3x?x?x32xf16>
}

// -----

// Through a chain, and to the offsets.
// CHECK-LABEL: func.func @chain
// CHECK-SAME: (%{{.*}}: tensor<2x1x9x32xf16>, %{{.*}}: tensor<2xi32>) -> (tensor<2x1x9x32xf16>, tensor<2x1x9xf32>)
func.func @chain(%q: tensor<?x1x?x32xf16>, %x: tensor<?xi32>) -> (tensor<?x1x?x32xf16>, tensor<?x?x9xf32>) {
  %a = attn.attention %q, %q, %q align(%x : tensor<?xi32>)
      : (tensor<?x1x?x32xf16>, tensor<?x1x?x32xf16>, tensor<?x1x?x32xf16>) -> tensor<2x1x?x32xf16>
  %o, %lse = attn.attention %a, %q, %q
      : (tensor<2x1x?x32xf16>, tensor<?x1x?x32xf16>, tensor<?x1x?x32xf16>) -> (tensor<?x1x?x32xf16>, tensor<?x?x9xf32>)
  return %o, %lse : tensor<?x1x?x32xf16>, tensor<?x?x9xf32>
}

// -----

// What is open stays open.
// CHECK-LABEL: func.func @open
// CHECK-SAME: (%{{.*}}: tensor<?x?x?x32xf16>) -> tensor<?x?x?x32xf16>
func.func @open(%q: tensor<?x?x?x32xf16>) -> tensor<?x?x?x32xf16> {
  %o = attn.attention %q, %q, %q : (tensor<?x?x?x32xf16>, tensor<?x?x?x32xf16>, tensor<?x?x?x32xf16>) -> tensor<?x?x?x32xf16>
  return %o : tensor<?x?x?x32xf16>
}
