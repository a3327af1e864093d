//===- AttnOps.td - the ops of the attn dialect ------------*- tablegen -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_OPS_TD
#define ATTN_OPS_TD

include "attn/dialect/AttnBase.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Attn_Op<string mnemonic, list<Trait> traits = []> : Op<Attn_Dialect, mnemonic, traits>;

/// `base` with what a diagnostic says of it: the label of the constraint in docs/Spec.md at the end.
class Attn_Type<Type base, string text> : Type<base.predicate, text, base.cppType>;

def Attn_Tensor4D : Attn_Type<TensorRankOf<[F16, BF16, F32], [4]>, "4-d tensor of f16, bf16 or f32 (A1)">;
def Attn_Tensor3D : Attn_Type<TensorRankOf<[F32], [3]>, "3-d tensor of f32 (A1)">;
def Attn_Offset : Attn_Type<AnyTypeOf<[Index, 1DTensorOf<[I32, I64, Index]>]>,
                            "index or 1-d tensor of i32, i64 or index (A14)">;
def Attn_MaskData : Attn_Type<RankedTensorOf<[I1, I8, I32, I64]>,
                              "ranked tensor of i1, i8, i32 or i64 (A17)">;
def Attn_TileData : Attn_Type<AnyTypeOf<[RankedTensorOf<[I1, I8, I32, I64]>, VectorOfRankAndType<[2], [I1]>]>,
                              "ranked tensor of i1, i8, i32 or i64, or 2-d vector of i1 (O12)">;
def Attn_ScoreInput : Attn_Type<
    AnyTypeOf<[TensorRankOf<[F16, BF16, F32], [4]>, 1DTensorOf<[F16, BF16, F32]>, Index]>,
    "4-d or 1-d tensor of f16, bf16 or f32, or index (A18)">;
def Attn_TileScoreInput : Attn_Type<
    AnyTypeOf<[TensorRankOf<[F16, BF16, F32], [4]>, VectorOfRankAndType<[2], [F16, BF16, F32]>, F32, Index]>,
    "4-d tensor or 2-d vector of f16, bf16 or f32, or f32 or index (O21)">;
def Attn_Sinks : Attn_Type<1DTensorOf<[F32]>, "1-d tensor of f32 (A19)">;
def Attn_Partial : Attn_Type<TensorRankOf<[F32], [4]>, "4-d tensor of f32 (A20)">;
def Attn_Bits : Attn_Type<AnyTypeOf<[TensorRankOf<[I1, I8], [4]>, MemRefRankOf<[I1, I8], [4]>]>,
                          "4-d tensor or memref of i1 or i8 (B1)">;
def Attn_Rows : Attn_Type<AnyTypeOf<[TensorRankOf<[F16, BF16, F32], [4]>, MemRefRankOf<[F16, BF16, F32], [4]>]>,
                          "4-d tensor or memref of f16, bf16 or f32 (V1)">;
def Attn_Tile : Attn_Type<VectorOfRankAndType<[2], [F16, BF16, F32]>, "2-d vector of f16, bf16 or f32 (O1)">;
def Attn_KeyTile : Attn_Type<
    AnyTypeOf<[TensorRankOf<[F16, BF16, F32], [4]>, VectorOfRankAndType<[2], [F16, BF16, F32]>]>,
    "2-d vector or 4-d tensor of f16, bf16 or f32 (O1)">;
def Attn_RowState : Attn_Type<VectorOfRankAndType<[1], [F32]>, "1-d vector of f32 (O1)">;
def Attn_Accumulator : Attn_Type<VectorOfRankAndType<[2], [F32]>, "2-d vector of f32 (O1)">;

