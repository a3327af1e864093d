// REQUIRES: ptxas
// RUN: sed -n '/^.. WARPS 8/,/^}/p' %s | attn-opt - --emit=ptx --target=sm_90a -o %t.8.ptx
// RUN: sed -n '/^.. WARPS 12/,/^}/p' %s | attn-opt - --emit=ptx --target=sm_90a -o %t.12.ptx
// RUN: ptxas -arch=sm_90a %t.8.ptx -o %t.8.cubin
// RUN: ptxas -arch=sm_90a %t.12.ptx -o %t.12.cubin

// The widest values for a number of warps: ptxas has registers for a product's accumulators.

// WARPS 8
!q8 = tensor<1x1x?x64xbf16>
!v8 = tensor<1x1x?x256xbf16>
func.func @f(%q: !q8, %k: !q8, %v: !v8) -> !v8 {
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 8, stages = 2, q_in_registers = false, producer_registers = 24,
               consumer_registers = 168>) : (!q8, !q8, !v8) -> !v8
  return %o : !v8
}

// -----

// WARPS 12
!q12 = tensor<1x1x?x64xbf16>
!v12 = tensor<1x1x?x192xbf16>
func.func @f(%q: !q12, %k: !q12, %v: !v12) -> !v12 {
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 192, kv_tile = 64, warps = 12, stages = 2, q_in_registers = false, producer_registers = 24,
               consumer_registers = 128>) : (!q12, !q12, !v12) -> !v12
  return %o : !v12
}
