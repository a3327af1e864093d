//===- DiskCacheTest.cpp - The disk cache, damaged in every way -----------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/File.h"
#include "attn/runtime/core/Sha256.h"
#include "attn/test/runtime/core/PrivateFolder.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <csignal>
#include <fcntl.h>
#include <random>
#include <sys/stat.h>
#include <sys/wait.h>

using namespace attn;
using namespace attn::test;
namespace fs = std::filesystem;

namespace {

constexpr uint64_t plenty = uint64_t(1) << 30;

std::string keyOf(int number) { return sha256(std::to_string(number)); }

/// A bundle that is told from those of other numbers by its code.
Bundle bundleOf(int number, size_t padding = 0) {
  std::string code = std::string(scalePtx) + "// " + std::to_string(number);
  return *makeBundle(scaleManifest(), code + std::string(padding, '/'));
}

bool isBundleOf(const Bundle &bundle, int number, size_t padding = 0) {
  return bundle.code == bundleOf(number, padding).code &&
         bundle.manifest == bundleOf(number, padding).manifest;
}

/// How often to repeat what chance decides: `count`, or ATTN_CACHE_TRIALS.
int trials(int count) {
  const char *text = std::getenv("ATTN_CACHE_TRIALS");
  return text ? std::atoi(text) : count;
}

void overwrite(const std::string &path, std::string_view bytes) {
  int fd = ::open(path.c_str(), O_WRONLY | O_TRUNC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::write(fd, bytes.data(), bytes.size()),
            static_cast<ssize_t>(bytes.size()));
  ::close(fd);
}

class DiskCacheTest : public testing::Test {
protected:
  void SetUp() override {
    if (scratch.path.empty())
      GTEST_SKIP() << "no folder that only the user may write to";
    folder = scratch.path + "/cache";
    cache = open();
    entry = folder + "/" + keyOf(1);
  }

  std::unique_ptr<DiskCache> open(uint64_t limit = plenty) {
    Result<std::unique_ptr<DiskCache>> opened = DiskCache::open(folder, limit);
    EXPECT_TRUE(opened) << errorOf(opened);
    return opened ? std::move(*opened) : nullptr;
  }

  std::string refusal(const std::string &path) {
    return errorOf(DiskCache::open(path, plenty));
  }

  PrivateFolder scratch;
  std::string folder, entry;
  std::unique_ptr<DiskCache> cache;
};

TEST_F(DiskCacheTest, StoresAndLoads) {
  EXPECT_FALSE(cache->load(keyOf(1)));
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(1)));
  ASSERT_TRUE(cache->store(keyOf(2), bundleOf(2)));
  ASSERT_TRUE(cache->load(keyOf(1)));
  EXPECT_TRUE(isBundleOf(*cache->load(keyOf(1)), 1));
  EXPECT_TRUE(isBundleOf(*open()->load(keyOf(2)), 2));
  // Another bundle under the same key replaces it.
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(3)));
  EXPECT_TRUE(isBundleOf(*cache->load(keyOf(1)), 3));

  EXPECT_FALSE(cache->load("../" + keyOf(1)));
  EXPECT_FALSE(cache->load(""));
  EXPECT_EQ(errorOf(cache->store("up", bundleOf(1))),
            "expected a key of 64 hexadecimal digits, found 'up'");
}

TEST_F(DiskCacheTest, IsPrivate) {
  mode_t old = ::umask(0);
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(1)));
  ::umask(old);
  struct stat info;
  ASSERT_EQ(::stat(folder.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  ASSERT_EQ(::stat(entry.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);

  ASSERT_EQ(::chmod(entry.c_str(), 0640), 0);
  EXPECT_FALSE(cache->load(keyOf(1)));
  ASSERT_EQ(::chmod(entry.c_str(), 0600), 0);
  EXPECT_TRUE(cache->load(keyOf(1)));

  ASSERT_EQ(::chmod(folder.c_str(), 0750), 0);
  EXPECT_EQ(refusal(folder), "cannot use the cache folder '" + folder +
                                 "': expected mode 0700, found 0750");
}

TEST_F(DiskCacheTest, RefusesOtherOwners) {
  if (::geteuid() != 0)
    GTEST_SKIP() << "only root can give files away";
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(1)));
  ASSERT_EQ(::chown(entry.c_str(), 12345, 12345), 0);
  EXPECT_FALSE(cache->load(keyOf(1)));
  ASSERT_EQ(::chown(folder.c_str(), 12345, 12345), 0);
  EXPECT_EQ(refusal(folder), "cannot use the cache folder '" + folder +
                                 "': it belongs to user 12345, expected 0");
}

