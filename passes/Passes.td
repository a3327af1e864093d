//===- Passes.td - the target-independent passes ---*- tablegen -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_TD
#define ATTN_PASSES_TD

include "mlir/Pass/PassBase.td"

def AttnCheckInput : Pass<"attn-check-input", "::mlir::ModuleOp"> {
  let summary = "Refuse functions that are more than attention and index arithmetic";
  let description = [{
    A function may hold `attn.attention` ops chained through their tensors, `tensor.empty`, `tensor.dim`, constants and
    arithmetic on scalars. Every tensor that it returns must be the result of an attention op, and each of them is
    returned once: results become arguments that kernels write. Anything else on tensors is an error at its location.
    A mask that provably leaves every query without a live key is a warning.

    ```mlir
    func.func @f(%q: tensor<1x2x?x64xf16>, %w: index) -> tensor<1x2x?x64xf16> {
      %w1 = arith.addi %w, %w : index                       // fine
      %o = attn.attention %q, %q, %q mask(window<%w1, 0>)   // fine
          : (tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
      %r = arith.addf %o, %q : tensor<1x2x?x64xf16>         // error: op on tensors
      return %r : tensor<1x2x?x64xf16>
    }
    ```
  }];
  let statistics = [
    Statistic<"numFunctions", "functions", "Number of functions checked">,
    Statistic<"numAttention", "attention-ops", "Number of attention ops found">];
}

def AttnRefineShapes : Pass<"attn-refine-shapes", "::mlir::func::FuncOp"> {
  let summary = "Give every tensor the static sizes that another type states";
  let description = [{
    q, k, v, o and lse share their batch size, q, o and lse their heads and length, k and v theirs. Where one type states such
    a size and another leaves it open, both state it afterwards, through chains of ops up to the arguments and results of the
    function: so the runtime checks it at the argument (R5), and no later stage meets two types for one size. Types that contradict each other are an error.

    ```mlir
    func.func @f(%q: tensor<?x2x?x64xf16>) -> tensor<3x2x?x64xf16> {   // afterwards %q is a tensor<3x2x?x64xf16>
      %o = attn.attention %q, %q, %q
          : (tensor<?x2x?x64xf16>, tensor<?x2x?x64xf16>, tensor<?x2x?x64xf16>) -> tensor<3x2x?x64xf16>
      return %o : tensor<3x2x?x64xf16>
    }
    ```
  }];
  let statistics = [Statistic<"numRefined", "refined", "Number of tensors with more static sizes than before">];
}

def AttnPack : Pass<"attn-pack", "::mlir::func::FuncOp"> {
  let summary = "Run the residue classes of a mask as dense problems on strided views";
  let description = [{
    Where every live pair of the mask satisfies `(p - j) mod d = 0` for a constant d > 1, the queries i with `i mod d = r`
    and their keys are a problem of their own: with `p = d * p' + x` and `j = d * j' + x` put into the mask, it is dense.
    The op becomes a loop over r with the op on every d-th row of q, k, v and of the results. No data moves. The condition
    is decided on the set, whatever atoms it is written with. Which divisor of d is used follows from the lengths, as far
    as the types state them, and from the tile sizes (docs/Rationale.md). A remark says what was done, or why not.

    ```mlir
    %o = attn.attention %q, %k, %v mask(causal & dilated<256, 0, 4>) align(start) : (tensor<2x8x4096x64xbf16>, ...
    ```
    becomes
    ```mlir
    %o = scf.forall (%r) in (4) shared_outs(%oo = %oe) -> (tensor<2x8x4096x64xbf16>) {
      %qs = tensor.extract_slice %q[0, 0, %r, 0] [2, 8, 1024, 64] [1, 1, 4, 1]
      %ks = tensor.extract_slice %k[0, 0, %r, 0] [2, 2, 1024, 64] [1, 1, 4, 1]
      %vs = tensor.extract_slice %v[0, 0, %r, 0] [2, 2, 1024, 64] [1, 1, 4, 1]
      %os = attn.attention %qs, %ks, %vs mask(window<256, 0>) align(%c0) : (tensor<2x8x1024x64xbf16>, ...
      scf.forall.in_parallel {
        tensor.parallel_insert_slice %os into %oo[0, 0, %r, 0] [2, 8, 1024, 64] [1, 1, 4, 1]
      }
    } {attn.mask = "causal & dilated<256, 0, 4>", attn.residues = 4}
    ```
    In general the keys of class r are those with `j mod d = (r + offset) mod d`, and its queries start at position
    `(r + offset) floordiv d`. Where each batch has an offset of its own, the loop is one over (batch, r).
    Where `heads<a, b>` makes some heads see a mask with a larger d than all of them have, each range of heads gets a loop
    of its own, and they write into the same results after each other.
  }];
  let options = [
    Option<"qTile", "q-tile", "int64_t", "128", "Query rows per tile of ops without a schedule">,
    Option<"kvTile", "kv-tile", "int64_t", "64", "Keys per tile of ops without a schedule">];
  let statistics = [
    Statistic<"numPacked", "packed", "Number of ops that became loops over residue classes">,
    Statistic<"numRefused", "refused", "Number of ops with residue classes that were left as they are">];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"];
}

