//===- FakeLibcuda.cpp - A driver library that records its calls ----------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/test/runtime/core/FakeLibcuda.h"

#include "attn/runtime/cuda/Driver.h"

#include <cstdlib>
#include <cstring>

using namespace attn::cuda;

extern "C" FakeCuda *attnFakeCuda() {
  static FakeCuda state;
  return &state;
}

/// Records a call; the failure that a test asked for, or success.
static CuResult record(const char *name, const std::string &detail = "") {
  FakeCuda &fake = *attnFakeCuda();
  fake.calls.push_back(name + (detail.empty() ? "" : " " + detail));
  auto failure = fake.failures.find(name);
  return failure == fake.failures.end() ? success : failure->second;
}

static std::string number(unsigned long long value) {
  return std::to_string(value);
}

extern "C" {

CuResult cuInit(unsigned) { return record("cuInit"); }
CuResult cuDriverGetVersion(int *version) {
  *version = 12040;
  return record("cuDriverGetVersion");
}
CuResult cuGetErrorName(CuResult result, const char **name) {
  if (result == 999)
    return 1;
  *name = result == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
  return success;
}
CuResult cuGetErrorString(CuResult result, const char **text) {
  if (result == 999)
    return 1;
  *text = result == 2 ? "out of memory" : "as the test wished";
  return success;
}
CuResult cuDeviceGetCount(int *count) {
  *count = attnFakeCuda()->count;
  return record("cuDeviceGetCount");
}
CuResult cuDeviceGet(CuDevice *device, int ordinal) {
  *device = 100 + ordinal;
  return record("cuDeviceGet", std::to_string(ordinal));
}
CuResult cuDeviceGetName(char *name, int size, CuDevice) {
  std::strncpy(name, "Fake GPU", static_cast<size_t>(size));
  return record("cuDeviceGetName");
}
CuResult cuDeviceGetAttribute(int *value, int attribute, CuDevice) {
  const FakeCuda &fake = *attnFakeCuda();
  *value = attribute == attributeComputeCapabilityMajor   ? fake.major
           : attribute == attributeComputeCapabilityMinor ? fake.minor
           : attribute == attributeMaxSharedPerBlockOptin ? fake.shared
           : attribute == attributeMaxThreadsPerBlock     ? 1024
           : attribute == attributeMultiprocessorCount    ? 132
           : attribute == attributeMemoryPoolsSupported   ? fake.pools
                                                          : -1;
  return record("cuDeviceGetAttribute", std::to_string(attribute));
}
CuResult cuDevicePrimaryCtxRetain(CuContext *context, CuDevice) {
  *context = reinterpret_cast<CuContext>(0xC0);
  return record("cuDevicePrimaryCtxRetain");
}
CuResult cuDevicePrimaryCtxRelease_v2(CuDevice device) {
  return record("cuDevicePrimaryCtxRelease_v2", std::to_string(device));
}
CuResult cuCtxPushCurrent_v2(CuContext) {
  auto failure = attnFakeCuda()->failures.find("cuCtxPushCurrent_v2");
  if (failure != attnFakeCuda()->failures.end())
    return failure->second;
  ++attnFakeCuda()->contexts;
  return success;
}
CuResult cuCtxPopCurrent_v2(CuContext *) {
  --attnFakeCuda()->contexts;
  return success;
}
CuResult cuStreamCreate(CuStream *stream, unsigned flags) {
  *stream = reinterpret_cast<CuStream>(0x51);
  return record("cuStreamCreate", std::to_string(flags));
}
CuResult cuStreamDestroy_v2(CuStream) { return record("cuStreamDestroy_v2"); }
CuResult cuStreamSynchronize(CuStream stream) {
  return record("cuStreamSynchronize",
                number(reinterpret_cast<uintptr_t>(stream)));
}
CuResult cuMemAlloc_v2(CuPointer *pointer, size_t bytes) {
  *pointer = reinterpret_cast<uintptr_t>(
      std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  return record("cuMemAlloc_v2", number(bytes));
}
CuResult cuMemFree_v2(CuPointer pointer) {
  std::free(reinterpret_cast<void *>(pointer));
  return record("cuMemFree_v2");
}
CuResult cuMemAllocAsync(CuPointer *pointer, size_t bytes, CuStream stream) {
  CuResult result = record("cuMemAllocAsync",
                           number(bytes) + " on " +
                               number(reinterpret_cast<uintptr_t>(stream)));
  if (result == success)
    *pointer = reinterpret_cast<uintptr_t>(
        std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  return result;
}
CuResult cuMemFreeAsync(CuPointer pointer, CuStream stream) {
  std::free(reinterpret_cast<void *>(pointer));
  return record("cuMemFreeAsync",
                "on " + number(reinterpret_cast<uintptr_t>(stream)));
}
CuResult cuMemcpyHtoDAsync_v2(CuPointer to, const void *from, size_t bytes,
                              CuStream) {
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return record("cuMemcpyHtoDAsync_v2", number(bytes));
}
CuResult cuMemcpyDtoHAsync_v2(void *to, CuPointer from, size_t bytes,
                              CuStream) {
  std::memcpy(to, reinterpret_cast<void *>(from), bytes);
  return record("cuMemcpyDtoHAsync_v2", number(bytes));
}
CuResult cuMemcpy2DAsync_v2(const Memcpy2D *copy, CuStream) {
  bool in = copy->srcMemoryType == memoryTypeHost;
  const char *from = in ? static_cast<const char *>(copy->srcHost)
                        : reinterpret_cast<const char *>(copy->srcDevice);
  char *to = in ? reinterpret_cast<char *>(copy->dstDevice)
                : static_cast<char *>(copy->dstHost);
  for (size_t row = 0; row < copy->height; ++row)
    std::memcpy(to + row * copy->dstPitch, from + row * copy->srcPitch,
                copy->widthInBytes);
  return record("cuMemcpy2DAsync_v2",
                number(copy->widthInBytes) + "x" + number(copy->height));
}
CuResult cuModuleLoadDataEx(CuModule *module, const void *code, unsigned count,
                            int *options, void **values) {
  FakeCuda &fake = *attnFakeCuda();
  fake.code = static_cast<const char *>(code);
  *module = reinterpret_cast<CuModule>(0x30D);
  std::map<int, void *> given;
  for (unsigned i = 0; i < count; ++i)
    given[options[i]] = values[i];
  auto write = [&](int buffer, int size, const std::string &text) {
    auto room = reinterpret_cast<uintptr_t>(given.at(size));
    std::strncpy(static_cast<char *>(given.at(buffer)), text.c_str(), room);
  };
  write(jitErrorLogBuffer, jitErrorLogBufferSize, fake.jitError);
  write(jitInfoLogBuffer, jitInfoLogBufferSize, fake.jitInfo);
  return record("cuModuleLoadDataEx");
}
CuResult cuModuleUnload(CuModule) { return record("cuModuleUnload"); }
CuResult cuModuleGetFunction(CuFunction *function, CuModule, const char *name) {
  *function = reinterpret_cast<CuFunction>(0xF);
  return record("cuModuleGetFunction", name);
}
CuResult cuFuncGetAttribute(int *value, int attribute, CuFunction) {
  *value = attribute == functionAttributeSharedSize ? 64 : -1;
  return record("cuFuncGetAttribute");
}
CuResult cuFuncSetAttribute(CuFunction, int attribute, int value) {
  return record("cuFuncSetAttribute",
                std::to_string(attribute) + "=" + std::to_string(value));
}
CuResult cuTensorMapEncodeTiled(void *map, int type, unsigned rank,
                                void *address, const uint64_t *sizes,
                                const uint64_t *strides, const uint32_t *box,
                                const uint32_t *steps, int interleave,
                                int swizzle, int, int fill) {
  std::string text = "type " + number(type) + " at " +
                     number(reinterpret_cast<uintptr_t>(address));
  for (unsigned d = 0; d < rank; ++d)
    text += ", " + number(box[d]) + " of " + number(sizes[d]) +
            (d ? " by " + number(strides[d - 1]) : "") +
            (steps[d] == 1 ? "" : " in steps");
  *static_cast<unsigned long long *>(map) = 0xABCD;
  return record("cuTensorMapEncodeTiled",
                text + ", swizzle " + number(swizzle) +
                    (interleave || fill ? " with more" : ""));
}
CuResult cuLaunchKernel(CuFunction, unsigned gx, unsigned gy, unsigned gz,
                        unsigned bx, unsigned by, unsigned bz, unsigned shared,
                        CuStream stream, void **parameters, void **extra) {
  FakeCuda &fake = *attnFakeCuda();
  fake.parameters.clear();
  for (size_t i = 0; i < fake.parameterCount; ++i)
    fake.parameters.push_back(
        *static_cast<unsigned long long *>(parameters[i]));
  return record("cuLaunchKernel",
                number(gx) + "x" + number(gy) + "x" + number(gz) + " " +
                    number(bx) + "x" + number(by) + "x" + number(bz) + " " +
                    number(shared) + " on " +
                    number(reinterpret_cast<uintptr_t>(stream)) +
                    (extra ? " with extra" : ""));
}

} // extern "C"
