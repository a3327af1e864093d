//===- FakeLibcuda.h - A driver library that records its calls --*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_TEST_RUNTIME_CORE_FAKELIBCUDA_H
#define ATTN_TEST_RUNTIME_CORE_FAKELIBCUDA_H

#include <map>
#include <string>
#include <vector>

/// What the fake driver is and what it was asked. Its memory is host memory.
struct FakeCuda {
  int count = 1;
  std::string name = "Fake GPU";
  int major = 9, minor = 0;
  int shared = 232448;
  int pools = 1;
  std::map<std::string, int> failures; ///< exported name -> CUresult
  std::string jitError, jitInfo;       ///< written to the log buffers

  std::vector<std::string> calls; ///< exported names, with what matters
  std::string code;               ///< of the last module
  int assembled = 0;              ///< links completed
  std::vector<unsigned long long> parameters; ///< of the last launch
  size_t parameterCount = 0; ///< how many of them a launch reads
  int contexts = 0;          ///< pushed and not yet popped
};

/// Exported by the fake library under this name.
extern "C" FakeCuda *attnFakeCuda();

#endif // ATTN_TEST_RUNTIME_CORE_FAKELIBCUDA_H
