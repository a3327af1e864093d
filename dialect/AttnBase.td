//===- AttnBase.td - the attn dialect and its attributes ---*- tablegen -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_BASE_TD
#define ATTN_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Attn_Dialect : Dialect {
  let name = "attn";
  let cppNamespace = "::mlir::attn";
  let summary = "Declarative attention whose mask is an integer set";
  let description = [{
    Attention stated as what it computes: softmax over the live keys of every query, where the live (query, key) pairs
    are a Presburger set over the head, the query position and the key position. Tile classes, loop bounds and predicates
    are derived from that set.
  }];
  let useDefaultAttributePrinterParser = 1;
  // Clauses expand into score regions.
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

class Attn_Attr<string name, string attrMnemonic> : AttrDef<Attn_Dialect, name> {
  let mnemonic = attrMnemonic;
}

//===----------------------------------------------------------------------===//
// Mask
//===----------------------------------------------------------------------===//

def Attn_MaskAttr : Attn_Attr<"Mask", "mask"> {
  let summary = "A set of live (head, query position, key position) triples";
  let description = [{
    A mask is built from atoms with `&` (intersection), `|` (union) and `!` (complement), in falling order of
    precedence `!`, `&`, `|`. Positions are `p` for the query, `j` for the key, `h` is the query head. All bounds are
    inclusive unless said; `inf` is unbounded; `s0`, `s1`, ... are symbols and `t0`, `t1`, ... tensors, bound to run-time
    values by the op that carries the mask.

    | atom | set |
    |---|---|
    | `all` | everything |
    | `causal` | j <= p |
    | `window<l, r>` | p - l <= j <= p + r |
    | `dilated<l, r, step>` | (p - j) mod step = 0 and -r*step <= p - j <= l*step |
    | `stride<n>` | (p - j) mod n = 0 |
    | `same_block<n>` | floor(j / n) = floor(p / n) |
    | `summary<n, c>` | j mod n >= n - c |
    | `global<n>` | p < n or j < n |
    | `keys<a, b>`, `queries<a, b>`, `heads<a, b>` | a <= j < b, a <= p < b, a <= h < b |
    | `affine_set<(h, i, j)[n, ...] : (...)>(%n, ...)` | the literal set, i standing for p |
    | `lengths(%len)` | j < len[b] |
    | `documents(%q_ids, %k_ids)` | q_ids[b, i] = k_ids[b, j], i the number of the query |
    | `blocks<bq, bk>(%row_ptr, %col)` | the table has block (floor(i / bq), floor(j / bk)) |
    | `bits(%m)` | m[b, h, i, j] |

    Composites are expanded when they are read: `strided<n>` is `causal & (window<n, 0> | stride<n>)`, `fixed<n, c>` is
    `causal & (same_block<n> | summary<n, c>)`, `chunked<n>` is `causal & same_block<n>`, `prefix<n>` is
    `causal | keys<0, n>`, `longformer<w, g>` is `window<w, w> | global<g>`, `streaming<s, w>` is
    `causal & (keys<0, s> | window<w, 0>)`.

    Inside the attribute's own brackets a literal set is quoted, because MLIR balances `<` and `>` there:
    `#attn.mask<causal & affine_set<"(d0, d1, d2) : (d1 - d2 - 4 >= 0)">>`.

    Example: `#attn.mask<causal & window<s0, 0> | keys<0, 16>>`
  }];
  let parameters = (ins
    "::mlir::attn::MaskKind":$kind,
    ArrayRefParameter<"::mlir::attn::MaskBound">:$bounds,
    ArrayRefParameter<"::mlir::attn::MaskAttr">:$operands,
    "::mlir::IntegerSet":$set
  );
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 0;
  let extraClassDeclaration = [{
    /// Everything is live.
    static MaskAttr getAll(::mlir::MLIRContext *context);
    /// An atom with its parameters, `bounds` in the order of the table above.
    static MaskAttr getAtom(::mlir::MLIRContext *context, MaskKind kind, ::llvm::ArrayRef<MaskBound> bounds = {});
    /// A literal set over (h, i, j); `bounds` binds its symbols in order.
    static MaskAttr getSet(::mlir::IntegerSet set, ::llvm::ArrayRef<MaskBound> bounds = {});
    /// Intersection, union and complement. Nested intersections and unions are flattened; no other simplification.
    static MaskAttr getAnd(::llvm::ArrayRef<MaskAttr> operands);
    static MaskAttr getOr(::llvm::ArrayRef<MaskAttr> operands);
    static MaskAttr getNot(MaskAttr operand);

    /// One more than the largest symbol number that occurs; 0 if none does.
    unsigned getNumSymbols() const;
    /// One more than the largest tensor number that occurs; 0 if none does:
    /// then the mask is a set that its text alone defines.
    unsigned getNumData() const;
    /// The same mask with symbol `i` replaced by `bounds[i]`.
    MaskAttr replaceSymbols(::llvm::ArrayRef<MaskBound> bounds) const;
    /// Whether membership depends on the head.
    bool dependsOnHead() const;
    /// Writes the expression. `printValue` writes a symbol or a tensor; `quoteSets` selects the attribute's quoted form.
    void printExpression(::llvm::raw_ostream &os, ::llvm::function_ref<void(const MaskBound &)> printValue, bool quoteSets) const;
    /// The expression with symbols as s0, s1, ... and tensors as t0, t1, ...
    std::string str() const;
  }];
}