def Attn_AttentionOp : Attn_Op<"attention", [
    Pure, AttrSizedOperandSegments, IsolatedFromAbove,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "Softmax attention over the live keys of every query";
  let description = [{
    `o[b, h, i] = sum_j softmax_j(scale * <q[b, h, i], k[b, h / g, j]>) * v[b, h / g, j]`, the sum and the softmax running
    over the keys j that the mask makes live for query i; `g = Hq / Hkv`. `lse[b, h, i]` is the natural logarithm of the
    sum of `exp` of the live scaled scores. A row with no live key has o = 0 and lse = -inf.

    q is B x Hq x Nq x D, k is B x Hkv x Nk x D, v is B x Hkv x Nk x Dv, o is B x Hq x Nq x Dv, lse is B x Hq x Nq.
    The scale defaults to 1 / sqrt(D). Products accumulate in f32; the softmax is f32; its weights are rounded to the
    element type of v before the second product.

    The types of the tensors that the mask names follow those of q, k and v.

    Query i has position `p = i + offset`: `align(end)` (the default) is offset Nk - Nq, `align(start)` is 0,
    `align(%x)` is a value, one for all batches (index) or one for each (a 1-d tensor of B integers). `head(%h)` is the
    number that the mask sees for the first query head; it defaults to 0. With these two the op is closed under tiling.

    `init(%o0, %lse0)` continues from a result over other keys: o and lse are those over its keys and the live ones of
    this op together. What one op hands to the next so is best an o of f32, which an op on 16-bit inputs may have.

    A score region changes the scaled score of a pair before the mask is applied. It takes the score, the batch, the
    query head, the positions of the query and of the key, and an element of each of the op's score inputs, and yields
    the new score; it is scalar arithmetic. `softcap(30.0)` (30 * tanh(s / 30)), `bias(%b : type)` (s + b) and
    `alibi(%slopes : type)` (s - slope * |p - j|) expand into it, in this order and before the region that is written
    out. `sinks(%t : type)` adds `exp(t[h])` to the denominator.

    `docs/Spec.md` numbers the constraints.

    Example:

    ```mlir
    %o, %lse = attn.attention %q, %k, %v mask(causal & window<%w, 0>) scale(0.125)
        : (tensor<2x8x?x64xbf16>, tensor<2x2x?x64xbf16>, tensor<2x2x?x64xbf16>)
       -> (tensor<2x8x?x64xbf16>, tensor<2x8x?xf32>)
    %r = attn.attention %q, %k, %v mask(causal) sinks(%t : tensor<8xf32>)
        score(%b : tensor<1x8x?x?xbf16>) {
      ^bb0(%s: f32, %batch: index, %h: index, %i: index, %j: index, %x: f32):
        %y = arith.addf %s, %x : f32
        attn.yield %y : f32
    } : (tensor<2x8x?x64xbf16>, tensor<2x2x?x64xbf16>, tensor<2x2x?x64xbf16>) -> tensor<2x8x?x64xbf16>
    ```
  }];
  let arguments = (ins
    Attn_Tensor4D:$q, Attn_Tensor4D:$k, Attn_Tensor4D:$v,
    Variadic<Index>:$symbols, Optional<Attn_Offset>:$offset, Optional<Index>:$head,
    Variadic<Attn_MaskData>:$mask_data, Variadic<Attn_ScoreInput>:$score_inputs, Optional<Attn_Sinks>:$sinks,
    Optional<Attn_Partial>:$init_o, Optional<Attn_Tensor3D>:$init_lse,
    Attn_MaskAttr:$mask, Attn_AlignmentAttr:$alignment,
    OptionalAttr<F32Attr>:$scale, OptionalAttr<Attn_ScheduleAttr>:$schedule);
  let results = (outs Attn_Tensor4D:$o, Optional<Attn_Tensor3D>:$lse);
  let regions = (region MaxSizedRegion<1>:$score);
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::mlir::Type":$o, "::mlir::Type":$lse, "const ::mlir::attn::AttentionParts &":$parts)>];
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    /// The factor on the scores: the attribute, or 1 / sqrt(D).
    float getScaleValue();
    /// Hq / Hkv: how many query heads read one KV head.
    int64_t getGroupSize();
  }];
}

def Attn_OnlineAttentionOp : Attn_Op<"online_attention", [Pure, AttrSizedOperandSegments, IsolatedFromAbove]> {
  let summary = "Fold some keys into the running max, sum and accumulator of a query tile";
  let description = [{
    One step of the online softmax (Milakov and Gimelshein 2018; FlashAttention). q is a tile of M rows. k and v hold
    the keys to fold in: whole 1 x 1 x N x D slices before `attn-tile-kv`, tiles of that many keys after it.
    `max` is the running maximum of the scores in base 2, `score * scale * log2(e)`, -inf at first; `sum` is the
    running sum of `exp2(score - max)`, `acc` the running weighted sum of v.

    With `mask(...)`, row i of q has position `p0 + i`, rows from position `p1` on do not matter, row n of k has
    position `j0 + n`, and keys from position `nk` on are dead. Without it every pair is live. The mask's tensors are
    slices of the tile's rows and of all keys; with tiles of k and v every one of them is a vector of i1, and `bits` of
    an M x 1, 1 x N or M x N vector holds where that is set.

    With `heads(g)` the rows are those of g query heads, M / g of each, one head after the other: row i has the position of row
    `i mod (M / g)` of one head, and neither mask nor score depends on the head.

    With `score(...)` the scaled score of each pair goes through the region first, as in `attn.attention`; the batch
    that it sees is 0. Its inputs are 1 x 1 slices before `attn-tile-kv` and tiles after it, each dimension that of the
    tile or 1, or scalars.

    Example:

    ```mlir
    %max1, %sum1, %acc1 = attn.online_attention %q, %k, %v init(%max0, %sum0, %acc0) scale(0.125)
        mask(causal) rows(%p0, %p1) keys(%j0, %nk)
        : vector<128x64xbf16>, vector<64x64xbf16>, vector<64x64xbf16>, vector<128x64xf32>
    ```
  }];
  let arguments = (ins
    Attn_Tile:$q, Attn_KeyTile:$k, Attn_KeyTile:$v,
    Attn_RowState:$max, Attn_RowState:$sum, Attn_Accumulator:$acc,
    Variadic<Index>:$symbols, Variadic<Index>:$rows, Variadic<Index>:$keys, Optional<Index>:$head,
    Variadic<Attn_TileData>:$mask_data,
    Variadic<Attn_TileScoreInput>:$score_inputs,
    OptionalAttr<Attn_MaskAttr>:$mask, F32Attr:$scale, DefaultValuedAttr<I64Attr, "1">:$heads);
  let results = (outs
    Attn_RowState:$new_max, Attn_RowState:$new_sum, Attn_Accumulator:$new_acc);
  let regions = (region MaxSizedRegion<1>:$score);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Attn_SelectRowsOp : Attn_Op<"select_rows", [Pure]> {
  let summary = "The rows of keys or values that lie at regular places, as if they were adjacent";
  let description = [{
    Row r of the result, dimension 2, is row `r floordiv count * step + first + r mod count` of the source: of each `step`
    rows the `count` from `first` on. No data moves: a memref result is another way to count the rows of the same
    memory, and what reads tiles from it computes where their rows are.

    Example:

    ```mlir
    %kc = attn.select_rows %k first 120 count 8 step 128 : tensor<1x1x1000x64xbf16> to tensor<1x1x56x64xbf16>
    ```
  }];
  let arguments = (ins Attn_Rows:$source, I64Attr:$first, I64Attr:$count, I64Attr:$step);
  let results = (outs Attn_Rows:$result);
  let assemblyFormat = [{
    $source `first` $first `count` $count `step` $step attr-dict `:` type($source) `to` type($result)
  }];
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$source, "int64_t":$first, "int64_t":$count, "int64_t":$step)>];
  let extraClassDeclaration = [{
    /// How many of the first `numRows` rows are selected.
    static int64_t countRows(int64_t numRows, int64_t first, int64_t count, int64_t step);
  }];
}

