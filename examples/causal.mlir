// Each token attends to itself and the %w tokens before it: sliding-window causal attention, eight query heads on two KV
// heads. Lengths and window are run-time values: one kernel serves them all.
//
//   attn-run examples/causal.mlir --random=2x8x333x64,2x2x333x64,2x2x333x64,100 --check
func.func @causal(%q: tensor<?x8x?x64xf16>, %k: tensor<?x2x?x64xf16>, %v: tensor<?x2x?x64xf16>, %w: index)
    -> tensor<?x8x?x64xf16> {
  %o = attn.attention %q, %k, %v mask(causal & window<%w, 0>)
      : (tensor<?x8x?x64xf16>, tensor<?x2x?x64xf16>, tensor<?x2x?x64xf16>) -> tensor<?x8x?x64xf16>
  return %o : tensor<?x8x?x64xf16>
}
