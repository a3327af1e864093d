//===- Passes.td - the passes of the host target ------------*- tablegen -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_PASSES_TD
#define ATTN_CODEGEN_HOST_PASSES_TD

include "mlir/Pass/PassBase.td"

def AttnAssignHostSchedule : Pass<"attn-assign-host-schedule", "::mlir::func::FuncOp"> {
  let summary = "Choose the tile sizes of every attention op for a CPU";
  let description = [{
    Puts `schedule(...)` on every `attn.attention` that has none: the tile sizes that the table of
    codegen/host/Level.cpp has for the instruction set and the op's head sizes. A query tile is one work item; `warps`
    and `stages` are 1, they mean nothing here. A schedule that is there is kept.

    Example: `--attn-assign-host-schedule="cpu=x86-64-v4"` turns

    ```mlir
    %o = attn.attention %q, %k, %v mask(causal) : (...) -> (...)
    ```

    into

    ```mlir
    %o = attn.attention %q, %k, %v mask(causal)
        schedule(#attn.schedule<q_tile = 96, kv_tile = 64, warps = 1, stages = 1, q_in_registers = false>) : (...) -> (...)
    ```
  }];
  let options = [
    Option<"cpu", "cpu", "std::string", "\"x86-64\"",
           "Instruction set: x86-64, x86-64-v3, x86-64-v4 or x86-64-v4-bf16">,
    Option<"qTile", "q-tile", "int64_t", "0", "Query rows of a tile; 0 leaves the choice to the table">,
    Option<"kvTile", "kv-tile", "int64_t", "0", "Keys of a tile; 0 leaves the choice to the table">];
  let statistics = [
    Statistic<"numAssigned", "assigned", "Number of ops that got a schedule">,
    Statistic<"numKept", "kept", "Number of ops that had one">];
}

def AttnPackHeads : Pass<"attn-pack-heads", "::mlir::ModuleOp"> {
  let summary = "Few queries (decoding): query heads become rows of one tile, and the keys are split";
  let description = [{
    For kernels at the level after `attn-outline` that have at most 16 queries, a number known from the type. Two decisions
    that `attn-to-host` carries out; they depend on shapes alone:

    - `attn.group`: so many query heads read the same keys and are the rows of one tile, row `g * queries + i`. The heads of the
      loop then advance by so many. Only where nothing but the slices of q and of the results depends on the head,
      and at most 128 rows in all. `attn.rows` is the number of rows of the tile.
    - `attn.splits`: the live tiles of keys are divided into so many parts, each a work item of its own, of at least
      `attn.tiles_per_split` tiles; one for 1024 keys, at most 64, which is also the number where the type leaves the length open. A part
      ends with the state of its online softmax (maximum, sum, accumulator) in a temporary; a second launch, `<entry>_merge`,
      merges the states in the order of the parts and finishes the rows.

    ```mlir
    func.func private @f_0(%q: memref<1x8x1x64xf32, ...>, %k: memref<1x2x?x64xf32, ...>, ...) attributes {attn.kernel, ...} {
      scf.forall (%b, %h, %i) = (0, 0, 0) to (1, 8, 1) step (1, 1, 96) { ... }
    ```
    becomes
    ```mlir
    func.func private @f_0(...) attributes {attn.kernel, attn.group = 4 : i64, attn.rows = 4 : i64, attn.splits = 64 : i64, attn.tiles_per_split = 8 : i64, ...} {
      scf.forall (%b, %h, %i) = (0, 0, 0) to (1, 8, 1) step (1, 4, 96) { ... }
    ```
  }];
  let statistics = [
    Statistic<"numPacked", "packed", "Number of kernels whose tiles hold the rows of several heads">,
    Statistic<"numSplit", "split", "Number of kernels whose keys are split">];
}

def AttnToHost : Pass<"attn-to-host", "::mlir::ModuleOp"> {
  let summary = "Lower kernels to loops over register blocks (changes numerics: exp2 and log2 become polynomials)";
  let description = [{
    Every kernel (`attn.kernel`) becomes a function of its parameters, the number of a work item, and scratch memory. A
    work item is one iteration of the kernel's `scf.forall`; the last query tiles come first, because under a causal mask they
    have the most keys.

    The query tile is cut into panels of as many rows as a register block has. All tiles of pairs are kept transposed,
    the rows of a panel next to each other: a row of the tile program is a lane. So no reduction crosses lanes, and K and V
    need no packing: their elements are broadcast from where they lie. Elements of 16 bits are converted once for
    each key tile; pairs of bf16 are multiplied as they are where the CPU can. For each panel, the tile operations run as
    loops over blocks of columns (PanelPlan.h), in which every value is a register:

    ```
    scores:   S[n, rows]  = sum_d K[n, d] * Q[d, rows]; mask; maximum of each row; store
    weights:  P[n, rows]  = exp2(S * c - max); sum of each row; store
    values:   O[d, rows]  = O * alpha + sum_n V[n, d] * P[n, rows]
    ```

    In partial tiles the mask comes first, and the loops over the keys run from the first column with a live pair to the last one, where
    the plan proves that the others change nothing.

    `attn.for_tiles` stays, without its iteration values, for `attn-lower-tiles`. The scratch that a work item needs is
    the attribute `attn.scratch`, in bytes. Reads stay inside the tensors: rows past the end are those of the last key.

    ```mlir
    func.func private @f_0(%q: memref<...>, ..., %o: memref<...>) attributes {attn.kernel, ...}
    ```
    becomes
    ```mlir
    func.func @f_0(%params: !llvm.ptr, %item: i64, %scratch: !llvm.ptr) attributes {attn.scratch = 123456 : i64}
    ```
  }];
  let options = [
    Option<"cpu", "cpu", "std::string", "\"x86-64\"",
           "Instruction set: x86-64, x86-64-v3, x86-64-v4 or x86-64-v4-bf16">];
  let statistics = [
    Statistic<"numKernels", "kernels", "Number of kernels lowered">,
    Statistic<"numStages", "stages", "Number of loops over columns planned">,
    Statistic<"numConverted", "converted", "Number of tiles of 16-bit elements converted to f32">,
    Statistic<"numDot", "dot-products", "Number of products of pairs of bf16">];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

#endif // ATTN_CODEGEN_HOST_PASSES_TD
