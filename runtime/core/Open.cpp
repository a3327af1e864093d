//===- Open.cpp - Devices by name -----------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Device.h"
#include "attn/runtime/core/SimDevice.h"
#include "attn/runtime/cuda/CudaDevice.h"
#include "attn/runtime/host/HostDevice.h"

#include <charconv>
#include <nlohmann/json.hpp>

using namespace attn;

static std::string trimmed(const std::string &text) {
  size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string::npos)
    return "";
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

static Result<DeviceOptions> parseJsonOptions(const std::string &text) {
  nlohmann::json object = nlohmann::json::parse(text, nullptr, false);
  if (!object.is_object())
    return invalidArgument("device options: not a valid JSON object: " + text);
  DeviceOptions options;
  for (const auto &[key, value] : object.items()) {
    if (value.is_string())
      options[key] = value.get<std::string>();
    else if (value.is_boolean())
      options[key] = value.get<bool>() ? "on" : "off";
    else if (value.is_number_integer())
      options[key] = value.dump();
    else
      return invalidArgument("device option '" + key +
                             "': expected a text, an integer or a boolean");
  }
  return options;
}

Result<DeviceOptions> attn::parseDeviceOptions(const std::string &text) {
  std::string rest = trimmed(text);
  if (!rest.empty() && rest[0] == '{')
    return parseJsonOptions(rest);
  DeviceOptions options;
  while (!rest.empty()) {
    size_t comma = rest.find(',');
    std::string pair = trimmed(rest.substr(0, comma));
    rest = comma == std::string::npos ? "" : trimmed(rest.substr(comma + 1));
    size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      return invalidArgument("device options: expected key=value, found '" +
                             pair + "'");
    std::string key = trimmed(pair.substr(0, equals));
    if (!options.emplace(key, trimmed(pair.substr(equals + 1))).second)
      return invalidArgument("device option '" + key + "' is given twice");
  }
  return options;
}

Result<std::shared_ptr<Device>> attn::openDevice(const std::string &name,
                                                 const std::string &text) {
  Result<DeviceOptions> options = parseDeviceOptions(text);
  if (!options)
    return options.error();
  if (name == "sim") {
    Result<SimOptions> parsed = parseSimOptions(*options);
    if (!parsed)
      return parsed.error();
    return SimDevice::create(*parsed);
  }
  if (name == "host")
    return host::openHostDevice(*options);
  std::string index = name == "cuda" ? "0" : "";
  if (name.compare(0, 5, "cuda:") == 0)
    index = name.substr(5);
  int ordinal = -1;
  auto [end, failure] =
      std::from_chars(index.data(), index.data() + index.size(), ordinal);
  if (failure != std::errc() || end != index.data() + index.size() ||
      ordinal < 0)
    return invalidArgument("unknown device '" + name +
                           "', expected cuda, cuda:<number>, host or sim");
  return cuda::openCudaDevice(ordinal, *options);
}
