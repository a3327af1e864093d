//===- PrivateFolder.h - A folder that a cache accepts ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_TEST_RUNTIME_CORE_PRIVATEFOLDER_H
#define ATTN_TEST_RUNTIME_CORE_PRIVATEFOLDER_H

#include "attn/runtime/core/DiskCache.h"

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <unistd.h>

namespace attn::test {

/// A folder of its own for each test, removed afterwards: in the build folder
/// or, if that is where everybody may write, in the user's cache folder. Empty
/// if neither will do.
class PrivateFolder {
public:
  PrivateFolder() {
    std::error_code ignored;
    const char *home = std::getenv("HOME");
    std::string user = home ? std::string(home) + "/.cache" : "";
    for (const std::string &parent : {std::string(ATTN_TEST_FOLDER), user}) {
      if (parent.empty())
        continue;
      std::filesystem::create_directories(parent, ignored);
      std::string pattern = parent + "/attn-test-XXXXXX";
      if (!::mkdtemp(pattern.data()))
        continue;
      if (DiskCache::open(pattern + "/probe", 0)) {
        path = pattern;
        return;
      }
      std::filesystem::remove_all(pattern, ignored);
    }
  }
  ~PrivateFolder() {
    std::error_code ignored;
    if (!path.empty())
      std::filesystem::remove_all(path, ignored);
  }

  std::string path;
};

} // namespace attn::test

#endif // ATTN_TEST_RUNTIME_CORE_PRIVATEFOLDER_H
