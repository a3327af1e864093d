//===- DiskCache.h - Compiled code on disk --- -------------------*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_DISKCACHE_H
#define ATTN_RUNTIME_CORE_DISKCACHE_H

#include "attn/runtime/core/Bundle.h"

#include <memory>

namespace attn {

/// A folder of compiled bundles, and of machine code that drivers made, which
/// any number of threads and processes share. A kernel is code, so the folder
/// must be as safe as the user's own programs: it belongs to the user with mode
/// 0700, is not a link, and lies in no folder that everybody may write to. Its
/// files belong to the user with mode 0600. Entries appear as a whole (written
/// under another name, flushed, renamed) and carry the SHA-256 of their bytes.
/// Whatever is not exactly as it should be is as if it were not there.
class DiskCache {
public:
  /// Opens `folder`, which is made if it is missing. When more than
  /// `bytesLimit` are stored, the least recently used entries are removed.
  static Result<std::unique_ptr<DiskCache>> open(const std::string &folder,
                                                 uint64_t bytesLimit);
  ~DiskCache();
  DiskCache(const DiskCache &) = delete;
  DiskCache &operator=(const DiskCache &) = delete;

  /// The bundle that was stored under `key`, 64 hexadecimal digits.
  std::optional<Bundle> load(const std::string &key) const;

  /// Fails if the entry could not be written: the bundle is good all the same.
  Status store(const std::string &key, const Bundle &bundle) const;

  /// The same for bytes that are not a bundle.
  std::optional<std::string> loadBytes(const std::string &key) const;
  Status storeBytes(const std::string &key, std::string_view bytes) const;

  const std::string &folder() const { return path; }

private:
  DiskCache(int descriptor, std::string path, uint64_t bytesLimit)
      : descriptor(descriptor), path(std::move(path)), bytesLimit(bytesLimit) {}
  void removeOld() const;

  int descriptor; ///< of the folder: later renames cannot divert us
  std::string path;
  uint64_t bytesLimit;
};

/// Whether the environment says ATTN_CACHE=0.
bool isCacheTurnedOff();

/// How much is kept unless somebody says otherwise.
inline constexpr uint64_t defaultCacheBytes = uint64_t(256) << 20;

/// The user's folder: $ATTN_CACHE_DIR, or attn in $XDG_CACHE_HOME or in .cache
/// of the home folder. Empty if there is no home.
std::string defaultCacheFolder();

} // namespace attn

#endif // ATTN_RUNTIME_CORE_DISKCACHE_H
