//===- SimDevice.h - The PTX simulator as a device --------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_SIMDEVICE_H
#define ATTN_RUNTIME_CORE_SIMDEVICE_H

#include "attn/runtime/core/ProcessDevice.h"
#include "attn/runtime/sim/Simulator.h"

#include <mutex>

namespace attn {

struct SimOptions {
  sim::LaunchOptions launch;
  /// A finding of severity error fails the launch; otherwise it is only
  /// reported.
  bool findingsAreErrors = true;
  /// The GPU whose compute capability and limits are simulated.
  std::string target = "sm_90a";
  /// How many blocks a persistent kernel has.
  int64_t multiprocessors = 2;
};

/// The options of attn_device_open's "sim".
Result<SimOptions> parseSimOptions(const DeviceOptions &options);

/// What the simulator saw in one launch.
struct SimLaunch {
  std::string entry;
  uint32_t blocks = 0;
  uint32_t threads = 0;
  uint32_t sharedBytes = 0;
  sim::LaunchReport report;
};

/// Runs PTX in the simulator on host memory. Launches are done when launch()
/// returns; streams have no effect. A kernel may touch exactly the elements of
/// the tensors that it was given (for tensors in very many pieces: their
/// range); anything else is a finding. New memory holds 0xFF bytes, which is
/// NaN in every float type.
class SimDevice final : public ProcessDevice {
public:
  static Result<std::shared_ptr<Device>> create(const SimOptions &options = {});

  DeviceKind kind() const override { return DeviceKind::Sim; }
  Result<std::unique_ptr<Module>> loadModule(const std::string &ptx) override;
  Status launch(const LaunchRequest &request, Stream stream) override;
  Result<std::string> report(bool clear) override;

  /// The launches since the last clear, for callers in C++.
  std::vector<SimLaunch> launches(bool clear);

private:
  SimDevice(const SimOptions &options, DeviceProperties limits);

  SimOptions options;
  std::mutex mutex; ///< guards `observed`, and one launch at a time
  std::vector<SimLaunch> observed;
};

} // namespace attn

#endif // ATTN_RUNTIME_CORE_SIMDEVICE_H
