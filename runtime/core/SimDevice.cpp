//===- SimDevice.cpp - The PTX simulator as a device ----------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/SimDevice.h"

#include "attn/runtime/core/Target.h"
#include "attn/runtime/core/TensorMaps.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

using namespace attn;

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

namespace {

/// Takes the options one by one and knows which are left.
class OptionReader {
public:
  explicit OptionReader(DeviceOptions options) : options(std::move(options)) {}

  template <typename T>
  Status number(const std::string &key, T &value) {
    std::optional<std::string> text = take(key);
    if (!text)
      return Status::success();
    const char *begin = text->data(), *end = begin + text->size();
    auto [rest, failure] = std::from_chars(begin, end, value);
    if (failure == std::errc() && rest == end && begin != end)
      return Status::success();
    return bad(key, "a number of at least 0", *text);
  }

  /// The index in `words` of the option's text.
  Status word(const std::string &key, const std::vector<std::string> &words,
              size_t &index) {
    std::optional<std::string> text = take(key);
    if (!text)
      return Status::success();
    std::string list;
    for (size_t i = 0; i < words.size(); ++i) {
      if (*text == words[i]) {
        index = i;
        return Status::success();
      }
      list += (i ? (i + 1 == words.size() ? " or " : ", ") : "") + words[i];
    }
    return bad(key, list, *text);
  }

  std::optional<std::string> take(const std::string &key) {
    auto node = options.extract(key);
    return node ? std::optional(node.mapped()) : std::nullopt;
  }

  static Error bad(const std::string &key, const std::string &expected,
                   const std::string &found) {
    return invalidArgument("device option '" + key + "': expected " + expected +
                           ", found '" + found + "'");
  }

  const DeviceOptions &left() const { return options; }

private:
  DeviceOptions options;
};

} // namespace

Result<SimOptions> attn::parseSimOptions(const DeviceOptions &options) {
  SimOptions result;
  OptionReader reader(options);
  size_t mode = 0, checks = 1, findings = 0;
  for (const Status &status :
       {reader.word("mode", {"eager", "lazy", "random"}, mode),
        reader.number("seed", result.launch.seed),
        reader.number("budget", result.launch.instructionBudget),
        reader.number("threads", result.launch.threads),
        reader.number("multiprocessors", result.multiprocessors),
        reader.word("checks", {"off", "on"}, checks),
        reader.word("findings", {"error", "report"}, findings)})
    if (!status)
      return status.error();
  if (result.multiprocessors < 1)
    return OptionReader::bad("multiprocessors", "a number of at least 1",
                             std::to_string(result.multiprocessors));
  if (std::optional<std::string> target = reader.take("target")) {
    if (!parseTarget(*target))
      return OptionReader::bad("target", "a GPU such as sm_80 or sm_90a",
                               *target);
    result.target = *target;
  }
  if (!reader.left().empty())
    return invalidArgument(
        "unknown option '" + reader.left().begin()->first +
        "' of device 'sim', expected mode, seed, budget, threads, "
        "multiprocessors, checks, findings or target");
  result.launch.mode = mode == 0   ? sim::Mode::Eager
                       : mode == 1 ? sim::Mode::Lazy
                                   : sim::Mode::Random;
  result.launch.checkRaces = result.launch.checkInitialised = checks == 1;
  result.findingsAreErrors = findings == 0;
  return result;
}

//===----------------------------------------------------------------------===//
// The memory of one launch
//===----------------------------------------------------------------------===//

namespace {

// Past this many pieces a tensor is mapped as one range: the exact bounds are
// not worth the look-ups.
constexpr size_t maxPieces = 1 << 14;
// A range with holes of this size is never mapped as a whole.
constexpr uint64_t maxWholeRange = uint64_t(1) << 32;

/// The runs of consecutive bytes that hold the tensor's elements; nothing if
/// there are too many or they overlap.
std::optional<std::vector<sim::Memory::Segment>> piecesOf(const Tensor &tensor,
                                                          uint64_t origin) {
  Tensor moving = tensor;
  for (size_t d = 0; d < moving.rank(); ++d)
    if (moving.strides[d] == 0)
      moving.shape[d] = 1; // every index is the same element
  if (!hasNestedStrides(moving))
    return std::nullopt;
  auto bytes = static_cast<uint64_t>(sizeOf(tensor.type));
  // Finest dimension first: it extends the runs, or else it repeats them.
  std::vector<size_t> order;
  for (size_t d = 0; d < moving.rank(); ++d)
    if (moving.shape[d] > 1)
      order.push_back(d);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::abs(moving.strides[a]) < std::abs(moving.strides[b]);
  });
  std::vector<uint64_t> starts = {0}; // from `origin`
  uint64_t run = bytes;
  for (size_t d : order) {
    auto size = static_cast<uint64_t>(moving.shape[d]);
    uint64_t step = static_cast<uint64_t>(std::abs(moving.strides[d])) * bytes;
    if (step == run && starts.size() == 1) {
      run *= size;
      continue;
    }
    if (size > maxPieces / starts.size())
      return std::nullopt;
    size_t count = starts.size();
    for (uint64_t i = 1; i < size; ++i)
      for (size_t s = 0; s < count; ++s)
        starts.push_back(starts[s] + i * step);
  }
  std::vector<sim::Memory::Segment> pieces;
  pieces.reserve(starts.size());
  for (uint64_t start : starts)
    pieces.push_back({start, reinterpret_cast<void *>(origin + start),
                      static_cast<size_t>(run)});
  return pieces;
}

