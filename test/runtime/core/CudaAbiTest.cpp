//===- CudaAbiTest.cpp - Our declarations of the driver against cuda.h ----===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/TensorBox.h"
#include "attn/runtime/cuda/Driver.h"

#include <gtest/gtest.h>

#ifdef ATTN_HAVE_CUDA_H
#include <cuda.h>
#include <type_traits>

namespace cu = attn::cuda;

// Constants.
static_assert(cu::success == CUDA_SUCCESS);
static_assert(cu::errorOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(cu::errorNoDevice == CUDA_ERROR_NO_DEVICE);
static_assert(cu::attributeMaxThreadsPerBlock ==
              CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
static_assert(cu::attributeMultiprocessorCount ==
              CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(cu::attributeComputeCapabilityMajor ==
              CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(cu::attributeComputeCapabilityMinor ==
              CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(cu::attributeMaxSharedPerBlockOptin ==
              CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
static_assert(cu::attributeMemoryPoolsSupported ==
              CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED);
static_assert(cu::functionAttributeSharedSize ==
              CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
static_assert(cu::functionAttributeMaxDynamicShared ==
              CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(cu::jitInfoLogBuffer == CU_JIT_INFO_LOG_BUFFER);
static_assert(cu::jitInfoLogBufferSize == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES);
static_assert(cu::jitErrorLogBuffer == CU_JIT_ERROR_LOG_BUFFER);
static_assert(cu::jitErrorLogBufferSize == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
static_assert(cu::streamNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(cu::memoryTypeHost == CU_MEMORYTYPE_HOST);
static_assert(cu::memoryTypeDevice == CU_MEMORYTYPE_DEVICE);
#if CUDA_VERSION >= 12000
static_assert(cu::tensorMapFloat16 == CU_TENSOR_MAP_DATA_TYPE_FLOAT16);
static_assert(cu::tensorMapFloat32 == CU_TENSOR_MAP_DATA_TYPE_FLOAT32);
static_assert(cu::tensorMapBFloat16 == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16);
static_assert(cu::tensorMapPromotion128 == CU_TENSOR_MAP_L2_PROMOTION_L2_128B);
static_assert(CU_TENSOR_MAP_SWIZZLE_128B == 3 &&
              CU_TENSOR_MAP_SWIZZLE_32B == 1);
static_assert(sizeof(CUtensorMap) == attn::TensorBox::mapBytes &&
              alignof(CUtensorMap) <= attn::TensorBox::mapAlignment);
static_assert(std::is_same_v<cuuint64_t, uint64_t> &&
              std::is_same_v<cuuint32_t, uint32_t>);
#endif

// Types: sizes, and the places of the copy's fields.
static_assert(sizeof(cu::CuResult) == sizeof(CUresult));
static_assert(sizeof(cu::CuDevice) == sizeof(CUdevice));
static_assert(std::is_same_v<cu::CuPointer, CUdeviceptr>);
static_assert(sizeof(cu::Memcpy2D) == sizeof(CUDA_MEMCPY2D));
#define SAME_PLACE(ours, theirs)                                               \
  static_assert(offsetof(cu::Memcpy2D, ours) == offsetof(CUDA_MEMCPY2D, theirs))
SAME_PLACE(srcXInBytes, srcXInBytes);
SAME_PLACE(srcY, srcY);
SAME_PLACE(srcMemoryType, srcMemoryType);
SAME_PLACE(srcHost, srcHost);
SAME_PLACE(srcDevice, srcDevice);
SAME_PLACE(srcPitch, srcPitch);
SAME_PLACE(dstXInBytes, dstXInBytes);
SAME_PLACE(dstY, dstY);
SAME_PLACE(dstMemoryType, dstMemoryType);
SAME_PLACE(dstHost, dstHost);
SAME_PLACE(dstDevice, dstDevice);
SAME_PLACE(dstPitch, dstPitch);
SAME_PLACE(widthInBytes, WidthInBytes);
SAME_PLACE(height, Height);

// cuda.h renames functions to their current version; ours say the version.
#define TEXT_OF(name) #name
#define EXPANDED(name) TEXT_OF(name)

TEST(CudaAbi, VersionedNamesAreTheHeaders) {
  const char *names[] = {EXPANDED(cuDevicePrimaryCtxRelease),
                         EXPANDED(cuCtxPushCurrent),
                         EXPANDED(cuCtxPopCurrent),
                         EXPANDED(cuStreamDestroy),
                         EXPANDED(cuMemAlloc),
                         EXPANDED(cuMemFree),
                         EXPANDED(cuMemcpyHtoDAsync),
                         EXPANDED(cuMemcpyDtoHAsync),
                         EXPANDED(cuMemcpy2DAsync),
                         EXPANDED(cuModuleLoadDataEx),
                         EXPANDED(cuLaunchKernel),
                         EXPANDED(cuDeviceGet),
                         EXPANDED(cuMemAllocAsync),
                         EXPANDED(cuMemFreeAsync)};
  std::vector<std::string> table = {
#define NAME(member, name, types) name,
      ATTN_CUDA_SYMBOLS(NAME)
#undef NAME
  };
  for (const char *name : names)
    EXPECT_NE(std::find(table.begin(), table.end(), name), table.end()) << name;
}

#else

TEST(CudaAbi, VersionedNamesAreTheHeaders) {
  GTEST_SKIP() << "cuda.h was not found when this test was built";
}

#endif
