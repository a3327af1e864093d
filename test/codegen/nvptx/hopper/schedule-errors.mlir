// RUN: attn-opt %s --attn-assign-schedule=target=sm_90a --split-input-file --verify-diagnostics

!t = tensor<1x2x?x64xbf16>
func.func @registers(%q: !t, %k: !t, %v: !t) -> !t {
  // expected-error @below {{expected producer_registers + 3 * consumer_registers to be at most 512, found 536}}
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 192, kv_tile = 64, warps = 12, stages = 2, q_in_registers = false, producer_registers = 32, consumer_registers = 168>)
      : (!t, !t, !t) -> !t
  return %o : !t
}

// -----

!t = tensor<1x2x?x64xbf16>
func.func @consumer_registers(%q: !t, %k: !t, %v: !t) -> !t {
  // expected-error @below {{expected consumer_registers of at least 168, with which 12 warps start, found 160}}
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 128, kv_tile = 64, warps = 8, stages = 2, q_in_registers = false, producer_registers = 24, consumer_registers = 160>)
      : (!t, !t, !t) -> !t
  return %o : !t
}

// -----

!t = tensor<1x2x?x64xbf16>
func.func @warps(%q: !t, %k: !t, %v: !t) -> !t {
  // expected-error @below {{expected 8 or 12 warps that compute on sm_90a, found 4}}
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 64, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false, producer_registers = 24, consumer_registers = 240>)
      : (!t, !t, !t) -> !t
  return %o : !t
}

// -----

!v = tensor<1x2x?x200xbf16>
!t = tensor<1x2x?x64xbf16>
func.func @accumulators(%q: !t, %k: !t, %v: !v) -> !v {
  // expected-error @below {{expected 8 warps that compute for values of 200 columns, found 12, which can have 192}}
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 192, kv_tile = 32, warps = 12, stages = 2, q_in_registers = false, producer_registers = 24, consumer_registers = 160>)
      : (!t, !t, !v) -> !v
  return %o : !v
}

// -----

!t = tensor<1x2x?x64xbf16>
func.func @key_tile(%q: !t, %k: !t, %v: !t) -> !t {
  // expected-error @below {{expected a key tile that is a multiple of 16 from 16 to 192, found 208}}
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 128, kv_tile = 208, warps = 8, stages = 2, q_in_registers = false, producer_registers = 24, consumer_registers = 240>)
      : (!t, !t, !t) -> !t
  return %o : !t
}

// -----

!t = tensor<1x2x?x256xbf16>
func.func @shared_memory(%q: !t, %k: !t, %v: !t) -> !t {
  // expected-error @below {{head size 256 in 'bf16' needs 321 KB of shared memory, sm_90a has 227 KB; 128x80 tiles with 2 stages fit}}
  %o = attn.attention %q, %k, %v
      schedule(#attn.schedule<q_tile = 128, kv_tile = 128, warps = 8, stages = 2, q_in_registers = false, producer_registers = 24, consumer_registers = 240>)
      : (!t, !t, !t) -> !t
  return %o : !t
}
