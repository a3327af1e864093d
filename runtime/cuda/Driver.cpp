//===- Driver.cpp - The CUDA driver, opened when first needed -------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/cuda/Driver.h"

#include <cstdlib>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <mutex>

using namespace attn;
using namespace attn::cuda;

Status Driver::check(const char *call, CuResult result) const {
  if (result == success)
    return Status::success();
  const char *name = nullptr, *text = nullptr;
  if (getErrorName(result, &name) != success || !name)
    name = "unknown CUDA error";
  if (getErrorString(result, &text) != success || !text)
    text = "no description";
  return Error{result == errorOutOfMemory ? ErrorCode::OutOfMemory
                                          : ErrorCode::Device,
               std::string(call) + ": " + name + " (" + text + ")"};
}

static std::string versionText(int version) {
  return std::to_string(version / 1000) + "." +
         std::to_string(version % 1000 / 10);
}

static Result<std::unique_ptr<Driver>> load(const std::string &path) {
  void *library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = ::dlerror();
    return Error{ErrorCode::Device, "no CUDA driver: cannot open '" + path +
                                        "' (" + (why ? why : "unknown reason") +
                                        "); the device 'sim' needs no GPU"};
  }
  auto driver = std::make_unique<Driver>();
  driver->path = path;
#define ATTN_CUDA_LOAD(member, name, types)                                    \
  driver->member =                                                             \
      reinterpret_cast<CuResult(*) types>(::dlsym(library, name));             \
  if (!driver->member)                                                         \
    return Error{ErrorCode::Device,                                            \
                 "the CUDA driver '" + path +                                  \
                     "' has no " name ", expected one of CUDA 11.2 or later"};
  ATTN_CUDA_SYMBOLS(ATTN_CUDA_LOAD)
#undef ATTN_CUDA_LOAD
#define ATTN_CUDA_LOAD(member, name, types)                                    \
  driver->member = reinterpret_cast<CuResult(*) types>(::dlsym(library, name));
  ATTN_CUDA_OPTIONAL_SYMBOLS(ATTN_CUDA_LOAD)
#undef ATTN_CUDA_LOAD

  CuResult result = driver->init(0);
  if (result == errorNoDevice)
    return Error{ErrorCode::Device, "the CUDA driver '" + path +
                                        "' finds no GPU; the device 'sim' "
                                        "needs none"};
  if (Status status = driver->check("cuInit", result); !status)
    return status.error();
  if (Status status = driver->check("cuDriverGetVersion",
                                    driver->driverGetVersion(&driver->version));
      !status)
    return status.error();
  // The oldest interface that all of the table's functions belong to.
  if (driver->version < 11020)
    return Error{ErrorCode::Device,
                 "the CUDA driver '" + path + "' is of CUDA " +
                     versionText(driver->version) + ", expected 11.2 or later"};
  return driver;
}

Result<const Driver *> cuda::openDriver(const std::string &requested) {
  std::string path = requested;
  if (path.empty()) {
    const char *variable = std::getenv("ATTN_LIBCUDA");
    path = variable && *variable ? variable : "libcuda.so.1";
  }
  static std::mutex mutex;
  static auto *loaded = new std::map<std::string, std::unique_ptr<Driver>>();
  std::lock_guard<std::mutex> lock(mutex);
  auto found = loaded->find(path);
  if (found == loaded->end()) {
    Result<std::unique_ptr<Driver>> driver = load(path);
    if (!driver)
      return driver.error();
    found = loaded->emplace(path, std::move(*driver)).first;
  }
  return static_cast<const Driver *>(found->second.get());
}
