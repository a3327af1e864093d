//===- MaskData.cpp - see MaskData.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/MaskData.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;

SmallVector<unsigned, 2> mlir::attn::getData(MaskAttr atom) {
  SmallVector<unsigned, 2> numbers;
  for (const MaskBound &bound : atom.getBounds())
    if (bound.isData())
      numbers.push_back(bound.getData());
  return numbers;
}

MaskAttr mlir::attn::withData(MaskAttr atom, ArrayRef<unsigned> numbers) {
  SmallVector<MaskBound> bounds;
  for (const MaskBound &bound : atom.getBounds()) {
    if (!bound.isData()) {
      bounds.push_back(bound);
      continue;
    }
    bounds.push_back(MaskBound::data(numbers.front()));
    numbers = numbers.drop_front();
  }
  return MaskAttr::getAtom(atom.getContext(), atom.getKind(), bounds);
}

static void collectDataAtoms(MaskAttr mask, SmallVectorImpl<MaskAttr> &atoms) {
  if (!getData(mask).empty() && !llvm::is_contained(atoms, mask))
    atoms.push_back(mask);
  for (MaskAttr operand : mask.getOperands())
    collectDataAtoms(operand, atoms);
}

SmallVector<MaskAttr, 2> mlir::attn::getDataAtoms(MaskAttr mask) {
  SmallVector<MaskAttr, 2> atoms;
  collectDataAtoms(mask, atoms);
  return atoms;
}

static MaskAttr replace(MaskAttr mask, bool negated,
                        function_ref<MaskAttr(MaskAttr, bool)> fn) {
  if (!getData(mask).empty())
    return fn(mask, negated);
  if (mask.getOperands().empty())
    return mask;
  negated ^= mask.getKind() == MaskKind::Not;
  auto operands =
      llvm::map_to_vector(mask.getOperands(), [&](MaskAttr operand) {
        return replace(operand, negated, fn);
      });
  return mask.getKind() == MaskKind::And  ? MaskAttr::getAnd(operands)
         : mask.getKind() == MaskKind::Or ? MaskAttr::getOr(operands)
                                          : MaskAttr::getNot(operands[0]);
}

MaskAttr
mlir::attn::replaceData(MaskAttr mask,
                        function_ref<MaskAttr(MaskAttr, bool)> replaceAtom) {
  return replace(mask, /*negated=*/false, replaceAtom);
}

MaskAttr mlir::attn::bindLengths(MaskAttr mask, unsigned firstSymbol,
                                 SmallVectorImpl<unsigned> &tensors) {
  return replaceData(mask, [&](MaskAttr atom, bool) {
    if (atom.getKind() != MaskKind::Lengths)
      return atom;
    auto *known = llvm::find(tensors, getData(atom)[0]);
    unsigned symbol = firstSymbol + (known - tensors.begin());
    if (known == tensors.end())
      tensors.push_back(getData(atom)[0]);
    return MaskAttr::getAtom(
        mask.getContext(), MaskKind::Keys,
        {MaskBound::constant(0), MaskBound::symbol(symbol)});
  });
}

