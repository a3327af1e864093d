//===- Elements.h - tensors of the reference as memory ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TEST_SUPPORT_ELEMENTS_H
#define ATTN_TEST_SUPPORT_ELEMENTS_H

#include "attn/dialect/reference/Reference.h"
#include "attn/runtime/core/Tensor.h"

#include <string>
#include <vector>

namespace attn::test {

/// The element type that MLIR writes `f16`, `bf16`, `f32`, `i1`, `i8`, `i32` or
/// `i64`.
ElementType elementOf(const std::string &name);
ElementType elementOf(reference::Format format);
/// The format of a float type.
reference::Format formatOf(ElementType type);

/// `tensor<2x?x64xbf16>`, an extent of -1 being '?'.
std::string tensorType(const std::vector<int64_t> &extents,
                       const std::string &element);

/// The elements in row-major order.
std::string toBytes(const std::vector<double> &values, ElementType type);
/// The tensor of float elements in row-major order.
mlir::attn::reference::Tensor fromBytes(const std::string &bytes,
                                        const std::vector<int64_t> &shape,
                                        ElementType type);

/// How a tensor of rank 4 lies in memory: as its shape says, heads inside of
/// rows, rows that are 8 or 3 elements longer, or rows more than 2^31 elements
/// apart. `Count` are of a sensible size.
enum Layout { RowMajor, HeadsInside, Padded, Odd, Count, Far };
std::vector<int64_t> stridesOf(Layout layout,
                               const std::vector<int64_t> &shape);

/// How many elements lie from the first to the last; strides are positive.
int64_t spanOf(const std::vector<int64_t> &shape,
               const std::vector<int64_t> &strides);

} // namespace attn::test

#endif // ATTN_TEST_SUPPORT_ELEMENTS_H
