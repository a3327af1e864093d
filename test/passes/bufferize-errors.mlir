// RUN: attn-opt %s --attn-bufferize --split-input-file --verify-diagnostics

func.func @argument(%q: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{internal error: expected result #0 to come from an scf.forall that writes an uninitialised tensor}}
  return %q : tensor<4xf32>
}

// -----

func.func @overwrites_its_input(%q: tensor<4xf32>, %x: vector<4xf32>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  // expected-error @+1 {{internal error: bufferization needs this allocation}}
  %w = vector.transfer_write %x, %q[%c0] : vector<4xf32>, tensor<4xf32>
  %r = scf.forall (%i) = (0) to (4) step (4) shared_outs(%o = %e) -> tensor<4xf32> {
    %a = vector.transfer_read %q[%i], %zero {in_bounds = [true]} : tensor<4xf32>, vector<4xf32>
    %b = vector.transfer_read %w[%i], %zero {in_bounds = [true]} : tensor<4xf32>, vector<4xf32>
    %s = arith.addf %a, %b : vector<4xf32>
    %d = tensor.extract_slice %o[%i] [4] [1] : tensor<4xf32> to tensor<4xf32>
    %y = vector.transfer_write %s, %d[%c0] {in_bounds = [true]} : vector<4xf32>, tensor<4xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %o[%i] [4] [1] : tensor<4xf32> into tensor<4xf32>
    }
  }
  return %r : tensor<4xf32>
}
