// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a --attn-tile-program --attn-schedule --split-input-file | FileCheck %s
// RUN: attn-opt %s --attn-nvptx=target=sm_90a --split-input-file -o /dev/null

// Key tiles as wide as the values: accumulators become as wide as panels of V, the scores stay as they are.

!q = tensor<1x1x?x256xf16>
!v = tensor<1x1x?x80xf16>

// CHECK-LABEL: func.func {{.*}}@default
// CHECK-DAG: attn_nvptx.wgmma {{.*}}-> vector<128x80xf32>
// CHECK-DAG: attn_nvptx.wgmma {{.*}}-> vector<128x96xf32>
func.func @default(%q: !q, %k: !q, %v: !v) -> !v {
  %o = attn.attention %q, %k, %v : (!q, !q, !v) -> !v
  return %o : !v
}

// -----

!t = tensor<1x1x?x48xbf16>

// CHECK-LABEL: func.func {{.*}}@overlap
// CHECK-DAG: attn_nvptx.wgmma {{.*}}-> vector<128x48xf32>
// CHECK-DAG: attn_nvptx.wgmma {{.*}}-> vector<128x64xf32>
func.func @overlap(%q: !t, %k: !t, %v: !t) -> !t {
  %o = attn.attention %q, %k, %v mask(causal)
      schedule(#attn.schedule<q_tile = 128, kv_tile = 48, warps = 8, stages = 3, q_in_registers = false, producer_registers = 48,
               consumer_registers = 224, overlap = true, turns = true>) : (!t, !t, !t) -> !t
  return %o : !t
}
