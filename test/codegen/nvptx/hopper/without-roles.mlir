// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a | FileCheck %s
// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a | attn-opt --attn-assign-schedule=target=sm_90a | FileCheck %s
// RUN: attn-opt %s --attn-nvptx=target=sm_90a -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// What warps that load and warps that compute do not share yet gets the schedules of the other targets, and keeps them.

!t = tensor<1x2x?x64xbf16>
!f = tensor<1x2x?x64xf32>

// CHECK-LABEL: func.func @plain(
// CHECK: producer_registers = 32
func.func @plain(%q: !t, %k: !t, %v: !t) -> !t {
  %o = attn.attention %q, %k, %v mask(causal) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @classes(
// CHECK: producer_registers = 32
func.func @classes(%q: !t, %k: !t, %v: !t) -> !t {
  %o = attn.attention %q, %k, %v mask(dilated<64, 64, 4>) : (!t, !t, !t) -> !t
  return %o : !t
}

// Its parts have different residue classes: they run one after the other.
// CHECK-LABEL: func.func @parts(
// CHECK: producer_registers
func.func @parts(%q: !t, %k: !t, %v: !t) -> !t {
  %o = attn.attention %q, %k, %v mask(strided<128>) : (!t, !t, !t) -> !t
  return %o : !t
}

// The last keys of each block are made adjacent.
// CHECK-LABEL: func.func @adjacent(
// CHECK: producer_registers
func.func @adjacent(%q: !t, %k: !t, %v: !t) -> !t {
  %o = attn.attention %q, %k, %v mask(fixed<128, 8>) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @continued(
// CHECK: producer_registers
func.func @continued(%q: !t, %k: !t, %v: !t, %o0: !f, %l0: tensor<1x2x?xf32>) -> !t {
  %o = attn.attention %q, %k, %v init(%o0, %l0 : !f, tensor<1x2x?xf32>) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @partial(
// CHECK: producer_registers
func.func @partial(%q: !t, %k: !t, %v: !t) -> !f {
  %o = attn.attention %q, %k, %v : (!t, !t, !t) -> !f
  return %o : !f
}

// CHECK-LABEL: func.func @score(
// CHECK: producer_registers
func.func @score(%q: !t, %k: !t, %v: !t) -> !t {
  %o = attn.attention %q, %k, %v mask(causal) softcap(30.0) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @slopes(
// CHECK: producer_registers
func.func @slopes(%q: !t, %k: !t, %v: !t, %s: tensor<2xf32>, %b: tensor<1x2x1x1xbf16>) -> !t {
  %o = attn.attention %q, %k, %v mask(causal) alibi(%s : tensor<2xf32>) bias(%b : tensor<1x2x1x1xbf16>) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @sinks(
// CHECK: producer_registers
func.func @sinks(%q: !t, %k: !t, %v: !t, %s: tensor<2xf32>) -> !t {
  %o = attn.attention %q, %k, %v sinks(%s : tensor<2xf32>) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @lengths(
// CHECK: producer_registers
func.func @lengths(%q: !t, %k: !t, %v: !t, %n: tensor<1xi32>) -> !t {
  %o = attn.attention %q, %k, %v mask(lengths(%n)) : (!t, !t, !t, tensor<1xi32>) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @blocks(
// CHECK: producer_registers
func.func @blocks(%q: !t, %k: !t, %v: !t, %n: tensor<?xi32>, %m: tensor<?xi32>) -> !t {
  %o = attn.attention %q, %k, %v mask(causal & blocks<32, 8>(%n, %m)) : (!t, !t, !t, tensor<?xi32>, tensor<?xi32>) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @documents(
// CHECK: kv_tile = 64, {{.*}}producer_registers
func.func @documents(%q: !t, %k: !t, %v: !t, %n: tensor<1x?xi32>) -> !t {
  %o = attn.attention %q, %k, %v mask(documents(%n, %n)) : (!t, !t, !t, tensor<1x?xi32>) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @f32(
// CHECK-NOT: producer_registers
// REMARK-DAG: remark: {{.*}}runs without products of warpgroups and tensor maps: its elements are f32
func.func @f32(%q: !f, %k: !f, %v: !f) -> !f {
  %o = attn.attention %q, %k, %v mask(causal) : (!f, !f, !f) -> !f
  return %o : !f
}

// CHECK-LABEL: func.func @bias(
// CHECK-NOT: producer_registers
func.func @bias(%q: !t, %k: !t, %v: !t, %b: tensor<1x2x?x?xbf16>) -> !t {
  %o = attn.attention %q, %k, %v bias(%b : tensor<1x2x?x?xbf16>) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @row_bias(
// CHECK-NOT: producer_registers
// REMARK-DAG: remark: {{.*}}runs without products of warpgroups and tensor maps: its scores change by values of each query or key
func.func @row_bias(%q: !t, %k: !t, %v: !t, %b: tensor<1x2x?x1xbf16>) -> !t {
  %o = attn.attention %q, %k, %v bias(%b : tensor<1x2x?x1xbf16>) : (!t, !t, !t) -> !t
  return %o : !t
}

// CHECK-LABEL: func.func @bits(
// CHECK-NOT: producer_registers
// REMARK-DAG: remark: {{.*}}runs without products of warpgroups and tensor maps: its mask has bits, or blocks of less than 32 queries x 8 keys
func.func @bits(%q: !t, %k: !t, %v: !t, %n: tensor<1x1x?x?xi1>) -> !t {
  %o = attn.attention %q, %k, %v mask(bits(%n)) : (!t, !t, !t, tensor<1x1x?x?xi1>) -> !t
  return %o : !t
}

// Too small for the tiles that warpgroups need.
// CHECK-LABEL: func.func @small_blocks(
// CHECK-NOT: producer_registers
func.func @small_blocks(%q: !t, %k: !t, %v: !t, %n: tensor<?xi32>, %m: tensor<?xi32>) -> !t {
  %o = attn.attention %q, %k, %v mask(blocks<16, 16>(%n, %m)) : (!t, !t, !t, tensor<?xi32>, tensor<?xi32>) -> !t
  return %o : !t
}