/// Maps `tensor` into `memory`; the device address of its first element.
Result<uint64_t> mapTensor(sim::Memory &memory, const Tensor &tensor,
                           const std::string &name) {
  MemoryRange range = *extentOf(tensor);
  if (range.size() == 0)
    return uint64_t(0);
  // The simulator's addresses are multiples of 256; a kernel must see the
  // alignment that the tensor really has.
  uint64_t lead = range.begin % 256;
  std::vector<sim::Memory::Segment> segments;
  if (auto pieces = piecesOf(tensor, range.begin))
    segments = std::move(*pieces);
  else if (range.size() <= maxWholeRange)
    segments = {{0, reinterpret_cast<void *>(range.begin),
                 static_cast<size_t>(range.size())}};
  for (sim::Memory::Segment &segment : segments)
    segment.offset += lead;
  uint64_t device =
      segments.empty()
          ? 0
          : memory.registerExtent(lead + range.size(), segments, name);
  if (!device)
    return Error{ErrorCode::Unsupported,
                 "the simulator cannot map the memory of '" + name +
                     "': too many separate pieces over too large a range"};
  return device + lead + (tensor.address() - range.begin);
}

class SimKernel final : public Kernel {
public:
  SimKernel(sim::Module module, sim::Entry entry)
      : module(std::move(module)), entry(std::move(entry)) {}
  sim::Module module;
  sim::Entry entry;
};

class SimModule final : public Module {
public:
  SimModule(const sim::Module &module, const DeviceProperties &limits)
      : limits(limits) {
    for (sim::Entry &entry : module.entries()) {
      std::string name = entry.name;
      kernels.emplace(name,
                      std::make_unique<SimKernel>(module, std::move(entry)));
    }
  }

  Result<Kernel *> kernel(const std::string &entry,
                          int64_t sharedBytes) override {
    auto found = kernels.find(entry);
    if (found != kernels.end()) {
      if (Status status = checkSharedMemory(
              limits, found->second->entry.staticShared, sharedBytes);
          !status)
        return status.error();
      return static_cast<Kernel *>(found->second.get());
    }
    std::string names;
    for (const auto &item : kernels)
      names += (names.empty() ? "" : ", ") + item.first;
    return Error{ErrorCode::InvalidBundle,
                 "the code has no such entry, it has: " + names};
  }

private:
  const DeviceProperties &limits; ///< of the device, which outlives its modules
  std::map<std::string, std::unique_ptr<SimKernel>> kernels;
};

} // namespace

//===----------------------------------------------------------------------===//
// The device
//===----------------------------------------------------------------------===//

Result<std::shared_ptr<Device>> SimDevice::create(const SimOptions &options) {
  std::optional<Target> target = parseTarget(options.target);
  if (!target)
    return OptionReader::bad("target", "a GPU such as sm_80 or sm_90a",
                             options.target);
  DeviceProperties limits;
  limits.name = "simulated " + options.target;
  limits.major = target->major;
  limits.minor = target->minor;
  limits.multiprocessors = options.multiprocessors;
  limits.sharedMemoryPerBlock =
      sharedMemoryPerBlock(target->major, target->minor);
  limits.threadsPerBlock = 1024;
  return std::shared_ptr<Device>(new SimDevice(options, std::move(limits)));
}

SimDevice::SimDevice(const SimOptions &options, DeviceProperties limits)
    : ProcessDevice(std::move(limits), /*alignment=*/256, /*poisoned=*/true),
      options(options) {}

Result<std::unique_ptr<Module>> SimDevice::loadModule(const std::string &ptx) {
  auto module = sim::Module::parse(ptx);
  if (!module)
    return Error{ErrorCode::InvalidBundle, module.error().render("ptx")};
  return std::unique_ptr<Module>(std::make_unique<SimModule>(*module, limits));
}

