// RUN: attn-opt %s | attn-opt | FileCheck %s
// RUN: attn-opt %s -canonicalize | FileCheck %s --check-prefix=CANON

// CHECK-LABEL: func.func @all_of_them
// CHECK: attn.attention %arg0, %arg0, %arg0 mask(causal & lengths(%arg1) | !documents(%arg2, %arg2) & blocks<64, 32>(%arg3, %arg4) | window<%arg6, 0> & bits(%arg5))
// CHECK-SAME: tensor<2xi32>, tensor<2x100xi64>, tensor<3xi32>, tensor<?xi32>, tensor<1x4x100x1xi1>) -> tensor<2x4x100x64xf16>
func.func @all_of_them(%q: tensor<2x4x100x64xf16>, %l: tensor<2xi32>, %i: tensor<2x100xi64>, %r: tensor<3xi32>,
                       %c: tensor<?xi32>, %m: tensor<1x4x100x1xi1>, %w: index) -> tensor<2x4x100x64xf16> {
  %o = attn.attention %q, %q, %q
      mask(causal & lengths(%l) | !documents(%i, %i) & blocks<64, 32>(%r, %c) | window<%w, 0> & bits(%m))
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi32>, tensor<2x100xi64>,
         tensor<3xi32>, tensor<?xi32>, tensor<1x4x100x1xi1>) -> tensor<2x4x100x64xf16>
  return %o : tensor<2x4x100x64xf16>
}

// What the mask does not need is not bound; what is bound is bound once.
// CANON-LABEL: func.func @superfluous
// CANON: mask(causal & documents(%arg1, %arg1))
// CANON-SAME: tensor<2x4x100x64xf16>, tensor<2x100xi64>) ->
// CHECK-LABEL: func.func @superfluous
func.func @superfluous(%q: tensor<2x4x100x64xf16>, %i: tensor<2x100xi64>, %l: tensor<2xi32>) -> tensor<2x4x100x64xf16> {
  %o = "attn.attention"(%q, %q, %q, %l, %i, %i) <{
      mask = #attn.mask<lengths(t0) & !all | causal & documents(t2, t1) & all>, alignment = #attn<alignment end>,
      operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 3, 0, 0, 0, 0>}> ({})
      : (tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2x4x100x64xf16>, tensor<2xi32>, tensor<2x100xi64>,
         tensor<2x100xi64>) -> tensor<2x4x100x64xf16>
  return %o : tensor<2x4x100x64xf16>
}
