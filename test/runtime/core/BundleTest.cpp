//===- BundleTest.cpp - Bundles in memory and in folders ------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Bundle.h"
#include "attn/runtime/core/File.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <csignal>
#include <sys/resource.h>

using namespace attn;
using namespace attn::test;

namespace {

Bundle sampleBundle(const std::string &code = scalePtx) {
  Result<Bundle> bundle = makeBundle(scaleManifest(), code);
  EXPECT_TRUE(bundle) << errorOf(bundle);
  return *bundle;
}

TEST(Bundle, WritesAndLoads) {
  ScratchFolder scratch;
  Bundle bundle = sampleBundle();
  std::string folder = scratch.file("b.bundle");
  ASSERT_TRUE(writeBundle(bundle, folder + "/"));
  Result<Bundle> back = loadBundle(folder);
  ASSERT_TRUE(back) << errorOf(back);
  EXPECT_TRUE(back->manifest == bundle.manifest);
  EXPECT_EQ(back->code, bundle.code);
  EXPECT_EQ(scratch.entries(), 1u); // no temporary is left

  // An older bundle is replaced as a whole, also under another file name.
  Manifest other = scaleManifest();
  other.code.file = "other.ptx";
  ASSERT_TRUE(writeBundle(*makeBundle(other, "// new"), folder));
  EXPECT_EQ(loadBundle(folder)->code, "// new");
  EXPECT_FALSE(std::filesystem::exists(folder + "/scale.ptx"));
  EXPECT_EQ(scratch.entries(), 1u);
}

TEST(Bundle, ReplacesAnEmptyFolderOnly) {
  ScratchFolder scratch;
  std::string folder = scratch.file("out");
  ASSERT_TRUE(makeFolder(folder));
  EXPECT_TRUE(writeBundle(sampleBundle(), folder));

  ASSERT_TRUE(writeFileAtomically(folder + "/notes.txt", "mine"));
  EXPECT_EQ(errorOf(writeBundle(sampleBundle("// x"), folder)),
            "cannot write the bundle '" + folder +
                "': the folder exists and holds other files than a bundle; "
                "choose another or empty it");
  EXPECT_EQ(*readFile(folder + "/notes.txt"), "mine");
  EXPECT_EQ(loadBundle(folder)->code, scalePtx);

  std::string file = scratch.file("file");
  ASSERT_TRUE(writeFileAtomically(file, "x"));
  EXPECT_EQ(errorOf(writeBundle(sampleBundle(), file)),
            "cannot write the bundle '" + file +
                "': it exists and is not a folder");
  EXPECT_FALSE(writeBundle(sampleBundle(), scratch.file("no/such")));
  EXPECT_EQ(scratch.entries(), 2u);
}

TEST(Bundle, LoadsFromMemory) {
  Bundle bundle = sampleBundle();
  std::string json = *writeManifest(bundle.manifest);
  Result<Bundle> back = parseBundle(json, bundle.code);
  ASSERT_TRUE(back);
  EXPECT_TRUE(back->manifest == bundle.manifest);
}

TEST(Bundle, RefusesAWrongHash) {
  Bundle bundle = sampleBundle("// one");
  std::string json = *writeManifest(bundle.manifest);
  std::string message = errorOf(parseBundle(json, "// two"));
  EXPECT_EQ(
      message,
      "code.sha256: the manifest says " + bundle.manifest.code.sha256 +
          ", but the bytes of 'scale.ptx' give "
          "7fbc17ef1f70d7f0747db5c37c315d25084ee927f4e2a155fc558becf93ea656")
      << message;
  ScratchFolder scratch;
  std::string folder = scratch.file("b");
  ASSERT_TRUE(writeBundle(bundle, folder));
  ASSERT_TRUE(writeFileAtomically(folder + "/scale.ptx", "// two"));
  EXPECT_EQ(errorOf(loadBundle(folder)), folder + "/manifest.json: " + message);
  bundle.code = "// two";
  EXPECT_EQ(errorOf(writeBundle(bundle, scratch.file("c"))), message);
}

TEST(Bundle, NamesWhatIsMissing) {
  ScratchFolder scratch;
  std::string folder = scratch.file("b");
  EXPECT_EQ(errorOf(loadBundle(folder)), "cannot open '" + folder +
                                             "/manifest.json': No such file or "
                                             "directory");
  ASSERT_TRUE(writeBundle(sampleBundle(), folder));
  std::filesystem::remove(folder + "/scale.ptx");
  EXPECT_EQ(errorOf(loadBundle(folder)),
            "cannot open '" + folder +
                "/scale.ptx': No such file or directory");
  std::filesystem::create_directory(folder + "/scale.ptx");
  EXPECT_EQ(errorOf(loadBundle(folder)),
            "cannot read '" + folder + "/scale.ptx': Is a directory");
  ASSERT_TRUE(writeFileAtomically(folder + "/manifest.json", "{}"));
  EXPECT_EQ(errorOf(loadBundle(folder)),
            folder + "/manifest.json: format: missing field");
}

TEST(Bundle, MakeChecksTheManifest) {
  Manifest m = scaleManifest();
  m.launches[1].threads = 5000;
  EXPECT_EQ(errorOf(makeBundle(m, "")),
            "launches[1].threads: expected 1 to 1024, found 5000");
}

TEST(File, AFailedWriteLeavesNothing) {
  ScratchFolder scratch;
  std::string file = scratch.file("f");
  ASSERT_TRUE(writeFileAtomically(file, "old"));
  // A limit on the size of files stands in for a full disk.
  struct rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 10;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  Status file1 = writeFileAtomically(file, std::string(1000, 'n'));
  Status bundle1 = writeBundle(sampleBundle(), scratch.file("b"));
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(errorOf(file1), "cannot write '" + file + "': File too large");
  EXPECT_FALSE(bundle1);
  EXPECT_EQ(*readFile(file), "old");
  EXPECT_EQ(scratch.entries(), 1u);
}

} // namespace