/// The first findings as text, one in each line.
static std::string describe(const sim::LaunchReport &report) {
  constexpr size_t shown = 5;
  size_t errors = 0;
  std::string text;
  for (const sim::Finding &finding : report.findings) {
    if (finding.severity != sim::Severity::Error || ++errors > shown)
      continue;
    text += "\n  " + std::string(sim::name(finding.kind));
    if (finding.line)
      text += " at line " + std::to_string(finding.line);
    text += ", block " + std::to_string(finding.block[0]) + ", warp " +
            std::to_string(finding.warp) + ": " + finding.message;
  }
  if (errors > shown)
    text += "\n  and " + std::to_string(errors - shown) + " more";
  return "the simulator found " + std::to_string(errors) +
         (errors == 1 ? " defect" : " defects") + text;
}

Status SimDevice::launch(const LaunchRequest &request, Stream) {
  auto &kernel = *static_cast<SimKernel *>(request.kernel);
  std::lock_guard<std::mutex> lock(mutex);

  bool fits = kernel.entry.parameters.size() == request.parameters.size();
  for (size_t p = 0; fits && p < request.parameters.size(); ++p) {
    const sim::Parameter &declared = kernel.entry.parameters[p];
    fits = request.parameters[p].map
               ? declared.size == sim::TensorMap::Bytes &&
                     declared.alignment % sim::TensorMap::Alignment == 0
               : declared.size == 8;
  }
  if (!fits)
    return Error{
        ErrorCode::InvalidBundle,
        "the manifest has " + std::to_string(request.parameters.size()) +
            " parameters of 8 bytes, or 128 for tensor maps, the code "
            "declares " +
            std::to_string(kernel.entry.parameters.size()) + " parameters of " +
            std::to_string(kernel.entry.parameterBytes) + " bytes in all"};

  // Mapped afresh for each launch, and each tensor once.
  sim::Memory memory;
  std::map<const Tensor *, uint64_t> mapped;
  std::vector<uint8_t> values(kernel.entry.parameterBytes);
  for (size_t p = 0; p < request.parameters.size(); ++p) {
    const KernelParameter &parameter = request.parameters[p];
    uint8_t *place = values.data() + kernel.entry.parameters[p].offset;
    if (!parameter.pointer) {
      if (!parameter.map)
        std::memcpy(place, &parameter.value, 8);
      continue;
    }
    auto known = mapped.find(parameter.pointer);
    if (known == mapped.end()) {
      Result<uint64_t> address =
          mapTensor(memory, *parameter.pointer, request.names[p]);
      if (!address)
        return address.error();
      known = mapped.emplace(parameter.pointer, *address).first;
    }
    if (!parameter.map) {
      std::memcpy(place, &known->second, 8);
      continue;
    }
    Tensor there = *parameter.pointer;
    there.data = known->second;
    there.byteOffset = 0;
    Result<sim::TensorMap> map = describeTensorMap(there, *parameter.map);
    if (!map)
      return map.error().in("'" + request.names[p] + "'");
    auto encoded = map->encode();
    if (!encoded)
      return Error{ErrorCode::InvalidBundle,
                   "'" + request.names[p] + "': " + encoded.error().message};
    std::copy(encoded->begin(), encoded->end(), place);
  }

  SimLaunch launch;
  launch.entry = kernel.entry.name;
  launch.blocks = request.blocks;
  launch.threads = request.threads;
  launch.sharedBytes = request.sharedBytes;
  launch.report = sim::Simulator::launch(
      kernel.module, kernel.entry.name, {request.blocks, 1, 1},
      {request.threads, 1, 1}, request.sharedBytes, values.data(),
      values.size(), memory, options.launch);
  Status status = Status::success();
  if (!launch.report.ok && options.findingsAreErrors)
    status = Error{ErrorCode::Finding, describe(launch.report)};
  observed.push_back(std::move(launch));
  return status;
}

std::vector<SimLaunch> SimDevice::launches(bool clear) {
  std::lock_guard<std::mutex> lock(mutex);
  if (clear)
    return std::exchange(observed, {});
  return observed;
}

Result<std::string> SimDevice::report(bool clear) {
  std::string text;
  for (const SimLaunch &launch : launches(clear))
    text += std::string(text.empty() ? "" : ",") + "\n{\"entry\": \"" +
            launch.entry + "\", \"blocks\": " + std::to_string(launch.blocks) +
            ", \"threads\": " + std::to_string(launch.threads) +
            ", \"shared\": " + std::to_string(launch.sharedBytes) +
            ", \"report\": " + launch.report.json() + "}";
  return "{\"device\": \"" + limits.name + "\", \"launches\": [" + text +
         "]}\n";
}
