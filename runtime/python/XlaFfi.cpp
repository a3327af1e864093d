//===- XlaFfi.cpp - see XlaFfi.h ------------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/python/XlaFfi.h"

#include <exception>
#include <string>

using namespace attn;
using namespace attn::xla;

static xla::Error *failWith(const Api &api, ErrorNumber code,
                            const char *message) {
  CreateError arguments = {sizeof arguments, nullptr, message, code};
  return api.createError(&arguments);
}

static Status collect(const Values &values, const char *what,
                      std::vector<const Buffer *> &buffers) {
  for (int64_t i = 0; i < values.count; ++i) {
    if (values.types[i] != argumentBuffer)
      return invalidArgument(std::string(what) + " " + std::to_string(i) +
                             ": expected a buffer");
    buffers.push_back(static_cast<const Buffer *>(values.values[i]));
  }
  return Status::success();
}

static Status execute(const CallFrame &frame, Status (*run)(const Call &call)) {
  Call call;
  for (int64_t i = 0; i < frame.attributes.count; ++i) {
    const Text &name = *frame.attributes.names[i];
    if (std::string_view(name.data, name.size) != "source" ||
        frame.attributes.types[i] != attributeString)
      continue;
    const auto &text = *static_cast<const Text *>(frame.attributes.values[i]);
    call.source = {text.data, text.size};
  }
  if (call.source.empty())
    return invalidArgument("expected an attribute 'source', found none");
  if (Status status = collect(frame.arguments, "argument", call.arguments);
      !status)
    return status;
  if (Status status = collect(frame.results, "result", call.results); !status)
    return status;
  return run(call);
}

xla::Error *xla::serve(CallFrame *frame, Status (*run)(const Call &call)) {
  for (Extension *e = frame->extensions; e; e = e->next) {
    if (e->type != extensionMetadata)
      continue;
    Metadata &metadata = *reinterpret_cast<MetadataExtension *>(e)->metadata;
    // The version that these declarations are of.
    metadata.version.major = 0;
    metadata.version.minor = 1;
    metadata.traits = 0;
    return nullptr;
  }
  if (frame->stage != stageExecute)
    return nullptr;
  try {
    Status status = execute(*frame, run);
    if (status)
      return nullptr;
    return failWith(*frame->api,
                    status.error().code == ErrorCode::InvalidArgument
                        ? errorInvalidArgument
                        : errorInternal,
                    status.error().message.c_str());
  } catch (const std::exception &exception) {
    return failWith(*frame->api, errorInternal, exception.what());
  }
}