def AttnTile : Pass<"attn-tile", "::mlir::func::FuncOp"> {
  let summary = "Tile attention over batches, heads and blocks of queries";
  let description = [{
    Tiles each `attn.attention` with upstream's `TilingInterface` into an `scf.forall` over (batch, head, first query).
    The tile sizes come from the op's schedule, or from the options. The schedule and the mask stay with the loop as
    `attn.schedule` and `attn.mask` (its text). The alignment becomes a value: the position of the tile's first query.
    A log-sum-exp that nobody reads is dropped. The op of a loop over residue classes (attn-pack) is tiled together with
    the loop, which becomes one over (batch, head, class, first query): a step of d * q_tile queries holds one tile of each
    class.

    ```mlir
    %o = attn.attention %q, %k, %v mask(causal) schedule(#attn.schedule<q_tile = 128, ...>) : ...
    ```
    becomes
    ```mlir
    %o = scf.forall (%b, %h, %i0) = (0, 0, 0) to (2, 8, %nq) step (1, 1, 128) shared_outs(%oo = %oe) -> (...) {
      %rows = affine.min affine_map<(d0)[s0] -> (-d0 + s0, 128)>(%i0)[%nq]
      %qs = tensor.extract_slice %q[%b, %h, %i0, 0] [1, 1, %rows, 64] [1, 1, 1, 1]
      ...
      %p0 = affine.apply affine_map<(d0)[s0, s1] -> (d0 + s1 - s0)>(%i0)[%nq, %nk]
      %ot = attn.attention %qs, %ks, %vs mask(causal) align(%p0) head(%h) : ...
      scf.forall.in_parallel { tensor.parallel_insert_slice %ot into %oo[...] }
    } {attn.mask = "causal", attn.schedule = #attn.schedule<q_tile = 128, ...>}
    ```
  }];
  let options = [
    Option<"qTile", "q-tile", "int64_t", "0", "Query rows per tile of ops without a schedule; 0 asks for a schedule">,
    Option<"kvTile", "kv-tile", "int64_t", "64", "Keys per tile of ops without a schedule">,
    Option<"warps", "warps", "int64_t", "1", "Warps of ops without a schedule">,
    Option<"stages", "stages", "int64_t", "2", "Buffered key tiles of ops without a schedule">];
  let statistics = [
    Statistic<"numTiled", "tiled", "Number of attention ops tiled">,
    Statistic<"numDroppedLse", "dropped-lse", "Number of log-sum-exps that nobody read">];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"];
}

def AttnToOnline : Pass<"attn-to-online", "::mlir::func::FuncOp"> {
  let summary = "Make the running max, sum and accumulator values (changes numerics: online softmax in base 2)";
  let description = [{
    A tile of `attn.attention` becomes a read of its queries, one `attn.online_attention` over all keys, which starts
    from max = -inf, sum = 0, acc = 0, and the final division. Rows whose sum is 0 have no live key: they get o = 0 and
    lse = -inf. A sum that is NaN stays NaN.

    ```mlir
    %ot, %lt = attn.attention %qs, %ks, %vs mask(causal) align(%p0) head(%h) : ...
    ```
    becomes
    ```mlir
    %qt = vector.transfer_read %qs[%c0, %c0, %c0, %c0], %pad : tensor<1x1x?x64xf16>, vector<128x64xf16>
    %m, %l, %acc = attn.online_attention %qt, %ks, %vs init(%neg_inf, %zero_row, %zero) scale(0.125)
        mask(causal) rows(%p0, %p1) keys(%c0, %nk) : ...
    %r = arith.divf %one, %l          // 0 where %l is 0
    %o = arith.mulf %acc, %r          // each row of it
    %log = math.log2 %l
    %lse2 = arith.addf %m, %log
    %lse = arith.mulf %lse2, %ln2
    %ot = vector.transfer_write %o, %os[...]
    %lt = vector.transfer_write %lse, %ls[...]
    ```
  }];
  let statistics = [Statistic<"numConverted", "converted", "Number of tiles made online">];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::tensor::TensorDialect", "::mlir::vector::VectorDialect"];
}

