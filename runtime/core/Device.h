//===- Device.h - What runs kernels -----------------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_DEVICE_H
#define ATTN_RUNTIME_CORE_DEVICE_H

#include "attn/runtime/core/Tensor.h"

#include <map>
#include <memory>

namespace attn {

enum class DeviceKind : uint8_t { Cuda, Sim, Host };

struct DeviceProperties {
  std::string name; ///< for people
  int major = 0;    ///< compute capability
  int minor = 0;
  int64_t multiprocessors = 0;
  int64_t sharedMemoryPerBlock = 0; ///< bytes, the most a kernel can have
  int64_t threadsPerBlock = 0;
  MemorySpace memory; ///< of the tensors that the device can use
  /// The most that code can be compiled for; empty where the compute capability
  /// says it.
  std::string target;
};

/// An entry of a loaded module, owned by it.
class Kernel {
public:
  virtual ~Kernel();
};

/// Code on a device. Modules must end before their device.
class Module {
public:
  virtual ~Module();

  /// The kernel named `entry`, ready for blocks with up to `sharedBytes` of
  /// dynamic shared memory.
  virtual Result<Kernel *> kernel(const std::string &entry,
                                  int64_t sharedBytes) = 0;
};

struct ParamDesc;

/// An 8-byte kernel parameter, the address of a tensor's first element or a
/// number; or, where `map` says how, the 128-byte tensor map of `pointer`,
/// zeros if that is null.
struct KernelParameter {
  const Tensor *pointer = nullptr;
  uint64_t value = 0;
  const ParamDesc *map = nullptr;
};

struct LaunchRequest {
  Kernel *kernel = nullptr;
  uint32_t blocks = 0; ///< at least 1
  uint32_t threads = 0;
  uint32_t sharedBytes = 0;
  const std::vector<KernelParameter> &parameters;
  /// Which buffer each pointer is, for the simulator's findings; as many as
  /// `parameters`, empty for numbers.
  const std::vector<std::string> &names;
};

/// Opaque: a CUstream on a GPU. Null is the default stream.
using Stream = void *;

/// `rows` rows of `width` bytes; the starts of rows are a pitch apart.
struct RowCopy {
  uint64_t device = 0;
  uint64_t devicePitch = 0;
  void *host = nullptr; ///< only read by copyIn
  uint64_t hostPitch = 0;
  uint64_t width = 0;
  uint64_t rows = 1;
};

/// A GPU, the simulator or the CPU. All functions may be called from several
/// threads.
class Device {
public:
  virtual ~Device();

  virtual DeviceKind kind() const = 0;
  virtual const DeviceProperties &properties() const = 0;

  /// Success if code for `target` runs here; the error names both sides.
  virtual Status checkTarget(const std::string &target) const;

  /// Memory whose alignment is at least 256 bytes, usable in `stream` order;
  /// zero bytes give address 0.
  virtual Result<uint64_t> allocate(uint64_t bytes, Stream stream) = 0;
  /// Gives memory back once the work that `stream` now holds is done.
  virtual Status free(uint64_t address, Stream stream) = 0;

  /// Copies in `stream` order. The host memory must stay until synchronize().
  virtual Status copyIn(const RowCopy &copy, Stream stream) = 0;
  virtual Status copyOut(const RowCopy &copy, Stream stream) = 0;

  virtual Result<Stream> createStream() = 0;
  virtual Status destroyStream(Stream stream) = 0;
  virtual Status synchronize(Stream stream) = 0;

  /// Loads a bundle's code, PTX text or for `host` an object file; the error
  /// carries the compiler's log.
  virtual Result<std::unique_ptr<Module>>
  loadModule(const std::string &code) = 0;
  virtual Status launch(const LaunchRequest &request, Stream stream) = 0;

  /// What the device observed, as JSON; `clear` starts anew. Unsupported on
  /// devices that observe nothing.
  virtual Result<std::string> report(bool clear);
};

/// Fails unless a block with this much shared memory fits the device.
Status checkSharedMemory(const DeviceProperties &limits, int64_t staticBytes,
                         int64_t dynamicBytes);

/// Device options: `key=value,key=value` or a JSON object of texts, numbers and
/// booleans.
using DeviceOptions = std::map<std::string, std::string>;
Result<DeviceOptions> parseDeviceOptions(const std::string &text);

/// Opens `cuda`, `cuda:<n>`, `host` or `sim`; attn.h lists the options. An
/// unknown name or option is an error that lists the known ones.
Result<std::shared_ptr<Device>> openDevice(const std::string &name,
                                           const std::string &options = "");

/// Copies row-major host elements into a strided tensor of the device and back;
/// both wait until the copy is done. copyToTensor refuses a tensor of which two
/// elements share memory.
Status copyToTensor(Device &device, const Tensor &destination,
                    const void *rowMajor, Stream stream = nullptr);
Status copyFromTensor(Device &device, void *rowMajor, const Tensor &source,
                      Stream stream = nullptr);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_DEVICE_H
