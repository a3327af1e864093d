//===- CApiTest.cpp - The C API of the shared library ---------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/attn.h"
#include "attn/runtime/core/Bundle.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/wait.h>
#include <thread>

using namespace attn;
using namespace attn::test;

namespace {

std::string lastError() { return attn_error_message(); }

/// A row-major f32 host tensor of n x 64.
struct Rows {
  explicit Rows(int64_t n, float fill = 0) : values(n * 64, fill) {
    shape[0] = n;
    tensor = {values.data(), {ATTN_DL_CPU, 0}, 2, {ATTN_DL_FLOAT, 32, 1},
              shape,         nullptr,          0};
  }
  std::vector<float> values;
  int64_t shape[2] = {0, 64};
  attn_tensor tensor;
};

class CApi : public testing::Test {
protected:
  void SetUp() override {
    Bundle bundle = *makeBundle(scaleManifest(), scalePtx);
    manifest = *writeManifest(bundle.manifest);
    code = bundle.code;
    folder = scratch.file("scale");
    ASSERT_TRUE(writeBundle(bundle, folder));
  }
  void TearDown() override {
    attn_program_destroy(program);
    attn_device_close(device);
  }
  void openSim(const char *options = nullptr) {
    ASSERT_EQ(attn_device_open("sim", options, &device), ATTN_OK)
        << lastError();
    ASSERT_EQ(attn_program_load(device, folder.c_str(), &program), ATTN_OK)
        << lastError();
  }
  attn_status launch(const attn_tensor *x, const attn_tensor *y,
                     int64_t factor) {
    return attn_launch(program, &x, 1, &y, 1, &factor, 1, nullptr);
  }

