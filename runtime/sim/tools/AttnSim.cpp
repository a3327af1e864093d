//===- AttnSim.cpp - check PTX text, run a kernel on zeros -----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Simulator.h"
#include "attn/runtime/sim/TensorMap.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

using namespace attn::sim;

namespace {

const char help[] =
    R"(usage: attn-sim FILE.ptx [--entry=NAME [--grid=X[,Y[,Z]]] [--block=X[,Y[,Z]]] [options]]

Parses PTX text and verifies every instruction against its .version and .target. With --entry it also runs that
kernel on the CPU, checks every access, and prints the findings.

  --entry=NAME       kernel to run
  --grid=X[,Y[,Z]]   blocks (default 1)
  --block=X[,Y[,Z]]  threads of a block (default: .reqntid, else 32)
  --shared=BYTES     dynamic shared memory (default 0)
  --param=VALUE      next parameter: an integer (0x for hexadecimal), a float such as 1.5f, or buffer:BYTES for
                     the address of that many zero bytes, or tensor:TYPE:DIMS:BOX:SWIZZLE for a tensor map of
                     packed zeros, such as tensor:bf16:128x512:64x64:128, the innermost dimension first
  --mode=MODE        eager, lazy or random (default eager)
  --seed=N           seed of --mode=random
  --budget=N         warp instructions for each block before it counts as a hang
  --threads=N        worker threads (default: one for each core)
  --json             print the whole report as JSON on the standard output

Exit code: 0 if all is well, 1 for a problem of the text, a launch or a kernel, 2 for a wrong command line.
)";

bool take(const char *argument, const char *option, const char *&value) {
  size_t length = std::strlen(option);
  if (std::strncmp(argument, option, length) != 0)
    return false;
  value = argument + length;
  return true;
}

bool parseDim(const char *text, Dim3 &dim) {
  uint32_t *parts[] = {&dim.x, &dim.y, &dim.z};
  for (unsigned i = 0; i < 3; ++i) {
    char *end = nullptr;
    *parts[i] = uint32_t(std::strtoul(text, &end, 10));
    if (end == text)
      return false;
    if (*end == 0)
      return true;
    if (*end != ',')
      return false;
    text = end + 1;
  }
  return false;
}

/// `128x512` as numbers; the end of the text, or null.
const char *parseSizes(const char *text, uint64_t *sizes, unsigned &count) {
  for (count = 0; count < TensorMap::MaxRank; ++text) {
    char *end = nullptr;
    sizes[count++] = std::strtoull(text, &end, 10);
    if (end == text)
      return nullptr;
    text = end;
    if (*text != 'x')
      return text;
  }
  return nullptr;
}

/// `tensor:TYPE:DIMS:BOX:SWIZZLE` as a tensor map of fresh memory; says what is
/// wrong with it.
bool addTensor(const char *text, const Parameter &parameter,
               std::vector<uint8_t> &bytes, Memory &memory) {
  using Element = TensorMap::Element;
  const std::pair<const char *, Element> types[] = {
      {"u8:", Element::U8},   {"f16:", Element::F16}, {"bf16:", Element::BF16},
      {"f32:", Element::F32}, {"u32:", Element::U32}, {"f64:", Element::F64}};
  TensorMap map;
  const char *at = nullptr;
  for (const auto &[name, element] : types)
    if (take(text, name, at)) {
      map.element = element;
      break;
    }
  uint64_t box[TensorMap::MaxRank];
  unsigned boxRank = 0;
  if (!at || !(at = parseSizes(at, map.dims, map.rank)) || *at != ':' ||
      !(at = parseSizes(at + 1, box, boxRank)) || *at != ':' ||
      boxRank != map.rank || parameter.size != TensorMap::Bytes)
    return false;
  const char *const swizzles[] = {"0", "32", "64", "128"};
  unsigned swizzle = 0;
  while (swizzle < 4 && std::strcmp(at + 1, swizzles[swizzle]) != 0)
    ++swizzle;
  if (swizzle == 4)
    return false;
  map.swizzle = TensorMap::Swizzle(swizzle);
  uint64_t stride = bytesOf(map.element);
  for (unsigned i = 0; i < map.rank; ++i) {
    map.box[i] = uint32_t(box[i]);
    stride = (stride * map.dims[i] + 15) / 16 * 16;
    if (i + 1 < map.rank)
      map.strides[i] = stride;
  }
  map.address = memory.allocate(stride, parameter.name);
  Result<std::array<uint8_t, TensorMap::Bytes>> encoded = map.encode();
  if (!encoded) {
    std::fprintf(stderr, "attn-sim: %s\n", encoded.error().message.c_str());
    return false;
  }
  std::memcpy(bytes.data() + parameter.offset, encoded->data(),
              TensorMap::Bytes);
  return true;
}

