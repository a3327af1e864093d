//===- ThreadPool.cpp - Work items over threads ---------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/host/ThreadPool.h"

#include <algorithm>
#include <system_error>

using namespace attn::host;

ThreadPool::ThreadPool(int64_t threads) : count(threads) {}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopping = true;
  }
  wake.notify_all();
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::serve() {
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    wake.wait(lock, [&] { return stopping || wanted > 0; });
    if (stopping)
      return;
    --wanted;
    ++running;
    const Work *current = work;
    Items *source = items;
    lock.unlock();
    (*current)(*source);
    lock.lock();
    if (--running == 0)
      done.notify_one();
  }
}

void ThreadPool::run(int64_t total, const Work &function) {
  Items source(total);
  int64_t helpers = std::min(count, total) - 1;
  if (helpers <= 0 || busy.exchange(true, std::memory_order_acquire)) {
    function(source);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex);
    try {
      while (static_cast<int64_t>(workers.size()) < helpers)
        workers.emplace_back([this] { serve(); });
    } catch (const std::system_error &) {
      // Fewer threads than asked for: slower, and the same result.
    }
    work = &function;
    items = &source;
    wanted = std::min<int64_t>(helpers, static_cast<int64_t>(workers.size()));
  }
  wake.notify_all();
  function(source);
  std::unique_lock<std::mutex> lock(mutex);
  // A worker that has not woken yet has nothing left to do.
  wanted = 0;
  done.wait(lock, [&] { return running == 0; });
  busy.store(false, std::memory_order_release);
}
