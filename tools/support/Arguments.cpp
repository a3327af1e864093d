//===- Arguments.cpp - see Arguments.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/support/Arguments.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

using namespace llvm;

Expected<mlir::attn::ArgumentSpec>
mlir::attn::parseArgumentSpec(StringRef text) {
  ArgumentSpec spec;
  text = text.trim();
  if (!text.getAsInteger(10, spec.integer)) {
    spec.isInteger = true;
    return spec;
  }
  SmallVector<StringRef> parts;
  text.split(parts, 'x');
  for (StringRef part : parts) {
    int64_t extent;
    if (part.getAsInteger(10, extent) || extent < 0)
      return createStringError(
          "expected a shape such as 2x8x1000x64 or an integer, found '" + text +
          "'");
    spec.shape.push_back(extent);
  }
  return spec;
}

Expected<std::vector<mlir::attn::ArgumentSpec>>
mlir::attn::parseArgumentSpecs(StringRef text) {
  std::vector<ArgumentSpec> specs;
  SmallVector<StringRef> parts;
  text.split(parts, ',');
  for (StringRef part : parts) {
    Expected<ArgumentSpec> spec = parseArgumentSpec(part);
    if (!spec)
      return spec.takeError();
    specs.push_back(*spec);
  }
  return specs;
}
