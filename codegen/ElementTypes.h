//===- ElementTypes.h - element types of a bundle ---------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_ELEMENTTYPES_H
#define ATTN_CODEGEN_ELEMENTTYPES_H

#include "attn/runtime/core/ElementType.h"

#include "mlir/IR/Types.h"

#include <optional>

namespace mlir::attn {

/// How a bundle names `type`; none for a type that it cannot hold.
std::optional<::attn::ElementType> getElementType(Type type);

} // namespace mlir::attn

#endif // ATTN_CODEGEN_ELEMENTTYPES_H
