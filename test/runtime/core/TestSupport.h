//===- TestSupport.h - Helpers of the runtime's tests -----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_TEST_RUNTIME_CORE_TESTSUPPORT_H
#define ATTN_TEST_RUNTIME_CORE_TESTSUPPORT_H

#include "attn/runtime/core/Manifest.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <unistd.h>

namespace attn::test {

/// The error's text, or "no error".
template <typename T>
std::string errorOf(const T &result) {
  return result ? "no error" : result.error().message;
}

/// A folder of its own for each test, removed afterwards.
class ScratchFolder {
public:
  ScratchFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "attn-test-XXXXXX").string();
    path = ::mkdtemp(pattern.data()) ? pattern : "";
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string file(const std::string &name) const { return path + "/" + name; }
  size_t entries() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(path),
                      std::filesystem::directory_iterator()));
  }
  std::string path;
};

/// target[i, j] = source[i, j] * factor in f32 for n x 64 elements, one block
/// of 64 threads for each row, rows a stride apart.
inline const char *scalePtx = R"(.version 7.0
.target sm_80
.address_size 64

.visible .entry scale(
  .param .u64 source, .param .u64 target, .param .u64 source_stride,
  .param .u64 target_stride, .param .u64 factor)
{
  .reg .b32 %r<4>;
  .reg .b64 %d<12>;
  .reg .f32 %f<4>;
  ld.param.u64 %d0, [source];
  ld.param.u64 %d1, [target];
  ld.param.u64 %d2, [source_stride];
  ld.param.u64 %d3, [target_stride];
  ld.param.u64 %d4, [factor];
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %tid.x;
  cvt.u64.u32 %d5, %r0;
  cvt.u64.u32 %d6, %r1;
  mul.lo.s64 %d7, %d5, %d2;
  add.s64 %d7, %d7, %d6;
  shl.b64 %d7, %d7, 2;
  add.s64 %d7, %d0, %d7;
  mul.lo.s64 %d8, %d5, %d3;
  add.s64 %d8, %d8, %d6;
  shl.b64 %d8, %d8, 2;
  add.s64 %d8, %d1, %d8;
  cvt.u32.u64 %r2, %d4;
  cvt.rn.f32.s32 %f0, %r2;
  ld.global.f32 %f1, [%d7];
  mul.f32 %f2, %f1, %f0;
  st.global.f32 [%d8], %f2;
  ret;
}
)";

/// Describes scalePtx's launches: argument -> temporary -> result.
inline Manifest scaleManifest() {
  Manifest m;
  m.compiler = "test 1";
  m.target = "sm_80";
  m.function = "scale";
  m.code.file = "scale.ptx";
  m.buffers = {
      {BufferRole::Argument, 0, "x", ElementType::F32, {"n", 64}, 4},
      {BufferRole::Result, 0, "y", ElementType::F32, {"n", 64}, 4},
      {BufferRole::Temporary, 0, "t", ElementType::F32, {"n", 64}, 16}};
  m.scalars = {{1, "factor", ElementType::I32}};
  auto launch = [](int64_t from, int64_t to) {
    LaunchDesc l;
    l.entry = "scale";
    l.grid = Expression("n");
    l.threads = 64;
    l.params = {ParamDesc::pointer(from), ParamDesc::pointer(to),
                ParamDesc::stride(from, 0), ParamDesc::stride(to, 0),
                ParamDesc::scalar(1)};
    return l;
  };
  m.launches = {launch(0, 2), launch(2, 1)};
  return m;
}

} // namespace attn::test

#endif // ATTN_TEST_RUNTIME_CORE_TESTSUPPORT_H
