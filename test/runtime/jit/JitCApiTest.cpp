//===- JitCApiTest.cpp - The C API of the compiler ------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Linked against the shared libraries alone, as an embedder is.

#include "attn/runtime/jit/attn_jit.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

namespace {

class JitCApi : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_EQ(ATTN_JIT_CHECK_ABI(), ATTN_OK);
    ASSERT_EQ(attn_device_open("sim", nullptr, &device), ATTN_OK);
    ASSERT_EQ(attn_jit_create(device, "cache=off", &jit), ATTN_OK)
        << attn_jit_error_message();
    attn_spec_init(&spec);
    spec.query_heads = spec.kv_heads = 1;
    spec.head_size = 16;
  }
  void TearDown() override {
    attn_jit_destroy(jit);
    attn_device_close(device);
  }

  std::string refusal(attn_status status,
                      attn_status expected = ATTN_INVALID_ARGUMENT) {
    EXPECT_EQ(status, expected);
    return status ? attn_jit_error_message() : "no error";
  }
  std::string compileRefusal() {
    attn_program *program = nullptr;
    std::string text = refusal(attn_jit_compile_spec(jit, &spec, &program));
    EXPECT_EQ(program, nullptr);
    return text;
  }

  attn_device *device = nullptr;
  attn_jit *jit = nullptr;
  attn_spec spec;
};

TEST_F(JitCApi, CompilesWithSymbolsAndOffsets) {
  const char *symbols[] = {"w"};
  spec.mask = "causal & window<%w, 0>";
  spec.symbols = symbols;
  spec.num_symbols = 1;
  spec.alignment = ATTN_ALIGN_OFFSET_PER_BATCH;
  spec.lse = 1;
  attn_program *program = nullptr;
  ASSERT_EQ(attn_jit_compile_spec(jit, &spec, &program), ATTN_OK)
      << attn_jit_error_message();
  attn_program_info info;
  ASSERT_EQ(attn_program_get_info(program, &info), ATTN_OK);
  EXPECT_EQ(info.num_arguments, 4);
  EXPECT_EQ(info.num_results, 2);
  EXPECT_EQ(info.num_scalars, 1);
  EXPECT_STREQ(info.target, "sm_90");

  char *source = nullptr;
  ASSERT_EQ(attn_spec_to_mlir(&spec, &source), ATTN_OK);
  attn_program *same = nullptr;
  EXPECT_EQ(
      attn_jit_compile(jit, source, std::strlen(source), "attention", &same),
      ATTN_OK);
  char *manifest = nullptr, *code = nullptr;
  size_t size = 0;
  ASSERT_EQ(attn_jit_emit(jit, source, std::strlen(source), nullptr, "sm_86",
                          &manifest, &code, &size),
            ATTN_OK);
  EXPECT_EQ(std::strlen(code), size);
  EXPECT_NE(std::strstr(code, ".target sm_86"), nullptr);
  // What was emitted loads, without the compiler.
  attn_program *loaded = nullptr;
  EXPECT_EQ(attn_program_load_memory(device, manifest, std::strlen(manifest),
                                     code, size, &loaded),
            ATTN_OK);
  attn_program_destroy(loaded);
  for (char *text : {source, manifest, code})
    attn_jit_string_free(text);
}

TEST_F(JitCApi, GivesEveryThreadTheSameProgram) {
  std::vector<attn_program *> programs(8);
  std::vector<std::thread> threads;
  for (attn_program *&program : programs)
    threads.emplace_back(
        [&] { (void)attn_jit_compile_spec(jit, &spec, &program); });
  for (std::thread &thread : threads)
    thread.join();
  for (attn_program *program : programs)
    EXPECT_TRUE(program && program == programs.front());
  attn_jit_statistics statistics;
  ASSERT_EQ(attn_jit_get_statistics(jit, &statistics), ATTN_OK);
  EXPECT_EQ(statistics.compilations, 1u);
}

TEST_F(JitCApi, SaysWhatIsWrong) {
  EXPECT_EQ(refusal(attn_jit_check_abi(7), ATTN_UNSUPPORTED),
            "this library has binary interface 1, the caller was compiled for "
            "7");
  attn_jit *other = nullptr;
  EXPECT_EQ(refusal(attn_jit_create(nullptr, nullptr, &other)),
            "'device' is NULL");
  EXPECT_EQ(refusal(attn_jit_create(device, "cash=off", &other)),
            "unknown option 'cash', expected cache, cache_dir or cache_bytes");
  EXPECT_EQ(refusal(attn_jit_create(device, "cache=no", &other)),
            "option 'cache': expected on or off, found 'no'");
  EXPECT_EQ(refusal(attn_jit_create(device, "cache_bytes=1k", &other)),
            "option 'cache_bytes': expected a number of bytes, found '1k'");
  EXPECT_EQ(other, nullptr);
  EXPECT_EQ(refusal(attn_jit_compile_spec(jit, nullptr, nullptr)),
            "'program' is NULL");

  attn_spec good = spec;
  spec.size = 8;
  EXPECT_EQ(compileRefusal(), "spec.size: expected " +
                                  std::to_string(sizeof spec) +
                                  ", found 8; call attn_spec_init first");
  spec = good;
  spec.alignment = 4;
  EXPECT_EQ(compileRefusal(), "spec.alignment: expected 0 to 3, found 4");
  spec = good;
  spec.num_symbols = 1;
  EXPECT_EQ(compileRefusal(), "'spec.symbols' is NULL");
  spec = good;
  spec.dtype.bits = 8;
  EXPECT_EQ(compileRefusal().find("spec.dtype: "), 0u);
  spec = good;
  spec.scale = INFINITY;
  EXPECT_EQ(compileRefusal(), "scale: expected a finite number");
  spec = good;
  spec.mask = "casual";
  EXPECT_EQ(compileRefusal().find("attention.mlir:3:39: error: "), 0u)
      << attn_jit_error_message();
}

} // namespace
