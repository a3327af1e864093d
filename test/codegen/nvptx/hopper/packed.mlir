// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a --attn-tile-program --attn-schedule --verify-diagnostics | FileCheck %s

// The rows of a residue class lie a constant step apart: no box of the tensor is a tile, and the warps that load copy rows.
// CHECK-LABEL: func.func private @f_0
// CHECK-NOT: attn_nvptx.tensor_map
// CHECK: attn_nvptx.roles producer(32) {
// CHECK-NOT: attn_nvptx.load_box
// CHECK: attn_nvptx.load_rows
// CHECK: } consumers(160) {
func.func @f(%q: tensor<1x2x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>) -> tensor<1x2x?x64xbf16> {
  // expected-remark @below {{runs as 4 residue classes}}
  // expected-remark @below {{tiles are rows a constant step apart, which no tensor map describes: they are copied row by row}}
  %o = attn.attention %q, %k, %v mask(dilated<64, 64, 4>)
    : (tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> tensor<1x2x?x64xbf16>
  return %o : tensor<1x2x?x64xbf16>
}
