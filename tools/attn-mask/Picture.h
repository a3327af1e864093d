//===- Picture.h - masks and their tiles, drawn ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_MASK_PICTURE_H
#define ATTN_TOOLS_MASK_PICTURE_H

#include "attn/tools/attn-mask/MaskGrid.h"
#include "llvm/Support/raw_ostream.h"

namespace mlir::attn {

struct PictureOptions {
  int64_t queries = 0, keys = 0;
  int64_t rowsPerTile = 128, keysPerTile = 64;
  /// Characters across and down, at most; what does not fit is shown with
  /// several tiles to a cell.
  int64_t columns = 64, rows = 32;
  bool color = false;
};

/// Draws the classes of a mask's tiles as text, queries downwards and keys to
/// the right, with a legend and the counts.
void drawTiles(llvm::raw_ostream &os, const MaskGrid &mask,
               const PictureOptions &options);

/// Draws the live pairs themselves: one cell for each pair, or for a square of
/// pairs if they do not fit.
void drawPairs(llvm::raw_ostream &os, const MaskGrid &mask,
               const PictureOptions &options);

} // namespace mlir::attn

#endif // ATTN_TOOLS_MASK_PICTURE_H
