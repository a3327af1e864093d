//===- Run.cpp - see Run.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/attn-run/Run.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <random>

using namespace attn;
using namespace attn::run;

int64_t Value::integer() const {
  int64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

Value Value::fromInteger(int64_t value) {
  Value result;
  result.slot = {ElementType::Index, {}, false};
  result.bytes.assign(reinterpret_cast<const char *>(&value), sizeof value);
  return result;
}

static std::string ordinal(size_t number) {
  return "input " + std::to_string(number);
}

static Status checkShape(const Slot &slot, const std::vector<int64_t> &shape,
                         size_t number) {
  bool fits = slot.shape.size() == shape.size();
  for (size_t dim = 0; fits && dim < shape.size(); ++dim)
    fits = slot.shape[dim] < 0 || slot.shape[dim] == shape[dim];
  if (fits)
    return Status::success();
  std::string expected;
  for (int64_t extent : slot.shape)
    expected += (expected.empty() ? "" : "x") +
                (extent < 0 ? std::string("?") : std::to_string(extent));
  std::string found;
  for (int64_t extent : shape)
    found += (found.empty() ? "" : "x") + std::to_string(extent);
  return invalidArgument(ordinal(number) + ": expected shape " + expected +
                         ", found " + found);
}

Result<Value> run::readInput(const Slot &slot, const std::string &text,
                             size_t number) {
  if (!slot.isTensor) {
    char *end = nullptr;
    errno = 0;
    int64_t value = std::strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end || errno)
      return invalidArgument(ordinal(number) +
                             ": expected an integer, found '" + text + "'");
    return Value::fromInteger(value);
  }
  Result<NpyArray> array = readNpy(text);
  if (!array)
    return array.error().in(ordinal(number));
  if (Status status = checkShape(slot, array->shape, number); !status)
    return status.error();
  Result<std::string> bytes = convertNpy(*array, slot.type);
  if (!bytes)
    return bytes.error().in(ordinal(number));
  return Value{{slot.type, array->shape, true}, std::move(*bytes)};
}

Result<Value> run::randomInput(const Slot &slot,
                               const std::vector<int64_t> &shape, uint64_t seed,
                               size_t number) {
  if (!slot.isTensor || !isFloat(slot.type))
    return invalidArgument(ordinal(number) +
                           ": only float tensors can be random; give " +
                           (slot.isTensor ? "a file" : "an integer"));
  if (Status status = checkShape(slot, shape, number); !status)
    return status.error();
  Result<int64_t> count = elementCount(shape);
  if (!count)
    return count.error().in(ordinal(number));
  // Box-Muller on a generator that the standard fixes: std::normal_distribution
  // differs between libraries.
  std::mt19937_64 generator(seed * 0x9E3779B97F4A7C15u + number);
  auto uniform = [&] { return (double(generator() >> 11) + 0.5) * 0x1p-53; };
  NpyArray array{NpyType::F64, shape,
                 std::string(size_t(*count) * sizeof(double), '\0')};
  for (int64_t i = 0; i < *count; ++i) {
    double radius = std::sqrt(-2 * std::log(uniform()));
    double value = radius * std::cos(2 * M_PI * uniform());
    std::memcpy(&array.data[size_t(i) * sizeof value], &value, sizeof value);
  }
  Result<std::string> bytes = convertNpy(array, slot.type);
  if (!bytes)
    return bytes.error();
  return Value{{slot.type, shape, true}, std::move(*bytes)};
}

std::string run::poison(ElementType type, int64_t elements) {
  // All ones: a NaN in every float type that no conversion or arithmetic gives.
  return std::string(size_t(elements * sizeOf(type)), '\xff');
}

Result<std::vector<Value>> run::runOnDevice(const Executable &executable,
                                            const std::vector<Value> &inputs,
                                            double &seconds) {
  Device &device = executable.device();
  std::vector<Tensor> arguments, results;
  std::vector<int64_t> scalars;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<uint64_t> allocations;
  auto place = [&](ElementType type, const std::vector<int64_t> &shape,
                   const std::string &bytes) -> Result<Tensor> {
    Result<uint64_t> address = device.allocate(bytes.size(), nullptr);
    if (!address)
      return address.error();
    allocations.push_back(*address);
    Tensor tensor =
        Tensor::rowMajor(type, shape, *address, device.properties().memory);
    if (Status status = copyToTensor(device, tensor, bytes.data()); !status)
      return status.error();
    return tensor;
  };
  auto body = [&]() -> Result<std::vector<Value>> {
    for (const Value &input : inputs) {
      if (!input.slot.isTensor) {
        scalars.push_back(input.integer());
        continue;
      }
      Result<Tensor> tensor =
          place(input.slot.type, input.slot.shape, input.bytes);
      if (!tensor)
        return tensor.error();
      arguments.push_back(*tensor);
      shapes.push_back(input.slot.shape);
    }
    Result<std::vector<std::vector<int64_t>>> resultShapes =
        executable.resultShapes(shapes);
    if (!resultShapes)
      return resultShapes.error();
    std::vector<Value> outputs;
    for (size_t i = 0; i < resultShapes->size(); ++i) {
      ElementType type =
          executable.manifest().buffers[executable.resultBuffers()[i]].type;
      Result<int64_t> count = elementCount((*resultShapes)[i]);
      if (!count)
        return count.error();
      outputs.push_back(
          {{type, (*resultShapes)[i], true}, poison(type, *count)});
      Result<Tensor> tensor =
          place(type, (*resultShapes)[i], outputs.back().bytes);
      if (!tensor)
        return tensor.error();
      results.push_back(*tensor);
    }
    auto start = std::chrono::steady_clock::now();
    if (Status status = executable.run(arguments, results, scalars); !status)
      return status.error();
    if (Status status = device.synchronize(nullptr); !status)
      return status.error();
    seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    for (size_t i = 0; i < results.size(); ++i)
      if (Status status =
              copyFromTensor(device, outputs[i].bytes.data(), results[i]);
          !status)
        return status.error();
    return outputs;
  };
  Result<std::vector<Value>> outputs = body();
  for (uint64_t address : allocations)
    if (Status status = device.free(address, nullptr); !status && outputs.ok())
      return status.error();
  return outputs;
}
