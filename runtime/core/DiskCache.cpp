//===- DiskCache.cpp - Compiled code on disk ------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// An entry is a file named by its key:
//
//   attn-cache 1\n
//   <key>\n
//   <SHA-256 of all that follows>\n
//   the bytes
//
// A bundle's bytes are the size of the manifest in 16 hexadecimal digits, a new
// line, the manifest and the code.

#include "attn/runtime/core/DiskCache.h"

#include "attn/runtime/core/Descriptor.h"

#include "attn/runtime/core/Sha256.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace attn;

namespace {

constexpr std::string_view magic = "attn-cache 1\n";
constexpr size_t hashSize = 64;
constexpr size_t headerSize = magic.size() + 2 * (hashSize + 1);
constexpr size_t lengthSize = 16;
constexpr off_t entryLimit = off_t(256) << 20;
constexpr const char *temporaryPrefix = "tmp-";
/// Nobody writes for this long: what is older was left by a process that died.
constexpr time_t temporarySeconds = 600;

Error cannot(const std::string &what, const std::string &path,
             const std::string &why) {
  return {ErrorCode::Io, "cannot " + what + " '" + path + "': " + why};
}

std::string octal(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & 07777));
  return text;
}

/// Makes the folders above `path` that are missing.
Status makeParents(const std::string &path) {
  for (size_t at = path.find('/', 1); at != std::string::npos;
       at = path.find('/', at + 1)) {
    std::string parent = path.substr(0, at);
    if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST &&
        errno != EISDIR && errno != EROFS && errno != EACCES)
      return cannot("make the folder", parent, std::strerror(errno));
  }
  return Status::success();
}

/// Where everybody may write, somebody else may put a folder in place of ours.
Status refuseShared(std::string folder) {
  while (true) {
    struct stat info;
    if (::lstat(folder.c_str(), &info) != 0)
      return cannot("inspect", folder, std::strerror(errno));
    if (info.st_mode & S_IWOTH)
      return cannot("keep kernels under", folder,
                    "everybody may write there; choose a folder of your own");
    if (folder == "/")
      return Status::success();
    size_t slash = folder.rfind('/');
    folder = slash == 0 ? "/" : folder.substr(0, slash);
  }
}

/// The bytes of a regular file that is the user's alone.
std::optional<std::string> readPrivate(int folder, const std::string &name) {
  // A FIFO under the name must not make us wait.
  Descriptor fd(::openat(folder, name.c_str(),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info;
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) ||
      info.st_uid != ::geteuid() || (info.st_mode & 07777) != 0600 ||
      info.st_size > entryLimit)
    return std::nullopt;
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n = ::read(fd.get(), &bytes[done], bytes.size() - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return std::nullopt;
    done += static_cast<size_t>(n);
  }
  (void)::futimens(fd.get(), nullptr); // the time of last use
  return bytes;
}

int writeAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR)
      return errno;
    if (n > 0)
      bytes.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

bool isKey(std::string_view name) {
  return name.size() == hashSize &&
         name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

} // namespace

bool attn::isCacheTurnedOff() {
  const char *enabled = std::getenv("ATTN_CACHE");
  return enabled && std::string_view(enabled) == "0";
}

std::string attn::defaultCacheFolder() {
  auto isSet = [](const char *text) { return text && *text; };
  if (const char *folder = std::getenv("ATTN_CACHE_DIR"); isSet(folder))
    return folder;
  if (const char *folder = std::getenv("XDG_CACHE_HOME");
      isSet(folder) && folder[0] == '/')
    return std::string(folder) + "/attn";
  if (const char *home = std::getenv("HOME"); isSet(home))
    return std::string(home) + "/.cache/attn";
  struct passwd entry, *found = nullptr;
  char buffer[4096];
  if (::getpwuid_r(::geteuid(), &entry, buffer, sizeof buffer, &found) == 0 &&
      found && isSet(found->pw_dir))
    return std::string(found->pw_dir) + "/.cache/attn";
  return "";
}

Result<std::unique_ptr<DiskCache>> DiskCache::open(const std::string &folder,
                                                   uint64_t bytesLimit) {
  std::string path = folder;
  while (path.size() > 1 && path.back() == '/')
    path.pop_back();
  if (path.size() < 2 || path[0] != '/')
    return cannot("use the cache folder", folder,
                  "expected an absolute path below /");
  if (Status status = makeParents(path); !status)
    return status.error();
  // A home that is reached over a link is fine: what counts is where it leads.
  size_t slash = path.rfind('/');
  char resolved[PATH_MAX];
  std::string parent = slash == 0 ? "/" : path.substr(0, slash);
  if (!::realpath(parent.c_str(), resolved))
    return cannot("use the cache folder", folder, std::strerror(errno));
  if (Status status = refuseShared(resolved); !status)
    return status.error();
  path = (slash == 0 ? "" : std::string(resolved)) + path.substr(slash);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return cannot("make the cache folder", path, std::strerror(errno));
  Descriptor fd(
      ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info;
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0)
    return cannot("open the cache folder", path, std::strerror(errno));
  if (info.st_uid != ::geteuid())
    return cannot("use the cache folder", path,
                  "it belongs to user " + std::to_string(info.st_uid) +
                      ", expected " + std::to_string(::geteuid()));
  if ((info.st_mode & 07777) != 0700)
    return cannot("use the cache folder", path,
                  "expected mode 0700, found " + octal(info.st_mode));
  return std::unique_ptr<DiskCache>(
      new DiskCache(fd.release(), std::move(path), bytesLimit));
}

