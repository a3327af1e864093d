//===- CApi.cpp - The C API over the runtime ------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/CApiSupport.h"
#include "attn/runtime/core/DLPack.h"
#include "attn/runtime/core/Executable.h"
#include "attn/runtime/core/Target.h"

using namespace attn;
using namespace attn::capi;

struct attn_device {
  std::shared_ptr<Device> device;
  std::string target;
};

struct attn_program {
  std::unique_ptr<Executable> executable;
  std::vector<std::vector<int64_t>> shapes; ///< of each buffer, -1 for dynamic
};

namespace {

Status makeProgram(attn_device *device, Result<Bundle> bundle,
                   attn_program **program) {
  if (!bundle)
    return bundle.error();
  Result<std::unique_ptr<Executable>> executable =
      Executable::load(device->device, std::move(*bundle));
  if (!executable)
    return executable.error();
  auto result = std::make_unique<attn_program>();
  result->executable = std::move(*executable);
  for (const BufferDesc &buffer : result->executable->manifest().buffers) {
    std::vector<int64_t> &shape = result->shapes.emplace_back();
    for (const Dimension &dim : buffer.shape)
      shape.push_back(dim.isDynamic() ? -1 : dim.size);
  }
  *program = result.release();
  return Status::success();
}

Status checkIndex(const char *what, int32_t index, size_t count) {
  if (index >= 0 && static_cast<size_t>(index) < count)
    return Status::success();
  return invalidArgument(std::string("expected the number of a ") + what +
                         " below " + std::to_string(count) + ", found " +
                         std::to_string(index));
}

Status describeTensor(attn_program *program, const char *what, int32_t index,
                      const std::vector<size_t> &order,
                      attn_tensor_info *info) {
  if (!info)
    return isNull("info");
  if (Status status = checkIndex(what, index, order.size()); !status)
    return status;
  size_t number = order[static_cast<size_t>(index)];
  const BufferDesc &buffer = program->executable->manifest().buffers[number];
  info->name = buffer.name.c_str();
  info->dtype = dlpack::toDLType(buffer.type);
  info->ndim = static_cast<int32_t>(buffer.shape.size());
  info->shape = program->shapes[number].data();
  info->alignment = buffer.alignment;
  info->position = static_cast<int32_t>(buffer.number);
  return Status::success();
}

Status readTensors(const char *what, const attn_tensor *const *tensors,
                   int32_t count, std::vector<Tensor> &result) {
  if (count < 0)
    return invalidArgument(std::string("the number of ") + what +
                           " is negative");
  if (count > 0 && !tensors)
    return isNull(what);
  for (int32_t i = 0; i < count; ++i) {
    std::string name = std::string(what) + "[" + std::to_string(i) + "]";
    if (!tensors[i])
      return isNull(name.c_str());
    Result<Tensor> tensor = dlpack::toTensor(*tensors[i]);
    if (!tensor)
      return tensor.error().in(name);
    result.push_back(std::move(*tensor));
  }
  return Status::success();
}

} // namespace

//===----------------------------------------------------------------------===//
// Version and errors
//===----------------------------------------------------------------------===//

attn_version attn_get_version(void) {
  return {ATTN_ABI_MAGIC,     ATTN_ABI_VERSION,
          ATTN_VERSION_MAJOR, ATTN_VERSION_MINOR,
          ATTN_VERSION_PATCH, static_cast<uint32_t>(Manifest::formatVersion)};
}

int32_t attn_check_abi(uint32_t magic, uint32_t abi) {
  return guarded([&]() -> Status {
    if (magic != ATTN_ABI_MAGIC)
      return Error{ErrorCode::Unsupported,
                   "the caller's header is not attn's: expected magic number " +
                       std::to_string(ATTN_ABI_MAGIC) + ", found " +
                       std::to_string(magic)};
    if (abi != ATTN_ABI_VERSION)
      return Error{ErrorCode::Unsupported,
                   "this library has binary interface " +
                       std::to_string(ATTN_ABI_VERSION) +
                       ", the caller was compiled for " + std::to_string(abi)};
    return Status::success();
  });
}

const char *attn_error_message(void) { return lastError().c_str(); }

