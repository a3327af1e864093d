//===- Executable.cpp - A bundle on a device ------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Executable.h"

#include "attn/runtime/core/Target.h"
#include "attn/runtime/core/TensorMaps.h"

#include "attn/runtime/core/Arith.h"
#include "attn/runtime/core/DataCheck.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace attn;

/// Values of shape names, and where each came from.
struct Executable::Binding {
  Bindings values;
  std::map<std::string, std::string> origin;
};

/// A run that has passed every check.
struct Executable::Prepared {
  std::vector<Tensor> buffers; ///< as the manifest's; temporaries have no data
  std::vector<uint32_t> grids; ///< one for each launch
  /// For each launch whether all of its tensor maps can be made.
  std::vector<bool> tensorMapsFit;
  /// What makes a launch slower than it could be.
  std::vector<std::string> remarks;
  std::map<int64_t, int64_t> scalars; ///< by argument number
  Bindings bindings;
};

Executable::Executable(std::shared_ptr<Device> device, Manifest manifest)
    : home(std::move(device)), description(std::move(manifest)) {
  auto sorted = [](std::vector<size_t> &list, auto key) {
    std::sort(list.begin(), list.end(),
              [&](size_t a, size_t b) { return key(a) < key(b); });
  };
  const std::vector<BufferDesc> &buffers = description.buffers;
  for (size_t b = 0; b < buffers.size(); ++b) {
    if (buffers[b].role == BufferRole::Argument)
      arguments.push_back(b);
    else if (buffers[b].role == BufferRole::Result)
      results.push_back(b);
  }
  for (size_t s = 0; s < description.scalars.size(); ++s)
    scalars.push_back(s);
  sorted(arguments, [&](size_t b) { return buffers[b].number; });
  sorted(results, [&](size_t b) { return buffers[b].number; });
  sorted(scalars, [&](size_t s) { return description.scalars[s].argument; });
}

Result<std::unique_ptr<Executable>>
Executable::load(std::shared_ptr<Device> device, Bundle bundle) {
  if (Status status = verifyManifest(bundle.manifest); !status)
    return status.error();
  const DeviceProperties &limits = device->properties();
  if (Status status = device->checkTarget(bundle.manifest.target); !status)
    return status.error();
  // PTX runs on later GPUs too, machine code on those of its generation.
  if (bundle.manifest.code.kind == "cubin") {
    std::optional<Target> target = parseTarget(bundle.manifest.target);
    if (device->kind() == DeviceKind::Sim || target->major != limits.major)
      return Error{ErrorCode::Unsupported,
                   "machine code for " + bundle.manifest.target +
                       " does not run on '" + limits.name + "'; PTX would"};
  }
  for (const LaunchDesc &launch : bundle.manifest.launches) {
    if (launch.shared > limits.sharedMemoryPerBlock)
      return Error{ErrorCode::Unsupported,
                   "kernel '" + launch.entry + "' needs " +
                       std::to_string(launch.shared) +
                       " bytes of shared memory, '" + limits.name + "' has " +
                       std::to_string(limits.sharedMemoryPerBlock)};
    if (launch.threads > limits.threadsPerBlock)
      return Error{ErrorCode::Unsupported,
                   "kernel '" + launch.entry + "' needs " +
                       std::to_string(launch.threads) +
                       " threads in a block, '" + limits.name + "' has " +
                       std::to_string(limits.threadsPerBlock)};
  }
  Result<std::unique_ptr<Module>> module = device->loadModule(bundle.code);
  if (!module)
    return module.error().in("code of '" + bundle.manifest.function + "'");
  std::unique_ptr<Executable> result(
      new Executable(std::move(device), std::move(bundle.manifest)));
  result->module = std::move(*module);
  for (const LaunchDesc &launch : result->description.launches) {
    Result<Kernel *> kernel =
        result->module->kernel(launch.entry, launch.shared);
    if (!kernel)
      return kernel.error().in("kernel '" + launch.entry + "'");
    result->kernels.push_back(*kernel);
  }
  return result;
}