DiskCache::~DiskCache() { ::close(descriptor); }

std::optional<std::string> DiskCache::loadBytes(const std::string &key) const {
  if (!isKey(key))
    return std::nullopt;
  std::optional<std::string> bytes = readPrivate(descriptor, key);
  if (!bytes || bytes->size() < headerSize)
    return std::nullopt;
  std::string_view all = *bytes, body = all.substr(headerSize);
  if (all.substr(0, headerSize) !=
      std::string(magic) + key + "\n" + sha256(body) + "\n")
    return std::nullopt;
  bytes->erase(0, headerSize);
  return bytes;
}

std::optional<Bundle> DiskCache::load(const std::string &key) const {
  std::optional<std::string> bytes = loadBytes(key);
  if (!bytes || bytes->size() < lengthSize + 1)
    return std::nullopt;
  std::string_view body = *bytes;
  std::string digits(body.substr(0, lengthSize));
  char *end = nullptr;
  uint64_t manifestSize = std::strtoull(digits.c_str(), &end, 16);
  body.remove_prefix(lengthSize + 1);
  if (*end || manifestSize > body.size())
    return std::nullopt;
  Result<Bundle> bundle = parseBundle(body.substr(0, manifestSize),
                                      std::string(body.substr(manifestSize)));
  if (!bundle)
    return std::nullopt;
  return std::move(*bundle);
}

Status DiskCache::store(const std::string &key, const Bundle &bundle) const {
  Result<std::string> manifest = writeManifest(bundle.manifest);
  if (!manifest)
    return manifest.error();
  char length[lengthSize + 2];
  std::snprintf(length, sizeof length, "%016zx\n", manifest->size());
  return storeBytes(key, length + *manifest + bundle.code);
}

Status DiskCache::storeBytes(const std::string &key,
                             std::string_view body) const {
  if (!isKey(key))
    return invalidArgument("expected a key of 64 hexadecimal digits, found '" +
                           key + "'");
  std::string bytes = std::string(magic) + key + "\n" + sha256(body) + "\n";
  bytes += body;

  static std::atomic<unsigned> counter{0};
  std::string temporary;
  int raw = -1;
  // A process that died may have had our number.
  for (int attempt = 0; attempt < 64 && raw < 0; ++attempt) {
    temporary = temporaryPrefix + std::to_string(::getpid()) + "-" +
                std::to_string(counter++);
    raw = ::openat(descriptor, temporary.c_str(),
                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (raw < 0 && errno != EEXIST)
      break;
  }
  if (raw < 0)
    return cannot("write in the cache folder", path, std::strerror(errno));
  Descriptor fd(raw);
  // Whatever the umask says.
  int failure = ::fchmod(fd.get(), 0600) == 0 ? 0 : errno;
  if (!failure)
    failure = writeAll(fd.get(), bytes);
  if (!failure && ::fsync(fd.get()) != 0)
    failure = errno;
  if (::close(fd.release()) != 0 && !failure)
    failure = errno;
  if (!failure &&
      ::renameat(descriptor, temporary.c_str(), descriptor, key.c_str()) != 0)
    failure = errno;
  if (failure) {
    ::unlinkat(descriptor, temporary.c_str(), 0);
    return cannot("write in the cache folder", path, std::strerror(failure));
  }
  (void)::fsync(descriptor);
  removeOld();
  return Status::success();
}

void DiskCache::removeOld() const {
  // The listing has a position, which must not be shared: it opens anew.
  int raw = ::openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = raw < 0 ? nullptr : ::fdopendir(raw);
  if (!listing) {
    if (raw >= 0)
      ::close(raw);
    return;
  }
  struct Entry {
    int64_t seconds, nanoseconds;
    std::string name;
    uint64_t bytes;
  };
  std::vector<Entry> entries;
  uint64_t total = 0;
  time_t now = ::time(nullptr);
  while (struct dirent *item = ::readdir(listing)) {
    std::string name = item->d_name;
    bool isTemporary = name.rfind(temporaryPrefix, 0) == 0;
    struct stat info;
    if ((!isTemporary && !isKey(name)) ||
        ::fstatat(descriptor, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(info.st_mode))
      continue;
    if (isTemporary) {
      if (info.st_mtim.tv_sec + temporarySeconds < now)
        ::unlinkat(descriptor, name.c_str(), 0);
      continue;
    }
    auto bytes = static_cast<uint64_t>(info.st_size);
    total += bytes;
    entries.push_back(
        {info.st_mtim.tv_sec, info.st_mtim.tv_nsec, std::move(name), bytes});
  }
  ::closedir(listing);
  if (total <= bytesLimit)
    return;
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) {
    return std::tie(a.seconds, a.nanoseconds, a.name) <
           std::tie(b.seconds, b.nanoseconds, b.name);
  });
  // A reader that has an entry open keeps its bytes.
  for (const Entry &entry : entries) {
    if (total <= bytesLimit)
      return;
    if (::unlinkat(descriptor, entry.name.c_str(), 0) == 0)
      total -= entry.bytes;
  }
}
