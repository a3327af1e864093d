// RUN: attn-opt %s --split-input-file --attn-assign-schedule='target=sm_80' --attn-tile-program --attn-schedule --attn-to-nvvm --verify-diagnostics

// An op that a GPU has no code for is an error where it stands, with what is nearest.

!t = tensor<1x1x?x64xf16>

func.func @expm1(%q: !t) -> !t {
  %o = attn.attention %q, %q, %q score {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index):
      %r = math.expm1 %s : f32 // expected-error {{'math.expm1' op has no GPU lowering; math.exp(x) - 1 has one}}
      attn.yield %r : f32
  } : (!t, !t, !t) -> !t
  return %o : !t
}

// -----

!t = tensor<1x1x?x64xf16>

func.func @erf(%q: !t) -> !t {
  %o = attn.attention %q, %q, %q score {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index):
      // expected-error @below {{'math.erf' op has no GPU lowering; arith on f32 and integers, math.absf, exp, exp2, fma, log, log2, powf, rsqrt, sqrt and tanh have one}}
      %r = math.erf %s : f32
      attn.yield %r : f32
  } : (!t, !t, !t) -> !t
  return %o : !t
}

// -----

!t = tensor<1x1x?x64xf16>

func.func @power(%q: !t) -> !t {
  %o = attn.attention %q, %q, %q score {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index):
      // expected-error @below {{has a GPU lowering for constant exponents only; exp2(y * log2(x)) is the same for x above 0}}
      %r = math.powf %s, %s : f32
      attn.yield %r : f32
  } : (!t, !t, !t) -> !t
  return %o : !t
}
