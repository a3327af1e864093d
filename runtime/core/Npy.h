//===- Npy.h - NumPy's array files ------------------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_NPY_H
#define ATTN_RUNTIME_CORE_NPY_H

#include "attn/runtime/core/ElementType.h"
#include "attn/runtime/core/Result.h"

#include <string>
#include <string_view>
#include <vector>

namespace attn {

enum class NpyType : uint8_t { F16, BF16, F32, F64, Bool, I8, I32, I64 };

int64_t sizeOf(NpyType type);

/// An array in row-major order, whatever the order of its file.
struct NpyArray {
  NpyType type = NpyType::F32;
  std::vector<int64_t> shape;
  std::string data; ///< little endian

  int64_t elements() const {
    return static_cast<int64_t>(data.size()) / sizeOf(type);
  }
};

struct NpyReadOptions {
  /// NumPy has no bf16: it stores raw two-byte items ('<V2', '|V2') or '<u2'.
  /// Such files are refused unless this says that they hold bf16.
  bool rawIsBF16 = false;
};

/// Parses the bytes of a file of format 1, 2 or 3: b1, i1 or little-endian f2,
/// f4, f8, i4 or i8, in C or Fortran order. A file that is truncated, malformed
/// or longer than its header says is refused with the place and the reason.
Result<NpyArray> parseNpy(std::string_view bytes,
                          const NpyReadOptions &options = {});
Result<NpyArray> readNpy(const std::string &path,
                         const NpyReadOptions &options = {});

/// The bytes of a file; bf16 becomes '<V2'. The data's size must fit the shape.
Result<std::string> formatNpy(const NpyArray &array);
/// Writes under a temporary name and renames.
Status writeNpy(const std::string &path, const NpyArray &array);

/// The array's elements as `type`, row-major, each rounded once, to nearest
/// even. A value that an integer type cannot hold (out of range, fraction, NaN)
/// is an error that names the first such element.
Result<std::string> convertNpy(const NpyArray &array, ElementType type);

/// An array of elements of `type` (row-major, not Index) converted to `to`.
/// Same rules as convertNpy.
Result<NpyArray> makeNpy(NpyType to, ElementType type,
                         std::vector<int64_t> shape, std::string_view elements);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_NPY_H