def Attn_AnyBitOp : Attn_Op<"any_bit", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "Whether a tile of bits has one that is set, or one that is not";
  let description = [{
    True if some element of all rows, dimension 2, and of the `count` columns from `column` on is `value`, that is not 0
    for `true` and 0 for `false`. Columns that do not exist do not count; where the type says that there is one column,
    that is the one for all keys. The first two dimensions are 1.

    Example:

    ```mlir
    %live = attn.any_bit true in %bits[%j0] count 64 : tensor<1x1x128x?xi8>
    ```
  }];
  let arguments = (ins Attn_Bits:$bits, Index:$column, I64Attr:$count, BoolAttr:$value);
  let results = (outs I1:$result);
  let assemblyFormat = [{
    $value `in` $bits `[` $column `]` `count` $count attr-dict `:` type($bits)
  }];
  let hasVerifier = 1;
}

def Attn_ForTilesOp : Attn_Op<"for_tiles", [
    AttrSizedOperandSegments, RecursiveMemoryEffects, SingleBlock, AutomaticAllocationScope,
    DeclareOpInterfaceMethods<RegionBranchOpInterface, ["getEntrySuccessorOperands"]>]> {
  let summary = "A loop over the tiles of a union of intervals";
  let description = [{
    Runs the body once for every tile number t that lies in one of the half-open intervals of `in`, in none of those of
    `except`, and for which the `where` region, if there is one, ends with a true `attn.condition`. Tiles come in rising order, each once,
    however the intervals overlap. Empty intervals (lower >= upper) are allowed.

    Example:

    ```mlir
    %r = attn.for_tiles %t in [%lo to %hi, %c0 to %g] except [%flo to %fhi] iter_args(%a = %a0) -> (vector<128xf32>) {
      ...
      attn.yield %b : vector<128xf32>
    }
    ```
  }];
  let arguments = (ins
    Variadic<Index>:$lower, Variadic<Index>:$upper,
    Variadic<Index>:$except_lower, Variadic<Index>:$except_upper,
    Variadic<AnyType>:$inits);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region MaxSizedRegion<1>:$filter, SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins
    "::mlir::ValueRange":$lower, "::mlir::ValueRange":$upper, "::mlir::ValueRange":$exceptLower,
    "::mlir::ValueRange":$exceptUpper, "::mlir::ValueRange":$inits)>];
  let extraClassDeclaration = [{
    ::mlir::Value getInductionVar() { return getBody().front().getArgument(0); }
    ::mlir::Block::BlockArgListType getIterArgs() { return getBody().front().getArguments().drop_front(); }
  }];
}

def Attn_YieldOp : Attn_Op<"yield", [Pure, Terminator, ReturnLike, ParentOneOf<["ForTilesOp", "AttentionOp", "OnlineAttentionOp"]>]> {
  let summary = "Hand values to the enclosing op";
  let description = [{
    Ends the body of `attn.for_tiles` with the next values of its iteration arguments, and a score region with the score.
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, ::mlir::ValueRange()); }]>];
}

def Attn_ConditionOp : Attn_Op<"condition", [Pure, Terminator, HasParent<"ForTilesOp">]> {
  let summary = "Whether the loop visits the tile";
  let description = [{
    Ends the `where` region of `attn.for_tiles`. If `live` is false, no tile before `next` is visited either: what is
    known of sparse tables. `next` is larger than the tile, or it means nothing.
  }];
  let arguments = (ins I1:$live, Optional<Index>:$next);
  let assemblyFormat = "$live (`next` `(` $next^ `)`)? attr-dict";
}

#endif // ATTN_OPS_TD
