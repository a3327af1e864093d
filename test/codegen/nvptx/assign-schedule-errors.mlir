// RUN: attn-opt %s --pass-pipeline='builtin.module(func.func(attn-assign-schedule{target=sm_86}))' --split-input-file --verify-diagnostics
// RUN: not attn-opt %s --pass-pipeline='builtin.module(func.func(attn-assign-schedule{target=sm_75}))' 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not attn-opt %s --pass-pipeline='builtin.module(func.func(attn-assign-schedule{q-in-registers=maybe}))' 2>&1 | FileCheck %s --check-prefix=FLAG

// TARGET: error: expected a target among sm_80, sm_86, sm_89, sm_90, found sm_75
// FLAG: error: expected true or false for q-in-registers, found maybe
func.func @f32(%q: tensor<1x8x?x64xf32>, %k: tensor<1x2x?x64xf32>, %v: tensor<1x2x?x64xf32>) -> tensor<1x8x?x64xf32> {
  // expected-error @+1 {{no GPU schedule for element type 'f32': expected f16 or bf16}}
  %o = attn.attention %q, %k, %v
      : (tensor<1x8x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) -> tensor<1x8x?x64xf32>
  return %o : tensor<1x8x?x64xf32>
}

// -----

func.func @shared(%q: tensor<1x8x?x192xf16>, %k: tensor<1x2x?x192xf16>, %v: tensor<1x2x?x192xf16>) -> tensor<1x8x?x192xf16> {
  // expected-error @+1 {{head size 192 in 'f16' needs 144 KB of shared memory, sm_86 has 99 KB; 128x32 tiles with 2 stages fit}}
  %o = attn.attention %q, %k, %v schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 8, stages = 2, q_in_registers = false>)
      : (tensor<1x8x?x192xf16>, tensor<1x2x?x192xf16>, tensor<1x2x?x192xf16>) -> tensor<1x8x?x192xf16>
  return %o : tensor<1x8x?x192xf16>
}

// -----

func.func @stages(%q: tensor<1x8x?x64xf16>, %k: tensor<1x2x?x64xf16>, %v: tensor<1x2x?x64xf16>) -> tensor<1x8x?x64xf16> {
  // expected-error @+1 {{expected 2 to 8 stages, found 1}}
  %o = attn.attention %q, %k, %v schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 1, q_in_registers = false>)
      : (tensor<1x8x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x8x?x64xf16>
  return %o : tensor<1x8x?x64xf16>
}

// -----

func.func @keys(%q: tensor<1x8x?x64xf16>, %k: tensor<1x2x?x64xf16>, %v: tensor<1x2x?x64xf16>) -> tensor<1x8x?x64xf16> {
  // expected-error @+1 {{expected a key tile that is a multiple of 16 from 16 to 128, found 144}}
  %o = attn.attention %q, %k, %v schedule(#attn.schedule<q_tile = 64, kv_tile = 144, warps = 4, stages = 2, q_in_registers = false>)
      : (tensor<1x8x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x8x?x64xf16>
  return %o : tensor<1x8x?x64xf16>
}

// -----

func.func @warps(%q: tensor<1x8x?x64xf16>, %k: tensor<1x2x?x64xf16>, %v: tensor<1x2x?x64xf16>) -> tensor<1x8x?x64xf16> {
  // expected-error @+1 {{expected 1, 2, 4, 8 or 16 warps, found 3}}
  %o = attn.attention %q, %k, %v schedule(#attn.schedule<q_tile = 96, kv_tile = 64, warps = 3, stages = 2, q_in_registers = false>)
      : (tensor<1x8x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x8x?x64xf16>
  return %o : tensor<1x8x?x64xf16>
}
