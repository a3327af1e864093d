//===- CudaDevice.cpp - A GPU through the CUDA driver ---------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/cuda/CudaDevice.h"

#include "attn/runtime/cuda/Driver.h"

#include <mutex>

using namespace attn;
using namespace attn::cuda;

namespace {

/// Makes a context current on this thread for the guard's life.
class Current {
public:
  Current(const Driver &driver, CuContext context) : driver(driver) {
    entered = driver.check("cuCtxPushCurrent", driver.ctxPushCurrent(context));
  }
  Current(const Current &) = delete;
  Current &operator=(const Current &) = delete;
  ~Current() {
    CuContext ignored;
    if (entered)
      driver.ctxPopCurrent(&ignored);
  }
  const Status &status() const { return entered; }

private:
  const Driver &driver;
  Status entered;
};

class CudaKernel final : public Kernel {
public:
  explicit CudaKernel(CuFunction function) : function(function) {}
  CuFunction function;
  int staticShared = 0;
  int64_t allowedShared = 0; ///< the dynamic bytes asked for so far
};

class CudaModule final : public Module {
public:
  CudaModule(const Driver &driver, CuContext context, CuModule module,
             const DeviceProperties &limits)
      : driver(driver), context(context), module(module), limits(limits) {}
  ~CudaModule() override {
    Current current(driver, context);
    if (current.status())
      driver.moduleUnload(module);
  }

  Result<Kernel *> kernel(const std::string &entry,
                          int64_t sharedBytes) override {
    std::lock_guard<std::mutex> lock(mutex);
    Current current(driver, context);
    if (!current.status())
      return current.status().error();
    std::unique_ptr<CudaKernel> &kernel = kernels[entry];
    if (!kernel) {
      CuFunction function = nullptr;
      if (Status status = driver.check(
              "cuModuleGetFunction",
              driver.moduleGetFunction(&function, module, entry.c_str()));
          !status)
        return status.error();
      auto fresh = std::make_unique<CudaKernel>(function);
      if (Status status = driver.check(
              "cuFuncGetAttribute",
              driver.funcGetAttribute(&fresh->staticShared,
                                      functionAttributeSharedSize, function));
          !status)
        return status.error();
      kernel = std::move(fresh);
    }
    if (Status status =
            checkSharedMemory(limits, kernel->staticShared, sharedBytes);
        !status)
      return status.error();
    if (sharedBytes > kernel->allowedShared) {
      // Past 48 KB a kernel has to opt in.
      if (Status status = driver.check(
              "cuFuncSetAttribute",
              driver.funcSetAttribute(kernel->function,
                                      functionAttributeMaxDynamicShared,
                                      static_cast<int>(sharedBytes)));
          !status)
        return status.error();
      kernel->allowedShared = sharedBytes;
    }
    return static_cast<Kernel *>(kernel.get());
  }

private:
  const Driver &driver;
  CuContext context;
  CuModule module;
  const DeviceProperties &limits;
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<CudaKernel>> kernels;
};

CuStream native(Stream stream) { return static_cast<CuStream>(stream); }

class CudaDevice final : public Device {
public:
  CudaDevice(const Driver &driver, CuDevice device, CuContext context,
             DeviceProperties limits, bool hasPools)
      : driver(driver), device(device), context(context),
        limits(std::move(limits)), hasPools(hasPools) {}
  ~CudaDevice() override { driver.primaryCtxRelease(device); }

  DeviceKind kind() const override { return DeviceKind::Cuda; }
  const DeviceProperties &properties() const override { return limits; }

  Result<uint64_t> allocate(uint64_t bytes, Stream stream) override {
    if (bytes == 0)
      return uint64_t(0);
    CuPointer pointer = 0;
    Status status = call([&] {
      return hasPools
                 ? driver.check(
                       "cuMemAllocAsync",
                       driver.memAllocAsync(&pointer, bytes, native(stream)))
                 : driver.check("cuMemAlloc", driver.memAlloc(&pointer, bytes));
    });
    if (!status)
      return status.error().in("cannot allocate " + std::to_string(bytes) +
                               " bytes");
    return uint64_t(pointer);
  }

  Status free(uint64_t address, Stream stream) override {
    if (address == 0)
      return Status::success();
    return call([&]() -> Status {
      if (hasPools)
        return driver.check("cuMemFreeAsync",
                            driver.memFreeAsync(address, native(stream)));
      if (Status status = driver.check(
              "cuStreamSynchronize", driver.streamSynchronize(native(stream)));
          !status)
        return status;
      return driver.check("cuMemFree", driver.memFree(address));
    });
  }

  Status copyIn(const RowCopy &copy, Stream stream) override {
    if (copy.rows == 1)
      return call([&] {
        return driver.check("cuMemcpyHtoDAsync",
                            driver.memcpyHtoDAsync(copy.device, copy.host,
                                                   copy.width, native(stream)));
      });
    return copyEachRowOr2D(copy, stream, /*in=*/true);
  }

