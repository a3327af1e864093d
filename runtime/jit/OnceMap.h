//===- OnceMap.h - Values that are made once --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_JIT_ONCEMAP_H
#define ATTN_RUNTIME_JIT_ONCEMAP_H

#include "attn/runtime/core/Result.h"

#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace attn {

/// Values by key, made by whoever asks first while the others wait for that
/// key alone. Failures are not kept. Past `limit` values the least recently
/// used is dropped.
template <typename T>
class OnceMap {
public:
  using Value = Result<std::shared_ptr<const T>>;

  explicit OnceMap(size_t limit) : limit(limit) {}

  /// `make` returns a Value and runs without the lock. `wasThere` says whether
  /// the value existed or was being made.
  template <typename Make>
  Value get(const std::string &key, Make make, bool &wasThere) {
    std::promise<Value> promise;
    std::shared_future<Value> future;
    uint64_t number;
    {
      std::lock_guard<std::mutex> lock(mutex);
      number = ++uses;
      auto found = slots.find(key);
      wasThere = found != slots.end();
      if (wasThere) {
        found->second.lastUse = number;
        future = found->second.future;
      } else {
        slots[key] = {promise.get_future().share(), number, number};
        dropOld();
      }
    }
    if (wasThere)
      return future.get();
    Value value = madeBy(make);
    promise.set_value(value);
    if (!value) {
      std::lock_guard<std::mutex> lock(mutex);
      auto found = slots.find(key);
      if (found != slots.end() && found->second.made == number)
        slots.erase(found);
    }
    return value;
  }

  void clear() {
    std::unordered_map<std::string, Slot> dropped;
    std::lock_guard<std::mutex> lock(mutex);
    dropped.swap(slots);
  }

private:
  struct Slot {
    std::shared_future<Value> future;
    uint64_t lastUse = 0;
    uint64_t made = 0;
  };

  /// Those who wait must hear of an exception too.
  template <typename Make>
  static Value madeBy(Make &make) {
    try {
      return make();
    } catch (const std::bad_alloc &) {
      return Error{ErrorCode::OutOfMemory, "out of memory"};
    } catch (const std::exception &exception) {
      return Error{ErrorCode::Internal,
                   std::string("internal error: ") + exception.what()};
    }
  }

  void dropOld() {
    while (slots.size() > limit) {
      auto oldest = slots.begin();
      for (auto slot = slots.begin(); slot != slots.end(); ++slot)
        if (slot->second.lastUse < oldest->second.lastUse)
          oldest = slot;
      slots.erase(oldest);
    }
  }

  const size_t limit;
  std::mutex mutex;
  std::unordered_map<std::string, Slot> slots;
  uint64_t uses = 0;
};

} // namespace attn

#endif // ATTN_RUNTIME_JIT_ONCEMAP_H