def AttnTileKv : Pass<"attn-tile-kv", "::mlir::func::FuncOp"> {
  let summary = "Loop over the live key tiles: partial tiles first, then full tiles";
  let description = [{
    The bounds of both loops are derived from the mask's integer set (dialect/mask). The loop over partial tiles visits
    the live tiles except the full ones and keeps the mask; the loop over full tiles has none. A loop that has no tile
    for any value of its bounds is left out. A remark says where the bounds are wider than the live tiles.

    ```mlir
    %m, %l, %acc = attn.online_attention %qt, %ks, %vs init(%m0, %l0, %a0) scale(0.125)
        mask(window<128, 0>) rows(%p0, %p1) keys(%c0, %nk) : ...
    ```
    becomes
    ```mlir
    %part:3 = attn.for_tiles %t in [%lo to %hi] except [%flo to %fhi] iter_args(%m = %m0, %l = %l0, %a = %a0) -> (...) {
      %j0 = affine.apply affine_map<(d0) -> (d0 * 64)>(%t)
      %kt = vector.transfer_read %ks[%c0, %c0, %j0, %c0], %pad : tensor<1x1x?x64xf16>, vector<64x64xf16>
      %vt = vector.transfer_read %vs[%c0, %c0, %j0, %c0], %pad : tensor<1x1x?x64xf16>, vector<64x64xf16>
      %n:3 = attn.online_attention %qt, %kt, %vt init(%m, %l, %a) scale(0.125)
          mask(window<128, 0>) rows(%p0, %p1) keys(%j0, %nk) : ...
      attn.yield %n#0, %n#1, %n#2
    }
    %full:3 = attn.for_tiles %t in [%flo to %fhi] iter_args(%m = %part#0, ...) -> (...) {
      ...
      %n:3 = attn.online_attention %qt, %kt, %vt init(%m, %l, %a) scale(0.125) : ...
    }
    ```
  }];
  let options = [
    Option<"kvTile", "kv-tile", "int64_t", "0", "Keys per tile where no loop with a schedule encloses the op">];
  let statistics = [
    Statistic<"numTiled", "tiled", "Number of ops tiled over keys">,
    Statistic<"numPartialLoops", "partial-loops", "Number of loops over partial tiles">,
    Statistic<"numFullLoops", "full-loops", "Number of loops over full tiles">,
    Statistic<"numOmitted", "omitted", "Number of loops left out because no tile is in their class">,
    Statistic<"numInexact", "inexact", "Number of ops whose bounds admit empty tiles">,
    Statistic<"numFullInexact", "full-inexact", "Number of ops some full tiles of which run as partial ones">];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::vector::VectorDialect"];
}