std::string Executable::nameOfBuffer(size_t index) const {
  const BufferDesc &buffer = description.buffers[index];
  if (buffer.role == BufferRole::Temporary)
    return "temporary '" + buffer.name + "'";
  return (buffer.role == BufferRole::Argument ? "argument " : "result ") +
         std::to_string(buffer.number) + " '" + buffer.name + "'";
}

Status Executable::bindShape(size_t index, const std::vector<int64_t> &shape,
                             Binding &binding) const {
  const BufferDesc &buffer = description.buffers[index];
  if (shape.size() != buffer.shape.size())
    return invalidArgument("expected rank " +
                           std::to_string(buffer.shape.size()) + ", found " +
                           std::to_string(shape.size()))
        .in(nameOfBuffer(index));
  for (size_t d = 0; d < shape.size(); ++d) {
    const Dimension &dim = buffer.shape[d];
    std::string where = "dimension " + std::to_string(d);
    if (shape[d] < 0)
      return invalidArgument(where + " has the negative size " +
                             std::to_string(shape[d]))
          .in(nameOfBuffer(index));
    if (!dim.isDynamic()) {
      if (shape[d] != dim.size)
        return invalidArgument(where + ": expected size " +
                               std::to_string(dim.size) + ", found " +
                               std::to_string(shape[d]))
            .in(nameOfBuffer(index));
      continue;
    }
    auto [entry, isNew] = binding.values.emplace(dim.name, shape[d]);
    if (isNew)
      binding.origin[dim.name] = nameOfBuffer(index) + ", " + where;
    else if (entry->second != shape[d])
      return invalidArgument(where + ": expected size " +
                             std::to_string(entry->second) + " ('" + dim.name +
                             "', from " + binding.origin[dim.name] +
                             "), found " + std::to_string(shape[d]))
          .in(nameOfBuffer(index));
  }
  return Status::success();
}

Status Executable::checkTensor(size_t index, const Tensor &tensor) const {
  const BufferDesc &buffer = description.buffers[index];
  std::string name = nameOfBuffer(index);
  const MemorySpace &memory = home->properties().memory;
  if (tensor.space != memory)
    return invalidArgument("expected memory of " + toText(memory) +
                           ", the device '" + home->properties().name +
                           "', found " + toText(tensor.space))
        .in(name);
  if (tensor.type != buffer.type)
    return invalidArgument("expected element type " +
                           std::string(nameOf(buffer.type)) + ", found " +
                           std::string(nameOf(tensor.type)))
        .in(name);
  Result<MemoryRange> range = extentOf(tensor);
  if (!range)
    return range.error().in(name);
  if (range->size() == 0)
    return Status::success();
  if (tensor.rank() && tensor.shape.back() > 1 && tensor.strides.back() != 1)
    return invalidArgument("the last dimension must be contiguous: expected "
                           "stride 1, found " +
                           std::to_string(tensor.strides.back()))
        .in(name);
  if (buffer.role == BufferRole::Result && !hasNestedStrides(tensor)) {
    std::string strides;
    for (int64_t stride : tensor.strides)
      strides += (strides.empty() ? "" : ", ") + std::to_string(stride);
    return invalidArgument("elements of a result must not share memory, found "
                           "strides (" +
                           strides + ") for " +
                           toText(tensor.type, tensor.shape))
        .in(name);
  }
  if (!tensor.address())
    return invalidArgument("the tensor has elements but no data").in(name);
  if (tensor.address() % static_cast<uint64_t>(buffer.alignment))
    return invalidArgument(
               "expected an address that is a multiple of " +
               std::to_string(buffer.alignment) + ", found one that is " +
               std::to_string(tensor.address() %
                              static_cast<uint64_t>(buffer.alignment)) +
               " bytes past such a multiple")
        .in(name);
  return Status::success();
}

