//===- HostDevice.cpp - The CPU as a device -------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/host/HostDevice.h"

#include "attn/runtime/core/ProcessDevice.h"
#include "attn/runtime/host/Cpu.h"
#include "attn/runtime/host/ObjectFile.h"
#include "attn/runtime/host/ThreadPool.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sched.h>

using namespace attn;
using namespace attn::host;

namespace {

constexpr uint64_t allocationAlignment = 4096;
// Fresh pages cost a fault for each, which is more than many a kernel takes for
// its temporaries.
constexpr uint64_t mostKeptBytes = uint64_t(64) << 20;
constexpr int64_t maxThreads = 4096;
/// Kernels align their buffers to it.
constexpr size_t scratchAlignment = 64;

/// What the compiler emits: see codegen/host/Passes.td, attn-to-host.
using Entry = void (*)(const uint64_t *params, int64_t item, void *scratch);

/// The check of calls through pointers looks before the function for a
/// signature that generated code has not.
#if defined(__clang__)
__attribute__((no_sanitize("function")))
#endif
void call(Entry entry, const uint64_t *params, int64_t item, void *scratch) {
  entry(params, item, scratch);
}

class HostKernel final : public Kernel {
public:
  explicit HostKernel(Entry entry) : entry(entry) {}
  Entry entry;
};

class HostModule final : public Module {
public:
  explicit HostModule(std::unique_ptr<ObjectFile> object)
      : object(std::move(object)) {}

  Result<Kernel *> kernel(const std::string &entry, int64_t) override {
    auto &kernel = kernels[entry];
    if (!kernel) {
      void *address = object->find(entry);
      if (!address) {
        std::string names;
        for (const std::string &name : object->names())
          names += (names.empty() ? "" : ", ") + name;
        return Error{ErrorCode::InvalidBundle,
                     "the code has no such entry, it has: " + names};
      }
      kernel = std::make_unique<HostKernel>(reinterpret_cast<Entry>(address));
    }
    return static_cast<Kernel *>(kernel.get());
  }

private:
  std::unique_ptr<ObjectFile> object;
  std::map<std::string, std::unique_ptr<HostKernel>> kernels;
};

/// Scratch that grows and stays with its thread.
class Scratch {
public:
  ~Scratch() { std::free(memory); }

  void *get(size_t bytes) {
    if (bytes > size) {
      std::free(memory);
      size = (bytes + allocationAlignment - 1) / allocationAlignment *
             allocationAlignment;
      memory = std::aligned_alloc(allocationAlignment, size);
      if (!memory)
        size = 0;
    }
    return memory;
  }

private:
  void *memory = nullptr;
  size_t size = 0;
};

int64_t availableThreads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

class HostDevice final : public ProcessDevice {
public:
  /// `poison`: a byte that scratch is filled with before each item; -1: none.
  HostDevice(DeviceProperties limits, int64_t threads, int64_t poison,
             std::string cpu)
      : ProcessDevice(std::move(limits), allocationAlignment,
                      /*poisoned=*/false, mostKeptBytes),
        pool(threads), poison(poison), cpu(std::move(cpu)) {}

  DeviceKind kind() const override { return DeviceKind::Host; }

  Status checkTarget(const std::string &target) const override {
    return checkCpu(target, cpu);
  }

  Result<std::unique_ptr<Module>> loadModule(const std::string &code) override {
    Result<std::unique_ptr<ObjectFile>> object = ObjectFile::load(code);
    if (!object)
      return object.error();
    return std::unique_ptr<Module>(
        std::make_unique<HostModule>(std::move(*object)));
  }

  Status launch(const LaunchRequest &request, Stream) override {
    std::vector<uint64_t> params;
    for (const KernelParameter &parameter : request.parameters)
      params.push_back(parameter.pointer ? parameter.pointer->address()
                                         : parameter.value);
    Entry entry = static_cast<HostKernel *>(request.kernel)->entry;
    std::atomic<bool> outOfMemory{false};
    pool.run(request.blocks, [&](ThreadPool::Items &items) {
      static thread_local Scratch scratch;
      static_assert(allocationAlignment % scratchAlignment == 0);
      void *memory = scratch.get(std::max<size_t>(request.sharedBytes, 1));
      if (!memory) {
        outOfMemory = true;
        return;
      }
      for (int64_t item = 0; items.next(item);) {
        if (poison >= 0)
          std::memset(memory, static_cast<int>(poison), request.sharedBytes);
        call(entry, params.data(), item, memory);
      }
    });
    if (outOfMemory)
      return Error{ErrorCode::OutOfMemory,
                   "cannot allocate " + std::to_string(request.sharedBytes) +
                       " bytes of scratch for each of " +
                       std::to_string(pool.threads()) + " threads"};
    return Status::success();
  }

private:
  ThreadPool pool;
  const int64_t poison;
  const std::string cpu; ///< an instruction set to keep to, or nothing
};

} // namespace

static bool parseBetween(const std::string &text, int64_t least, int64_t most,
                         int64_t &value) {
  const char *end = text.data() + text.size();
  auto [rest, failure] = std::from_chars(text.data(), end, value);
  return failure == std::errc() && rest == end && value >= least &&
         value <= most;
}

Result<std::shared_ptr<Device>>
host::openHostDevice(const DeviceOptions &options) {
  int64_t threads = availableThreads(), poison = -1;
  std::string cpu;
  for (const auto &[key, text] : options) {
    if (key == "threads") {
      if (!parseBetween(text, 1, maxThreads, threads))
        return invalidArgument("device option 'threads': expected 1 to " +
                               std::to_string(maxThreads) + ", found '" + text +
                               "'; this process may use " +
                               std::to_string(availableThreads()) +
                               " processors");
    } else if (key == "poison") {
      if (!parseBetween(text, 0, 255, poison))
        return invalidArgument(
            "device option 'poison': expected a byte, 0 to 255, found '" +
            text + "'");
    } else if (key == "cpu") {
      if (Status status = checkCpu(text); !status)
        return status.error().in("device option 'cpu'");
      cpu = text;
    } else {
      return invalidArgument("device 'host' has no option '" + key +
                             "', it has: cpu, poison, threads");
    }
  }
  Result<std::string> best = bestCpuTarget();
  if (!best)
    return best.error();
  if (!cpu.empty())
    *best = cpu;
  DeviceProperties limits;
  limits.name = cpuName() + " (" + *best + ")";
  limits.multiprocessors = threads;
  limits.sharedMemoryPerBlock = int64_t(1) << 30;
  limits.threadsPerBlock = 1;
  limits.target = *best;
  return std::shared_ptr<Device>(
      std::make_shared<HostDevice>(std::move(limits), threads, poison, cpu));
}
