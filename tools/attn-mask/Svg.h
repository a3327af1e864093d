//===- Svg.h - masks and their tiles as an SVG picture ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_MASK_SVG_H
#define ATTN_TOOLS_MASK_SVG_H

#include "attn/tools/attn-mask/MaskGrid.h"
#include "llvm/Support/raw_ostream.h"

#include <memory>
#include <string>
#include <vector>

namespace mlir::attn {

/// One problem of `queries` x `keys`, drawn from row `row` and column `column`
/// of its panel on.
struct PlacedGrid {
  std::shared_ptr<MaskGrid> mask;
  int64_t queries, keys;
  int64_t row = 0, column = 0;
};

/// A rectangle of rows x columns pairs, queries downwards. Each grid shows its
/// live pairs, or the classes of its tiles where `rowsPerTile` is not 0.
struct SvgPanel {
  std::string title, caption;
  int64_t rows, columns;
  int64_t rowsPerTile = 0, keysPerTile = 0;
  std::vector<PlacedGrid> grids;
};

/// The panels of one mask side by side under a heading.
struct SvgRow {
  std::string heading;
  std::vector<SvgPanel> panels;
};

/// Writes a whole SVG document, the rows below each other. What has more than
/// 256 cells across or down is shown with several tiles, or pairs, to a cell.
void drawSvg(llvm::raw_ostream &os, llvm::ArrayRef<SvgRow> rows);

} // namespace mlir::attn

#endif // ATTN_TOOLS_MASK_SVG_H
