// RUN: attn-opt %s --attn-assign-schedule=target=sm_80 | FileCheck %s
// RUN: attn-opt %s --attn-assign-schedule=target=sm_86 | FileCheck %s --check-prefix=SM86
// RUN: attn-opt %s --attn-assign-schedule="target=sm_80 kv-tile=16 q-in-registers=true" | FileCheck %s --check-prefix=OVERRIDE

// The larger head does not fit the smaller shared memory of sm_86 with the same tiles.
// CHECK-LABEL: @large
// CHECK: schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 8, stages = 2, q_in_registers = false>)
// SM86-LABEL: @large
// SM86: schedule(#attn.schedule<q_tile = 128, kv_tile = 32, warps = 8, stages = 2, q_in_registers = false>)
// OVERRIDE-LABEL: @large
// OVERRIDE: schedule(#attn.schedule<q_tile = 128, kv_tile = 16, warps = 8, stages = 2, q_in_registers = true>)
func.func @large(%q: tensor<1x2x?x192xf16>, %k: tensor<1x2x?x192xf16>) -> tensor<1x2x?x192xf16> {
  %o = attn.attention %q, %k, %k
    : (tensor<1x2x?x192xf16>, tensor<1x2x?x192xf16>, tensor<1x2x?x192xf16>) -> tensor<1x2x?x192xf16>
  return %o : tensor<1x2x?x192xf16>
}

// A schedule that is written stays.
// CHECK-LABEL: @written
// CHECK: schedule(#attn.schedule<q_tile = 64, kv_tile = 16, warps = 2, stages = 3, q_in_registers = false>)
func.func @written(%q: tensor<1x2x?x64xbf16>) -> tensor<1x2x?x64xbf16> {
  %o = attn.attention %q, %q, %q
    schedule(#attn.schedule<q_tile = 64, kv_tile = 16, warps = 2, stages = 3, q_in_registers = false>)
    : (tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x64xbf16>) -> tensor<1x2x?x64xbf16>
  return %o : tensor<1x2x?x64xbf16>
}

// Elements of 4 bytes take twice the room.
// CHECK-LABEL: @f32
// CHECK: schedule(#attn.schedule<q_tile = 64, kv_tile = 16, warps = 4, stages = 2, q_in_registers = false>)
// SM86-LABEL: @f32
// SM86: schedule(#attn.schedule<q_tile = 32, kv_tile = 16, warps = 2, stages = 2, q_in_registers = false>)
func.func @f32(%q: tensor<1x2x?x256xf32>, %k: tensor<1x2x?x256xf32>) -> tensor<1x2x?x256xf32> {
  %o = attn.attention %q, %k, %k : (tensor<1x2x?x256xf32>, tensor<1x2x?x256xf32>, tensor<1x2x?x256xf32>) -> tensor<1x2x?x256xf32>
  return %o : tensor<1x2x?x256xf32>
}

// A mask with many bounds takes registers: fewer keys at a time.
// CHECK-LABEL: @union
// CHECK: schedule(#attn.schedule<q_tile = 128, kv_tile = 16, warps = 8, stages = 2, q_in_registers = false>)
func.func @union(%q: tensor<1x2x?x192xf16>, %k: tensor<1x2x?x192xf16>) -> tensor<1x2x?x192xf16> {
  %o = attn.attention %q, %k, %k mask(longformer<64, 16>)
    : (tensor<1x2x?x192xf16>, tensor<1x2x?x192xf16>, tensor<1x2x?x192xf16>) -> tensor<1x2x?x192xf16>
  return %o : tensor<1x2x?x192xf16>
}
