//===- Jit.h - From source text to something that runs ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_JIT_JIT_H
#define ATTN_RUNTIME_JIT_JIT_H

#include "attn/runtime/core/DiskCache.h"
#include "attn/runtime/core/Executable.h"
#include "attn/runtime/jit/Spec.h"

namespace attn {

struct JitOptions {
  /// Whether bundles are kept on disk; ATTN_CACHE=0 says no as well.
  bool diskCache = true;
  /// Where; empty: the user's folder (DiskCache.h).
  std::string cacheFolder;
  uint64_t cacheBytes = defaultCacheBytes;
  /// Bundles, and programs, kept in memory.
  size_t memoryEntries = 256;
};

struct CompileRequest {
  std::string source;   ///< MLIR text as a person writes it
  std::string function; ///< empty: the only one
  std::string target;   ///< sm_80, ...; see targetOf
};

/// Compiles and remembers. Every function may be called from several threads at
/// once; what two of them want at the same time is compiled once, and nobody
/// who finds what he asked for waits for anybody's compilation. There is no
/// global state: a process may have any number of these.
class Jit {
public:
  explicit Jit(const JitOptions &options = {});
  ~Jit();
  Jit(const Jit &) = delete;
  Jit &operator=(const Jit &) = delete;

  /// The error of source that does not compile holds the diagnostics with line
  /// and column.
  Result<std::shared_ptr<const Bundle>> compile(const CompileRequest &request);

  /// Compiles for `device`, unless `target` says for what, and loads there. The
  /// device lives as long as its programs, which clear() and a later use of
  /// other programs let go.
  Result<std::shared_ptr<const Executable>>
  load(const std::shared_ptr<Device> &device, const CompileRequest &request);

  /// Forgets what is in memory.
  void clear();

  struct Statistics {
    uint64_t memoryHits = 0;
    uint64_t diskHits = 0;
    uint64_t compilations = 0;
  };
  Statistics statistics() const;

  /// The folder on disk, or why there is none.
  Result<std::string> cacheFolder() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace attn

#endif // ATTN_RUNTIME_JIT_JIT_H