const char *attn_status_name(attn_status status) {
  switch (status) {
  case ATTN_OK:
    return "ok";
  case ATTN_INVALID_ARGUMENT:
    return "invalid argument";
  case ATTN_INVALID_BUNDLE:
    return "invalid bundle";
  case ATTN_IO:
    return "input or output error";
  case ATTN_UNSUPPORTED:
    return "unsupported";
  case ATTN_DEVICE:
    return "device error";
  case ATTN_OUT_OF_MEMORY:
    return "out of memory";
  case ATTN_FINDING:
    return "simulator finding";
  case ATTN_INTERNAL:
    return "internal error";
  default:
    return "unknown status";
  }
}

void attn_string_free(char *text) { std::free(text); }

//===----------------------------------------------------------------------===//
// Devices
//===----------------------------------------------------------------------===//

attn_status attn_device_open(const char *name, const char *options,
                             attn_device **device) {
  return guarded([&]() -> Status {
    if (!device)
      return isNull("device");
    *device = nullptr;
    if (!name)
      return isNull("name");
    Result<std::shared_ptr<Device>> opened =
        openDevice(name, options ? options : "");
    if (!opened)
      return opened.error();
    const DeviceProperties &limits = (*opened)->properties();
    Target target;
    target.major = limits.major;
    target.minor = limits.minor;
    *device = new attn_device{*opened, limits.target.empty() ? target.text()
                                                             : limits.target};
    return Status::success();
  });
}

void attn_device_close(attn_device *device) {
  (void)guarded([&]() -> Status {
    delete device;
    return Status::success();
  });
}

attn_status attn_device_get_info(attn_device *device, attn_device_info *info) {
  return guarded([&]() -> Status {
    if (!device)
      return isNull("device");
    if (!info)
      return isNull("info");
    const DeviceProperties &limits = device->device->properties();
    bool onHost = limits.memory.kind == MemorySpace::Kind::Host;
    info->name = limits.name.c_str();
    info->target = device->target.c_str();
    info->memory = {onHost ? ATTN_DL_CPU : ATTN_DL_CUDA, limits.memory.index};
    info->multiprocessors = limits.multiprocessors;
    info->shared_memory_per_block = limits.sharedMemoryPerBlock;
    return Status::success();
  });
}

attn_status attn_device_report(attn_device *device, int32_t clear,
                               char **json) {
  return guarded([&]() -> Status {
    if (!json)
      return isNull("json");
    *json = nullptr;
    if (!device)
      return isNull("device");
    Result<std::string> text = device->device->report(clear != 0);
    if (!text)
      return text.error();
    *json = copyText(*text);
    return Status::success();
  });
}

attn_status attn_memory_allocate(attn_device *device, size_t bytes,
                                 void **address) {
  return guarded([&]() -> Status {
    if (!address)
      return isNull("address");
    *address = nullptr;
    if (!device)
      return isNull("device");
    Result<uint64_t> result = device->device->allocate(bytes, nullptr);
    if (!result)
      return result.error();
    *address = reinterpret_cast<void *>(*result);
    return device->device->synchronize(nullptr);
  });
}

attn_status attn_memory_free(attn_device *device, void *address) {
  return guarded([&]() -> Status {
    if (!device)
      return isNull("device");
    return device->device->free(reinterpret_cast<uintptr_t>(address), nullptr);
  });
}

static Status copyBytes(attn_device *device, void *onDevice, void *onHost,
                        size_t bytes, void *stream, bool in) {
  if (!device)
    return isNull("device");
  if (bytes == 0)
    return Status::success();
  if (!onDevice)
    return isNull(in ? "destination" : "source");
  if (!onHost)
    return isNull("host");
  RowCopy copy;
  copy.device = reinterpret_cast<uintptr_t>(onDevice);
  copy.host = onHost;
  copy.width = copy.devicePitch = copy.hostPitch = bytes;
  Status status = in ? device->device->copyIn(copy, stream)
                     : device->device->copyOut(copy, stream);
  return status ? device->device->synchronize(stream) : status;
}

attn_status attn_memory_copy_in(attn_device *device, void *destination,
                                const void *host, size_t bytes, void *stream) {
  return guarded([&] {
    return copyBytes(device, destination, const_cast<void *>(host), bytes,
                     stream, /*in=*/true);
  });
}

attn_status attn_memory_copy_out(attn_device *device, void *host,
                                 const void *source, size_t bytes,
                                 void *stream) {
  return guarded([&] {
    return copyBytes(device, const_cast<void *>(source), host, bytes, stream,
                     /*in=*/false);
  });
}

attn_status attn_stream_create(attn_device *device, void **stream) {
  return guarded([&]() -> Status {
    if (!stream)
      return isNull("stream");
    *stream = nullptr;
    if (!device)
      return isNull("device");
    Result<Stream> created = device->device->createStream();
    if (!created)
      return created.error();
    *stream = *created;
    return Status::success();
  });
}

