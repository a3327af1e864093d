// RUN: attn-opt %s --split-input-file --verify-diagnostics --attn-to-host="cpu=x86-64-v4"
// RUN: not attn-opt %s --split-input-file --attn-to-host="cpu=arm" 2>&1 | FileCheck %s

// CHECK: error: unknown instruction set 'arm', expected one of x86-64, x86-64-v3, x86-64-v4, x86-64-v4-bf16

// expected-error@+1 {{expected one scf.forall in a kernel}}
func.func private @no_loop(%a: memref<1x1x8x16xf32>) attributes {attn.kernel} {
  return
}

// -----

// expected-error@+1 {{expected a kernel that writes a tile of rows}}
func.func private @no_write(%a: memref<1x1x8x16xf32>) attributes {attn.kernel} {
  scf.forall (%b, %h, %i) = (0, 0, 0) to (1, 1, 8) step (1, 1, 16) {
  }
  return
}

// -----

func.func private @lower_bound(%a: memref<1x1x8x16xf32>) attributes {attn.kernel} {
  // expected-error@+1 {{expected loops that start at 0}}
  scf.forall (%b, %h, %i) = (0, 0, 8) to (1, 1, 8) step (1, 1, 16) {
  }
  return
}

// -----

func.func private @unknown(%a: memref<1x1x32x16xf32>) attributes {attn.kernel} {
  scf.forall (%b, %h, %i) = (0, 0, 0) to (1, 1, 32) step (1, 1, 16) {
    %c0 = arith.constant 0 : index
    %pad = arith.constant 0.0 : f32
    %t = vector.transfer_read %a[%b, %h, %i, %c0], %pad {in_bounds = [true, true]} : memref<1x1x32x16xf32>, vector<16x16xf32>
    // expected-error@+1 {{the host target cannot compute a tile of type 'vector<16x16xf32>' from 'vector.transpose'}}
    %u = vector.transpose %t, [1, 0] : vector<16x16xf32> to vector<16x16xf32>
    vector.transfer_write %u, %a[%b, %h, %i, %c0] {in_bounds = [true, true]} : vector<16x16xf32>, memref<1x1x32x16xf32>
  }
  return
}

// -----

func.func private @reduction(%a: memref<1x1x32x16xf32>) attributes {attn.kernel} {
  scf.forall (%b, %h, %i) = (0, 0, 0) to (1, 1, 32) step (1, 1, 16) {
    %c0 = arith.constant 0 : index
    %one = arith.constant dense<1.0> : vector<16x16xf32>
    %rows = arith.constant dense<1.0> : vector<16xf32>
    // expected-error@+1 {{expected a sum or a maxnumf of each row}}
    %r = vector.multi_reduction <mul>, %one, %rows [1] : vector<16x16xf32> to vector<16xf32>
    vector.transfer_write %one, %a[%b, %h, %i, %c0] {in_bounds = [true, true]} : vector<16x16xf32>, memref<1x1x32x16xf32>
  }
  return
}