  ScratchFolder scratch;
  std::string manifest, code, folder;
  attn_device *device = nullptr;
  attn_program *program = nullptr;
};

TEST_F(CApi, Version) {
  attn_version version = attn_get_version();
  EXPECT_EQ(version.magic, ATTN_ABI_MAGIC);
  EXPECT_EQ(version.abi, ATTN_ABI_VERSION);
  EXPECT_EQ(version.bundle_format, 1u);
  EXPECT_EQ(ATTN_CHECK_ABI(), ATTN_OK);
  EXPECT_EQ(attn_check_abi(ATTN_ABI_MAGIC, 99), ATTN_UNSUPPORTED);
  EXPECT_EQ(lastError(), "this library has binary interface 1, the caller was "
                         "compiled for 99");
  EXPECT_EQ(attn_check_abi(1, ATTN_ABI_VERSION), ATTN_UNSUPPORTED);
}

TEST_F(CApi, EveryStatusHasAName) {
  std::set<std::string> names;
  for (attn_status s = ATTN_OK; s <= ATTN_INTERNAL; ++s)
    EXPECT_TRUE(names.insert(attn_status_name(s)).second) << s;
  EXPECT_STREQ(attn_status_name(77), "unknown status");
  EXPECT_STREQ(attn_status_name(-1), "unknown status");
}

TEST_F(CApi, ErrorsBelongToTheirThread) {
  EXPECT_NE(attn_device_open("nothing", nullptr, &device), ATTN_OK);
  std::string mine = lastError();
  std::string before = "unset", after;
  std::thread([&] {
    before = lastError();
    attn_device *other = nullptr;
    attn_device_open("something", nullptr, &other);
    after = lastError();
  }).join();
  EXPECT_EQ(before, "");
  EXPECT_NE(after.find("'something'"), std::string::npos);
  EXPECT_EQ(lastError(), mine);
}

TEST_F(CApi, ToleratesNull) {
  openSim();
  Rows rows(1);
  const attn_tensor *tensor = &rows.tensor, *none = nullptr;
  int64_t factor = 1;
  attn_device *d = nullptr;
  attn_program *p = nullptr;
  char *text = nullptr;
  void *pointer = nullptr;
  char byte = 0;
  attn_device_info deviceInfo;
  attn_program_info programInfo;
  attn_tensor_info tensorInfo;
  attn_scalar_info scalarInfo;
  attn_device_close(nullptr);
  attn_program_destroy(nullptr);
  attn_string_free(nullptr);
#define EXPECT_NULL(call, what)                                                \
  EXPECT_EQ(call, ATTN_INVALID_ARGUMENT);                                      \
  EXPECT_EQ(lastError(), "'" what "' is NULL")
  EXPECT_NULL(attn_device_open(nullptr, nullptr, &d), "name");
  EXPECT_NULL(attn_device_open("sim", nullptr, nullptr), "device");
  EXPECT_NULL(attn_device_get_info(nullptr, &deviceInfo), "device");
  EXPECT_NULL(attn_device_get_info(device, nullptr), "info");
  EXPECT_NULL(attn_device_report(nullptr, 0, &text), "device");
  EXPECT_NULL(attn_device_report(device, 0, nullptr), "json");
  EXPECT_NULL(attn_memory_allocate(nullptr, 1, &pointer), "device");
  EXPECT_NULL(attn_memory_allocate(device, 1, nullptr), "address");
  EXPECT_NULL(attn_memory_free(nullptr, nullptr), "device");
  EXPECT_NULL(attn_memory_copy_in(nullptr, &byte, &byte, 1, nullptr), "device");
  EXPECT_NULL(attn_memory_copy_in(device, nullptr, &byte, 1, nullptr),
              "destination");
  EXPECT_NULL(attn_memory_copy_in(device, &byte, nullptr, 1, nullptr), "host");
  EXPECT_NULL(attn_memory_copy_out(nullptr, &byte, &byte, 1, nullptr),
              "device");
  EXPECT_NULL(attn_memory_copy_out(device, nullptr, &byte, 1, nullptr), "host");
  EXPECT_NULL(attn_memory_copy_out(device, &byte, nullptr, 1, nullptr),
              "source");
  EXPECT_NULL(attn_stream_create(nullptr, &pointer), "device");
  EXPECT_NULL(attn_stream_create(device, nullptr), "stream");
  EXPECT_NULL(attn_stream_destroy(nullptr, nullptr), "device");
  EXPECT_NULL(attn_stream_synchronize(nullptr, nullptr), "device");
  EXPECT_NULL(attn_program_load(nullptr, "x", &p), "device");
  EXPECT_NULL(attn_program_load(device, nullptr, &p), "folder");
  EXPECT_NULL(attn_program_load(device, "x", nullptr), "program");
  EXPECT_NULL(attn_program_load_memory(nullptr, "x", 1, "x", 1, &p), "device");
  EXPECT_NULL(attn_program_load_memory(device, nullptr, 1, "x", 1, &p),
              "manifest");
  EXPECT_NULL(attn_program_load_memory(device, "x", 1, nullptr, 1, &p), "code");
  EXPECT_NULL(attn_program_load_memory(device, "x", 1, "x", 1, nullptr),
              "program");
  EXPECT_NULL(attn_program_get_info(nullptr, &programInfo), "program");
  EXPECT_NULL(attn_program_get_info(program, nullptr), "info");
  EXPECT_NULL(attn_program_argument(nullptr, 0, &tensorInfo), "program");
  EXPECT_NULL(attn_program_argument(program, 0, nullptr), "info");
  EXPECT_NULL(attn_program_result(nullptr, 0, &tensorInfo), "program");
  EXPECT_NULL(attn_program_result(program, 0, nullptr), "info");
  EXPECT_NULL(attn_program_scalar(nullptr, 0, &scalarInfo), "program");
  EXPECT_NULL(attn_program_scalar(program, 0, nullptr), "info");
  EXPECT_NULL(attn_launch(nullptr, &tensor, 1, &tensor, 1, &factor, 1, nullptr),
              "program");
  EXPECT_NULL(attn_launch(program, nullptr, 1, &tensor, 1, &factor, 1, nullptr),
              "arguments");
  EXPECT_NULL(attn_launch(program, &none, 1, &tensor, 1, &factor, 1, nullptr),
              "arguments[0]");
  EXPECT_NULL(attn_launch(program, &tensor, 1, nullptr, 1, &factor, 1, nullptr),
              "results");
  EXPECT_NULL(attn_launch(program, &tensor, 1, &tensor, 1, nullptr, 1, nullptr),
              "scalars");
#undef EXPECT_NULL
  EXPECT_EQ(attn_launch(program, &tensor, -1, nullptr, 0, nullptr, 0, nullptr),
            ATTN_INVALID_ARGUMENT);
  EXPECT_EQ(attn_launch(program, nullptr, 0, nullptr, 0, nullptr, 0, nullptr),
            ATTN_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "expected 1 tensor arguments, found 0");
}

TEST_F(CApi, OutputsAreNullAfterAFailure) {
  auto *d = reinterpret_cast<attn_device *>(1);
  EXPECT_EQ(attn_device_open("sim", "mode=odd", &d), ATTN_INVALID_ARGUMENT);
  EXPECT_EQ(d, nullptr);
  openSim();
  auto *p = reinterpret_cast<attn_program *>(1);
  EXPECT_EQ(attn_program_load(device, "/no/such/bundle", &p), ATTN_IO);
  EXPECT_EQ(p, nullptr);
  EXPECT_EQ(lastError(), "cannot open '/no/such/bundle/manifest.json': No such "
                         "file or directory");
}

TEST_F(CApi, Introspection) {
  openSim("target=sm_89");
  attn_device_info gpu;
  ASSERT_EQ(attn_device_get_info(device, &gpu), ATTN_OK);
  EXPECT_STREQ(gpu.name, "simulated sm_89");
  EXPECT_STREQ(gpu.target, "sm_89");
  EXPECT_EQ(gpu.memory.device_type, ATTN_DL_CPU);
  EXPECT_EQ(gpu.shared_memory_per_block, 99 * 1024);
  EXPECT_EQ(gpu.multiprocessors, 2);
  attn_program_info info;
  ASSERT_EQ(attn_program_get_info(program, &info), ATTN_OK);
  EXPECT_STREQ(info.function, "scale");
  EXPECT_STREQ(info.target, "sm_80");
  EXPECT_EQ(info.num_arguments, 1);
  EXPECT_EQ(info.num_results, 1);
  EXPECT_EQ(info.num_scalars, 1);
  EXPECT_EQ(info.num_launches, 2);
  attn_tensor_info tensor;
  ASSERT_EQ(attn_program_argument(program, 0, &tensor), ATTN_OK);
  EXPECT_STREQ(tensor.name, "x");
  EXPECT_EQ(tensor.dtype.code, ATTN_DL_FLOAT);
  EXPECT_EQ(tensor.dtype.bits, 32);
  ASSERT_EQ(tensor.ndim, 2);
  EXPECT_EQ(tensor.shape[0], -1);
  EXPECT_EQ(tensor.shape[1], 64);
  EXPECT_EQ(tensor.alignment, 4);
  EXPECT_EQ(tensor.position, 0);
  ASSERT_EQ(attn_program_result(program, 0, &tensor), ATTN_OK);
  EXPECT_STREQ(tensor.name, "y");
  attn_scalar_info scalar;
  ASSERT_EQ(attn_program_scalar(program, 0, &scalar), ATTN_OK);
  EXPECT_STREQ(scalar.name, "factor");
  EXPECT_STREQ(scalar.type, "i32");
  EXPECT_EQ(scalar.position, 1);
  for (int32_t index : {-1, 1}) {
    EXPECT_EQ(attn_program_argument(program, index, &tensor),
              ATTN_INVALID_ARGUMENT);
    EXPECT_EQ(lastError(),
              "expected the number of a tensor argument below 1, found " +
                  std::to_string(index));
    EXPECT_EQ(attn_program_result(program, index, &tensor),
              ATTN_INVALID_ARGUMENT);
    EXPECT_EQ(attn_program_scalar(program, index, &scalar),
              ATTN_INVALID_ARGUMENT);
  }
}

TEST_F(CApi, LaunchesAndReports) {
  openSim();
  Rows x(5), y(5, -1);
  for (size_t i = 0; i < x.values.size(); ++i)
    x.values[i] = static_cast<float>(i * i % 1013) / 8 - 20;
  ASSERT_EQ(launch(&x.tensor, &y.tensor, -2), ATTN_OK) << lastError();
  for (size_t i = 0; i < x.values.size(); ++i)
    ASSERT_EQ(y.values[i], x.values[i] * 4) << i;
  char *report = nullptr;
  ASSERT_EQ(attn_device_report(device, 1, &report), ATTN_OK);
  EXPECT_EQ(nlohmann::json::parse(report)["launches"].size(), 2u);
  attn_string_free(report);
  ASSERT_EQ(attn_device_report(device, 0, &report), ATTN_OK);
  EXPECT_TRUE(nlohmann::json::parse(report)["launches"].empty());
  attn_string_free(report);
}

TEST_F(CApi, LoadsFromMemoryAndOutlivesTheDevice) {
  ASSERT_EQ(attn_device_open("sim", "", &device), ATTN_OK);
  ASSERT_EQ(attn_program_load_memory(device, manifest.data(), manifest.size(),
                                     code.data(), code.size(), &program),
            ATTN_OK)
      << lastError();
  manifest.assign(manifest.size(), '?');
  code.assign(code.size(), '?');
  attn_device_close(device);
  device = nullptr;
  Rows x(2, 1.5f), y(2);
  ASSERT_EQ(launch(&x.tensor, &y.tensor, 3), ATTN_OK) << lastError();
  EXPECT_EQ(y.values.front(), 13.5f);
  EXPECT_EQ(y.values.back(), 13.5f);
}

TEST_F(CApi, RefusesABadBundle) {
  ASSERT_EQ(attn_device_open("sim", "", &device), ATTN_OK);
  std::string other = code + "\n";
  EXPECT_EQ(attn_program_load_memory(device, manifest.data(), manifest.size(),
                                     other.data(), other.size(), &program),
            ATTN_INVALID_BUNDLE);
  EXPECT_EQ(lastError().find("code.sha256: the manifest says "), 0u);
  EXPECT_EQ(attn_program_load_memory(device, manifest.data(), 40, code.data(),
                                     code.size(), &program),
            ATTN_INVALID_BUNDLE);
  EXPECT_EQ(program, nullptr);
}

TEST_F(CApi, RefusesBadTensors) {
  openSim();
  Rows x(3), y(3, 42);
  y.shape[0] = 2;
  EXPECT_EQ(launch(&x.tensor, &y.tensor, 1), ATTN_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(),
            "result 0 'y': dimension 0: expected size 3 ('n', from "
            "argument 0 'x', dimension 0), found 2");
  y.shape[0] = 3;
  x.tensor.dtype.bits = 64;
  EXPECT_EQ(launch(&x.tensor, &y.tensor, 1), ATTN_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(),
            "arguments[0]: DLPack type with code 2, 64 bits and 1 "
            "lanes is not one of f16, bf16, f32, bool, i8, i32, i64");
  x.tensor.dtype.bits = 32;
  x.tensor.device = {ATTN_DL_CUDA, 0};
  EXPECT_EQ(launch(&x.tensor, &y.tensor, 1), ATTN_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "argument 0 'x': expected memory of host, the device "
                         "'simulated sm_90a', found cuda:0");
  for (float value : y.values)
    ASSERT_EQ(value, 42); // nothing was launched
}

TEST_F(CApi, FindingsAreAStatus) {
  Manifest wide = scaleManifest();
  wide.launches[1].grid = addExpr(std::string("n"), 1);
  Bundle bundle = *makeBundle(wide, code);
  ASSERT_TRUE(writeBundle(bundle, folder));
  openSim();
  Rows x(3, 1), y(3);
  EXPECT_EQ(launch(&x.tensor, &y.tensor, 1), ATTN_FINDING);
  EXPECT_EQ(lastError().find("kernel 'scale': the simulator found "), 0u);
}

TEST_F(CApi, MemoryAndStreams) {
  ASSERT_EQ(attn_device_open("sim", nullptr, &device), ATTN_OK);
  void *memory = nullptr;
  ASSERT_EQ(attn_memory_allocate(device, 300, &memory), ATTN_OK);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 256, 0u);
  std::string in(300, 0), out(300, 0);
  for (size_t i = 0; i < in.size(); ++i)
    in[i] = static_cast<char>(7 * i);
  void *stream = nullptr;
  EXPECT_EQ(attn_stream_create(device, &stream), ATTN_OK);
  EXPECT_EQ(attn_memory_copy_in(device, memory, in.data(), 300, stream),
            ATTN_OK);
  EXPECT_EQ(attn_memory_copy_out(device, out.data(), memory, 300, stream),
            ATTN_OK);
  EXPECT_EQ(attn_stream_synchronize(device, stream), ATTN_OK);
  EXPECT_EQ(attn_stream_destroy(device, stream), ATTN_OK);
  EXPECT_EQ(out, in);
  EXPECT_EQ(attn_memory_free(device, memory), ATTN_OK);
  EXPECT_EQ(attn_memory_free(device, memory), ATTN_INVALID_ARGUMENT);
  EXPECT_EQ(attn_memory_copy_in(device, nullptr, nullptr, 0, nullptr), ATTN_OK);
  EXPECT_EQ(attn_memory_allocate(device, SIZE_MAX, &memory),
            ATTN_OUT_OF_MEMORY);
  EXPECT_EQ(memory, nullptr);
}

