// RUN: attn-opt %s --attn-tile --split-input-file --verify-diagnostics

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, heads = 4>

func.func @dynamic(%q: tensor<1x?x?x64xf16>) -> tensor<1x?x?x64xf16> {
  // expected-error @below {{cannot have tiles with the rows of 4 heads: the numbers of heads are not static}}
  %o = attn.attention %q, %q, %q schedule(#s) : (tensor<1x?x?x64xf16>, tensor<1x?x?x64xf16>, tensor<1x?x?x64xf16>) -> tensor<1x?x?x64xf16>
  return %o : tensor<1x?x?x64xf16>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, heads = 4>

func.func @group(%q: tensor<1x6x?x64xf16>, %k: tensor<1x1x?x64xf16>) -> tensor<1x6x?x64xf16> {
  // expected-error @below {{cannot have tiles with the rows of 4 heads: a group of 6 query heads is neither a multiple of 4 nor at most that}}
  %o = attn.attention %q, %k, %k schedule(#s) : (tensor<1x6x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>) -> tensor<1x6x?x64xf16>
  return %o : tensor<1x6x?x64xf16>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, heads = 4>

func.func @head(%q: tensor<1x4x?x64xf16>, %k: tensor<1x1x?x64xf16>) -> tensor<1x4x?x64xf16> {
  // expected-error @below {{cannot have tiles with the rows of 4 heads: the mask depends on the head}}
  %o = attn.attention %q, %k, %k mask(heads<0, 2> | causal) schedule(#s)
    : (tensor<1x4x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>) -> tensor<1x4x?x64xf16>
  return %o : tensor<1x4x?x64xf16>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, heads = 4>

func.func @documents(%q: tensor<1x4x?x64xf16>, %k: tensor<1x1x?x64xf16>, %d: tensor<1x?xi32>) -> tensor<1x4x?x64xf16> {
  // expected-error @below {{cannot have tiles with the rows of 4 heads: the mask has tensors with values for each query}}
  %o = attn.attention %q, %k, %k mask(documents(%d, %d)) schedule(#s)
    : (tensor<1x4x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x?xi32>) -> tensor<1x4x?x64xf16>
  return %o : tensor<1x4x?x64xf16>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, heads = 4>

func.func @sinks(%q: tensor<1x4x?x64xf16>, %k: tensor<1x1x?x64xf16>, %t: tensor<4xf32>) -> tensor<1x4x?x64xf16> {
  // expected-error @below {{cannot have tiles with the rows of 4 heads: the op has a score region, sinks or a state to continue}}
  %o = attn.attention %q, %k, %k schedule(#s) sinks(%t : tensor<4xf32>)
    : (tensor<1x4x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>) -> tensor<1x4x?x64xf16>
  return %o : tensor<1x4x?x64xf16>
}

// -----

#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, heads = 4>

func.func @classes(%q: tensor<1x4x?x64xf16>, %k: tensor<1x1x?x64xf16>) -> tensor<1x4x?x64xf16> {
  // expected-error @below {{cannot have tiles with the rows of 4 heads: the mask runs in parts or residue classes}}
  %o = attn.attention %q, %k, %k mask(stride<8>) schedule(#s)
    : (tensor<1x4x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>) -> tensor<1x4x?x64xf16>
  return %o : tensor<1x4x?x64xf16>
}
