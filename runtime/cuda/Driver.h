//===- Driver.h - The CUDA driver, opened when first needed -----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// The part of the driver's C interface that the runtime uses, in this project's
// own declarations: neither the toolkit nor a GPU is needed to build.
// test/runtime/core/CudaAbiTest.cpp compares it with cuda.h where there is one.

#ifndef ATTN_RUNTIME_CUDA_DRIVER_H
#define ATTN_RUNTIME_CUDA_DRIVER_H

#include "attn/runtime/core/Result.h"

#include <cstddef>
#include <cstdint>

namespace attn::cuda {

using CuResult = int;
using CuDevice = int;
using CuPointer = unsigned long long;
using CuContext = struct CuContextOpaque *;
using CuModule = struct CuModuleOpaque *;
using CuFunction = struct CuFunctionOpaque *;
using CuStream = struct CuStreamOpaque *;
using CuArray = struct CuArrayOpaque *;

// CUresult
inline constexpr CuResult success = 0;
inline constexpr CuResult errorOutOfMemory = 2;
inline constexpr CuResult errorNoDevice = 100;
// CUdevice_attribute
inline constexpr int attributeMaxThreadsPerBlock = 1;
inline constexpr int attributeMultiprocessorCount = 16;
inline constexpr int attributeComputeCapabilityMajor = 75;
inline constexpr int attributeComputeCapabilityMinor = 76;
inline constexpr int attributeMaxSharedPerBlockOptin = 97;
inline constexpr int attributeMemoryPoolsSupported = 115;
// CUfunction_attribute
inline constexpr int functionAttributeSharedSize = 1;
inline constexpr int functionAttributeMaxDynamicShared = 8;
// CUjit_option
inline constexpr int jitInfoLogBuffer = 3;
inline constexpr int jitInfoLogBufferSize = 4;
inline constexpr int jitErrorLogBuffer = 5;
inline constexpr int jitErrorLogBufferSize = 6;
// CUstream_flags
inline constexpr unsigned streamNonBlocking = 1;
// CUtensorMapDataType
inline constexpr int tensorMapFloat16 = 6;
inline constexpr int tensorMapFloat32 = 7;
inline constexpr int tensorMapBFloat16 = 9;
// CUtensorMapL2promotion
inline constexpr int tensorMapPromotion128 = 2;
// CUmemorytype
inline constexpr int memoryTypeHost = 1;
inline constexpr int memoryTypeDevice = 2;

/// CUDA_MEMCPY2D.
struct Memcpy2D {
  size_t srcXInBytes, srcY;
  int srcMemoryType;
  const void *srcHost;
  CuPointer srcDevice;
  CuArray srcArray;
  size_t srcPitch;
  size_t dstXInBytes, dstY;
  int dstMemoryType;
  void *dstHost;
  CuPointer dstDevice;
  CuArray dstArray;
  size_t dstPitch;
  size_t widthInBytes, height;
};

/// The one table of symbols: X(member, exported name, parameter types). The
/// suffixes are the versions of the functions' binary interfaces.
#define ATTN_CUDA_SYMBOLS(X)                                                   \
  X(init, "cuInit", (unsigned))                                                \
  X(driverGetVersion, "cuDriverGetVersion", (int *))                           \
  X(getErrorName, "cuGetErrorName", (CuResult, const char **))                 \
  X(getErrorString, "cuGetErrorString", (CuResult, const char **))             \
  X(deviceGetCount, "cuDeviceGetCount", (int *))                               \
  X(deviceGet, "cuDeviceGet", (CuDevice *, int))                               \
  X(deviceGetName, "cuDeviceGetName", (char *, int, CuDevice))                 \
  X(deviceGetAttribute, "cuDeviceGetAttribute", (int *, int, CuDevice))        \
  X(primaryCtxRetain, "cuDevicePrimaryCtxRetain", (CuContext *, CuDevice))     \
  X(primaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (CuDevice))             \
  X(ctxPushCurrent, "cuCtxPushCurrent_v2", (CuContext))                        \
  X(ctxPopCurrent, "cuCtxPopCurrent_v2", (CuContext *))                        \
  X(streamCreate, "cuStreamCreate", (CuStream *, unsigned))                    \
  X(streamDestroy, "cuStreamDestroy_v2", (CuStream))                           \
  X(streamSynchronize, "cuStreamSynchronize", (CuStream))                      \
  X(memAlloc, "cuMemAlloc_v2", (CuPointer *, size_t))                          \
  X(memFree, "cuMemFree_v2", (CuPointer))                                      \
  X(memAllocAsync, "cuMemAllocAsync", (CuPointer *, size_t, CuStream))         \
  X(memFreeAsync, "cuMemFreeAsync", (CuPointer, CuStream))                     \
  X(memcpyHtoDAsync, "cuMemcpyHtoDAsync_v2",                                   \
    (CuPointer, const void *, size_t, CuStream))                               \
  X(memcpyDtoHAsync, "cuMemcpyDtoHAsync_v2",                                   \
    (void *, CuPointer, size_t, CuStream))                                     \
  X(memcpy2DAsync, "cuMemcpy2DAsync_v2", (const Memcpy2D *, CuStream))         \
  X(moduleLoadDataEx, "cuModuleLoadDataEx",                                    \
    (CuModule *, const void *, unsigned, int *, void **))                      \
  X(moduleUnload, "cuModuleUnload", (CuModule))                                \
  X(moduleGetFunction, "cuModuleGetFunction",                                  \
    (CuFunction *, CuModule, const char *))                                    \
  X(funcGetAttribute, "cuFuncGetAttribute", (int *, int, CuFunction))          \
  X(funcSetAttribute, "cuFuncSetAttribute", (CuFunction, int, int))            \
  X(launchKernel, "cuLaunchKernel",                                            \
    (CuFunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,   \
     unsigned, CuStream, void **, void **))

/// What a driver need not have, in the same form: older ones do without.
#define ATTN_CUDA_OPTIONAL_SYMBOLS(X)                                          \
  X(tensorMapEncodeTiled, "cuTensorMapEncodeTiled",                            \
    (void *, int, unsigned, void *, const uint64_t *, const uint64_t *,        \
     const uint32_t *, const uint32_t *, int, int, int, int))

/// The driver's functions. All but the optional of them are there: drivers from
/// CUDA 11.2 on.
struct Driver {
#define ATTN_CUDA_MEMBER(member, name, types) CuResult(*member) types = nullptr;
  ATTN_CUDA_SYMBOLS(ATTN_CUDA_MEMBER)
  ATTN_CUDA_OPTIONAL_SYMBOLS(ATTN_CUDA_MEMBER)
#undef ATTN_CUDA_MEMBER

  std::string path; ///< of the library, for messages
  int version = 0;  ///< 1000 * major + 10 * minor of the CUDA that it speaks

  /// Nothing, or an error such as `cuMemAlloc_v2: CUDA_ERROR_... (text)`.
  Status check(const char *call, CuResult result) const;
};

/// Opens and initialises the driver library at `path`, or, where `path` is
/// empty, at $ATTN_LIBCUDA or libcuda.so.1. Each library is opened once and
/// stays loaded. Fails with what is missing: the library, a symbol, a GPU.
Result<const Driver *> openDriver(const std::string &path = "");

} // namespace attn::cuda

#endif // ATTN_RUNTIME_CUDA_DRIVER_H
