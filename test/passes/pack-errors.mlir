// RUN: attn-opt %s --attn-tile --verify-diagnostics

// A loop that says that it runs over residue classes, but holds no strided view of q.
#s = #attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>
func.func @f(%q: tensor<1x1x128x64xf16>, %e: tensor<1x1x128x64xf16>) -> tensor<1x1x128x64xf16> {
  %r = scf.forall (%i) in (1) shared_outs(%out = %e) -> (tensor<1x1x128x64xf16>) {
    // expected-error @+1 {{expected a loop over residue classes that attn-pack made}}
    %o = attn.attention %q, %q, %q schedule(#s)
        : (tensor<1x1x128x64xf16>, tensor<1x1x128x64xf16>, tensor<1x1x128x64xf16>) -> tensor<1x1x128x64xf16>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %o into %out[0, 0, %i, 0] [1, 1, 128, 64] [1, 1, 1, 1]
          : tensor<1x1x128x64xf16> into tensor<1x1x128x64xf16>
    }
  } {attn.residues = 2 : i64}
  return %r : tensor<1x1x128x64xf16>
}
