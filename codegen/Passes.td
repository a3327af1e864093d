//===- Passes.td - the passes of code generation ------------*- tablegen -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_PASSES_TD
#define ATTN_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

def AttnAssignSchedule : Pass<"attn-assign-schedule", "::mlir::func::FuncOp"> {
  let summary = "Choose a schedule for every attention op";
  let description = [{
    Puts `schedule(...)` on every `attn.attention` that has none: the choice of the target's table for the op's head sizes
    and element type, with the options' overrides applied. A schedule that is there is checked against the target and
    kept.

    Example: `--attn-assign-schedule="target=sm_86 kv-tile=32"` turns

    ```mlir
    %o = attn.attention %q, %k, %v mask(causal) : (...) -> (...)
    ```

    into

    ```mlir
    %o = attn.attention %q, %k, %v mask(causal)
        schedule(#attn.schedule<q_tile = 128, kv_tile = 32, warps = 4, stages = 2, q_in_registers = false>) : (...) -> (...)
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", "\"sm_80\"", "Architecture: sm_80, sm_86, sm_89, sm_90 or sm_90a">,
    Option<"qTile", "q-tile", "int64_t", "0", "Query rows of a tile; 0 leaves the choice to the table">,
    Option<"kvTile", "kv-tile", "int64_t", "0", "Keys of a tile; 0 leaves the choice to the table">,
    Option<"warps", "warps", "int64_t", "0", "Warps of a block; 0 leaves the choice to the table">,
    Option<"stages", "stages", "int64_t", "0", "Buffers in the rings of K and V; 0 leaves the choice to the table">,
    Option<"qInRegisters", "q-in-registers", "std::string", "\"\"",
           "Keep the query fragments in registers: true or false; empty leaves the choice to the table">,
    Option<"overlap", "overlap", "std::string", "\"\"",
           "With roles, run the softmax under the product before it: true, false or empty">,
    Option<"turns", "turns", "std::string", "\"\"",
           "With overlap, let warpgroups take turns at their products: true, false or empty">,
    Option<"weightsInShared", "weights-in-shared", "std::string", "\"\"",
           "With roles, pass the weights through shared memory: true, false or empty">,
    Option<"persistent", "persistent", "std::string", "\"\"",
           "With roles, let a block compute several query tiles: true, false or empty">,
    Option<"heads", "heads", "int64_t", "0",
           "Query heads of a group that the rows of a tile are taken from; 0 takes as many as need clearly fewer tiles">,
  ];
  let statistics = [
    Statistic<"numAssigned", "num-assigned", "Number of ops that got a schedule">,
    Statistic<"numKept", "num-kept", "Number of ops that had one">,
  ];
}

def AttnSchedule : Pass<"attn-schedule", "::mlir::func::FuncOp"> {
  let summary = "Make shared memory, asynchronous copies, waits and barriers explicit";
  let description = [{
    In a kernel (`attn.kernel`), gives the query tile a buffer in shared memory and K and V rings of `stages` buffers, and
    turns the `attn.for_tiles` loops into `scf.while` loops that keep `stages - 1` tiles in flight. One iteration waits for its
    own tile, passes one barrier, starts the copy that is `stages - 1` tiles ahead into the slot that the previous
    iteration left, and computes. The tile ahead may belong to a later loop: all loops of the kernel share one cursor, in
    which tile t of loop number n is `n * 2^40 + t`, so that the last tile of one loop prefetches the first of the next.
    Tiles that no loop visits are neither loaded nor computed.

    The output tile is staged through shared memory after the last loop. With `q_in_registers` the query tile is read
    before the loops, otherwise in every iteration.

    Example: with two stages,

    ```mlir
    %r = attn.for_tiles %t in [%lo to %hi] iter_args(%a = %a0) -> (vector<64x32xf32>) { ... }
    ```

    becomes

    ```mlir
    %r:3 = scf.while (%c = %first, %slot = %c0, %a = %a0) : ... {
      %go = arith.cmpi slt, %c, %end : index
      scf.condition(%go) %c, %slot, %a : index, index, vector<64x32xf32>
    } do {
    ^bb0(%c: index, %slot: index, %a: vector<64x32xf32>):
      nvvm.cp.async.wait.group 0
      nvvm.barrier
      %next = ...
      scf.if %more {
        attn_nvptx.load_async %ks[%j1] to %k[%other] ...
        attn_nvptx.load_async %vs[%j1] to %v[%other] ...
      }
      nvvm.cp.async.commit.group
      %kt = vector.transfer_read %k[%slot, %c0, %c0], %pad {in_bounds = [true, true]} ...
      ...
      scf.yield %next, %other, %b : index, index, vector<64x32xf32>
    }
    ```
  }];
  let dependentDialects = ["::mlir::attn::nvptx::NvptxDialect", "::mlir::scf::SCFDialect",
                           "::mlir::arith::ArithDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::vector::VectorDialect",
                           "::mlir::gpu::GPUDialect"];
  let statistics = [
    Statistic<"numKernels", "num-kernels", "Number of kernels scheduled">,
    Statistic<"numLoops", "num-loops", "Number of tile loops pipelined">,
  ];
}

def AttnToNvvm : Pass<"attn-to-nvvm", "::mlir::ModuleOp"> {
  let summary = "Lower scheduled kernels to code of one thread (changes numerics: approximate exp2, log2 and reciprocal)";
  let description = [{
    Turns every scheduled kernel into an `llvm.func` in a `gpu.module`, and leaves its declaration behind for the calls.
    Tile-shaped vectors are distributed over the warps and lanes of a block in the layout of the accumulator of
    mma.m16n8k16; `vector.contract` becomes ldmatrix and mma.sync, with the weights of the second product passed on in
    registers; row reductions become shuffles in groups of four lanes, row sums only once, after the loops.

    `math.exp2` becomes ex2.approx.ftz, `math.log2` lg2.approx.ftz, a reciprocal rcp.approx.ftz
    and any other division div.full.ftz.

    In a masked product, dead pairs contribute nothing even where v holds NaN or infinity: the block tests the V tile for
    such elements, and in the rare case adds them to the rows that see them and clears them before the product.

    The launch is described by attributes: `attn.grid`, `attn.grid_dims` (pairs of argument and dimension), `attn.shared_bytes`,
    `nvvm.reqntid`, and on each parameter one of `attn.pointer` (argument), `attn.size`, `attn.stride` (argument and dimension)
    and `attn.scalar` (argument).
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect", "::mlir::gpu::GPUDialect",
                           "::mlir::arith::ArithDialect"];
  let statistics = [
    Statistic<"numKernels", "num-kernels", "Number of kernels lowered">,
    Statistic<"numProducts", "num-products", "Number of mma instructions emitted">,
  ];
}

#endif // ATTN_CODEGEN_PASSES_TD
