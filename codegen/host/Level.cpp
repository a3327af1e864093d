//===- Level.cpp - see Level.h --------------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Level.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir::attn::host;

// Accumulators, one broadcast and the vectors of one step fit in the registers:
// 32 of AVX-512, 16 of the others.
static constexpr Level kLevels[] = {
    {"x86-64", "x86-64", "", 4, 3, 4, false, false, false},
    {"x86-64-v3", "x86-64-v3", "", 8, 3, 4, true, true, false},
    {"x86-64-v4", "x86-64-v4", "", 16, 3, 8, true, true, false},
    {"x86-64-v4-bf16", "x86-64-v4", "+avx512bf16", 16, 3, 8, true, true, true},
};

Level Level::forRows(int64_t rows) const {
  Level level = *this;
  level.panelVectors = std::min<int64_t>(
      panelVectors, std::max<int64_t>(1, llvm::divideCeil(rows, lanes)));
  level.columns = int64_t(
      llvm::bit_floor(uint64_t(columns * panelVectors / level.panelVectors)));
  return level;
}

llvm::ArrayRef<Level> mlir::attn::host::getLevels() { return kLevels; }

const Level *mlir::attn::host::findLevel(llvm::StringRef name) {
  const Level *found = llvm::find_if(
      getLevels(), [&](const Level &level) { return level.name == name; });
  return found == getLevels().end() ? nullptr : found;
}

std::string mlir::attn::host::listLevels() {
  return llvm::join(
      llvm::map_range(getLevels(),
                      [](const Level &level) { return level.name; }),
      ", ");
}

namespace {
struct TileRow {
  int64_t lanes, maxHeadSize;
  TileSizes sizes;
};
} // namespace

// In rising order of the head size for each width of a register. Measured on a
// Zen 5 core, larger query tiles gain at most 2 %, and lose more than that
// where a mask cuts through them.
static constexpr TileRow kTiles[] = {
    {16, 64, {96, 64}}, {16, 128, {96, 64}}, {16, 256, {96, 64}},
    {8, 64, {96, 64}},  {8, 128, {96, 64}},  {8, 256, {96, 32}},
    {4, 64, {96, 64}},  {4, 128, {96, 64}},  {4, 256, {96, 32}},
};

TileSizes mlir::attn::host::getTileSizes(const Level &level, int64_t headSize) {
  for (const TileRow &row : kTiles)
    if (row.lanes == level.lanes && headSize <= row.maxHeadSize)
      return row.sizes;
  return {96, 32};
}