TEST_F(CApi, DrivesAGpu) {
  std::string options =
      "{\"library\": \"" ATTN_FAKE_LIBCUDA "\", \"cache\": \"off\"}";
  ASSERT_EQ(attn_device_open("cuda", options.c_str(), &device), ATTN_OK)
      << lastError();
  attn_device_info gpu;
  ASSERT_EQ(attn_device_get_info(device, &gpu), ATTN_OK);
  EXPECT_STREQ(gpu.name, "Fake GPU");
  EXPECT_STREQ(gpu.target, "sm_90");
  EXPECT_EQ(gpu.memory.device_type, ATTN_DL_CUDA);
  ASSERT_EQ(attn_program_load(device, folder.c_str(), &program), ATTN_OK);
  Rows x(2), y(2);
  EXPECT_EQ(launch(&x.tensor, &y.tensor, 1), ATTN_INVALID_ARGUMENT);
  x.tensor.device = y.tensor.device = {ATTN_DL_CUDA_MANAGED, 0};
  EXPECT_EQ(launch(&x.tensor, &y.tensor, 1), ATTN_OK) << lastError();
  char *report = nullptr;
  EXPECT_EQ(attn_device_report(device, 0, &report), ATTN_UNSUPPORTED);
  EXPECT_EQ(report, nullptr);
}

/// Runs the C program; its output and exit code.
std::pair<std::string, int> runExample(const std::string &arguments) {
  std::string command = std::string(ATTN_C_EXAMPLE) + " " + arguments + " 2>&1";
  FILE *pipe = ::popen(command.c_str(), "r");
  std::string output;
  char chunk[256];
  while (size_t n = pipe ? std::fread(chunk, 1, sizeof chunk, pipe) : 0)
    output.append(chunk, n);
  int status = pipe ? ::pclose(pipe) : -1;
  return {output, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}

TEST_F(CApi, TheExampleInC) {
  auto [output, code] = runExample(folder);
  EXPECT_EQ(code, 0);
  EXPECT_EQ(output,
            "scale on simulated sm_90a: 1 argument, 1 result, 1 scalar; "
            "x has rank 2\n0 591.75\nreport: JSON\n");
  std::tie(output, code) = runExample("/no/such/bundle");
  EXPECT_EQ(code, 1);
  EXPECT_EQ(output, "load: input or output error: cannot open "
                    "'/no/such/bundle/manifest.json': No such file or "
                    "directory\n");
}

} // namespace
