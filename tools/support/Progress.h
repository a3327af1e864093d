//===- Progress.h - a sign of life on stderr ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_SUPPORT_PROGRESS_H
#define ATTN_TOOLS_SUPPORT_PROGRESS_H

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace mlir::attn {

/// While this lives, says on stderr every two seconds what is being done and
/// for how long. Silent if it ends sooner.
class Progress {
public:
  explicit Progress(std::string what);
  ~Progress();

private:
  std::string what;
  std::mutex mutex;
  std::condition_variable wake;
  bool done = false;
  std::thread thread;
};

} // namespace mlir::attn

#endif // ATTN_TOOLS_SUPPORT_PROGRESS_H