  Status copyOut(const RowCopy &copy, Stream stream) override {
    if (copy.rows == 1)
      return call([&] {
        return driver.check("cuMemcpyDtoHAsync",
                            driver.memcpyDtoHAsync(copy.host, copy.device,
                                                   copy.width, native(stream)));
      });
    return copyEachRowOr2D(copy, stream, /*in=*/false);
  }

  Result<Stream> createStream() override {
    CuStream stream = nullptr;
    Status status = call([&] {
      return driver.check("cuStreamCreate",
                          driver.streamCreate(&stream, streamNonBlocking));
    });
    if (!status)
      return status.error();
    return static_cast<Stream>(stream);
  }

  Status destroyStream(Stream stream) override {
    if (!stream)
      return Status::success();
    return call([&] {
      return driver.check("cuStreamDestroy",
                          driver.streamDestroy(native(stream)));
    });
  }

  Status synchronize(Stream stream) override {
    return call([&] {
      return driver.check("cuStreamSynchronize",
                          driver.streamSynchronize(native(stream)));
    });
  }

  Result<std::unique_ptr<Module>> loadModule(const std::string &ptx) override {
    constexpr size_t logSize = 16384;
    std::vector<char> info(logSize, 0), errors(logSize, 0);
    int options[] = {jitInfoLogBuffer, jitInfoLogBufferSize, jitErrorLogBuffer,
                     jitErrorLogBufferSize};
    // Sizes travel in the pointers' values.
    void *values[] = {info.data(), reinterpret_cast<void *>(logSize - 1),
                      errors.data(), reinterpret_cast<void *>(logSize - 1)};
    CuModule module = nullptr;
    Status status = call([&] {
      return driver.check(
          "cuModuleLoadDataEx",
          driver.moduleLoadDataEx(&module, ptx.c_str(), 4, options, values));
    });
    if (!status) {
      Error error = status.error();
      for (const std::vector<char> *log : {&errors, &info})
        if (log->front())
          error.message += "\n" + std::string(log->data());
      error.message += "\n(driver of CUDA " +
                       std::to_string(driver.version / 1000) + "." +
                       std::to_string(driver.version % 1000 / 10) + " on '" +
                       limits.name + "')";
      return error;
    }
    return std::unique_ptr<Module>(
        std::make_unique<CudaModule>(driver, context, module, limits));
  }

  Status launch(const LaunchRequest &request, Stream stream) override {
    struct alignas(TensorBox::mapAlignment) Map {
      uint8_t bytes[TensorBox::mapBytes];
    };
    std::vector<uint64_t> values;
    std::vector<Map> maps;
    std::vector<void *> pointers;
    values.reserve(request.parameters.size());
    maps.reserve(request.parameters.size());
    for (size_t p = 0; p < request.parameters.size(); ++p) {
      const KernelParameter &parameter = request.parameters[p];
      if (parameter.box) {
        maps.push_back({});
        pointers.push_back(&maps.back());
        if (Status status = encodeMap(*parameter.pointer, *parameter.box,
                                      maps.back().bytes);
            !status)
          return status.error().in("tensor map of '" + request.names[p] + "'");
        continue;
      }
      values.push_back(parameter.pointer ? parameter.pointer->address()
                                         : parameter.value);
      pointers.push_back(&values.back());
    }
    auto &kernel = *static_cast<CudaKernel *>(request.kernel);
    return call([&] {
      return driver.check(
          "cuLaunchKernel",
          driver.launchKernel(kernel.function, request.blocks, 1, 1,
                              request.threads, 1, 1, request.sharedBytes,
                              native(stream), pointers.data(), nullptr));
    });
  }

private:
  /// Leaves `map` alone where none can be made of the tensor.
  Status encodeMap(const Tensor &tensor, const TensorBox &box,
                   void *map) const {
    std::optional<TensorMapLayout> layout = layoutForTensorMap(tensor);
    if (!layout)
      return Status::success();
    if (!driver.tensorMapEncodeTiled)
      return Error{ErrorCode::Unsupported,
                   "the CUDA driver '" + driver.path +
                       "' has no cuTensorMapEncodeTiled, expected one of CUDA "
                       "12.0 or later"};
    std::vector<uint32_t> sizes(box.sizes.begin(), box.sizes.end()),
        steps(sizes.size(), 1);
    int type = tensor.type == ElementType::F16    ? tensorMapFloat16
               : tensor.type == ElementType::BF16 ? tensorMapBFloat16
                                                  : tensorMapFloat32;
    // CUtensorMapSwizzle counts 0, 32, 64 and 128 bytes from 0.
    int swizzle = box.swizzle == 128  ? 3
                  : box.swizzle == 64 ? 2
                  : box.swizzle == 32 ? 1
                                      : 0;
    return call([&] {
      return driver.check("cuTensorMapEncodeTiled",
                          driver.tensorMapEncodeTiled(
                              map, type, static_cast<unsigned>(sizes.size()),
                              reinterpret_cast<void *>(tensor.address()),
                              layout->sizes.data(), layout->strides.data(),
                              sizes.data(), steps.data(),
                              /*interleave=*/0, swizzle, tensorMapPromotion128,
                              /*oobFill=*/0));
    });
  }

