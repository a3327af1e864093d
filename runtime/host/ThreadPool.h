//===- ThreadPool.h - Work items over threads -------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_HOST_THREADPOOL_H
#define ATTN_RUNTIME_HOST_THREADPOOL_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace attn::host {

/// Threads that take work items one by one, in order, the caller among them.
/// One run at a time has the threads: a run that comes meanwhile, from another
/// thread of the caller's or within a work item, works alone on its own thread,
/// so that a caller's thread pool is never oversubscribed.
class ThreadPool {
public:
  /// `threads` of at least 1 counts the caller; the others start with the first
  /// run that has work for them.
  explicit ThreadPool(int64_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int64_t threads() const { return count; }

  /// Calls `work(items)` on some threads at once and returns when all
  /// are done. Each call draws item numbers below `total` from `items` until
  /// there is none.
  class Items {
  public:
    explicit Items(int64_t total) : total(total) {}
    /// False when there is none left.
    bool next(int64_t &item) {
      item = drawn.fetch_add(1, std::memory_order_relaxed);
      return item < total;
    }
    int64_t size() const { return total; }

  private:
    std::atomic<int64_t> drawn{0};
    int64_t total;
  };
  using Work = std::function<void(Items &items)>;
  void run(int64_t total, const Work &work);

private:
  void serve();

  const int64_t count;
  std::atomic<bool> busy{false}; ///< a run has the threads
  std::mutex mutex;
  std::condition_variable wake, done;
  std::vector<std::thread> workers;
  const Work *work = nullptr;
  Items *items = nullptr;
  int64_t wanted = 0;  ///< workers that shall still join the run
  int64_t running = 0; ///< workers in the run
  bool stopping = false;
};

} // namespace attn::host

#endif // ATTN_RUNTIME_HOST_THREADPOOL_H
