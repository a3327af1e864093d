//===- NvptxOps.td - shared-memory tiles and their copies --*- tablegen -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_NVPTX_OPS_TD
#define ATTN_NVPTX_OPS_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Nvptx_Dialect : Dialect {
  let name = "attn_nvptx";
  let cppNamespace = "::mlir::attn::nvptx";
  let summary = "Tiles in shared memory and the copies that fill and drain them";
  let description = [{
    What `attn-schedule` makes explicit and no upstream dialect says at tile level. Everything else in a scheduled kernel
    is scf, arith, vector and the wait and barrier ops of nvvm.

    A buffer is `slots x rows x columns` of 16-bit elements, columns a multiple of 16, or of f32, columns a multiple of
    32. A slot is stored as column panels of 128 bytes and, for the rest, one panel each of 64 and 32 (80 columns of f16 are
    a panel of 64 columns and one of 16). The 16-byte chunk c of row r of a panel lies at chunk `c ^ (r mod 8)` where rows
    have 128 bytes, `c ^ (r / 2 mod 4)` for 64 and `c ^ (r / 4 mod 2)` for 32: the 128, 64 and 32 byte swizzles. Eight
    consecutive rows of one chunk column then lie in distinct banks, and so do eight consecutive chunks of one panel,
    and, of f32, eight consecutive columns of four rows of one parity.

    In kernels with roles a buffer is `slots x panels x rows x columns` of 16-bit elements, and all its panels have the
    same 64 or 32 columns: what one tensor copy writes and one product of a warpgroup reads.
  }];
}

class Nvptx_Op<string mnemonic, list<Trait> traits = []> : Op<Nvptx_Dialect, mnemonic, traits>;

def Nvptx_SharedMemRef : MemRefRankOf<[F16, BF16, F32], [3, 4]>;
def Nvptx_PanelMemRef : MemRefRankOf<[F16, BF16], [4]>;
def Nvptx_BarrierMemRef : MemRefRankOf<[I64], [1]>;
def Nvptx_Accumulator : VectorOfRankAndType<[2], [F32]>;
def Nvptx_GlobalMemRef : MemRefRankOf<[F16, BF16, F32], [4]>;

def Nvptx_SharedOp : Nvptx_Op<"shared", [Pure]> {
  let summary = "A buffer in the block's dynamic shared memory";
  let description = [{
    The buffer starts `offset` bytes into the dynamic shared memory of the block; buffers may overlap.

    Example: `%k = attn_nvptx.shared at 16384 : memref<2x64x64xbf16, #gpu.address_space<workgroup>>`
  }];
  let arguments = (ins I64Attr:$offset);
  let results = (outs Nvptx_SharedMemRef:$buffer);
  let assemblyFormat = "`at` $offset attr-dict `:` type($buffer)";
}

def Nvptx_LoadAsyncOp : Nvptx_Op<"load_async"> {
  let summary = "Start copying rows from global memory into a slot";
  let description = [{
    Copies rows `row`, `row + 1`, ... of a 1 x 1 x n x d slice into a slot, as part of the next `nvvm.cp.async.commit.group`.
    Rows from n on, and columns from d on, are filled with zeros and never read; `in_bounds` promises that there are no
    such rows. Slices whose rows do not start on 16 bytes are copied synchronously, element by element. All threads of
    the block take part.

    With `heads(g)` the rows of the slot are those of g heads, one head after the other, of a 1 x h x n x d slice with h <= g,
    and `row` is 0; rows of a head from n on, and of heads from h on, are filled with zeros.

    Example: `attn_nvptx.load_async %ks[%j0] to %k[%slot] : memref<1x1x?x64xbf16, ...>, memref<2x64x64xbf16, ...>`
             `attn_nvptx.load_async %qs[%c0] to %q[%c0] heads(8) : memref<1x7x?x64xbf16, ...>, memref<1x128x64xbf16, ...>`
  }];
  let arguments = (ins Nvptx_GlobalMemRef:$source, Index:$row, Nvptx_SharedMemRef:$target, Index:$slot,
                       UnitAttr:$in_bounds, DefaultValuedAttr<I64Attr, "1">:$heads);
  let assemblyFormat = [{
    $source `[` $row `]` `to` $target `[` $slot `]` (`in_bounds` $in_bounds^)? (`heads` `(` $heads^ `)`)? attr-dict
    `:` type($source) `,` type($target)
  }];
  let hasVerifier = 1;
}

