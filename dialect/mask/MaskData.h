//===- MaskData.h - atoms that run-time tensors define ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_MASKDATA_H
#define ATTN_DIALECT_MASK_MASKDATA_H

#include "attn/dialect/Attn.h"
#include <optional>

namespace mlir::attn {

inline bool hasData(MaskAttr mask) { return mask.getNumData() != 0; }

/// The tensors of an atom, by number.
llvm::SmallVector<unsigned, 2> getData(MaskAttr atom);

/// The atom with other tensors in their place.
MaskAttr withData(MaskAttr atom, llvm::ArrayRef<unsigned> numbers);

/// The atoms with tensors, each once, in order of appearance.
llvm::SmallVector<MaskAttr, 2> getDataAtoms(MaskAttr mask);

/// The mask with each atom that has tensors replaced; `negated` says that it
/// stands under an odd number of complements.
MaskAttr
replaceData(MaskAttr mask,
            llvm::function_ref<MaskAttr(MaskAttr atom, bool negated)> replace);

/// The mask with the lengths of one batch as symbols: each tensor of a
/// `lengths` is appended to `tensors`, and its atom becomes `keys<0, s>` with s
/// counted on from `firstSymbol`.
MaskAttr bindLengths(MaskAttr mask, unsigned firstSymbol,
                     llvm::SmallVectorImpl<unsigned> &tensors);

/// A mask without tensors that contains `mask` (`outer`), or is contained in
/// it, whatever the tensors hold: each atom has every pair, or none.
MaskAttr getHullWithoutData(MaskAttr mask, bool outer);

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

/// A tensor of integers, row-major.
struct DataTensor {
  llvm::SmallVector<int64_t> shape;
  std::vector<int64_t> elements;
};

/// The sizes that a mask's tensors follow; -1 for one that is not known.
struct MaskExtents {
  int64_t batches = -1, heads = -1, queries = -1, keys = -1;
};

/// What is wrong with the sizes (A22 to A25) or the elements (R8 to R11) of an
/// atom's tensors, with the label at its end; nothing if they are right. A
/// negative size is not known, and tensors without elements are not looked
/// into. `tensors` are those of getData, in order.
std::optional<std::string> findDataError(MaskAttr atom,
                                         llvm::ArrayRef<DataTensor> tensors,
                                         const MaskExtents &extents);

/// Whether the atom holds (b, h, i, j), all counted from 0. `tensors` are all
/// tensors of the mask, by number.
bool containsPair(MaskAttr atom, llvm::ArrayRef<DataTensor> tensors, int64_t b,
                  int64_t h, int64_t i, int64_t j);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_MASKDATA_H
