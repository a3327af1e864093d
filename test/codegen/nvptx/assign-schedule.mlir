// RUN: attn-opt %s --pass-pipeline='builtin.module(func.func(attn-assign-schedule))' | FileCheck %s
// RUN: attn-opt %s --pass-pipeline='builtin.module(func.func(attn-assign-schedule{target=sm_86}))' | FileCheck %s --check-prefix=SM86
// RUN: attn-opt %s --pass-pipeline='builtin.module(func.func(attn-assign-schedule{q-tile=64 kv-tile=32 stages=3 q-in-registers=true}))' \
// RUN:   | FileCheck %s --check-prefix=OVERRIDE

// CHECK-LABEL: @simple
// CHECK: q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false
// OVERRIDE-LABEL: @simple
// OVERRIDE: q_tile = 64, kv_tile = 32, warps = 4, stages = 3, q_in_registers = true
func.func @simple(%q: tensor<1x8x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16> {
  %o = attn.attention %q, %k, %v mask(causal & window<128, 0>)
      : (tensor<1x8x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16>
  return %o : tensor<1x8x?x64xbf16>
}

// A union needs more registers for its bounds.
// CHECK-LABEL: @union
// CHECK: q_tile = 128, kv_tile = 48, warps = 4
func.func @union(%q: tensor<1x8x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16> {
  %o = attn.attention %q, %k, %v mask(longformer<64, 4>)
      : (tensor<1x8x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16>
  return %o : tensor<1x8x?x64xbf16>
}

// CHECK-LABEL: @large
// CHECK: q_tile = 128, kv_tile = 32, warps = 8
// SM86-LABEL: @large
// SM86: q_tile = 64, kv_tile = 32, warps = 4
func.func @large(%q: tensor<1x8x?x256xf16>, %k: tensor<1x2x?x256xf16>, %v: tensor<1x2x?x256xf16>) -> tensor<1x8x?x256xf16> {
  %o = attn.attention %q, %k, %v
      : (tensor<1x8x?x256xf16>, tensor<1x2x?x256xf16>, tensor<1x2x?x256xf16>) -> tensor<1x8x?x256xf16>
  return %o : tensor<1x8x?x256xf16>
}

// A schedule that is there stays.
// CHECK-LABEL: @given
// CHECK: q_tile = 32, kv_tile = 16, warps = 2, stages = 4
// OVERRIDE-LABEL: @given
// OVERRIDE: q_tile = 32, kv_tile = 16, warps = 2, stages = 4
func.func @given(%q: tensor<1x8x?x64xbf16>, %k: tensor<1x2x?x64xbf16>, %v: tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16> {
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 32, kv_tile = 16, warps = 2, stages = 4, q_in_registers = false>)
      : (tensor<1x8x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> tensor<1x8x?x64xbf16>
  return %o : tensor<1x8x?x64xbf16>
}
