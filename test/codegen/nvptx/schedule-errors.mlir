// RUN: attn-opt %s --pass-pipeline='builtin.module(func.func(attn-schedule))' --split-input-file --verify-diagnostics

// expected-error @+1 {{expected a kernel with attn.schedule and one scf.forall}}
func.func private @no_loop() attributes {attn.kernel} {
  return
}

// -----

func.func private @stages() attributes {attn.kernel, attn.schedule = #attn.schedule<q_tile = 64, kv_tile = 64, warps = 4, stages = 1, q_in_registers = false>} {
  // expected-error @+1 {{expected a schedule of at least 2 stages, found 1}}
  scf.forall (%i) in (4) {
  }
  return
}

// -----

func.func private @no_query(%n: index) attributes {attn.kernel, attn.schedule = #attn.schedule<q_tile = 64, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>} {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{expected a query tile before the loops over key tiles}}
  scf.forall (%i) in (4) {
    attn.for_tiles %t in [%c0 to %n] {
      attn.yield
    }
  }
  return
}

// -----

func.func @copy(%a: memref<1x1x?x64xbf16>, %b: memref<2x64x64xf16, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error @+1 {{expected one element type, found 'bf16' and 'f16'}}
  attn_nvptx.load_async %a[%i] to %b[%i] : memref<1x1x?x64xbf16>, memref<2x64x64xf16, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @columns(%a: memref<1x1x?x64xbf16>, %b: memref<2x64x40xbf16, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error @+1 {{expected a buffer of static shape with columns in multiples of 16}}
  attn_nvptx.load_async %a[%i] to %b[%i] : memref<1x1x?x64xbf16>, memref<2x64x40xbf16, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @columns_f32(%a: memref<1x1x?x48xf32>, %b: memref<2x64x48xf32, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error @+1 {{expected a buffer of static shape with columns in multiples of 32}}
  attn_nvptx.load_async %a[%i] to %b[%i] : memref<1x1x?x48xf32>, memref<2x64x48xf32, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @narrow(%a: memref<1x1x?x64xbf16>, %b: memref<1x64x48xbf16, #gpu.address_space<workgroup>>) {
  // expected-error @+1 {{expected a slice of at most 48 columns}}
  attn_nvptx.store %b to %a : memref<1x64x48xbf16, #gpu.address_space<workgroup>>, memref<1x1x?x64xbf16>
  return
}

// -----

func.func @absorb(%a: vector<64x32xf32>, %v: memref<2x64x32xbf16, #gpu.address_space<workgroup>>, %live: vector<64x32xi1>, %i: index) {
  // expected-error @+1 {{expected an accumulator of m x d, a tile of n x d and live pairs of m x n}}
  %b = attn_nvptx.absorb %a from %v[%i] where %live : vector<64x32xf32>, memref<2x64x32xbf16, #gpu.address_space<workgroup>>, vector<64x32xi1>
  return
}

// -----

func.func @absorb_all(%a: vector<64x64xf32>, %v: memref<2x64x32xf32, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error @+1 {{expected an accumulator of m x d, a tile of n x d and live pairs of m x n}}
  %b = attn_nvptx.absorb %a from %v[%i] : vector<64x64xf32>, memref<2x64x32xf32, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @load_heads(%a: memref<1x9x?x64xbf16>, %b: memref<1x64x64xbf16, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error@+1 {{expected heads that divide the 64 rows of the buffer, and not fewer than those of the slice, found 8 and 'memref<1x9x?x64xbf16>'}}
  attn_nvptx.load_async %a[%i] to %b[%i] heads(8) : memref<1x9x?x64xbf16>, memref<1x64x64xbf16, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @store_box_heads(%a: memref<1x1x128x64xbf16, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error@+1 {{expected heads such that the 16 rows of a warp are of one, or all those of some that are present, found 9 of 16 in 128 rows}}
  attn_nvptx.store_box %a to %i[%i, %i, %i] heads(9 of 16) : memref<1x1x128x64xbf16, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @load_box_selection(%a: memref<2x1x64x64xbf16, #gpu.address_space<workgroup>>, %f: memref<2xi64, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error@+1 {{expected a count of at least 1 and a step of at least that, found 8 and 4}}
  attn_nvptx.load_box %i[%i, %i, %i] selected(%i count 8 step 4) to %a[%i] signal %f : memref<2x1x64x64xbf16, #gpu.address_space<workgroup>>, memref<2xi64, #gpu.address_space<workgroup>>
  return
}
