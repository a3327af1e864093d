//===- ObjectFile.h - Object code in memory ---------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_HOST_OBJECTFILE_H
#define ATTN_RUNTIME_HOST_OBJECTFILE_H

#include "attn/runtime/core/Result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace attn::host {

/// A relocatable x86-64 ELF file, placed in memory and relocated. The file must
/// need no symbol from outside. Code pages are never writable and executable at
/// once.
class ObjectFile {
public:
  /// Every offset of the file is checked before it is used; whether the code is
  /// good is the hash's matter.
  static Result<std::unique_ptr<ObjectFile>> load(const std::string &bytes);
  ~ObjectFile();
  ObjectFile(const ObjectFile &) = delete;
  ObjectFile &operator=(const ObjectFile &) = delete;

  /// The address of a global function; null if there is none of that name.
  void *find(const std::string &name) const;
  std::vector<std::string> names() const;

private:
  ObjectFile() = default;

  void *memory = nullptr;
  size_t size = 0;
  std::map<std::string, void *> functions;
};

} // namespace attn::host

#endif // ATTN_RUNTIME_HOST_OBJECTFILE_H
