//===- XlaAbi.cpp - Our declarations of XLA's interface against its header ===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Compiled where JAX is installed, never linked.

#include "attn/runtime/python/XlaFfi.h"

#include "xla/ffi/api/c_api.h"

namespace ours = attn::xla;

static_assert(XLA_FFI_API_MAJOR == 0);
static_assert(ours::extensionMetadata == int(XLA_FFI_Extension_Metadata));
static_assert(ours::typePred == int(XLA_FFI_DataType_PRED));
static_assert(ours::typeS8 == int(XLA_FFI_DataType_S8));
static_assert(ours::typeS32 == int(XLA_FFI_DataType_S32));
static_assert(ours::typeS64 == int(XLA_FFI_DataType_S64));
static_assert(ours::typeF16 == int(XLA_FFI_DataType_F16));
static_assert(ours::typeF32 == int(XLA_FFI_DataType_F32));
static_assert(ours::typeBF16 == int(XLA_FFI_DataType_BF16));
static_assert(ours::argumentBuffer == int(XLA_FFI_ArgType_BUFFER));
static_assert(ours::argumentBuffer == int(XLA_FFI_RetType_BUFFER));
static_assert(ours::attributeString == int(XLA_FFI_AttrType_STRING));
static_assert(ours::stageExecute == int(XLA_FFI_ExecutionStage_EXECUTE));
static_assert(ours::errorInvalidArgument ==
              int(XLA_FFI_Error_Code_INVALID_ARGUMENT));
static_assert(ours::errorInternal == int(XLA_FFI_Error_Code_INTERNAL));

#define SAME_PLACE(ourType, ourField, theirType, theirField)                   \
  static_assert(                                                               \
      offsetof(ours::ourType, ourField) == offsetof(theirType, theirField) &&  \
      sizeof(ours::ourType::ourField) == sizeof(theirType::theirField))

SAME_PLACE(Extension, type, XLA_FFI_Extension_Base, type);
SAME_PLACE(Extension, next, XLA_FFI_Extension_Base, next);
SAME_PLACE(ApiVersion, major, XLA_FFI_Api_Version, major_version);
SAME_PLACE(ApiVersion, minor, XLA_FFI_Api_Version, minor_version);
SAME_PLACE(Metadata, version, XLA_FFI_Metadata, api_version);
SAME_PLACE(Metadata, traits, XLA_FFI_Metadata, traits);
SAME_PLACE(MetadataExtension, metadata, XLA_FFI_Metadata_Extension, metadata);
SAME_PLACE(CreateError, message, XLA_FFI_Error_Create_Args, message);
SAME_PLACE(CreateError, code, XLA_FFI_Error_Create_Args, errc);
SAME_PLACE(Api, createError, XLA_FFI_Api, XLA_FFI_Error_Create);
SAME_PLACE(Buffer, type, XLA_FFI_Buffer, dtype);
SAME_PLACE(Buffer, data, XLA_FFI_Buffer, data);
SAME_PLACE(Buffer, rank, XLA_FFI_Buffer, rank);
SAME_PLACE(Buffer, sizes, XLA_FFI_Buffer, dims);
SAME_PLACE(Text, data, XLA_FFI_ByteSpan, ptr);
SAME_PLACE(Text, size, XLA_FFI_ByteSpan, len);
SAME_PLACE(Values, count, XLA_FFI_Args, size);
SAME_PLACE(Values, types, XLA_FFI_Args, types);
SAME_PLACE(Values, values, XLA_FFI_Args, args);
SAME_PLACE(Values, count, XLA_FFI_Rets, size);
SAME_PLACE(Values, types, XLA_FFI_Rets, types);
SAME_PLACE(Values, values, XLA_FFI_Rets, rets);
SAME_PLACE(Attributes, count, XLA_FFI_Attrs, size);
SAME_PLACE(Attributes, types, XLA_FFI_Attrs, types);
SAME_PLACE(Attributes, names, XLA_FFI_Attrs, names);
SAME_PLACE(Attributes, values, XLA_FFI_Attrs, attrs);
SAME_PLACE(CallFrame, extensions, XLA_FFI_CallFrame, extension_start);
SAME_PLACE(CallFrame, api, XLA_FFI_CallFrame, api);
SAME_PLACE(CallFrame, stage, XLA_FFI_CallFrame, stage);
SAME_PLACE(CallFrame, arguments, XLA_FFI_CallFrame, args);
SAME_PLACE(CallFrame, results, XLA_FFI_CallFrame, rets);
SAME_PLACE(CallFrame, attributes, XLA_FFI_CallFrame, attrs);