/// Appends one parameter of the size that the entry declares.
bool addParameter(const char *text, const Parameter &parameter,
                  std::vector<uint8_t> &bytes, Memory &memory) {
  bytes.resize(parameter.offset + parameter.size);
  uint64_t value = 0;
  char *end = nullptr;
  if (std::strncmp(text, "tensor:", 7) == 0)
    return addTensor(text + 7, parameter, bytes, memory);
  if (std::strncmp(text, "buffer:", 7) == 0) {
    value = memory.allocate(std::strtoull(text + 7, &end, 0), parameter.name);
  } else if (std::strpbrk(text, ".") && text[std::strlen(text) - 1] == 'f') {
    float real = std::strtof(text, &end);
    std::memcpy(&value, &real, 4);
    ++end;
  } else {
    value = std::strtoull(text, &end, 0);
  }
  if (end == text || *end || parameter.size > 8)
    return false;
  std::memcpy(bytes.data() + parameter.offset, &value, parameter.size);
  return true;
}

int usage(const std::string &problem) {
  std::fprintf(stderr, "attn-sim: %s\n%s", problem.c_str(), help);
  return 2;
}

} // namespace

int main(int argc, char **argv) {
  const char *path = nullptr, *entryName = nullptr, *value = nullptr;
  std::vector<const char *> parameters;
  Dim3 grid, block{0, 1, 1};
  unsigned shared = 0;
  bool json = false;
  LaunchOptions options;
  for (int i = 1; i < argc; ++i) {
    const char *argument = argv[i];
    if (!std::strcmp(argument, "--help")) {
      std::fputs(help, stdout);
      return 0;
    }
    if (take(argument, "--entry=", value))
      entryName = value;
    else if (take(argument, "--grid=", value) ||
             take(argument, "--block=", value)) {
      if (!parseDim(value, argument[2] == 'g' ? grid : block))
        return usage(std::string("malformed ") + argument);
    } else if (take(argument, "--shared=", value))
      shared = unsigned(std::strtoul(value, nullptr, 0));
    else if (take(argument, "--param=", value))
      parameters.push_back(value);
    else if (take(argument, "--seed=", value))
      options.seed = std::strtoull(value, nullptr, 0);
    else if (take(argument, "--budget=", value))
      options.instructionBudget = std::strtoull(value, nullptr, 0);
    else if (take(argument, "--threads=", value))
      options.threads = unsigned(std::strtoul(value, nullptr, 0));
    else if (take(argument, "--mode=", value)) {
      std::string mode = value;
      if (mode != "eager" && mode != "lazy" && mode != "random")
        return usage("unknown mode '" + mode +
                     "': expected eager, lazy or random");
      options.mode = mode == "eager"  ? Mode::Eager
                     : mode == "lazy" ? Mode::Lazy
                                      : Mode::Random;
    } else if (!std::strcmp(argument, "--json"))
      json = true;
    else if (argument[0] == '-' && argument[1])
      return usage(std::string("unknown option '") + argument + "'");
    else if (path)
      return usage("more than one file");
    else
      path = argument;
  }
  if (!path)
    return usage("no file given");
  std::ifstream file(path);
  if (!file) {
    std::fprintf(stderr, "%s: error: cannot read the file\n", path);
    return 1;
  }
  std::string text((std::istreambuf_iterator<char>(file)),
                   std::istreambuf_iterator<char>());
  Result<Module> module = Module::parse(text);
  if (!module) {
    std::fprintf(stderr, "%s\n", module.error().render(path).c_str());
    return 1;
  }
  if (!entryName) {
    for (const Entry &entry : module->entries())
      std::printf("%s: %u parameters, %u bytes of static shared memory\n",
                  entry.name.c_str(), unsigned(entry.parameters.size()),
                  entry.staticShared);
    return 0;
  }
  Memory memory;
  std::vector<uint8_t> bytes;
  for (const Entry &entry : module->entries()) {
    if (entry.name != entryName)
      continue;
    if (parameters.size() != entry.parameters.size())
      return usage("'" + entry.name + "' takes " +
                   std::to_string(entry.parameters.size()) +
                   " parameters, found " + std::to_string(parameters.size()));
    for (size_t i = 0; i < parameters.size(); ++i)
      if (!addParameter(parameters[i], entry.parameters[i], bytes, memory))
        return usage(std::string("malformed parameter '") + parameters[i] +
                     "'");
    if (!block.x)
      block = entry.requiredThreads[0]
                  ? Dim3{entry.requiredThreads[0], entry.requiredThreads[1],
                         entry.requiredThreads[2]}
                  : Dim3{32, 1, 1};
  }
  LaunchReport report =
      Simulator::launch(*module, entryName, grid, block, shared, bytes.data(),
                        bytes.size(), memory, options);
  if (json)
    std::printf("%s\n", report.json().c_str());
  for (const Finding &finding : report.findings)
    std::fprintf(stderr, "%s:%u: %s: %s: %s\n", path, finding.line,
                 finding.severity == Severity::Error ? "error" : "warning",
                 name(finding.kind), finding.message.c_str());
  if (!json)
    std::printf(
        "%llu warp instructions, %llu mma, %llu wgmma, %llu bank conflicts, "
        "%llu of %llu sectors needed\n",
        static_cast<unsigned long long>(report.counters.warpInstructions),
        static_cast<unsigned long long>(report.counters.mma),
        static_cast<unsigned long long>(report.counters.wgmma),
        static_cast<unsigned long long>(report.counters.bankConflicts),
        static_cast<unsigned long long>(report.counters.idealSectors),
        static_cast<unsigned long long>(report.counters.globalSectors));
  return report.ok ? 0 : 1;
}