def Nvptx_AbsorbOp : Nvptx_Op<"absorb", [AllTypesMatch<["acc", "result"]>]> {
  let summary = "Take NaN and infinity out of a tile of V, into the rows that see them";
  let description = [{
    Starts an iteration in place of `nvvm.barrier`: every thread tests the part of the tile that it copied, and the barrier
    says whether any of it is NaN or infinite. If so, which is rare, those elements are added to the rows of the
    accumulator for which their key is live, or to all rows without `where`, and become zeros in the tile. A product with weights that are zero for dead
    pairs is then right whatever v holds: 0 * NaN is NaN, 0 * 0 is not. The tile must have been waited for with
    `nvvm.cp.async.wait.group`, or for the barrier that its copy signals. All threads of the block take part, or in a kernel
    with roles all that compute.

    Example: `%a1 = attn_nvptx.absorb %a from %v[%slot] where %live
                  : vector<128x64xf32>, memref<2x64x64xbf16, ...>, vector<128x64xi1>`
  }];
  let arguments = (ins VectorOfRankAndType<[2], [F32]>:$acc, Nvptx_SharedMemRef:$tile, Index:$slot,
                       Optional<VectorOfRankAndType<[2], [I1]>>:$live);
  let results = (outs VectorOfRankAndType<[2], [F32]>:$result);
  let assemblyFormat = [{
    $acc `from` $tile `[` $slot `]` (`where` $live^)? attr-dict `:` type($acc) `,` type($tile) (`,` type($live)^)?
  }];
  let hasVerifier = 1;
}