Status Executable::checkOverlaps(const std::vector<Tensor> &tensors) const {
  // Interleaved views of one buffer are fine and cannot be told apart from a
  // collision by their ranges, so only dense tensors are compared.
  for (size_t r : results) {
    if (!isDense(tensors[r]))
      continue;
    MemoryRange range = *extentOf(tensors[r]);
    for (size_t b = 0; b < tensors.size(); ++b) {
      if (b == r || description.buffers[b].role == BufferRole::Temporary ||
          !isDense(tensors[b]))
        continue;
      MemoryRange other = *extentOf(tensors[b]);
      if (range.begin < other.end && other.begin < range.end)
        return invalidArgument("its memory overlaps that of " + nameOfBuffer(b))
            .in(nameOfBuffer(r));
    }
  }
  return Status::success();
}

Result<std::vector<int64_t>> Executable::shapeOf(size_t index,
                                                 const Binding &binding) const {
  std::vector<int64_t> shape;
  for (const Dimension &dim : description.buffers[index].shape)
    shape.push_back(dim.isDynamic() ? binding.values.at(dim.name) : dim.size);
  Result<int64_t> count = elementCount(shape);
  if (!count)
    return count.error().in(nameOfBuffer(index));
  return shape;
}

Result<std::vector<std::vector<int64_t>>> Executable::resultShapes(
    const std::vector<std::vector<int64_t>> &argumentShapes) const {
  if (argumentShapes.size() != arguments.size())
    return invalidArgument("expected " + std::to_string(arguments.size()) +
                           " tensor arguments, found " +
                           std::to_string(argumentShapes.size()));
  Binding binding;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (Status status = bindShape(arguments[i], argumentShapes[i], binding);
        !status)
      return status.error();
  std::vector<std::vector<int64_t>> shapes;
  for (size_t b : results) {
    Result<std::vector<int64_t>> shape = shapeOf(b, binding);
    if (!shape)
      return shape.error();
    shapes.push_back(std::move(*shape));
  }
  return shapes;
}

