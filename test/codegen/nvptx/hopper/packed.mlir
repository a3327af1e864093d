// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a --attn-tile-program --attn-schedule --verify-diagnostics | FileCheck %s
// RUN: attn-opt %s --emit=ptx --target=sm_90a 2>/dev/null | FileCheck %s --check-prefix=PTX

// The rows of a residue class are a dimension of its tensor map, the class another one: a tile is a box as without a mask.
// CHECK-LABEL: func.func private @f_0
// CHECK: attn_nvptx.roles producer(32) {
// CHECK: attn_nvptx.elect
// CHECK: %[[R:.*]] = arith.remui %[[ROW:.*]], %c4{{[_0-9]*}} : index
// CHECK: arith.divui %[[ROW]], %c4
// CHECK: %[[Q:.*]] = attn_nvptx.tensor_map %{{.*}} class(%[[R]] mod 4) box(192 x 64)
// CHECK: %[[X:.*]] = arith.remui
// CHECK: %[[K:.*]] = attn_nvptx.tensor_map %{{.*}} class(%[[X]] mod 4) box(96 x 64)
// CHECK: attn_nvptx.load_box %[[Q]][%{{.*}}, %{{.*}}, %{{.*}} of %[[R]]]
// CHECK: attn_nvptx.load_box %[[K]][%{{.*}}, %{{.*}}, %{{.*}} of %[[X]]]
// CHECK: } consumers(160) {

// Two maps for each tensor: of the classes with one row more, and of what all have.
// PTX-COUNT-6: .param .align 64 .b8 f_0_param_{{[0-9]+}}[128]
// PTX-COUNT-5: cp.async.bulk.tensor.5d.shared::cluster.global
func.func @f(%q: tensor<1x2x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>) -> tensor<1x2x?x64xbf16> {
  // expected-remark @below {{runs as 4 residue classes}}
  %o = attn.attention %q, %k, %v mask(dilated<64, 64, 4>)
    : (tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> tensor<1x2x?x64xbf16>
  return %o : tensor<1x2x?x64xbf16>
}
