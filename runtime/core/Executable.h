//===- Executable.h - A bundle on a device ----------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_EXECUTABLE_H
#define ATTN_RUNTIME_CORE_EXECUTABLE_H

#include "attn/runtime/core/Bundle.h"
#include "attn/runtime/core/Device.h"

namespace attn {

/// A bundle loaded on a device, ready to run. Holds its device. Running does
/// not change it: several threads may run one executable at once.
class Executable {
public:
  /// Checks that the device can run the bundle and loads its code.
  static Result<std::unique_ptr<Executable>>
  load(std::shared_ptr<Device> device, Bundle bundle);

  /// Runs the launches in order on `stream` without waiting for them. The
  /// tensor arguments, the results and the scalars are each in the order of the
  /// function's signature. Everything is checked before the first launch:
  ///  - counts; each tensor's device, type, rank, sizes and bound names;
  ///  - the last dimension contiguous, the address aligned, all of it inside
  ///    the address space;
  ///  - no result overlaps itself, nor densely another tensor;
  ///  - grids within the device's limits;
  ///  - the elements of integer arguments, as the manifest's checks ask, unless
  ///    the environment has ATTN_CHECK_DATA=0. On a GPU this copies them to the
  ///    host and waits for the stream.
  /// Temporaries are allocated for the run and given back in stream order.
  /// With ATTN_REMARKS=1 in the environment, stderr gets a line for each launch
  /// whose tensors make it take a slower way.
  Status run(const std::vector<Tensor> &arguments,
             const std::vector<Tensor> &results,
             const std::vector<int64_t> &scalars,
             Stream stream = nullptr) const;

  /// The shapes that the results have for arguments of these shapes.
  Result<std::vector<std::vector<int64_t>>>
  resultShapes(const std::vector<std::vector<int64_t>> &argumentShapes) const;

  const Manifest &manifest() const { return description; }
  Device &device() const { return *home; }

  /// In signature order: indices into the manifest's buffers or scalars.
  const std::vector<size_t> &argumentBuffers() const { return arguments; }
  const std::vector<size_t> &resultBuffers() const { return results; }
  const std::vector<size_t> &scalarOrder() const { return scalars; }

private:
  Executable(std::shared_ptr<Device> device, Manifest manifest);

  struct Binding;
  struct Prepared;
  Status bindShape(size_t buffer, const std::vector<int64_t> &shape,
                   Binding &binding) const;
  Status checkTensor(size_t buffer, const Tensor &tensor) const;
  Status checkOverlaps(const std::vector<Tensor> &tensors) const;
  Result<std::vector<int64_t>> shapeOf(size_t buffer,
                                       const Binding &binding) const;
  Status prepare(const std::vector<Tensor> &arguments,
                 const std::vector<Tensor> &results,
                 const std::vector<int64_t> &scalars, Prepared &prepared) const;
  Status checkData(const Prepared &prepared, Stream stream) const;
  Status launchAll(const Prepared &prepared, Stream stream) const;
  std::string nameOfBuffer(size_t buffer) const;

  std::shared_ptr<Device> home;
  Manifest description;
  std::unique_ptr<Module> module;
  std::vector<Kernel *> kernels; ///< one for each launch
  std::vector<size_t> arguments, results, scalars;
};

} // namespace attn

#endif // ATTN_RUNTIME_CORE_EXECUTABLE_H
