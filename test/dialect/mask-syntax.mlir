// RUN: attn-opt %s | FileCheck %s
// RUN: attn-opt %s | attn-opt | FileCheck %s
// RUN: attn-opt %s --mlir-print-op-generic | attn-opt | FileCheck %s

// The clause in all its forms, read back from its own output and from the generic form.

// CHECK-LABEL: @precedence
func.func @precedence(%q: tensor<1x2x?x64xf16>, %w: index) -> tensor<1x2x?x64xf16> {
  // CHECK: mask(causal & !window<%[[W:.*]], 0> | (heads<0, 1> | keys<0, %[[W]]>) & queries<0, inf>)
  %o = attn.attention %q, %q, %q mask(causal & !window<%w, 0> | (heads<0, 1> | keys<0, %w>) & queries<0, inf>)
    : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return %o : tensor<1x2x?x64xf16>
}

// CHECK-LABEL: @composites
func.func @composites(%q: tensor<1x2x?x64xf16>, %w: index) -> tensor<1x2x?x64xf16> {
  // CHECK: mask(window<8, 8> | global<%{{.*}}>)
  %o = attn.attention %q, %q, %q mask(longformer<8, %w>)
    : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return %o : tensor<1x2x?x64xf16>
}

// CHECK-LABEL: @literal
func.func @literal(%q: tensor<1x2x?x64xf16>, %w: index) -> tensor<1x2x?x64xf16> {
  // CHECK: mask(affine_set<(d0, d1, d2)[s0] : (d1 - d2 - s0 >= 0, (d1 + d2) mod 4 == 0)>(%{{.*}}) | causal)
  %o = attn.attention %q, %q, %q mask(affine_set<(h, i, j)[n] : (i - j >= n, (i + j) mod 4 == 0)>(%w) | causal)
    : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return %o : tensor<1x2x?x64xf16>
}
