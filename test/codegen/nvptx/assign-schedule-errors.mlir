// RUN: attn-opt %s --attn-assign-schedule=target=sm_86 -split-input-file -verify-diagnostics

func.func @too_large(%q: tensor<1x2x?x192xf16>) -> tensor<1x2x?x192xf16> {
  // expected-error@+1 {{head size 192 in 'f16' needs 240 KB of shared memory, sm_86 has 99 KB; 128x32 tiles with 2 stages fit}}
  %o = attn.attention %q, %q, %q
    schedule(#attn.schedule<q_tile = 128, kv_tile = 128, warps = 8, stages = 2, q_in_registers = false>)
    : (tensor<1x2x?x192xf16>, tensor<1x2x?x192xf16>, tensor<1x2x?x192xf16>) -> tensor<1x2x?x192xf16>
  return %o : tensor<1x2x?x192xf16>
}

// -----

func.func @too_large_f32(%q: tensor<1x2x?x256xf32>) -> tensor<1x2x?x256xf32> {
  // expected-error@+1 {{head size 256 in 'f32' needs 160 KB of shared memory, sm_86 has 99 KB; 32x16 tiles with 2 stages fit}}
  %o = attn.attention %q, %q, %q
    schedule(#attn.schedule<q_tile = 32, kv_tile = 32, warps = 2, stages = 2, q_in_registers = false>)
    : (tensor<1x2x?x256xf32>, tensor<1x2x?x256xf32>, tensor<1x2x?x256xf32>) -> tensor<1x2x?x256xf32>
  return %o : tensor<1x2x?x256xf32>
}