TEST_F(DiskCacheTest, RefusesSharedFolders) {
  std::string shared = scratch.path + "/shared";
  ASSERT_EQ(::mkdir(shared.c_str(), 0700), 0);
  ASSERT_EQ(::chmod(shared.c_str(), 01777), 0);
  EXPECT_EQ(refusal(shared + "/deep/cache"),
            "cannot keep kernels under '" + shared +
                "': everybody may write there; choose a folder of your own");
  // Also by way of a link.
  std::string link = scratch.path + "/link";
  ASSERT_EQ(::symlink(shared.c_str(), link.c_str()), 0);
  EXPECT_EQ(refusal(link + "/cache"), refusal(shared + "/cache"));
  EXPECT_NE(refusal("relative").find("expected an absolute path"),
            std::string::npos);
  EXPECT_NE(refusal("/"), "no error");
  std::string file = scratch.path + "/file";
  ASSERT_TRUE(writeFileAtomically(file, "x"));
  EXPECT_NE(refusal(file), "no error");
  EXPECT_NE(refusal(file + "/cache"), "no error");
}

TEST_F(DiskCacheTest, FollowsNoLinks) {
  std::string link = scratch.path + "/link";
  ASSERT_EQ(::symlink(folder.c_str(), link.c_str()), 0);
  EXPECT_NE(refusal(link), "no error");

  // A good entry behind a link is no entry.
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(1)));
  std::string moved = scratch.path + "/moved";
  ASSERT_EQ(::rename(entry.c_str(), moved.c_str()), 0);
  ASSERT_EQ(::symlink(moved.c_str(), entry.c_str()), 0);
  EXPECT_FALSE(cache->load(keyOf(1)));
  // Storing replaces the link and leaves what it points to alone.
  std::string before = *readFile(moved);
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(2)));
  EXPECT_TRUE(isBundleOf(*cache->load(keyOf(1)), 2));
  EXPECT_EQ(*readFile(moved), before);
}

TEST_F(DiskCacheTest, IgnoresWhatIsNotAFile) {
  ASSERT_EQ(::mkfifo(entry.c_str(), 0600), 0);
  EXPECT_FALSE(cache->load(keyOf(1))); // and does not wait for a writer
  ASSERT_EQ(::unlink(entry.c_str()), 0);
  ASSERT_EQ(::mkdir(entry.c_str(), 0700), 0);
  EXPECT_FALSE(cache->load(keyOf(1)));
  EXPECT_FALSE(cache->store(keyOf(1), bundleOf(1)));
  for (const fs::directory_entry &left : fs::directory_iterator(folder))
    EXPECT_EQ(left.path().filename(), keyOf(1));
}

TEST_F(DiskCacheTest, NoTruncationLoads) {
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(1)));
  std::string bytes = *readFile(entry);
  ASSERT_GT(bytes.size(), 1000u);
  for (size_t size = bytes.size(); size-- > 0;) {
    ASSERT_EQ(::truncate(entry.c_str(), static_cast<off_t>(size)), 0);
    ASSERT_FALSE(cache->load(keyOf(1))) << size;
  }
  overwrite(entry, bytes);
  ASSERT_TRUE(isBundleOf(*cache->load(keyOf(1)), 1));
  overwrite(entry, bytes + "\n");
  EXPECT_FALSE(cache->load(keyOf(1)));
}

TEST_F(DiskCacheTest, NoFlippedBitLoads) {
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(1)));
  std::string bytes = *readFile(entry);
  std::mt19937 random(1);
  int fd = ::open(entry.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  for (int trial = 0; trial < 10000; ++trial) {
    // Every bit of the header, then some of the rest.
    size_t bit = static_cast<size_t>(trial) < 8 * 160
                     ? static_cast<size_t>(trial)
                     : random() % (8 * bytes.size());
    char right = bytes[bit / 8],
         wrong = static_cast<char>(right ^ 1 << bit % 8);
    auto at = static_cast<off_t>(bit / 8);
    ASSERT_EQ(::pwrite(fd, &wrong, 1, at), 1);
    ASSERT_FALSE(cache->load(keyOf(1))) << bit;
    ASSERT_EQ(::pwrite(fd, &right, 1, at), 1);
  }
  ::close(fd);
  EXPECT_TRUE(cache->load(keyOf(1)));
}

