//===- Picture.cpp - see Picture.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/attn-mask/Picture.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir::attn;
using llvm::divideCeil;

namespace {

struct Glyph {
  const char *text;
  const char *color;
};

Glyph glyphOf(TileClass kind) {
  switch (kind) {
  case TileClass::Full:
    return {"██", "\033[32m"};
  case TileClass::Partial:
    return {"▒▒", "\033[33m"};
  case TileClass::Empty:
    return {" ·", "\033[2m"};
  }
  return {"??", ""};
}

void drawGrid(llvm::raw_ostream &os, const MaskGrid &mask, int64_t rowsPerCell,
              int64_t keysPerCell, const PictureOptions &options) {
  for (int64_t i = 0; i < options.queries; i += rowsPerCell) {
    os << "  ";
    const char *current = "";
    for (int64_t j = 0; j < options.keys; j += keysPerCell) {
      Glyph glyph =
          glyphOf(mask.classify(i, std::min(i + rowsPerCell, options.queries),
                                j, std::min(j + keysPerCell, options.keys)));
      if (options.color && glyph.color != current)
        os << "\033[0m" << glyph.color;
      current = glyph.color;
      os << glyph.text;
    }
    os << (options.color ? "\033[0m\n" : "\n");
  }
}

} // namespace

void mlir::attn::drawTiles(llvm::raw_ostream &os, const MaskGrid &mask,
                           const PictureOptions &options) {
  int64_t down = divideCeil(divideCeil(options.queries, options.rowsPerTile),
                            options.rows);
  int64_t across = divideCeil(divideCeil(options.keys, options.keysPerTile),
                              options.columns);
  drawGrid(os, mask, std::max<int64_t>(down, 1) * options.rowsPerTile,
           std::max<int64_t>(across, 1) * options.keysPerTile, options);
  MaskProblem::TileCounts counts =
      mask.countTiles(options.rowsPerTile, options.keysPerTile);
  os << "  " << glyphOf(TileClass::Full).text << " full " << counts.full << "  "
     << glyphOf(TileClass::Partial).text << " partial " << counts.partial
     << "  " << glyphOf(TileClass::Empty).text << " empty " << counts.empty
     << " of " << counts.total << " tiles of " << options.rowsPerTile
     << " queries x " << options.keysPerTile << " keys";
  if (down > 1 || across > 1)
    os << " (one cell shows " << std::max<int64_t>(down, 1) << " x "
       << std::max<int64_t>(across, 1) << " tiles)";
  os << "\n";
  if (counts.executedPairs > 0) {
    int64_t live = mask.countLivePairs();
    os << "  live pairs " << live << ", executed " << counts.executedPairs
       << llvm::format(", useful %.1f %%\n",
                       100.0 * double(live) / double(counts.executedPairs));
  }
}

void mlir::attn::drawPairs(llvm::raw_ostream &os, const MaskGrid &mask,
                           const PictureOptions &options) {
  drawGrid(
      os, mask, std::max<int64_t>(divideCeil(options.queries, options.rows), 1),
      std::max<int64_t>(divideCeil(options.keys, options.columns), 1), options);
}
