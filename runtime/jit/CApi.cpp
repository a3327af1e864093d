//===- CApi.cpp - The C API over the compiler -----------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Devices and programs belong to libattn.so and are reached through attn.h
// alone: the two libraries share no C++ object.

#include "attn/runtime/core/CApiSupport.h"
#include "attn/runtime/core/DLPack.h"
#include "attn/runtime/core/Target.h"
#include "attn/runtime/jit/Compiler.h"
#include "attn/runtime/jit/Jit.h"
#include "attn/runtime/jit/OnceMap.h"
#include "attn/runtime/jit/attn_jit.h"

#include <charconv>
#include <cmath>
#include <limits>

using namespace attn;
using namespace attn::capi;

namespace {

/// A program of libattn.so with an owner.
struct Program {
  explicit Program(attn_program *handle) : handle(handle) {}
  Program(const Program &) = delete;
  Program &operator=(const Program &) = delete;
  ~Program() { attn_program_destroy(handle); }
  attn_program *handle;
};

} // namespace

struct attn_jit {
  attn_jit(const JitOptions &options, attn_device *device, std::string target)
      : jit(options), device(device), target(std::move(target)) {}

  Jit jit;
  attn_device *device;
  std::string target;
  /// Callers hold them without counting, so none is dropped before the end.
  OnceMap<Program> programs{std::numeric_limits<size_t>::max()};
};

/// The failure of a call of attn.h.
static Error failureOf(attn_status status) {
  return {static_cast<ErrorCode>(status), attn_error_message()};
}

static Result<JitOptions> parseOptions(const char *text) {
  Result<DeviceOptions> pairs = parseDeviceOptions(text ? text : "");
  if (!pairs)
    return pairs.error();
  JitOptions options;
  for (const auto &[key, value] : *pairs) {
    auto expected = [&, &key = key, &value = value](const char *what) {
      return invalidArgument("option '" + key + "': expected " + what +
                             ", found '" + value + "'");
    };
    if (key == "cache") {
      if (value != "on" && value != "off")
        return expected("on or off");
      options.diskCache = value == "on";
    } else if (key == "cache_dir") {
      options.cacheFolder = value;
    } else if (key == "cache_bytes") {
      auto [end, failure] = std::from_chars(
          value.data(), value.data() + value.size(), options.cacheBytes);
      if (failure != std::errc() || end != value.data() + value.size())
        return expected("a number of bytes");
    } else {
      return invalidArgument("unknown option '" + key +
                             "', expected cache, cache_dir or cache_bytes");
    }
  }
  return options;
}

/// `count` elements that start at `first`.
static Status checkList(const void *first, int32_t count, const char *what) {
  if (count < 0)
    return invalidArgument(std::string(what) +
                           ": expected a number of at "
                           "least 0, found " +
                           std::to_string(count));
  if (count > 0 && !first)
    return isNull(what);
  return Status::success();
}

static Status readNames(const char *const *names, int32_t count,
                        const char *what, std::vector<std::string> &result) {
  if (Status status = checkList(names, count, what); !status)
    return status;
  for (int32_t i = 0; i < count; ++i) {
    if (!names[i])
      return isNull(std::string(what) + "[]");
    result.emplace_back(names[i]);
  }
  return Status::success();
}

static Status readTensors(const attn_spec &spec,
                          std::vector<AttentionSpec::Tensor> &result) {
  if (Status status = checkList(spec.tensors, spec.num_tensors, "spec.tensors");
      !status)
    return status;
  for (int32_t i = 0; i < spec.num_tensors; ++i) {
    const attn_spec_tensor &tensor = spec.tensors[i];
    std::string place = "spec.tensors[" + std::to_string(i) + "]";
    if (!tensor.name)
      return isNull(place + ".name");
    Result<ElementType> type = dlpack::fromDLType(tensor.dtype);
    if (!type)
      return type.error().in(place + ".dtype");
    if (Status status =
            checkList(tensor.shape, tensor.ndim, (place + ".shape").c_str());
        !status)
      return status;
    result.push_back(
        {tensor.name, *type,
         std::vector<int64_t>(tensor.shape, tensor.shape + tensor.ndim)});
  }
  return Status::success();
}

