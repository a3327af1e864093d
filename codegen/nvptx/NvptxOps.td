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
  }];
}

class Nvptx_Op<string mnemonic, list<Trait> traits = []> : Op<Nvptx_Dialect, mnemonic, traits>;

def Nvptx_SharedMemRef : MemRefRankOf<[F16, BF16, F32], [3]>;
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

    Example: `attn_nvptx.load_async %ks[%j0] to %k[%slot] : memref<1x1x?x64xbf16, ...>, memref<2x64x64xbf16, ...>`
  }];
  let arguments = (ins Nvptx_GlobalMemRef:$source, Index:$row, Nvptx_SharedMemRef:$target, Index:$slot,
                       UnitAttr:$in_bounds);
  let assemblyFormat = [{
    $source `[` $row `]` `to` $target `[` $slot `]` (`in_bounds` $in_bounds^)? attr-dict `:` type($source) `,` type($target)
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
    `nvvm.cp.async.wait.group`. All threads of the block take part.

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
    threads of the block take part.

    Example: `attn_nvptx.store %stage to %os : memref<1x128x64xbf16, ...>, memref<1x1x?x64xbf16, ...>`
  }];
  let arguments = (ins Nvptx_SharedMemRef:$source, Nvptx_GlobalMemRef:$target);
  let assemblyFormat = "$source `to` $target attr-dict `:` type($source) `,` type($target)";
  let hasVerifier = 1;
}

#endif // ATTN_NVPTX_OPS_TD
