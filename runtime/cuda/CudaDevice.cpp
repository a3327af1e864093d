//===- CudaDevice.cpp - A GPU through the CUDA driver ---------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/cuda/CudaDevice.h"

#include "attn/runtime/core/TensorMaps.h"
#include "attn/runtime/cuda/Driver.h"
#include "attn/runtime/cuda/MachineCode.h"

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

struct CacheOptions {
  bool enabled = true;
  std::string folder;
};

class CudaDevice final : public Device {
public:
  CudaDevice(const Driver &driver, CuDevice device, CuContext context,
             DeviceProperties limits, bool hasPools, CacheOptions cache)
      : driver(driver), device(device), context(context),
        limits(std::move(limits)), hasPools(hasPools), cache(std::move(cache)) {
  }
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
    const MachineCode &kept = machineCode();
    const bool isAssembled = ptx.compare(0, 4, "\177ELF") == 0;
    if (!kept.isOn() || isAssembled)
      return load(ptx);
    if (std::optional<std::string> code = kept.load(ptx))
      if (Result<std::unique_ptr<Module>> module = load(*code))
        return module;
    std::string code;
    Status status = call([&]() -> Status {
      Result<std::string> made = assemble(driver, ptx);
      if (!made)
        return made.error();
      code = std::move(*made);
      return Status::success();
    });
    if (!status)
      return withDriver(status.error());
    Result<std::unique_ptr<Module>> module = load(code);
    if (module)
      kept.store(ptx, code);
    return module;
  }

  Status launch(const LaunchRequest &request, Stream stream) override {
    std::vector<uint64_t> values;
    std::vector<CuTensorMap> maps;
    std::vector<void *> pointers;
    values.reserve(request.parameters.size());
    maps.reserve(request.parameters.size());
    for (size_t p = 0; p < request.parameters.size(); ++p) {
      const KernelParameter &parameter = request.parameters[p];
      if (parameter.map) {
        Result<CuTensorMap> map =
            parameter.pointer ? encode(parameter) : CuTensorMap{};
        if (!map)
          return map.error().in("'" + request.names[p] + "'");
        maps.push_back(*map);
        pointers.push_back(&maps.back());
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
  /// The driver's tensor map of a tensor.
  Result<CuTensorMap> encode(const KernelParameter &parameter) const {
    if (!driver.tensorMapEncodeTiled)
      return Error{ErrorCode::Device,
                   "the CUDA driver '" + driver.path +
                       "' has no tensor maps, expected one of CUDA 12.0 or "
                       "later"};
    Result<sim::TensorMap> map =
        describeTensorMap(*parameter.pointer, *parameter.map);
    if (!map)
      return map.error();
    CuTensorMap result;
    Status status = driver.check(
        "cuTensorMapEncodeTiled",
        driver.tensorMapEncodeTiled(
            &result, static_cast<int>(map->element), map->rank,
            reinterpret_cast<void *>(map->address), map->dims, map->strides,
            map->box, map->elementStrides, /*interleave=*/0,
            static_cast<int>(map->swizzle), tensorMapPromote128B,
            /*oobFill=*/0));
    if (!status)
      return status.error();
    return result;
  }

  /// PTX or machine code.
  Result<std::unique_ptr<Module>> load(const std::string &code) {
    Logs logs;
    CuModule module = nullptr;
    Status status = call([&] {
      return driver.check("cuModuleLoadDataEx",
                          driver.moduleLoadDataEx(&module, code.c_str(),
                                                  Logs::count, logs.options(),
                                                  logs.values()));
    });
    if (!status)
      return withDriver(logs.add(status.error()));
    return std::unique_ptr<Module>(
        std::make_unique<CudaModule>(driver, context, module, limits));
  }

  Error withDriver(Error error) const {
    error.message += "\n(driver of CUDA " +
                     std::to_string(driver.version / 1000) + "." +
                     std::to_string(driver.version % 1000 / 10) + " on '" +
                     limits.name + "')";
    return error;
  }

  /// Opened when code is first loaded.
  const MachineCode &machineCode() {
    std::call_once(opened, [&] {
      kept = std::make_unique<MachineCode>(
          driver,
          limits.name + "\n" + std::to_string(limits.major) + "." +
              std::to_string(limits.minor),
          cache.enabled, cache.folder);
    });
    return *kept;
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
  CacheOptions cache;
  std::once_flag opened;
  std::unique_ptr<MachineCode> kept;
};

} // namespace

Result<std::shared_ptr<Device>>
cuda::openCudaDevice(int ordinal, const DeviceOptions &options) {
  std::string library;
  CacheOptions cache;
  for (const auto &[key, value] : options) {
    if (key == "library")
      library = value;
    else if (key == "cache_dir")
      cache.folder = value;
    else if (key == "cache" && (value == "on" || value == "off"))
      cache.enabled = value == "on";
    else if (key == "cache")
      return invalidArgument("option 'cache': expected on or off, found '" +
                             value + "'");
    else
      return invalidArgument("unknown option '" + key +
                             "' of device 'cuda', expected library, cache or "
                             "cache_dir");
  }
  Result<const Driver *> opened = openDriver(library);
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
  return std::shared_ptr<Device>(
      std::make_shared<CudaDevice>(driver, device, context, std::move(limits),
                                   pools != 0, std::move(cache)));
}
