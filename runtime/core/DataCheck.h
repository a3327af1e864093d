//===- DataCheck.h - What the elements of arguments must be -----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_DATACHECK_H
#define ATTN_RUNTIME_CORE_DATACHECK_H

#include "attn/runtime/core/Manifest.h"

namespace attn {

/// The elements of an i32 or i64 argument, row-major.
struct IntegerData {
  std::vector<int64_t> shape;
  std::vector<int64_t> elements;
};

/// Whether arguments are checked at all: unless the environment has
/// ATTN_CHECK_DATA=0.
bool isDataChecked();

/// Whether `check` holds for `data`; `rows` are the offsets that a check of
/// rising columns names, else null. Takes one look at each element.
Status checkData(const CheckDesc &check, const IntegerData &data,
                 const IntegerData *rows, const Bindings &bindings);

/// The same for a check of the shape alone (CheckDesc::isOfShape).
Status checkShape(const CheckDesc &check, const std::vector<int64_t> &shape,
                  const Bindings &bindings);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_DATACHECK_H
