//===- CompileBench.cpp - see CompileBench.h ------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/attn-bench/CompileBench.h"

#include "attn/runtime/jit/Compiler.h"
#include "attn/runtime/jit/DiskCache.h"
#include "attn/runtime/jit/Jit.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>

using namespace attn;
using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

/// A folder for one measurement that only the user may write to.
class Scratch {
public:
  Scratch() {
    std::error_code failure;
    fs::path parent = fs::path(defaultCacheFolder()).parent_path();
    fs::create_directories(parent, failure);
    std::string name = (parent / "attn-bench-XXXXXX").string();
    if (::mkdtemp(name.data()))
      path = name;
  }
  ~Scratch() {
    std::error_code ignored;
    if (!path.empty())
      fs::remove_all(path, ignored);
  }
  std::string path;
};

double processorMs() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return 1e3 * double(time.tv_sec) + 1e-6 * double(time.tv_nsec);
}

struct Times {
  std::vector<double> clock, processor;

  template <typename Fn>
  bool add(Fn fn) {
    auto start = std::chrono::steady_clock::now();
    double work = processorMs();
    bool done = fn();
    processor.push_back(processorMs() - work);
    clock.push_back(std::chrono::duration<double, std::milli>(
                        std::chrono::steady_clock::now() - start)
                        .count());
    return done;
  }

  static double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2,
                     values.end());
    return values[values.size() / 2];
  }

  void print(Json &json, const std::string &name) const {
    json[name + "_ms"] = median(clock);
    json[name + "_processor_ms"] = median(processor);
  }
};

/// One target of one measurement.
class Measurement {
public:
  Measurement(const AttentionSpec &spec, std::shared_ptr<Device> device,
              std::string target)
      : spec(spec), device(std::move(device)), target(std::move(target)) {}

  Result<Json> run(int runs) {
    Scratch scratch;
    if (scratch.path.empty())
      return Error{ErrorCode::Io, "cannot make a folder for the disk cache"};
    JitOptions noDisk, onDisk;
    noDisk.diskCache = false;
    onDisk.cacheFolder = scratch.path + "/kernels";

    Times cold, disk, memory;
    // LLVM sets itself up once in a process.
    Jit first(noDisk);
    if (!make(first))
      return failure;
    for (int i = 0; i < runs; ++i) {
      Jit jit(noDisk);
      if (!cold.add([&] { return make(jit); }))
        return failure;
    }
    Jit writer(onDisk);
    if (!make(writer))
      return failure;
    for (int i = 0; i < runs; ++i) {
      Jit jit(onDisk);
      if (!disk.add([&] { return make(jit); }))
        return failure;
      if (jit.statistics().diskHits != 1)
        return Error{ErrorCode::Internal, "the disk cache was not used"};
    }
    constexpr int hits = 1000;
    for (int i = 0; i < runs; ++i)
      memory.add([&] {
        for (int hit = 0; hit < hits; ++hit)
          make(first);
        return true;
      });
    for (std::vector<double> *values : {&memory.clock, &memory.processor})
      for (double &value : *values)
        value /= hits;
    Json json;
    cold.print(json, "cold");
    disk.print(json, "disk");
    memory.print(json, "memory");
    return json;
  }

private:
  /// From the description on, as an embedder's call does.
  bool make(Jit &jit) {
    Result<std::string> source = toMlir(spec);
    if (!source) {
      failure = source.error();
      return false;
    }
    CompileRequest request = {std::move(*source), "", target};
    if (device) {
      auto program = jit.load(device, request);
      if (!program)
        failure = program.error();
      return bool(program);
    }
    auto bundle = jit.compile(request);
    if (!bundle)
      failure = bundle.error();
    return bool(bundle);
  }

  const AttentionSpec &spec;
  std::shared_ptr<Device> device; ///< none: compile only
  std::string target;
  Error failure;
};

} // namespace

Result<Json> bench::measureCompile(const AttentionSpec &spec,
                                   const std::vector<std::string> &targets,
                                   int runs) {
  ::unsetenv("ATTN_CACHE");
  Json all;
  for (const std::string &name : targets) {
    std::shared_ptr<Device> device;
    std::string target = name;
    if (name == "host") {
      Result<std::shared_ptr<Device>> opened = openDevice("host");
      if (!opened)
        return opened.error();
      device = *opened;
      Result<std::string> own = targetOf(*device);
      if (!own)
        return own.error();
      target = *own;
    }
    Result<Json> one = Measurement(spec, device, target).run(runs);
    if (!one)
      return one.error().in(name);
    all[name] = std::move(*one);
  }
  return all;
}