def AttnDecompose : Pass<"attn-decompose", "::mlir::func::FuncOp"> {
  let summary = "Spell online attention out in vector, arith and math (changes numerics: exp2 with a folded scale)";
  let description = [{
    `exp(scale * s - max)` becomes `exp2(s * scale * log2(e) - max)`: one fused multiply-add and one exp2. The weights
    are rounded to the element type of v before the second product; their sum is not.

    The mask becomes one comparison per constraint of its predicate. What depends on the row alone is computed on
    vector<Mx1>, what depends on the key alone on vector<1xN>, both in 32 bits relative to the tile; what is left for
    each pair is a comparison, and an add and a minimum for a remainder that mixes both. `j < nk` is left out where K
    was read in bounds.

    ```mlir
    %m1, %l1, %a1 = attn.online_attention %q, %k, %v init(%m, %l, %a) scale(0.125)
        mask(causal) rows(%p0, %p1) keys(%j0, %nk) : ...
    ```
    becomes
    ```mlir
    %s = vector.contract ... %q, %k, %zero : vector<128x64xbf16>, vector<64x64xbf16> into vector<128x64xf32>
    %live = arith.cmpi sge, %row, %key : vector<128x64xi32>
    %sm = arith.select %live, %s, %neg_inf
    %rm = vector.multi_reduction <maxnumf>, %sm, %neg_inf_row [1]
    ...
    %p = math.exp2 %e
    %a1 = vector.mask %live3 { vector.contract ... %pb, %v, %as }
    ```
  }];
  let statistics = [
    Statistic<"numDecomposed", "decomposed", "Number of ops spelled out">,
    Statistic<"numMasked", "masked", "Number of them with a mask">,
    Statistic<"numWide", "wide-constraints", "Number of constraints that needed 64-bit vectors">];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::vector::VectorDialect"];
}

def AttnBufferize : Pass<"attn-bufferize", "::mlir::ModuleOp"> {
  let summary = "Turn tensors into memrefs and results into arguments";
  let description = [{
    Arguments become memrefs whose last dimension is contiguous and whose other strides are free. Results become
    arguments after the original ones, in order. What one attention op hands to the next is allocated, row-major, in
    the function. The work is upstream's one-shot bufferization; a copy that it would need is an error.

    ```mlir
    func.func @f(%q: tensor<1x2x?x64xf16>) -> tensor<1x2x?x64xf16>
    ```
    becomes
    ```mlir
    func.func @f(%q: memref<1x2x?x64xf16, strided<[?, ?, ?, 1], offset: ?>>,
                 %o: memref<1x2x?x64xf16, strided<[?, ?, ?, 1], offset: ?>>)
    ```
  }];
  let statistics = [
    Statistic<"numOutArguments", "out-arguments", "Number of results made arguments">,
    Statistic<"numAllocs", "allocs", "Number of intermediate tensors allocated">];
  let dependentDialects = [
    "::mlir::bufferization::BufferizationDialect", "::mlir::memref::MemRefDialect"];
}

def AttnOutline : Pass<"attn-outline", "::mlir::ModuleOp"> {
  let summary = "Give each kernel a function of its own";
  let description = [{
    Each `scf.forall` of a function becomes a private function with the attributes `attn.kernel`, `attn.schedule` and
    `attn.mask`, called in its place. Its arguments are the memrefs it reads in order of their use (q, k, v, offsets),
    the scalars, and the memrefs it writes (o, lse). Constants, dimensions and scalar arithmetic move into it, so that
    every scalar argument is an argument of the calling function.

    ```mlir
    func.func @f(%q: memref<...>, %k: memref<...>, %v: memref<...>, %w: index, %o: memref<...>) {
      scf.forall (...) { ... } {attn.mask = "window<s0, 0>", attn.schedule = #attn.schedule<...>}
      return
    }
    ```
    becomes
    ```mlir
    func.func @f(...) {
      call @f_0(%q, %k, %v, %w, %o) : (...) -> ()
      return
    }
    func.func private @f_0(...) attributes {attn.kernel, attn.mask = "window<s0, 0>", attn.schedule = ...} {
      scf.forall (...) { ... }
      return
    }
    ```
  }];
  let statistics = [Statistic<"numKernels", "kernels", "Number of kernels outlined">];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def AttnLowerTiles : Pass<"attn-lower-tiles", "::mlir::func::FuncOp"> {
  let summary = "Turn loops over tiles into scf.for and scf.while";
  let description = [{
    A loop over one interval with nothing excepted becomes `scf.for`. Any other becomes `scf.while` over "the next tile
    from here on" (NextTile.h).

    ```mlir
    %r = attn.for_tiles %t in [%a to %b] iter_args(%x = %x0) -> (f32) { ... attn.yield %y : f32 }
    ```
    becomes
    ```mlir
    %r = scf.for %t = %a to %b step %c1 iter_args(%x = %x0) -> (f32) { ... scf.yield %y : f32 }
    ```
  }];
  let statistics = [
    Statistic<"numFor", "for", "Number of loops that became scf.for">,
    Statistic<"numWhile", "while", "Number of loops that became scf.while">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect"];
}

#endif // ATTN_PASSES_TD
