// RUN: attn-opt %s --attn-to-online --split-input-file --verify-diagnostics

func.func @not_tiled(%q: tensor<1x1x?x64xf16>) -> tensor<1x1x?x64xf16> {
  // expected-error @+1 {{expected a tile in an scf.forall with attn.schedule; attn-tile makes them}}
  %o = attn.attention %q, %q, %q
      : (tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>, tensor<1x1x?x64xf16>) -> tensor<1x1x?x64xf16>
  return %o : tensor<1x1x?x64xf16>
}

// -----

func.func @several_heads(%q: tensor<1x4x16x64xf16>, %e: tensor<1x4x16x64xf16>) -> tensor<1x4x16x64xf16> {
  %r = scf.forall (%h) = (0) to (4) step (2) shared_outs(%o = %e) -> tensor<1x4x16x64xf16> {
    %s = tensor.extract_slice %q[0, %h, 0, 0] [1, 2, 16, 64] [1, 1, 1, 1] : tensor<1x4x16x64xf16> to tensor<1x2x16x64xf16>
    // expected-error @+1 {{expected a tile of one batch and of as many heads as the schedule says at align(%position)}}
    %t = attn.attention %s, %s, %s
        : (tensor<1x2x16x64xf16>, tensor<1x2x16x64xf16>, tensor<1x2x16x64xf16>) -> tensor<1x2x16x64xf16>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %t into %o[0, %h, 0, 0] [1, 2, 16, 64] [1, 1, 1, 1] : tensor<1x2x16x64xf16> into tensor<1x4x16x64xf16>
    }
  } {attn.schedule = #attn.schedule<q_tile = 16, kv_tile = 16, warps = 1, stages = 1, q_in_registers = false>}
  return %r : tensor<1x4x16x64xf16>
}

// -----

func.func @used_elsewhere(%q: tensor<1x1x16x64xf16>, %e: tensor<1x1x16x64xf16>) -> tensor<1x1x16x64xf16> {
  %c0 = arith.constant 0 : index
  %r = scf.forall (%h) = (0) to (1) step (1) shared_outs(%o = %e) -> tensor<1x1x16x64xf16> {
    // expected-error @+1 {{expected each result to be placed by one tensor.parallel_insert_slice}}
    %t, %l = attn.attention %q, %q, %q align(%c0)
        : (tensor<1x1x16x64xf16>, tensor<1x1x16x64xf16>, tensor<1x1x16x64xf16>) -> (tensor<1x1x16x64xf16>, tensor<1x1x16xf32>)
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %t into %o[0, %h, 0, 0] [1, 1, 16, 64] [1, 1, 1, 1] : tensor<1x1x16x64xf16> into tensor<1x1x16x64xf16>
    }
  } {attn.schedule = #attn.schedule<q_tile = 16, kv_tile = 16, warps = 1, stages = 1, q_in_registers = false>}
  return %r : tensor<1x1x16x64xf16>
}