static Result<std::string> readSpec(const attn_spec *spec) {
  if (!spec)
    return isNull("spec");
  if (spec->size != sizeof(attn_spec))
    return invalidArgument("spec.size: expected " +
                           std::to_string(sizeof(attn_spec)) + ", found " +
                           std::to_string(spec->size) +
                           "; call attn_spec_init first");
  AttentionSpec result;
  Result<ElementType> type = dlpack::fromDLType(spec->dtype);
  if (!type)
    return type.error().in("spec.dtype");
  if (spec->alignment < ATTN_ALIGN_END ||
      spec->alignment > ATTN_ALIGN_OFFSET_PER_BATCH)
    return invalidArgument("spec.alignment: expected 0 to 3, found " +
                           std::to_string(spec->alignment));
  result.type = *type;
  result.alignment = static_cast<AttentionSpec::Alignment>(spec->alignment);
  result.batch = spec->batch;
  result.queryHeads = spec->query_heads;
  result.kvHeads = spec->kv_heads;
  result.queries = spec->queries;
  result.keys = spec->keys;
  result.headSize = spec->head_size;
  result.valueHeadSize = spec->value_head_size;
  if (spec->mask)
    result.mask = spec->mask;
  if (Status status = readNames(spec->symbols, spec->num_symbols,
                                "spec.symbols", result.symbols);
      !status)
    return status.error();
  if (Status status = readTensors(*spec, result.tensors); !status)
    return status.error();
  if (Status status = readNames(spec->score_inputs, spec->num_score_inputs,
                                "spec.score_inputs", result.scoreInputs);
      !status)
    return status.error();
  if (spec->softcap != 0)
    result.softcap = spec->softcap;
  for (auto [text, target] : {std::pair(spec->bias, &result.bias),
                              {spec->alibi, &result.alibi},
                              {spec->sinks, &result.sinks},
                              {spec->score, &result.score}})
    if (text)
      *target = text;
  if (!std::isnan(spec->scale))
    result.scale = spec->scale;
  result.lse = spec->lse != 0;
  return toMlir(result);
}

static Status compile(attn_jit *jit, std::string source, const char *function,
                      attn_program **program) {
  CompileRequest request = {std::move(source), function ? function : "",
                            jit->target};
  using Value = OnceMap<Program>::Value;
  bool wasThere = false;
  Value value = jit->programs.get(
      request.function + '\0' + request.source,
      [&]() -> Value {
        Result<std::shared_ptr<const Bundle>> bundle =
            jit->jit.compile(request);
        if (!bundle)
          return bundle.error();
        Result<std::string> manifest = writeManifest((*bundle)->manifest);
        if (!manifest)
          return manifest.error();
        attn_program *handle = nullptr;
        if (attn_status status = attn_program_load_memory(
                jit->device, manifest->data(), manifest->size(),
                (*bundle)->code.data(), (*bundle)->code.size(), &handle))
          return failureOf(status);
        return std::make_shared<const Program>(handle);
      },
      wasThere);
  if (!value)
    return value.error();
  *program = (*value)->handle;
  return Status::success();
}

attn_status attn_jit_check_abi(uint32_t abi) {
  return guarded([&]() -> Status {
    if (abi != ATTN_JIT_ABI_VERSION)
      return Error{ErrorCode::Unsupported,
                   "this library has binary interface " +
                       std::to_string(ATTN_JIT_ABI_VERSION) +
                       ", the caller was compiled for " + std::to_string(abi)};
    if (attn_status status = ATTN_CHECK_ABI())
      return failureOf(status);
    return Status::success();
  });
}

