//===- Progress.cpp - see Progress.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/support/Progress.h"

#include <chrono>
#include <cstdio>

using namespace mlir::attn;

Progress::Progress(std::string description) : what(std::move(description)) {
  thread = std::thread([this] {
    constexpr std::chrono::seconds interval(2);
    std::unique_lock<std::mutex> lock(mutex);
    for (auto elapsed = interval;
         !wake.wait_for(lock, interval, [this] { return done; });
         elapsed += interval)
      std::fprintf(stderr, "%s: %lld s\n", what.c_str(),
                   static_cast<long long>(elapsed.count()));
  });
}

Progress::~Progress() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    done = true;
  }
  wake.notify_one();
  thread.join();
}
