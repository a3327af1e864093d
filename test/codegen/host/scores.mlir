// RUN: attn-opt %s --split-input-file --attn-host="cpu=x86-64-v4 q-tile=96 kv-tile=64" --verify-diagnostics

// A function that would take a library call is an error where it stands.

!t = tensor<1x1x?x64xf32>

func.func @erf(%q: !t) -> !t {
  %o = attn.attention %q, %q, %q score {
    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index):
      // expected-error @below {{the host target cannot compute a tile of type 'vector<96x64xf32>' from 'math.erf'}}
      %r = math.erf %s : f32
      attn.yield %r : f32
  } : (!t, !t, !t) -> !t
  return %o : !t
}
