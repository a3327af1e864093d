// RUN: attn-opt %s --attn-outline --split-input-file --verify-diagnostics

func.func @tensors(%e: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{expected a loop over memrefs, found results of type 'tensor<4xf32>'; attn-bufferize comes first}}
  %r = scf.forall (%i) = (0) to (4) step (4) shared_outs(%o = %e) -> tensor<4xf32> {
  }
  return %r : tensor<4xf32>
}

// -----

func.func @impure(%m: memref<4xindex>) {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{internal error: a kernel uses this value, which cannot be computed in it}}
  %n = memref.load %m[%c0] : memref<4xindex>
  scf.forall (%i) = (0) to (%n) step (4) {
  }
  return
}