MaskAttr mlir::attn::getHullWithoutData(MaskAttr mask, bool outer) {
  MaskAttr all = MaskAttr::getAll(mask.getContext());
  return replaceData(mask, [&](MaskAttr atom, bool negated) {
    if (outer == negated)
      return MaskAttr::getNot(all);
    // No key precedes the first one.
    if (outer && atom.getKind() == MaskKind::Lengths)
      return MaskAttr::getAtom(mask.getContext(), MaskKind::Keys,
                               {MaskBound::constant(0), MaskBound::infinity()});
    return all;
  });
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

namespace {

/// Checks the tensors of one atom.
class DataChecker {
public:
  DataChecker(MaskAttr atom, ArrayRef<DataTensor> tensors,
              const MaskExtents &extents)
      : atom(atom), tensors(tensors), extents(extents) {}

  std::optional<std::string> run() {
    switch (atom.getKind()) {
    case MaskKind::Lengths:
      checkShape(0, "the lengths", {extents.batches}, "A22");
      if (extents.keys >= 0)
        checkRange(0, "the lengths", 0, extents.keys,
                   "the " + std::to_string(extents.keys) + " keys stored",
                   "R8");
      break;
    case MaskKind::Documents:
      checkShape(0, "the ids of the queries",
                 {extents.batches, extents.queries}, "A23");
      checkShape(1, "the ids of the keys", {extents.batches, extents.keys},
                 "A23");
      checkSorted(0, "the ids of the queries", "R9");
      checkSorted(1, "the ids of the keys", "R9");
      break;
    case MaskKind::Blocks:
      checkBlocks();
      break;
    case MaskKind::Bits:
      checkBits();
      break;
    default:
      break;
    }
    return error.empty() ? std::nullopt : std::optional(error);
  }

private:
  static std::string text(ArrayRef<int64_t> shape) {
    std::string result;
    for (int64_t size : shape)
      result += (result.empty() ? "" : "x") +
                (size < 0 ? std::string("?") : std::to_string(size));
    return result;
  }
  void fail(const Twine &message, StringRef label) {
    if (error.empty())
      error = (message + " (" + label + ")").str();
  }

  void checkShape(unsigned number, StringRef what, ArrayRef<int64_t> expected,
                  StringRef label) {
    ArrayRef<int64_t> found = tensors[number].shape;
    bool fits = found.size() == expected.size();
    for (size_t dim = 0; fits && dim < found.size(); ++dim)
      fits = found[dim] < 0 || expected[dim] < 0 || found[dim] == expected[dim];
    if (!fits)
      fail("expected " + what + " to be " + text(expected) + ", found " +
               text(found),
           label);
  }

  void checkRange(unsigned number, StringRef what, int64_t least, int64_t most,
                  const Twine &mostText, StringRef label) {
    for (auto [index, value] : llvm::enumerate(tensors[number].elements))
      if (value < least || value > most)
        return fail("expected " + what + " to lie in " + Twine(least) + ".." +
                        Twine(most) + ", " + mostText + ", found " +
                        Twine(value) + " at " + Twine(index),
                    label);
  }

  /// Along the last dimension.
  void checkSorted(unsigned number, StringRef what, StringRef label) {
    const DataTensor &tensor = tensors[number];
    int64_t length = tensor.shape.empty() ? 0 : tensor.shape.back();
    for (int64_t n = 1; n < int64_t(tensor.elements.size()); ++n)
      if (length > 0 && n % length != 0 &&
          tensor.elements[n] < tensor.elements[n - 1])
        return fail("expected " + what + " not to decrease, found " +
                        Twine(tensor.elements[n]) + " after " +
                        Twine(tensor.elements[n - 1]) + " at " + Twine(n),
                    label);
  }

  void checkBlocks() {
    const DataTensor &rows = tensors[0], &columns = tensors[1];
    int64_t height = atom.getBounds()[0].getConstant(),
            width = atom.getBounds()[1].getConstant();
    // A tile says itself which row its first query is.
    bool isTile = !atom.getBounds()[2].isData();
    int64_t numRows = extents.queries < 0 || isTile
                          ? -1
                          : llvm::divideCeil(extents.queries, height) + 1;
    auto orOne = [&](unsigned dim, int64_t size) {
      return rows.shape[dim] == 1 ? 1 : size;
    };
    if (rows.shape.size() == 3)
      checkShape(0, "the row offsets of the table",
                 {orOne(0, extents.batches), orOne(1, extents.heads), numRows},
                 "A24");
    else
      checkShape(0, "the row offsets of the table", {numRows}, "A24");
    checkShape(1, "the columns of the table", {-1}, "A24");
    if (!error.empty() || rows.elements.empty())
      return;
    checkSorted(0, "the row offsets of the table", "R10");
    int64_t count = columns.shape[0];
    if (count >= 0)
      checkRange(0, "the row offsets of the table", 0, count,
                 "the " + Twine(count) + " columns listed", "R10");
    if (!error.empty() || int64_t(columns.elements.size()) != count)
      return;
    if (extents.keys >= 0)
      checkRange(1, "the columns of the table", 0,
                 int64_t(llvm::divideCeil(extents.keys, width)) - 1,
                 "the blocks of " + Twine(extents.keys) + " keys", "R11");
    int64_t length = rows.shape.back();
    for (int64_t n = 1; n < int64_t(rows.elements.size()); ++n) {
      if (n % length == 0)
        continue;
      for (int64_t e = rows.elements[n - 1] + 1; e < rows.elements[n]; ++e)
        if (columns.elements[e] <= columns.elements[e - 1])
          return fail("expected the columns of a row of the table to rise, "
                      "found " +
                          Twine(columns.elements[e]) + " after " +
                          Twine(columns.elements[e - 1]) + " at " + Twine(e),
                      "R11");
    }
  }

  void checkBits() {
    int64_t sizes[] = {extents.batches, extents.heads, extents.queries,
                       extents.keys};
    ArrayRef<int64_t> found = tensors[0].shape;
    if (found.size() == 4)
      for (auto [size, dim] : llvm::zip(sizes, found))
        size = dim == 1 ? 1 : size;
    checkShape(0, "the bits", sizes, "A25");
  }

  MaskAttr atom;
  ArrayRef<DataTensor> tensors;
  const MaskExtents &extents;
  std::string error;
};

} // namespace

std::optional<std::string>
mlir::attn::findDataError(MaskAttr atom, ArrayRef<DataTensor> tensors,
                          const MaskExtents &extents) {
  return DataChecker(atom, tensors, extents).run();
}

bool mlir::attn::containsPair(MaskAttr atom, ArrayRef<DataTensor> tensors,
                              int64_t b, int64_t h, int64_t i, int64_t j) {
  auto numbers = getData(atom);
  const DataTensor &first = tensors[numbers[0]];
  switch (atom.getKind()) {
  case MaskKind::Lengths:
    return j < first.elements[b];
  case MaskKind::Documents: {
    const DataTensor &keys = tensors[numbers[1]];
    return first.elements[b * first.shape[1] + i] ==
           keys.elements[b * keys.shape[1] + j];
  }
  case MaskKind::Blocks: {
    const DataTensor &columns = tensors[numbers[1]];
    int64_t row = i / atom.getBounds()[0].getConstant(),
            column = j / atom.getBounds()[1].getConstant();
    int64_t start = 0;
    if (first.shape.size() == 3)
      start = ((first.shape[0] == 1 ? 0 : b) * first.shape[1] +
               (first.shape[1] == 1 ? 0 : h)) *
              first.shape[2];
    return std::find(columns.elements.begin() + first.elements[start + row],
                     columns.elements.begin() + first.elements[start + row + 1],
                     column) !=
           columns.elements.begin() + first.elements[start + row + 1];
  }
  case MaskKind::Bits: {
    int64_t index = 0, place[] = {b, h, i, j};
    for (auto [at, size] : llvm::zip(place, first.shape))
      index = index * size + (size == 1 ? 0 : at);
    return first.elements[index] != 0;
  }
  default:
    llvm_unreachable("an atom without tensors");
  }
}