Status Executable::prepare(const std::vector<Tensor> &argumentTensors,
                           const std::vector<Tensor> &resultTensors,
                           const std::vector<int64_t> &scalarValues,
                           Prepared &prepared) const {
  auto checkCount = [](const char *what, size_t expected,
                       size_t found) -> Status {
    if (expected == found)
      return Status::success();
    return invalidArgument("expected " + std::to_string(expected) + " " + what +
                           ", found " + std::to_string(found));
  };
  for (Status status :
       {checkCount("tensor arguments", arguments.size(),
                   argumentTensors.size()),
        checkCount("results", results.size(), resultTensors.size()),
        checkCount("scalars", scalars.size(), scalarValues.size())})
    if (!status)
      return status;

  prepared.buffers.resize(description.buffers.size());
  Binding binding;
  auto accept = [&](const std::vector<size_t> &order,
                    const std::vector<Tensor> &tensors) -> Status {
    for (size_t i = 0; i < order.size(); ++i) {
      if (Status status = bindShape(order[i], tensors[i].shape, binding);
          !status)
        return status;
      if (Status status = checkTensor(order[i], tensors[i]); !status)
        return status;
      prepared.buffers[order[i]] = tensors[i];
    }
    return Status::success();
  };
  if (Status status = accept(arguments, argumentTensors); !status)
    return status;
  if (Status status = accept(results, resultTensors); !status)
    return status;
  if (Status status = checkOverlaps(prepared.buffers); !status)
    return status;

  for (size_t b = 0; b < description.buffers.size(); ++b) {
    const BufferDesc &buffer = description.buffers[b];
    if (buffer.role != BufferRole::Temporary)
      continue;
    Result<std::vector<int64_t>> shape = shapeOf(b, binding);
    if (!shape)
      return shape.error();
    prepared.buffers[b] = Tensor::rowMajor(buffer.type, std::move(*shape), 0,
                                           home->properties().memory);
    if (Result<MemoryRange> range = extentOf(prepared.buffers[b]); !range)
      return range.error().in(nameOfBuffer(b));
  }

  for (size_t i = 0; i < scalars.size(); ++i) {
    const ScalarDesc &scalar = description.scalars[scalars[i]];
    int64_t value = scalarValues[i];
    if (scalar.type == ElementType::I32 &&
        (value < INT32_MIN || value > INT32_MAX))
      return invalidArgument(
          "argument " + std::to_string(scalar.argument) + " '" + scalar.name +
          "': " + std::to_string(value) + " does not fit in i32");
    // Positions are computed from it (docs/Spec.md, R7).
    constexpr int64_t most = int64_t(1) << 40;
    if (value < -most || value > most)
      return invalidArgument(
          "argument " + std::to_string(scalar.argument) + " '" + scalar.name +
          "': expected a value within +-2^40, found " + std::to_string(value));
    prepared.scalars[scalar.argument] = value;
  }

  for (const LaunchDesc &launch : description.launches) {
    Result<int64_t> grid = evaluate(launch.grid, binding.values);
    if (!grid)
      return grid.error().in("grid of kernel '" + launch.entry + "'");
    if (*grid < 0 || *grid > INT32_MAX)
      return invalidArgument("grid of kernel '" + launch.entry +
                             "': expected 0 to 2147483647 blocks, found " +
                             std::to_string(*grid) + " from " +
                             toText(launch.grid));
    prepared.grids.push_back(static_cast<uint32_t>(*grid));
    bool isAsked = std::any_of(
        launch.params.begin(), launch.params.end(), [](const ParamDesc &param) {
          return param.kind == ParamDesc::Kind::TensorMapsFit;
        });
    bool fit = true;
    for (const ParamDesc &param : launch.params) {
      auto index = static_cast<size_t>(param.index);
      if (param.kind != ParamDesc::Kind::TensorMap)
        continue;
      auto map = describeTensorMap(prepared.buffers[index], param);
      if (map)
        continue;
      Error why = map.error().in(nameOfBuffer(index));
      if (!isAsked)
        return why;
      if (fit)
        prepared.remarks.push_back("kernel '" + launch.entry +
                                   "' copies row by row: " + why.message);
      fit = false;
    }
    prepared.tensorMapsFit.push_back(fit);
  }
  prepared.bindings = std::move(binding.values);
  for (size_t index : arguments)
    for (const CheckDesc &check : description.buffers[index].checks)
      if (check.isOfShape())
        if (Status status = checkShape(check, prepared.buffers[index].shape,
                                       prepared.bindings);
            !status)
          return status.error().in(nameOfBuffer(index));
  return Status::success();
}

Status Executable::checkData(const Prepared &prepared, Stream stream) const {
  if (!isDataChecked())
    return Status::success();
  // By argument number.
  std::map<int64_t, IntegerData> fetched;
  auto fetch = [&](size_t index) -> Result<const IntegerData *> {
    auto [entry, isNew] =
        fetched.try_emplace(description.buffers[index].number);
    IntegerData &data = entry->second;
    if (!isNew)
      return &data;
    const Tensor &tensor = prepared.buffers[index];
    Result<int64_t> count = elementCount(tensor.shape);
    if (!count)
      return count.error();
    auto size = static_cast<size_t>(sizeOf(tensor.type));
    std::string bytes(static_cast<size_t>(*count) * size, '\0');
    if (Status status = copyFromTensor(*home, bytes.data(), tensor, stream);
        !status)
      return status.error();
    data.shape = tensor.shape;
    for (size_t n = 0; n < static_cast<size_t>(*count); ++n) {
      int32_t narrow = 0;
      int64_t wide = 0;
      std::memcpy(tensor.type == ElementType::I32 ? (void *)&narrow : &wide,
                  &bytes[n * size], size);
      data.elements.push_back(tensor.type == ElementType::I32 ? narrow : wide);
    }
    return &data;
  };
  for (size_t index : arguments) {
    const BufferDesc &buffer = description.buffers[index];
    for (const CheckDesc &check : buffer.checks) {
      if (check.isOfShape())
        continue;
      Result<const IntegerData *> data = fetch(index), rows = nullptr;
      for (size_t other : arguments)
        if (check.kind == CheckDesc::Kind::Rising &&
            description.buffers[other].number == check.rows)
          rows = fetch(other);
      if (!data || !rows)
        return (data ? rows : data).error().in(nameOfBuffer(index));
      if (Status status =
              attn::checkData(check, **data, *rows, prepared.bindings);
          !status)
        return status.error().in(nameOfBuffer(index));
    }
  }
  return Status::success();
}