//===----------------------------------------------------------------------===//
// Alignment and schedule
//===----------------------------------------------------------------------===//

def Attn_Alignment : I32EnumAttr<"Alignment", "how query index i becomes query position p", [
    I32EnumAttrCase<"End", 0, "end">,
    I32EnumAttrCase<"Start", 1, "start">,
    I32EnumAttrCase<"Offset", 2, "offset">]> {
  let cppNamespace = "::mlir::attn";
  let genSpecializedAttr = 0;
}

def Attn_AlignmentAttr : EnumAttr<Attn_Dialect, Attn_Alignment, "alignment">;

def Attn_ScheduleAttr : Attn_Attr<"Schedule", "schedule"> {
  let summary = "How a kernel runs the tile program";
  let description = [{
    `q_tile` query rows by `kv_tile` keys are processed at a time; `warps` warps share the rows of a query tile; K and V
    tiles are prefetched into rings of `stages` buffers; `q_in_registers` keeps the query fragments in registers
    instead of re-reading them from shared memory for every key tile.

    With `producer_registers` and `consumer_registers`, which are left out where they are 0, the warps are specialised: four
    more warps, of that many registers a thread, only load, and the `warps` that compute have `consumer_registers`. Three
    choices of theirs are left out where they are false: with `overlap` the softmax of a tile runs under the product of the
    weights before it with V; with `turns` warpgroups issue their products one after the other, so that the softmax of one runs under
    the products of another; with `weights_in_shared` the weights go through shared memory instead of registers.

    With `heads`, which is left out where it is 1, the rows of a query tile are `q_tile / heads` queries of each of that many query
    heads, one head after the other; they read the same KV head.

    With `persistent`, which is left out where it is false, a block computes several query tiles one after the other, and the next
    one's loads begin while it ends the one before; only with roles.

    Examples: `#attn.schedule<q_tile = 128, kv_tile = 64, warps = 4, stages = 2, q_in_registers = false>`,
    `#attn.schedule<q_tile = 128, kv_tile = 128, warps = 8, stages = 2, q_in_registers = false, producer_registers = 24,
    consumer_registers = 240, overlap = true>`
  }];
  let parameters = (ins
    "int64_t":$q_tile, "int64_t":$kv_tile, "int64_t":$warps, "int64_t":$stages, "bool":$q_in_registers,
    DefaultValuedParameter<"int64_t", "0">:$producer_registers,
    DefaultValuedParameter<"int64_t", "0">:$consumer_registers,
    DefaultValuedParameter<"bool", "false">:$overlap,
    DefaultValuedParameter<"bool", "false">:$turns,
    DefaultValuedParameter<"bool", "false">:$weights_in_shared,
    DefaultValuedParameter<"bool", "false">:$persistent,
    DefaultValuedParameter<"int64_t", "1">:$heads);
  let builders = [
    AttrBuilder<(ins "int64_t":$qTile, "int64_t":$kvTile, "int64_t":$warps, "int64_t":$stages, "bool":$qInRegisters),
                [{ return $_get($_ctxt, qTile, kvTile, warps, stages, qInRegisters, 0, 0, false, false, false, false, 1); }]>];
  let extraClassDeclaration = [{
    /// Whether some warps only load and the others only compute.
    bool hasRoles() const { return getProducerRegisters() != 0; }
    /// Queries of a tile: its rows, of each of its heads.
    int64_t getQueries() const { return getQTile() / getHeads(); }
    /// The same with other heads, which divide the query tile.
    ScheduleAttr withHeads(int64_t heads) const;
  }];
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif // ATTN_BASE_TD
