//===- XlaFfi.h - A custom call of XLA for arrays in host memory *- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// The part of XLA's foreign function interface that one handler needs, in this
// project's own declarations: the package is built without JAX and works with
// any that speaks version 0 of the interface. test/python/XlaAbi.cpp compares
// them with XLA's header where there is one.

#ifndef ATTN_RUNTIME_PYTHON_XLAFFI_H
#define ATTN_RUNTIME_PYTHON_XLAFFI_H

#include "attn/runtime/core/Result.h"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace attn::xla {

struct Error; ///< XLA's own

enum ExtensionType : int { extensionMetadata = 1 };
enum DataType : int {
  typePred = 1,
  typeS8 = 2,
  typeS32 = 4,
  typeS64 = 5,
  typeF16 = 10,
  typeF32 = 11,
  typeBF16 = 16,
};
enum ArgumentType : int { argumentBuffer = 1 };
enum AttributeType : int { attributeString = 4 };
enum Stage : int { stageExecute = 3 };
enum ErrorNumber : int { errorInvalidArgument = 3, errorInternal = 13 };

struct Extension {
  size_t structSize;
  ExtensionType type;
  Extension *next;
};

struct ApiVersion {
  size_t structSize;
  Extension *extensions;
  int major;
  int minor;
};

struct Metadata {
  size_t structSize;
  ApiVersion version;
  uint32_t traits;
};

struct MetadataExtension {
  Extension base;
  Metadata *metadata;
};

struct CreateError {
  size_t structSize;
  Extension *extensions;
  const char *message;
  ErrorNumber code;
};

/// The table of functions goes on; this is what is used of it.
struct Api {
  size_t structSize;
  Extension *extensions;
  ApiVersion version;
  const void *internal;
  Error *(*createError)(CreateError *);
};

struct Buffer {
  size_t structSize;
  Extension *extensions;
  DataType type;
  void *data;
  int64_t rank;
  int64_t *sizes;
};

struct Text {
  const char *data;
  size_t size;
};

/// Arguments and results alike.
struct Values {
  size_t structSize;
  Extension *extensions;
  int64_t count;
  ArgumentType *types;
  void **values;
};

struct Attributes {
  size_t structSize;
  Extension *extensions;
  int64_t count;
  AttributeType *types;
  Text **names;
  void **values;
};

struct CallFrame {
  size_t structSize;
  Extension *extensions;
  const Api *api;
  void *context;
  Stage stage;
  Values arguments;
  Values results;
  Attributes attributes;
  void *future;
};

/// What XLA calls.
using Handler = Error *(CallFrame *);

/// One call, with its buffers of XLA: rank and sizes, rows one after another.
struct Call {
  std::string_view source; ///< the attribute of that name
  std::vector<const Buffer *> arguments, results;
};

/// Answers XLA's question which version the handler speaks, or hands an
/// execution to `run`. A failure becomes an error of XLA with its text.
Error *serve(CallFrame *frame, Status (*run)(const Call &call));

} // namespace attn::xla

#endif // ATTN_RUNTIME_PYTHON_XLAFFI_H