Status Executable::launchAll(const Prepared &prepared, Stream stream) const {
  for (size_t l = 0; l < description.launches.size(); ++l) {
    const LaunchDesc &launch = description.launches[l];
    if (prepared.grids[l] == 0)
      continue;
    std::vector<KernelParameter> parameters;
    std::vector<std::string> names;
    for (const ParamDesc &param : launch.params) {
      auto index = static_cast<size_t>(param.index);
      auto dim = static_cast<size_t>(param.dim);
      KernelParameter parameter;
      std::string name;
      switch (param.kind) {
      case ParamDesc::Kind::Pointer:
        parameter.pointer = &prepared.buffers[index];
        name = description.buffers[index].name;
        break;
      case ParamDesc::Kind::TensorMap:
        if (prepared.tensorMapsFit[l])
          parameter.pointer = &prepared.buffers[index];
        parameter.map = &param;
        name = description.buffers[index].name;
        break;
      case ParamDesc::Kind::TensorMapsFit:
        parameter.value = prepared.tensorMapsFit[l];
        break;
      case ParamDesc::Kind::Size:
        parameter.value =
            static_cast<uint64_t>(prepared.buffers[index].shape[dim]);
        break;
      case ParamDesc::Kind::Stride:
        parameter.value =
            static_cast<uint64_t>(prepared.buffers[index].strides[dim]);
        break;
      case ParamDesc::Kind::Scalar:
        parameter.value =
            static_cast<uint64_t>(prepared.scalars.at(param.index));
        break;
      }
      parameters.push_back(parameter);
      names.push_back(std::move(name));
    }
    uint32_t blocks = prepared.grids[l];
    if (launch.persistent)
      blocks = static_cast<uint32_t>(std::min<int64_t>(
          blocks, std::max<int64_t>(home->properties().multiprocessors, 1)));
    LaunchRequest request{kernels[l],
                          blocks,
                          static_cast<uint32_t>(launch.threads),
                          static_cast<uint32_t>(launch.shared),
                          parameters,
                          names};
    if (Status status = home->launch(request, stream); !status)
      return status.error().in("kernel '" + launch.entry + "'");
  }
  return Status::success();
}

Status Executable::run(const std::vector<Tensor> &argumentTensors,
                       const std::vector<Tensor> &resultTensors,
                       const std::vector<int64_t> &scalarValues,
                       Stream stream) const {
  Prepared prepared;
  if (Status status =
          prepare(argumentTensors, resultTensors, scalarValues, prepared);
      !status)
    return status;
  if (Status status = checkData(prepared, stream); !status)
    return status;

  if (const char *wanted = std::getenv("ATTN_REMARKS");
      wanted && std::strcmp(wanted, "1") == 0)
    for (const std::string &remark : prepared.remarks)
      std::fprintf(stderr, "attn: remark: %s\n", remark.c_str());
  Status status = Status::success();
  std::vector<uint64_t> allocated;
  for (size_t b = 0; b < prepared.buffers.size() && status; ++b) {
    if (description.buffers[b].role != BufferRole::Temporary)
      continue;
    uint64_t bytes = extentOf(prepared.buffers[b])->size();
    Result<uint64_t> address = home->allocate(bytes, stream);
    if (!address) {
      status = address.error().in(nameOfBuffer(b));
      break;
    }
    prepared.buffers[b].data = *address;
    if (*address)
      allocated.push_back(*address);
  }
  if (status)
    status = launchAll(prepared, stream);
  for (uint64_t address : allocated)
    if (Status freed = home->free(address, stream); !freed && status)
      status = freed;
  return status;
}
