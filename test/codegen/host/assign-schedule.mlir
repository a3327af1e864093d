// RUN: attn-opt %s --attn-assign-host-schedule="cpu=x86-64-v4" --attn-statistics 2>%t.stats | FileCheck %s
// RUN: FileCheck %s --check-prefix=STATS --input-file=%t.stats
// RUN: attn-opt %s --attn-assign-host-schedule="cpu=x86-64-v3" | FileCheck %s --check-prefix=AVX2
// RUN: attn-opt %s --attn-assign-host-schedule="q-tile=48 kv-tile=16" | FileCheck %s --check-prefix=OPTIONS
// RUN: not attn-opt %s --attn-assign-host-schedule="cpu=z80" 2>&1 | FileCheck %s --check-prefix=CPU
// RUN: not attn-opt %s --attn-assign-host-schedule="q-tile=20" 2>&1 | FileCheck %s --check-prefix=TILE

// STATS: attn-assign-host-schedule
// STATS-DAG: (S) 2 assigned
// STATS-DAG: (S) 1 kept
// CPU: error: unknown instruction set 'z80', expected one of x86-64, x86-64-v3, x86-64-v4, x86-64-v4-bf16
// TILE: error: 'attn.attention' op q_tile must be a positive multiple of 16, found 20 (S1)

// CHECK-LABEL: func.func @sizes
// CHECK: q_tile = 96, kv_tile = 64, warps = 1, stages = 1
// CHECK: q_tile = 96, kv_tile = 64, warps = 1, stages = 1
// CHECK: q_tile = 32, kv_tile = 128, warps = 1, stages = 2
// AVX2-LABEL: func.func @sizes
// AVX2: q_tile = 96, kv_tile = 64
// AVX2: q_tile = 96, kv_tile = 32
// OPTIONS-COUNT-2: q_tile = 48, kv_tile = 16
func.func @sizes(%a: tensor<1x2x?x64xf32>, %b: tensor<1x2x?x32xf32>, %c: tensor<1x2x?x256xf32>)
    -> (tensor<1x2x?x64xf32>, tensor<1x2x?x256xf32>, tensor<1x2x?x64xf32>) {
  %0 = attn.attention %a, %a, %a
    : (tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) -> tensor<1x2x?x64xf32>
  // The larger of D and Dv counts.
  %1 = attn.attention %b, %b, %c
    : (tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x256xf32>) -> tensor<1x2x?x256xf32>
  %2 = attn.attention %a, %a, %a schedule(#attn.schedule<q_tile = 32, kv_tile = 128, warps = 1, stages = 2, q_in_registers = false>)
    : (tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) -> tensor<1x2x?x64xf32>
  return %0, %1, %2 : tensor<1x2x?x64xf32>, tensor<1x2x?x256xf32>, tensor<1x2x?x64xf32>
}
