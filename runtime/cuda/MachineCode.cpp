//===- MachineCode.cpp - see MachineCode.h --------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/cuda/MachineCode.h"

#include "attn/runtime/core/Sha256.h"

using namespace attn;
using namespace attn::cuda;

Logs::Logs() : errors(16384, '\0'), infos(16384, '\0') {
  // Sizes travel in the pointers' values.
  void *room = reinterpret_cast<void *>(errors.size() - 1);
  keys[0] = jitInfoLogBuffer, pointers[0] = infos.data();
  keys[1] = jitInfoLogBufferSize, pointers[1] = room;
  keys[2] = jitErrorLogBuffer, pointers[2] = errors.data();
  keys[3] = jitErrorLogBufferSize, pointers[3] = room;
}

Error Logs::add(Error error) const {
  for (const std::string *log : {&errors, &infos})
    if (log->front())
      error.message += std::string("\n") + log->c_str();
  return error;
}

Result<std::string> cuda::assemble(const Driver &driver,
                                   const std::string &ptx) {
  Logs logs;
  CuLink link = nullptr;
  Status status = driver.check(
      "cuLinkCreate",
      driver.linkCreate(Logs::count, logs.options(), logs.values(), &link));
  if (!status)
    return logs.add(status.error());
  void *code = nullptr; // belongs to the link
  size_t size = 0;
  // The text ends with its NUL.
  status = driver.check(
      "cuLinkAddData",
      driver.linkAddData(link, jitInputPtx, const_cast<char *>(ptx.c_str()),
                         ptx.size() + 1, "attn.ptx", 0, nullptr, nullptr));
  if (status)
    status =
        driver.check("cuLinkComplete", driver.linkComplete(link, &code, &size));
  Result<std::string> result =
      status ? Result<std::string>(
                   std::string(static_cast<const char *>(code), size))
             : Result<std::string>(logs.add(status.error()));
  driver.linkDestroy(link);
  return result;
}

MachineCode::MachineCode(const Driver &driver, const std::string &gpu,
                         bool enabled, const std::string &folder)
    : origin(driver.identity + "\n" + gpu) {
  std::string where = folder.empty() ? defaultCacheFolder() : folder;
  if (!enabled || isCacheTurnedOff() || driver.identity.empty() ||
      where.empty())
    return;
  if (Result<std::unique_ptr<DiskCache>> opened =
          DiskCache::open(where, defaultCacheBytes))
    disk = std::move(*opened);
}

std::string MachineCode::keyOf(const std::string &ptx) const {
  return sha256("attn machine code 1\n" + origin + "\n" + sha256(ptx));
}

std::optional<std::string> MachineCode::load(const std::string &ptx) const {
  return disk->loadBytes(keyOf(ptx));
}

void MachineCode::store(const std::string &ptx, const std::string &code) const {
  // A full disk must not keep anybody from running what was assembled.
  (void)disk->storeBytes(keyOf(ptx), code);
}
