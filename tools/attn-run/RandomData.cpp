//===- RandomData.cpp - see RandomData.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/attn-run/RandomData.h"

#include "attn/dialect/mask/MaskData.h"
#include <algorithm>
#include <random>

using namespace mlir;
using namespace mlir::attn;
namespace run = ::attn::run;
using ::attn::Result;

namespace {

class DataMaker {
public:
  DataMaker(FunctionOpInterface function, const std::vector<run::Slot> &slots,
            const std::vector<ArgumentSpec> &specs, uint64_t seed)
      : function(function), slots(slots), specs(specs),
        engine(seed * 0x9E3779B97F4A7C15u + 1) {}

  Result<std::map<size_t, run::Value>> run() {
    std::string problem;
    function.walk([&](AttentionOp op) {
      for (MaskAttr atom : getDataAtoms(op.getMask()))
        if (problem.empty())
          problem = makeAtom(op, atom);
    });
    if (!problem.empty())
      return ::attn::invalidArgument(problem);
    return values;
  }

private:
  int64_t below(int64_t n) { return int64_t(engine() % uint64_t(n)); }

  /// The argument that `value` is, given as a tensor of this rank.
  std::optional<size_t> find(Value value, size_t rank) {
    auto argument = dyn_cast<BlockArgument>(value);
    if (!argument || argument.getArgNumber() >= specs.size())
      return std::nullopt;
    size_t number = argument.getArgNumber();
    if (specs[number].isInteger || specs[number].shape.size() != rank)
      return std::nullopt;
    return number;
  }

  int64_t keysOf(AttentionOp op) {
    std::optional<size_t> k = find(op.getK(), 4);
    return k ? specs[*k].shape[2] : 0;
  }

  void set(size_t number, const std::vector<int64_t> &elements) {
    run::Value &value = values[number];
    value.slot = {slots[number].type, specs[number].shape, true};
    value.bytes.clear();
    for (int64_t element : elements)
      value.bytes.append(reinterpret_cast<const char *>(&element),
                         size_t(::attn::sizeOf(value.slot.type)));
  }

  int64_t countOf(size_t number) {
    int64_t count = 1;
    for (int64_t size : specs[number].shape)
      count *= size;
    return count;
  }

  std::string makeAtom(AttentionOp op, MaskAttr atom) {
    for (auto [place, number] : llvm::enumerate(getData(atom))) {
      Value tensor = op.getMaskData()[number];
      auto argument = find(
          tensor, size_t(cast<RankedTensorType>(tensor.getType()).getRank()));
      if (!argument || values.count(*argument))
        continue;
      std::vector<int64_t> elements(size_t(countOf(*argument)), 0);
      if (atom.getKind() == MaskKind::Lengths) {
        for (int64_t &element : elements)
          element = below(keysOf(op) + 1);
      } else if (atom.getKind() == MaskKind::Documents) {
        makeIds(elements, specs[*argument].shape.back());
      } else if (atom.getKind() == MaskKind::Bits) {
        for (int64_t &element : elements)
          element = below(2);
      } else if (place == 0) {
        std::string problem = makeTable(op, atom, *argument, elements);
        if (!problem.empty())
          return problem;
      } else {
        continue; // with the offsets
      }
      set(*argument, elements);
    }
    return "";
  }

  /// About eight documents in each batch.
  void makeIds(std::vector<int64_t> &elements, int64_t length) {
    for (size_t n = 0; n < elements.size(); ++n)
      elements[n] = below(8);
    for (size_t n = 0; length > 0 && n < elements.size(); n += length)
      std::sort(elements.begin() + n, elements.begin() + n + length);
  }

  /// Entries spread evenly over the rows of all tables, at random columns.
  std::string makeTable(AttentionOp op, MaskAttr atom, size_t rows,
                        std::vector<int64_t> &offsets) {
    std::optional<size_t> columns = find(op.getMaskData()[getData(atom)[1]], 1);
    if (!columns)
      return "the columns of a random table must be an argument";
    int64_t entries = specs[*columns].shape[0],
            length = specs[rows].shape.back(),
            tables = length > 0 ? int64_t(offsets.size()) / length : 0,
            numRows = tables * (length - 1),
            numColumns = int64_t(llvm::divideCeil(
                keysOf(op), atom.getBounds()[1].getConstant()));
    std::vector<int64_t> order(size_t(numColumns), 0), all;
    for (int64_t n = 0; n < numColumns; ++n)
      order[n] = n;
    int64_t row = 0;
    for (int64_t n = 0; n < int64_t(offsets.size()); ++n) {
      offsets[n] = int64_t(all.size());
      if (n % length == length - 1)
        continue;
      int64_t count = entries * (row + 1) / numRows - entries * row / numRows;
      ++row;
      if (count > numColumns)
        return "input " + std::to_string(*columns) + ": a row of " +
               std::to_string(numColumns) + " blocks has no room for " +
               std::to_string(count) + " of the " + std::to_string(entries) +
               " entries";
      for (int64_t i = 0; i < count; ++i)
        std::swap(order[i], order[i + below(numColumns - i)]);
      all.insert(all.end(), order.begin(), order.begin() + count);
      std::sort(all.end() - count, all.end());
    }
    if (numRows == 0 && entries != 0)
      return "a table without rows has no entries";
    set(*columns, all);
    return "";
  }

  FunctionOpInterface function;
  const std::vector<run::Slot> &slots;
  const std::vector<ArgumentSpec> &specs;
  std::mt19937_64 engine;
  std::map<size_t, run::Value> values;
};

} // namespace

Result<std::map<size_t, run::Value>> mlir::attn::randomMaskData(
    FunctionOpInterface function, const std::vector<run::Slot> &slots,
    const std::vector<ArgumentSpec> &specs, uint64_t seed) {
  return DataMaker(function, slots, specs, seed).run();
}
