//===- File.cpp - Whole-file reading and all-or-nothing writing -----------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/File.h"

#include "attn/runtime/core/Descriptor.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace attn;

namespace {

Error ioError(const std::string &what, const std::string &path, int code) {
  return {ErrorCode::Io, what + " '" + path + "': " + std::strerror(code)};
}

int writeAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR)
        continue;
      return errno;
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

/// Makes a rename in `path`'s folder durable. A file system that cannot flush
/// folders is not an error: the file itself is already whole.
void flushFolderOf(const std::string &path) {
  size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "."
                       : slash == 0               ? "/"
                                                  : path.substr(0, slash);
  Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() >= 0)
    (void)::fsync(fd.get());
}

} // namespace

Result<std::string> attn::readFile(const std::string &path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0)
    return ioError("cannot open", path, errno);
  struct stat info;
  if (::fstat(fd.get(), &info) != 0)
    return ioError("cannot inspect", path, errno);
  if (S_ISDIR(info.st_mode))
    return ioError("cannot read", path, EISDIR);
  std::string bytes;
  bytes.reserve(S_ISREG(info.st_mode) ? static_cast<size_t>(info.st_size) : 0);
  char chunk[1 << 16];
  while (true) {
    ssize_t n = ::read(fd.get(), chunk, sizeof chunk);
    if (n < 0) {
      if (errno == EINTR)
        continue;
      return ioError("cannot read", path, errno);
    }
    if (n == 0)
      return bytes;
    bytes.append(chunk, static_cast<size_t>(n));
  }
}

Status attn::writeFileAtomically(const std::string &path,
                                 std::string_view bytes) {
  static std::atomic<unsigned> counter{0};
  std::string temporary;
  int raw = -1;
  // Another process may hold a stale name: take the next free one.
  for (int attempt = 0; attempt < 64 && raw < 0; ++attempt) {
    temporary = path + ".tmp-" + std::to_string(::getpid()) + "-" +
                std::to_string(counter++);
    raw = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                 0666);
    if (raw < 0 && errno != EEXIST)
      return ioError("cannot write", path, errno);
  }
  if (raw < 0)
    return ioError("cannot write", path, EEXIST);
  Descriptor fd(raw);
  int failure = writeAll(fd.get(), bytes);
  if (!failure && ::fsync(fd.get()) != 0)
    failure = errno;
  if (::close(fd.release()) != 0 && !failure)
    failure = errno;
  if (!failure && ::rename(temporary.c_str(), path.c_str()) != 0)
    failure = errno;
  if (failure) {
    ::unlink(temporary.c_str());
    return ioError("cannot write", path, failure);
  }
  flushFolderOf(path);
  return Status::success();
}

Status attn::makeFolder(const std::string &path) {
  if (::mkdir(path.c_str(), 0777) == 0)
    return Status::success();
  int failure = errno;
  struct stat info;
  if (failure == EEXIST && ::stat(path.c_str(), &info) == 0 &&
      S_ISDIR(info.st_mode))
    return Status::success();
  return ioError("cannot make the folder", path, failure);
}
