//===- DLPack.cpp - Tensors in DLPack's structures ------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/DLPack.h"

using namespace attn;
using namespace attn::dlpack;

attn_dl_type dlpack::toDLType(ElementType type) {
  auto bits = static_cast<uint8_t>(8 * sizeOf(type));
  switch (type) {
  case ElementType::F16:
  case ElementType::F32:
    return {ATTN_DL_FLOAT, bits, 1};
  case ElementType::BF16:
    return {ATTN_DL_BFLOAT, bits, 1};
  case ElementType::Bool:
    return {ATTN_DL_BOOL, bits, 1};
  case ElementType::I8:
  case ElementType::I32:
  case ElementType::I64:
  case ElementType::Index:
    break;
  }
  return {ATTN_DL_INT, bits, 1};
}

Result<ElementType> dlpack::fromDLType(attn_dl_type type) {
  for (ElementType candidate :
       {ElementType::F16, ElementType::BF16, ElementType::F32,
        ElementType::Bool, ElementType::I8, ElementType::I32,
        ElementType::I64}) {
    attn_dl_type expected = toDLType(candidate);
    if (type.code == expected.code && type.bits == expected.bits &&
        type.lanes == 1)
      return candidate;
  }
  return invalidArgument(
      "DLPack type with code " + std::to_string(type.code) + ", " +
      std::to_string(type.bits) + " bits and " + std::to_string(type.lanes) +
      " lanes is not one of f16, bf16, f32, bool, i8, i32, i64");
}

Result<Tensor> dlpack::toTensor(const attn_tensor &source) {
  Result<ElementType> type = fromDLType(source.dtype);
  if (!type)
    return type.error();
  if (source.ndim < 0)
    return invalidArgument("the DLPack tensor has the negative rank " +
                           std::to_string(source.ndim));
  if (source.ndim > 0 && !source.shape)
    return invalidArgument("the DLPack tensor has no shape");

  Tensor tensor;
  tensor.type = *type;
  switch (source.device.device_type) {
  case ATTN_DL_CPU:
  case ATTN_DL_CUDA_HOST:
    tensor.space = {MemorySpace::Kind::Host, 0};
    break;
  case ATTN_DL_CUDA:
  case ATTN_DL_CUDA_MANAGED:
    tensor.space = {MemorySpace::Kind::Cuda, source.device.device_id};
    break;
  default:
    return invalidArgument("DLPack device type " +
                           std::to_string(source.device.device_type) +
                           " is not CPU or CUDA");
  }
  tensor.shape.assign(source.shape, source.shape + source.ndim);
  if (source.strides)
    tensor.strides.assign(source.strides, source.strides + source.ndim);
  else
    tensor.strides = rowMajorStrides(tensor.shape);
  tensor.data = reinterpret_cast<uintptr_t>(source.data);
  tensor.byteOffset = source.byte_offset;
  Result<MemoryRange> range = extentOf(tensor);
  if (!range)
    return range.error();
  if (!source.data && range->size())
    return invalidArgument("the DLPack tensor has elements but no data");
  return tensor;
}

Result<Tensor> dlpack::toTensor(const ManagedTensor &source) {
  return toTensor(source.tensor);
}

Result<Tensor> dlpack::toTensor(const ManagedTensorVersioned &source) {
  if (source.version.major != majorVersion)
    return invalidArgument("expected a DLPack tensor of version " +
                           std::to_string(majorVersion) + ".x, found " +
                           std::to_string(source.version.major) + "." +
                           std::to_string(source.version.minor));
  return toTensor(source.tensor);
}

Result<attn_tensor> dlpack::fromTensor(Tensor &tensor) {
  if (Result<MemoryRange> range = extentOf(tensor); !range)
    return range.error();
  attn_tensor result = {};
  result.data = reinterpret_cast<void *>(tensor.data);
  result.device = {tensor.space.kind == MemorySpace::Kind::Host ? ATTN_DL_CPU
                                                                : ATTN_DL_CUDA,
                   tensor.space.index};
  result.ndim = static_cast<int32_t>(tensor.rank());
  result.dtype = toDLType(tensor.type);
  result.shape = tensor.shape.data();
  result.strides = tensor.strides.data();
  result.byte_offset = tensor.byteOffset;
  return result;
}

namespace {
struct Owned {
  Tensor tensor;
  std::shared_ptr<void> owner;
  ManagedTensor managed;
};
} // namespace

Result<ManagedTensor *> dlpack::toManaged(const Tensor &tensor,
                                          std::shared_ptr<void> owner) {
  auto owned = std::make_unique<Owned>();
  owned->tensor = tensor;
  owned->owner = std::move(owner);
  Result<attn_tensor> plain = fromTensor(owned->tensor);
  if (!plain)
    return plain.error();
  owned->managed.tensor = *plain;
  owned->managed.context = owned.get();
  owned->managed.deleter = [](ManagedTensor *self) {
    delete static_cast<Owned *>(self->context);
  };
  return &owned.release()->managed;
}
