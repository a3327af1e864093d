//===- Bundle.cpp - A manifest and its code, in memory or a folder --------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Bundle.h"

#include "attn/runtime/core/File.h"
#include "attn/runtime/core/Sha256.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unistd.h>

using namespace attn;
namespace fs = std::filesystem;

static constexpr const char *manifestName = "manifest.json";

Result<Bundle> attn::makeBundle(Manifest manifest, std::string code) {
  manifest.code.sha256 = sha256(code);
  if (Status status = verifyManifest(manifest); !status)
    return status.error();
  return Bundle{std::move(manifest), std::move(code)};
}

static Status checkHash(const Manifest &manifest, std::string_view code) {
  std::string found = sha256(code);
  if (found == manifest.code.sha256)
    return Status::success();
  return Error{ErrorCode::InvalidBundle,
               "code.sha256: the manifest says " + manifest.code.sha256 +
                   ", but the bytes of '" + manifest.code.file + "' give " +
                   found};
}

Result<Bundle> attn::parseBundle(std::string_view manifestJson,
                                 std::string code) {
  Result<Manifest> manifest = parseManifest(manifestJson);
  if (!manifest)
    return manifest.error();
  if (Status status = checkHash(*manifest, code); !status)
    return status.error();
  return Bundle{std::move(*manifest), std::move(code)};
}

Result<Bundle> attn::loadBundle(const std::string &folder) {
  std::string path = folder + "/" + manifestName;
  Result<std::string> json = readFile(path);
  if (!json)
    return json.error();
  Result<Manifest> manifest = parseManifest(*json);
  if (!manifest)
    return manifest.error().in(path);
  Result<std::string> code = readFile(folder + "/" + manifest->code.file);
  if (!code)
    return code.error();
  if (Status status = checkHash(*manifest, *code); !status)
    return status.error().in(path);
  return Bundle{std::move(*manifest), std::move(*code)};
}

namespace {

/// A folder that is removed on every way out unless it was moved away.
class TemporaryFolder {
public:
  explicit TemporaryFolder(std::string path) : path(std::move(path)) {}
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }

private:
  std::string path;
};

Error cannotWrite(const std::string &folder, const std::string &why) {
  return {ErrorCode::Io, "cannot write the bundle '" + folder + "': " + why};
}

/// Nothing but plain `.ptx`, `.cubin` and `.o` files and a manifest: safe to
/// replace.
Result<bool> isReplaceable(const std::string &folder) {
  std::error_code failure;
  bool empty = true, hasManifest = false;
  fs::directory_iterator entry(folder, failure), end;
  for (; !failure && entry != end; entry.increment(failure)) {
    empty = false;
    fs::path name = entry->path().filename();
    std::error_code unreadable;
    if (fs::is_symlink(entry->symlink_status(unreadable)) ||
        !entry->is_regular_file(unreadable))
      return false;
    if (name == manifestName)
      hasManifest = true;
    else if (name.extension() != ".ptx" && name.extension() != ".cubin" &&
             name.extension() != ".o")
      return false;
  }
  if (failure)
    return cannotWrite(folder, failure.message());
  return empty || hasManifest;
}

} // namespace

Status attn::writeBundle(const Bundle &bundle, const std::string &target) {
  Result<std::string> json = writeManifest(bundle.manifest);
  if (!json)
    return json.error();
  if (Status status = checkHash(bundle.manifest, bundle.code); !status)
    return status;

  std::string folder = target;
  while (folder.size() > 1 && folder.back() == '/')
    folder.pop_back();
  std::error_code failure;
  fs::file_status existing = fs::symlink_status(folder, failure);
  bool exists = fs::exists(existing);
  if (exists) {
    if (!fs::is_directory(existing))
      return cannotWrite(folder, "it exists and is not a folder");
    Result<bool> replaceable = isReplaceable(folder);
    if (!replaceable)
      return replaceable.error();
    if (!*replaceable)
      return cannotWrite(folder, "the folder exists and holds other files than "
                                 "a bundle; choose another or empty it");
  }

  static std::atomic<unsigned> counter{0};
  std::string suffix =
      ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  std::string fresh = folder + suffix;
  TemporaryFolder freshGuard(fresh);
  if (Status status = makeFolder(fresh); !status)
    return status;
  if (Status status = writeFileAtomically(
          fresh + "/" + bundle.manifest.code.file, bundle.code);
      !status)
    return status;
  if (Status status = writeFileAtomically(fresh + "/" + manifestName, *json);
      !status)
    return status;

  // A folder that is not empty cannot be renamed over: move it aside first, and
  // back if the second step fails.
  std::string old = folder + suffix + "-old";
  TemporaryFolder oldGuard(old);
  if (exists && ::rename(folder.c_str(), old.c_str()) != 0)
    return cannotWrite(folder, std::strerror(errno));
  if (::rename(fresh.c_str(), folder.c_str()) != 0) {
    int code = errno;
    if (exists && ::rename(old.c_str(), folder.c_str()) != 0)
      return cannotWrite(folder,
                         std::string(std::strerror(code)) +
                             "; the older bundle could not be restored");
    return cannotWrite(folder, std::strerror(code));
  }
  return Status::success();
}