  template <typename Fn>
  Status call(Fn fn) const {
    Current current(driver, context);
    if (!current.status())
      return current.status();
    return fn();
  }

  Status copyEachRowOr2D(const RowCopy &copy, Stream stream, bool in) {
    // The driver refuses larger pitches.
    constexpr uint64_t maxPitch = INT32_MAX;
    if (copy.devicePitch > maxPitch || copy.hostPitch > maxPitch) {
      for (uint64_t row = 0; row < copy.rows; ++row) {
        RowCopy one = copy;
        one.rows = 1;
        one.device += row * copy.devicePitch;
        one.host = static_cast<char *>(copy.host) + row * copy.hostPitch;
        if (Status status = in ? copyIn(one, stream) : copyOut(one, stream);
            !status)
          return status;
      }
      return Status::success();
    }
    Memcpy2D rows = {};
    rows.widthInBytes = copy.width;
    rows.height = copy.rows;
    if (in) {
      rows.srcMemoryType = memoryTypeHost;
      rows.srcHost = copy.host;
      rows.srcPitch = copy.hostPitch;
      rows.dstMemoryType = memoryTypeDevice;
      rows.dstDevice = copy.device;
      rows.dstPitch = copy.devicePitch;
    } else {
      rows.srcMemoryType = memoryTypeDevice;
      rows.srcDevice = copy.device;
      rows.srcPitch = copy.devicePitch;
      rows.dstMemoryType = memoryTypeHost;
      rows.dstHost = copy.host;
      rows.dstPitch = copy.hostPitch;
    }
    return call([&] {
      return driver.check("cuMemcpy2DAsync",
                          driver.memcpy2DAsync(&rows, native(stream)));
    });
  }

  const Driver &driver;
  CuDevice device;
  CuContext context;
  DeviceProperties limits;
  bool hasPools; ///< stream-ordered allocation
};

} // namespace

Result<std::shared_ptr<Device>>
cuda::openCudaDevice(int ordinal, const DeviceOptions &options) {
  for (const auto &option : options)
    if (option.first != "library")
      return invalidArgument("unknown option '" + option.first +
                             "' of device 'cuda', expected library");
  auto library = options.find("library");
  Result<const Driver *> opened =
      openDriver(library == options.end() ? "" : library->second);
  if (!opened)
    return opened.error();
  const Driver &driver = **opened;

  int count = 0;
  if (Status status =
          driver.check("cuDeviceGetCount", driver.deviceGetCount(&count));
      !status)
    return status.error();
  if (ordinal >= count)
    return Error{ErrorCode::Device,
                 count == 0
                     ? "the CUDA driver finds no GPU; the device 'sim' "
                       "needs none"
                     : "no GPU number " + std::to_string(ordinal) +
                           ", expected 0 to " + std::to_string(count - 1)};
  CuDevice device = 0;
  char name[256] = {};
  if (Status status =
          driver.check("cuDeviceGet", driver.deviceGet(&device, ordinal));
      !status)
    return status.error();
  if (Status status =
          driver.check("cuDeviceGetName",
                       driver.deviceGetName(name, sizeof name - 1, device));
      !status)
    return status.error();

  int major = 0, minor = 0, processors = 0, shared = 0, threads = 0, pools = 0;
  for (auto [attribute, value] :
       {std::pair{attributeComputeCapabilityMajor, &major},
        std::pair{attributeComputeCapabilityMinor, &minor},
        std::pair{attributeMultiprocessorCount, &processors},
        std::pair{attributeMaxSharedPerBlockOptin, &shared},
        std::pair{attributeMaxThreadsPerBlock, &threads},
        std::pair{attributeMemoryPoolsSupported, &pools}})
    if (Status status =
            driver.check("cuDeviceGetAttribute",
                         driver.deviceGetAttribute(value, attribute, device));
        !status)
      return status.error();
  DeviceProperties limits;
  limits.name = name;
  limits.major = major;
  limits.minor = minor;
  limits.multiprocessors = processors;
  limits.sharedMemoryPerBlock = shared;
  limits.threadsPerBlock = threads;
  limits.memory = {MemorySpace::Kind::Cuda, ordinal};

  CuContext context = nullptr;
  if (Status status = driver.check("cuDevicePrimaryCtxRetain",
                                   driver.primaryCtxRetain(&context, device));
      !status)
    return status.error();
  return std::shared_ptr<Device>(std::make_shared<CudaDevice>(
      driver, device, context, std::move(limits), pools != 0));
}