const char *attn_jit_error_message(void) { return lastError().c_str(); }

void attn_jit_string_free(char *text) { std::free(text); }

attn_status attn_jit_create(attn_device *device, const char *options,
                            attn_jit **jit) {
  return guarded([&]() -> Status {
    if (!jit)
      return isNull("jit");
    *jit = nullptr;
    if (!device)
      return isNull("device");
    attn_device_info info;
    if (attn_status status = attn_device_get_info(device, &info))
      return failureOf(status);
    Result<std::string> target = targetFor(info.target, info.name);
    if (!target)
      return target.error();
    Result<JitOptions> parsed = parseOptions(options);
    if (!parsed)
      return parsed.error();
    *jit = new attn_jit(*parsed, device, std::move(*target));
    return Status::success();
  });
}

void attn_jit_destroy(attn_jit *jit) {
  (void)guarded([&]() -> Status {
    delete jit;
    return Status::success();
  });
}

void attn_spec_init(attn_spec *spec) {
  if (!spec)
    return;
  *spec = {};
  spec->size = sizeof *spec;
  spec->dtype = {ATTN_DL_FLOAT, 16, 1};
  spec->batch = spec->query_heads = spec->kv_heads = -1;
  spec->queries = spec->keys = -1;
  spec->scale = std::nan("");
}

attn_status attn_spec_to_mlir(const attn_spec *spec, char **source) {
  return guarded([&]() -> Status {
    if (!source)
      return isNull("source");
    *source = nullptr;
    Result<std::string> text = readSpec(spec);
    if (!text)
      return text.error();
    *source = copyText(*text);
    return Status::success();
  });
}

attn_status attn_jit_compile_spec(attn_jit *jit, const attn_spec *spec,
                                  attn_program **program) {
  return guarded([&]() -> Status {
    if (!program)
      return isNull("program");
    *program = nullptr;
    if (!jit)
      return isNull("jit");
    Result<std::string> source = readSpec(spec);
    if (!source)
      return source.error();
    return compile(jit, std::move(*source), nullptr, program);
  });
}

attn_status attn_jit_compile(attn_jit *jit, const char *source, size_t size,
                             const char *function, attn_program **program) {
  return guarded([&]() -> Status {
    if (!program)
      return isNull("program");
    *program = nullptr;
    if (!jit)
      return isNull("jit");
    if (!source)
      return isNull("source");
    return compile(jit, std::string(source, size), function, program);
  });
}

attn_status attn_jit_emit(attn_jit *jit, const char *source, size_t size,
                          const char *function, const char *target,
                          char **manifest, char **code, size_t *code_size) {
  return guarded([&]() -> Status {
    if (!manifest || !code || !code_size)
      return isNull(!manifest ? "manifest" : !code ? "code" : "code_size");
    *manifest = *code = nullptr;
    if (!jit)
      return isNull("jit");
    if (!source)
      return isNull("source");
    Result<std::shared_ptr<const Bundle>> bundle =
        jit->jit.compile({std::string(source, size), function ? function : "",
                          target ? target : jit->target});
    if (!bundle)
      return bundle.error();
    Result<std::string> text = writeManifest((*bundle)->manifest);
    if (!text)
      return text.error();
    std::unique_ptr<char, decltype(&std::free)> first(copyText(*text),
                                                      std::free);
    *code = copyText((*bundle)->code);
    *code_size = (*bundle)->code.size();
    *manifest = first.release();
    return Status::success();
  });
}

attn_status attn_jit_get_statistics(attn_jit *jit,
                                    attn_jit_statistics *statistics) {
  return guarded([&]() -> Status {
    if (!jit)
      return isNull("jit");
    if (!statistics)
      return isNull("statistics");
    Jit::Statistics seen = jit->jit.statistics();
    *statistics = {seen.memoryHits, seen.diskHits, seen.compilations};
    return Status::success();
  });
}