def Nvptx_StoreOp : Nvptx_Op<"store"> {
  let summary = "Copy the first slot of a buffer to global memory";
  let description = [{
    Copies the rows and columns that the 1 x 1 x n x d slice has, in 16-byte pieces where its rows start on 16 bytes. All
    threads of the block take part. From a buffer of panels each warp copies its own 16 rows, which it alone has written.
    With `heads` the rows of the buffer are those of several heads, as in `load_async`.

    Example: `attn_nvptx.store %stage to %os : memref<1x128x64xbf16, ...>, memref<1x1x?x64xbf16, ...>`
  }];
  let arguments = (ins Nvptx_SharedMemRef:$source, Nvptx_GlobalMemRef:$target, DefaultValuedAttr<I64Attr, "1">:$heads);
  let assemblyFormat = [{
    $source `to` $target (`heads` `(` $heads^ `)`)? attr-dict `:` type($source) `,` type($target)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Kernels with roles
//===----------------------------------------------------------------------===//

def Nvptx_RolesOp : Nvptx_Op<"roles", [NoTerminator, SingleBlock]> {
  let summary = "What the warps that load and the warps that compute do";
  let description = [{
    The last four warps of the block run the first region, with at most `producer` registers a thread, all others the second,
    with `consumers` registers. The barriers of the kernel are ready when they start. The two meet at these barriers only.

    Example: `attn_nvptx.roles producer(32) { ... } consumers(160) { ... }`
  }];
  let arguments = (ins I64Attr:$producer_registers, I64Attr:$consumer_registers);
  let regions = (region SizedRegion<1>:$producer, SizedRegion<1>:$consumers);
  let assemblyFormat = [{
    `producer` `(` $producer_registers `)` $producer `consumers` `(` $consumer_registers `)` $consumers attr-dict
  }];
}

def Nvptx_ForItemsOp : Nvptx_Op<"for_items", [SingleBlock]> {
  let summary = "The iterations of the kernel that a block takes, one after the other";
  let description = [{
    The kernel has fewer blocks than its scf.forall has iterations. Those are numbered, each block takes one in every
    round, by its own number in the first round, in reverse order of the blocks in the second, and so on: of work that falls from
    iteration to iteration all get as much. The arguments of the region are the coordinates of the iteration, the number of the
    round, and what is carried.

    `heads` combinations of the dimensions before the last one go together: within them the last dimension, the query tiles, is the
    slowest, and starts with the longest.

    Example:
    ```mlir
    attn_nvptx.for_items heads(%n) carry(%slot, %parity) {
    ^bb0(%b: index, %h: index, %i0: index, %round: i32, %s: i32, %p: i32):
      ...
      attn_nvptx.next %s1, %p1
    }
    ```
  }];
  let arguments = (ins Index:$heads, Variadic<I32>:$inits);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`heads` `(` $heads `)` `carry` `(` $inits `)` $body attr-dict";
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    Block &getBlock() { return getBody().front(); }
    Value getRound() { return getBlock().getArgument(getBlock().getNumArguments() - 1 - getInits().size()); }
    ValueRange getCarried() { return getBlock().getArguments().take_back(getInits().size()); }
  }];
}

def Nvptx_NextOp : Nvptx_Op<"next", [Terminator, Pure, HasParent<"ForItemsOp">]> {
  let summary = "What attn_nvptx.for_items carries on";
  let description = [{
    Example: `attn_nvptx.next %slot, %parity`
  }];
  let arguments = (ins Variadic<I32>:$values);
  let assemblyFormat = "$values attr-dict";
}

def Nvptx_BarriersOp : Nvptx_Op<"barriers"> {
  let summary = "mbarriers in the block's dynamic shared memory, in phase 0";
  let description = [{
    The first one lies `offset` bytes into the dynamic shared memory. A phase of each ends after that many arrivals, once all
    bytes that were announced have been copied.

    Example: `%full = attn_nvptx.barriers at 180224 arrivals %c1 : memref<2xi64, #gpu.address_space<workgroup>>`
  }];
  let arguments = (ins I64Attr:$offset, I32:$arrivals);
  let results = (outs Nvptx_BarrierMemRef:$result);
  let assemblyFormat = "`at` $offset `arrivals` $arrivals attr-dict `:` type($result)";
}

def Nvptx_WaitOp : Nvptx_Op<"wait"> {
  let summary = "Wait until a phase of an mbarrier has ended";
  let description = [{
    Phases are told apart by their parity: the first is 0. What is before the first counts as ended, with parity 1.

    Example: `attn_nvptx.wait %full[%slot] parity %phase : memref<2xi64, #gpu.address_space<workgroup>>`
  }];
  let arguments = (ins Nvptx_BarrierMemRef:$barrier, Index:$slot, I32:$parity);
  let assemblyFormat = "$barrier `[` $slot `]` `parity` $parity attr-dict `:` type($barrier)";
}

def Nvptx_ReleaseOp : Nvptx_Op<"release"> {
  let summary = "Arrive at an mbarrier, once for each warp";
  let description = [{
    Example: `attn_nvptx.release %empty[%slot] : memref<2xi64, #gpu.address_space<workgroup>>`
  }];
  let arguments = (ins Nvptx_BarrierMemRef:$barrier, Index:$slot);
  let assemblyFormat = "$barrier `[` $slot `]` attr-dict `:` type($barrier)";
}

def Nvptx_TensorMapOp : Nvptx_Op<"tensor_map", [Pure]> {
  let summary = "The descriptor of a tensor for copies of boxes, a parameter of the kernel";
  let description = [{
    A box is `rows` rows of `columns` elements of one batch and of one head, or of each of `heads`, swizzled by the bytes of its
    rows. The runtime encodes the descriptor before the launch.

    With a residue, the rows of a box are alike modulo `modulus`. There are two such descriptors, as no box of a tensor has
    just the rows that exist where the modulus does not divide their number: one of the classes that have a row more than the
    others, one of what all classes have. The op chooses the one for its residue.

    Example: `%map = attn_nvptx.tensor_map %k box(128 x 64) : memref<2x2x?x64xbf16, ...>`
             `%map = attn_nvptx.tensor_map %k class(%r mod 4) box(128 x 64) : memref<2x2x?x64xbf16, ...>`
             `%map = attn_nvptx.tensor_map %q box(16 x 64) heads(8) : memref<2x64x?x64xbf16, ...>`
  }];
  let arguments = (ins Nvptx_GlobalMemRef:$source, Optional<Index>:$residue, OptionalAttr<I64Attr>:$modulus,
                       I64Attr:$rows, I64Attr:$columns, DefaultValuedAttr<I64Attr, "1">:$heads);
  let results = (outs Index:$result);
  let assemblyFormat = [{
    $source (`class` `(` $residue^ `mod` $modulus `)`)? `box` `(` $rows `x` $columns `)` (`heads` `(` $heads^ `)`)? attr-dict
    `:` type($source)
  }];
  let hasVerifier = 1;
}

def Nvptx_TensorMapsFitOp : Nvptx_Op<"tensor_maps_fit", [Pure]> {
  let summary = "Whether all of the kernel's tensor maps could be encoded";
  let description = [{
    They cannot where a tensor does not start on 16 bytes or a stride is not a positive multiple of 16 bytes.

    Example: `%fit = attn_nvptx.tensor_maps_fit`
  }];
  let results = (outs I1:$result);
  let assemblyFormat = "attr-dict";
}

def Nvptx_ElectOp : Nvptx_Op<"elect"> {
  let summary = "True in one thread of the warps that load";
  let description = [{
    Example: `%one = attn_nvptx.elect`
  }];
  let results = (outs I1:$result);
  let assemblyFormat = "attr-dict";
}

def Nvptx_LoadBoxOp : Nvptx_Op<"load_box", [AttrSizedOperandSegments]> {
  let summary = "Start copying a tile into a slot through its tensor map";
  let description = [{
    Copies the box at (batch, head, row) of the tensor, panel by panel; what lies outside of the tensor becomes zeros. Arrives
    at the slot's barrier and announces the bytes, so that its phase ends when they are there. One thread does this. Where the
    map is one of a residue class, `row` is a number in the class, and the residue comes with it.

    With a number, the tile is `number` and what follows of selected rows, `count` of each `step` from `row` on
    (attn.select_rows). It is made up of boxes of adjacent rows, as many as divide the count and the rows of the tile.

    Example: `attn_nvptx.load_box %map[%b, %h, %j] to %k[%slot] signal %full : memref<2x2x128x64xbf16, ...>,
    memref<2xi64, ...>`
             `attn_nvptx.load_box %map[%b, %h, %first] selected(%n count 8 step 128) to %k[%slot] signal %full : ...`
  }];
  let arguments = (ins Index:$map, Index:$batch, Index:$head, Index:$row, Optional<Index>:$residue,
                       Optional<Index>:$number, OptionalAttr<I64Attr>:$count, OptionalAttr<I64Attr>:$step,
                       Nvptx_PanelMemRef:$target, Index:$slot, Nvptx_BarrierMemRef:$barrier);
  let assemblyFormat = [{
    $map `[` $batch `,` $head `,` $row (`of` $residue^)? `]` (`selected` `(` $number^ `count` $count `step` $step `)`)?
    `to` $target `[` $slot `]` `signal` $barrier attr-dict `:` type($target) `,` type($barrier)
  }];
  let hasVerifier = 1;
}

def Nvptx_LoadRowsOp : Nvptx_Op<"load_rows"> {
  let summary = "Copy a tile into a slot row by row";
  let description = [{
    Copies rows `row`, `row + 1`, ... of a 1 x 1 x n x d slice, in 16-byte pieces where its rows start on 16 bytes. Rows from n
    on, and columns from d on, become zeros. All threads of the warps that load take part and arrive at the slot's barrier when their
    part is there, visible to products of warpgroups. With `heads` the rows are those of several heads, as in `load_async`.

    Example: `attn_nvptx.load_rows %ks[%j] to %k[%slot] signal %full : memref<1x1x?x64xbf16, ...>,
    memref<2x2x128x64xbf16, ...>, memref<2xi64, ...>`
  }];
  let arguments = (ins Nvptx_GlobalMemRef:$source, Index:$row, Nvptx_PanelMemRef:$target, Index:$slot,
                       Nvptx_BarrierMemRef:$barrier, DefaultValuedAttr<I64Attr, "1">:$heads);
  let assemblyFormat = [{
    $source `[` $row `]` `to` $target `[` $slot `]` `signal` $barrier (`heads` `(` $heads^ `)`)? attr-dict
    `:` type($source) `,` type($target) `,` type($barrier)
  }];
  let hasVerifier = 1;
}

def Nvptx_StoreBoxOp : Nvptx_Op<"store_box"> {
  let summary = "Start copying the rows of each warp to a tensor through its tensor map";
  let description = [{
    Each warp copies the 16 rows of the first slot of the buffer that it has written, to (batch, head, `row` and what follows)
    of the tensor; what lies outside of it is left out. A fence orders the warp's writes before the copy, which one of its
    threads starts. `store_wait` comes before the buffer is written again, and before the block ends. A residue is that of
    `load_box`.

    With `heads(h of g)` the rows are those of g heads, one head after the other, of which the first h are copied: a warp's rows are
    of one head, or all those of some.

    Example: `attn_nvptx.store_box %stage to %map[%b, %h, %i] : memref<1x2x128x64xbf16, ...>`
  }];
  let arguments = (ins Nvptx_PanelMemRef:$source, Index:$map, Index:$batch, Index:$head, Index:$row,
                       Optional<Index>:$residue, OptionalAttr<I64Attr>:$present, OptionalAttr<I64Attr>:$heads);
  let assemblyFormat = [{
    $source `to` $map `[` $batch `,` $head `,` $row (`of` $residue^)? `]` (`heads` `(` $present^ `of` $heads `)`)? attr-dict
    `:` type($source)
  }];
  let hasVerifier = 1;
}

def Nvptx_StoreWaitOp : Nvptx_Op<"store_wait"> {
  let summary = "Wait until the copies that a warp has started have read shared memory";
  let description = [{
    Example: `attn_nvptx.store_wait`
  }];
  let assemblyFormat = "attr-dict";
}

def Nvptx_WgmmaOp : Nvptx_Op<"wgmma"> {
  let summary = "Issue the product of a tile by a slot, a group of its own";
  let description = [{
    Each warpgroup multiplies its 64 rows of `lhs`, in registers or in slot 0 of a buffer, by the slot of `rhs`: an n x k tile,
    or with `transposed` a k x n one. One instruction for each 16 of the `depth` columns of `lhs`. The result is not to be
    touched, nor `lhs` in registers, before `wgmma_wait`.

    Example: `%s = attn_nvptx.wgmma %q, %k[%slot] depth 128 : memref<1x2x192x64xbf16, ...>, memref<2x2x128x64xbf16, ...>
    -> vector<192x128xf32>`
  }];
  let arguments = (ins AnyTypeOf<[Nvptx_PanelMemRef, VectorOfRankAndType<[2], [F16, BF16]>]>:$lhs,
                       Nvptx_PanelMemRef:$rhs, Index:$slot, Optional<Nvptx_Accumulator>:$acc, I64Attr:$depth,
                       UnitAttr:$transposed);
  let results = (outs Nvptx_Accumulator:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `[` $slot `]` `depth` $depth (`transposed` $transposed^)? (`into` $acc^ `:` type($acc))? attr-dict
    `:` type($lhs) `,` type($rhs) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Nvptx_WgmmaWaitOp : Nvptx_Op<"wgmma_wait", [AllTypesMatch<["product", "result"]>]> {
  let summary = "Wait until at most `pending` products are in flight";
  let description = [{
    Gives the value of `product`, which must be among those that are done.

    Example: `%s1 = attn_nvptx.wgmma_wait %s pending 0 : vector<192x128xf32>`
  }];
  let arguments = (ins Nvptx_Accumulator:$product, I64Attr:$pending);
  let results = (outs Nvptx_Accumulator:$result);
  let assemblyFormat = "$product `pending` $pending attr-dict `:` type($product)";
}

def Nvptx_TakeTurnOp : Nvptx_Op<"take_turn"> {
  let summary = "Wait until the warpgroup before has issued its products";
  let description = [{
    Warpgroups take turns in their order, the first after the last. Warpgroup w waits at named barrier `barrier` + w for
    the one before it; `first` says that the first turn of the first warpgroup is its own. With `alone` only the first
    warpgroup takes one.

    Example: `attn_nvptx.take_turn at 2 first`
  }];
  let arguments = (ins I64Attr:$barrier, UnitAttr:$first, UnitAttr:$alone);
  let assemblyFormat = "`at` $barrier (`first` $first^)? (`alone` $alone^)? attr-dict";
}

def Nvptx_PassTurnOp : Nvptx_Op<"pass_turn"> {
  let summary = "Let the next warpgroup issue its products";
  let description = [{
    The other half of `take_turn`. With `last` the last warpgroup passes its turn to nobody: as many turns are taken as passed.
    With `alone` only the last warpgroup passes one: around a loop whose iterations all take and pass one, the last
    warpgroup passes one before it, and the first takes one after it.

    Example: `attn_nvptx.pass_turn at 2 last`
  }];
  let arguments = (ins I64Attr:$barrier, UnitAttr:$last, UnitAttr:$alone);
  let assemblyFormat = "`at` $barrier (`last` $last^)? (`alone` $alone^)? attr-dict";
}

def Nvptx_PublishOp : Nvptx_Op<"publish"> {
  let summary = "Make what a warpgroup has written to shared memory visible to its products";
  let description = [{
    A fence between ordinary accesses and those of products, then named barrier `barrier` + w for the threads of warpgroup w.

    Example: `attn_nvptx.publish at 5`
  }];
  let arguments = (ins I64Attr:$barrier);
  let assemblyFormat = "`at` $barrier attr-dict";
}

#endif // ATTN_NVPTX_OPS_TD
