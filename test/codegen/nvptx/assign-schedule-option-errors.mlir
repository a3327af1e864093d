// RUN: not attn-opt %s --attn-assign-schedule=target=sm_75 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not attn-opt %s --attn-assign-schedule=q-in-registers=maybe 2>&1 | FileCheck %s --check-prefix=BOOL
// RUN: not attn-opt %s --attn-assign-schedule="target=sm_90a turns=1" 2>&1 | FileCheck %s --check-prefix=TURNS
// RUN: not attn-opt %s --attn-assign-schedule=warps=3 2>&1 | FileCheck %s --check-prefix=WARPS

// TARGET: error: expected a target among sm_80, sm_86, sm_89, sm_90, sm_90a, found sm_75
// BOOL: error: expected true or false for q-in-registers, found maybe
// TURNS: error: expected true or false for turns, found 1
// WARPS: error: {{.*}}warps must be 1 to 32 and divide the 8 blocks of 16 rows of q_tile, found 3 (S3)
func.func @f(%q: tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16> {
  %o = attn.attention %q, %q, %q
    : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
  return %o : tensor<1x2x?x64xf16>
}
