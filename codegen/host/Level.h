//===- Level.h - instruction sets of the host -------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_LEVEL_H
#define ATTN_CODEGEN_HOST_LEVEL_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>

namespace mlir::attn::host {

/// One instruction set: a row of the table in Level.cpp.
struct Level {
  /// The name, as in runtime/host/Cpu.h: the target of a bundle.
  llvm::StringRef name;
  /// The CPU and the features beyond it that LLVM is told.
  llvm::StringRef cpu, features;
  /// f32 elements of a register.
  int64_t lanes;
  /// A register block of a product is `panelVectors` registers of query rows by
  /// `columns` keys or values.
  int64_t panelVectors, columns;
  bool hasFma;
  /// Conversions between f16 and f32.
  bool hasF16;
  /// Products of pairs of bf16 that accumulate in f32.
  bool hasBf16Dot;

  int64_t getPanelRows() const { return lanes * panelVectors; }
  /// The level with blocks for a tile of `rows` rows: no more registers of rows
  /// than those fill, and more columns instead.
  Level forRows(int64_t rows) const;
};

llvm::ArrayRef<Level> getLevels();
/// Null if there is none of that name.
const Level *findLevel(llvm::StringRef name);
/// All names, for messages.
std::string listLevels();

/// Tile sizes for a level and a head size (the larger of D and Dv): a row of
/// the table in Level.cpp. The query tile, its accumulator, a key tile and a
/// value tile stay in the second-level cache.
struct TileSizes {
  int64_t qTile, kvTile;
};
TileSizes getTileSizes(const Level &level, int64_t headSize);

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_LEVEL_H
