//===- File.h - Whole-file reading and all-or-nothing writing ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_FILE_H
#define ATTN_RUNTIME_CORE_FILE_H

#include "attn/runtime/core/Result.h"

#include <string>
#include <string_view>

namespace attn {

/// All bytes of a regular file.
Result<std::string> readFile(const std::string &path);

/// Writes `bytes` to a temporary name in the same folder, flushes it to the
/// disk and renames it to `path`: a reader sees the old file or the new one,
/// never a part. On failure nothing is left behind.
Status writeFileAtomically(const std::string &path, std::string_view bytes);

/// Creates `path` as a folder if it is not one yet; its parent must exist.
Status makeFolder(const std::string &path);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_FILE_H