attn_status attn_stream_destroy(attn_device *device, void *stream) {
  return guarded([&]() -> Status {
    return device ? device->device->destroyStream(stream) : isNull("device");
  });
}

attn_status attn_stream_synchronize(attn_device *device, void *stream) {
  return guarded([&]() -> Status {
    return device ? device->device->synchronize(stream) : isNull("device");
  });
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

attn_status attn_program_load(attn_device *device, const char *folder,
                              attn_program **program) {
  return guarded([&]() -> Status {
    if (!program)
      return isNull("program");
    *program = nullptr;
    if (!device)
      return isNull("device");
    if (!folder)
      return isNull("folder");
    return makeProgram(device, loadBundle(folder), program);
  });
}

attn_status attn_program_load_memory(attn_device *device, const char *manifest,
                                     size_t manifest_size, const char *code,
                                     size_t code_size, attn_program **program) {
  return guarded([&]() -> Status {
    if (!program)
      return isNull("program");
    *program = nullptr;
    if (!device)
      return isNull("device");
    if (!manifest)
      return isNull("manifest");
    if (!code)
      return isNull("code");
    return makeProgram(
        device,
        parseBundle({manifest, manifest_size}, std::string(code, code_size)),
        program);
  });
}

void attn_program_destroy(attn_program *program) {
  (void)guarded([&]() -> Status {
    delete program;
    return Status::success();
  });
}

attn_status attn_program_get_info(attn_program *program,
                                  attn_program_info *info) {
  return guarded([&]() -> Status {
    if (!program)
      return isNull("program");
    if (!info)
      return isNull("info");
    const Executable &executable = *program->executable;
    const Manifest &manifest = executable.manifest();
    info->function = manifest.function.c_str();
    info->target = manifest.target.c_str();
    info->num_arguments =
        static_cast<int32_t>(executable.argumentBuffers().size());
    info->num_results = static_cast<int32_t>(executable.resultBuffers().size());
    info->num_scalars = static_cast<int32_t>(manifest.scalars.size());
    info->num_launches = static_cast<int32_t>(manifest.launches.size());
    return Status::success();
  });
}

attn_status attn_program_argument(attn_program *program, int32_t index,
                                  attn_tensor_info *info) {
  return guarded([&]() -> Status {
    if (!program)
      return isNull("program");
    return describeTensor(program, "tensor argument", index,
                          program->executable->argumentBuffers(), info);
  });
}

attn_status attn_program_result(attn_program *program, int32_t index,
                                attn_tensor_info *info) {
  return guarded([&]() -> Status {
    if (!program)
      return isNull("program");
    return describeTensor(program, "result", index,
                          program->executable->resultBuffers(), info);
  });
}

attn_status attn_program_scalar(attn_program *program, int32_t index,
                                attn_scalar_info *info) {
  return guarded([&]() -> Status {
    if (!program)
      return isNull("program");
    if (!info)
      return isNull("info");
    const Executable &executable = *program->executable;
    if (Status status =
            checkIndex("scalar", index, executable.scalarOrder().size());
        !status)
      return status;
    const ScalarDesc &scalar =
        executable.manifest()
            .scalars[executable.scalarOrder()[static_cast<size_t>(index)]];
    info->name = scalar.name.c_str();
    info->type = nameOf(scalar.type).data(); // a literal: ends in NUL
    info->position = static_cast<int32_t>(scalar.argument);
    return Status::success();
  });
}

attn_status attn_launch(attn_program *program,
                        const attn_tensor *const *arguments,
                        int32_t num_arguments,
                        const attn_tensor *const *results, int32_t num_results,
                        const int64_t *scalars, int32_t num_scalars,
                        void *stream) {
  return guarded([&]() -> Status {
    if (!program)
      return isNull("program");
    std::vector<Tensor> argumentTensors, resultTensors;
    if (Status status =
            readTensors("arguments", arguments, num_arguments, argumentTensors);
        !status)
      return status;
    if (Status status =
            readTensors("results", results, num_results, resultTensors);
        !status)
      return status;
    if (num_scalars < 0)
      return invalidArgument("the number of scalars is negative");
    if (num_scalars > 0 && !scalars)
      return isNull("scalars");
    std::vector<int64_t> values(scalars, scalars + num_scalars);
    return program->executable->run(argumentTensors, resultTensors, values,
                                    stream);
  });
}
