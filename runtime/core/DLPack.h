//===- DLPack.h - Tensors in DLPack's structures ----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// The binary interface of DLPack 1.0 in this project's own declarations. The
// plain tensor is attn.h's attn_tensor; the managed ones exist here only. The
// layout of all of them has not changed since; a later major version changes
// only what follows ManagedTensorVersioned::version.

#ifndef ATTN_RUNTIME_CORE_DLPACK_H
#define ATTN_RUNTIME_CORE_DLPACK_H

#include "attn/runtime/attn.h"
#include "attn/runtime/core/Tensor.h"

#include <memory>

namespace attn::dlpack {

/// `DLManagedTensor`: a tensor with an owner. Its receiver calls `deleter`.
struct ManagedTensor {
  attn_tensor tensor;
  void *context;
  void (*deleter)(ManagedTensor *self);
};

/// `DLPackVersion`.
struct Version {
  uint32_t major;
  uint32_t minor;
};

inline constexpr uint32_t majorVersion = 1;
inline constexpr uint64_t flagReadOnly = 1;

/// `DLManagedTensorVersioned`. `version`, `context` and `deleter` are readable
/// whatever the version; the rest only under a known major version.
struct ManagedTensorVersioned {
  Version version;
  void *context;
  void (*deleter)(ManagedTensorVersioned *self);
  uint64_t flags;
  attn_tensor tensor;
};

static_assert(sizeof(void *) != 8 || sizeof(ManagedTensor) == 64);
static_assert(sizeof(void *) != 8 || offsetof(ManagedTensor, deleter) == 56);
static_assert(sizeof(void *) != 8 || sizeof(ManagedTensorVersioned) == 80);
static_assert(sizeof(void *) != 8 ||
              offsetof(ManagedTensorVersioned, tensor) == 32);

/// The tensor that `source` describes, as a view: `source` and what owns it
/// must outlive the view's memory, not the view. Missing strides mean
/// row-major. Host and pinned memory become Host, CUDA and managed memory Cuda.
Result<Tensor> toTensor(const attn_tensor &source);
Result<Tensor> toTensor(const ManagedTensor &source);
Result<Tensor> toTensor(const ManagedTensorVersioned &source);

/// `tensor` in DLPack's form; shape and strides point into `tensor`.
Result<attn_tensor> fromTensor(Tensor &tensor);

/// A managed tensor over `tensor` that holds `owner` until its deleter runs.
Result<ManagedTensor *> toManaged(const Tensor &tensor,
                                  std::shared_ptr<void> owner);

/// The DLPack type of an element type and back.
attn_dl_type toDLType(ElementType type);
Result<ElementType> fromDLType(attn_dl_type type);

} // namespace attn::dlpack

#endif // ATTN_RUNTIME_CORE_DLPACK_H