TEST_F(DiskCacheTest, ChecksMoreThanTheHash) {
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(1)));
  std::string bytes = *readFile(entry);
  // The entry of another key.
  fs::copy_file(entry, folder + "/" + keyOf(2));
  fs::permissions(folder + "/" + keyOf(2), fs::perms(0600));
  EXPECT_FALSE(cache->load(keyOf(2)));
  // A well-hashed entry whose bundle is not one.
  std::string body = bytes.substr(13 + 2 * 65);
  auto entryOf = [&](const std::string &body) {
    return "attn-cache 1\n" + keyOf(1) + "\n" + sha256(body) + "\n" + body;
  };
  ASSERT_EQ(entryOf(body), bytes);
  for (const char *size :
       {"ffffffffffffffff", "0000000000000000", "no number!!!!!!!"}) {
    overwrite(entry, entryOf(size + body.substr(16)));
    EXPECT_FALSE(cache->load(keyOf(1))) << size;
  }
  overwrite(entry, entryOf(body + "x"));
  EXPECT_FALSE(cache->load(keyOf(1)));
}

TEST_F(DiskCacheTest, RemovesTheLeastRecentlyUsed) {
  ASSERT_TRUE(cache->store(keyOf(0), bundleOf(0, 5000)));
  uint64_t size = fs::file_size(folder + "/" + keyOf(0));
  std::unique_ptr<DiskCache> small = open(4 * size + size / 2);
  for (int number = 1; number < 4; ++number)
    ASSERT_TRUE(small->store(keyOf(number), bundleOf(number, 5000)));
  // Make all of them old, then use the oldest.
  for (int number = 0; number < 4; ++number) {
    timespec times[2] = {{1000 + number, 0}, {1000 + number, 0}};
    ASSERT_EQ(
        ::utimensat(AT_FDCWD, (folder + "/" + keyOf(number)).c_str(), times, 0),
        0);
  }
  ASSERT_TRUE(small->load(keyOf(0)));
  ASSERT_TRUE(small->store(keyOf(4), bundleOf(4, 5000)));
  EXPECT_TRUE(small->load(keyOf(0)));
  EXPECT_FALSE(small->load(keyOf(1)));
  for (int number = 2; number < 5; ++number)
    EXPECT_TRUE(small->load(keyOf(number))) << number;
}

TEST_F(DiskCacheTest, RemovesWhatTheDeadLeftBehind) {
  std::string stale = folder + "/tmp-1-1", fresh = folder + "/tmp-1-2",
              foreign = folder + "/notes.txt";
  for (const std::string &path : {stale, fresh, foreign})
    ASSERT_TRUE(writeFileAtomically(path, "x"));
  timespec times[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, stale.c_str(), times, 0), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, foreign.c_str(), times, 0), 0);
  ASSERT_TRUE(cache->store(keyOf(1), bundleOf(1)));
  EXPECT_FALSE(fs::exists(stale));
  EXPECT_TRUE(fs::exists(fresh));
  EXPECT_TRUE(fs::exists(foreign));
}

TEST_F(DiskCacheTest, SurvivesKillsAtRandomMoments) {
  constexpr int keys = 4;
  std::mt19937 random(7);
  int found = 0;
  for (int trial = 0; trial < trials(500); ++trial) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Result<std::unique_ptr<DiskCache>> mine = DiskCache::open(folder, plenty);
      for (int number = trial; mine; ++number)
        if (!(*mine)->store(keyOf(number % keys),
                            bundleOf(number % keys, 20000)))
          break;
      ::_exit(1);
    }
    ::usleep(random() % 6000);
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child gave up by itself";
    for (int number = 0; number < keys; ++number)
      if (std::optional<Bundle> bundle = cache->load(keyOf(number))) {
        ++found;
        ASSERT_TRUE(isBundleOf(*bundle, number, 20000));
      }
  }
  EXPECT_GT(found, 0);
  std::error_code ignored;
  for (const fs::directory_entry &file : fs::directory_iterator(folder))
    if (file.path().filename().string().rfind("tmp-", 0) == 0)
      fs::remove(file, ignored);
}

} // namespace
