//===- DLPackTest.cpp - Tensors in DLPack's structures --------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/DLPack.h"
#include "attn/test/runtime/core/TestSupport.h"

using namespace attn;
using namespace attn::test;
using dlpack::toTensor;

namespace {

struct Sample {
  char bytes[64] = {};
  int64_t shape[2] = {2, 3};
  int64_t strides[2] = {5, 1};
  attn_tensor tensor = {bytes, {ATTN_DL_CPU, 0}, 2, {ATTN_DL_BFLOAT, 16, 1},
                        shape, strides,          4};
};

TEST(DLPack, ReadsATensor) {
  Sample s;
  Result<Tensor> t = toTensor(s.tensor);
  ASSERT_TRUE(t) << errorOf(t);
  EXPECT_EQ(t->type, ElementType::BF16);
  EXPECT_EQ(t->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(t->strides, (std::vector<int64_t>{5, 1}));
  EXPECT_EQ(t->address(), reinterpret_cast<uintptr_t>(s.bytes) + 4);
  EXPECT_EQ(t->space.kind, MemorySpace::Kind::Host);
}

TEST(DLPack, MissingStridesAreRowMajor) {
  Sample s;
  s.tensor.strides = nullptr;
  EXPECT_EQ(toTensor(s.tensor)->strides, (std::vector<int64_t>{3, 1}));
  s.tensor.ndim = 0;
  s.tensor.shape = nullptr;
  EXPECT_EQ(toTensor(s.tensor)->rank(), 0u);
}

TEST(DLPack, Devices) {
  Sample s;
  s.tensor.device = {ATTN_DL_CUDA, 3};
  EXPECT_EQ(toText(toTensor(s.tensor)->space), "cuda:3");
  s.tensor.device = {ATTN_DL_CUDA_MANAGED, 1};
  EXPECT_EQ(toText(toTensor(s.tensor)->space), "cuda:1");
  s.tensor.device = {ATTN_DL_CUDA_HOST, 1};
  EXPECT_EQ(toText(toTensor(s.tensor)->space), "host");
  s.tensor.device = {10, 0};
  EXPECT_EQ(errorOf(toTensor(s.tensor)),
            "DLPack device type 10 is not CPU or CUDA");
}

TEST(DLPack, Types) {
  for (ElementType type :
       {ElementType::F16, ElementType::BF16, ElementType::F32, ElementType::I32,
        ElementType::I64})
    EXPECT_EQ(*dlpack::fromDLType(dlpack::toDLType(type)), type);
  EXPECT_EQ(errorOf(dlpack::fromDLType({ATTN_DL_FLOAT, 64, 1})),
            "DLPack type with code 2, 64 bits and 1 lanes is not one of f16, "
            "bf16, f32, bool, i8, i32, i64");
  EXPECT_FALSE(dlpack::fromDLType({ATTN_DL_FLOAT, 16, 2}));
  EXPECT_FALSE(dlpack::fromDLType({ATTN_DL_UINT, 32, 1}));
}

TEST(DLPack, RefusesMalformedTensors) {
  Sample s;
  s.tensor.ndim = -1;
  EXPECT_EQ(errorOf(toTensor(s.tensor)),
            "the DLPack tensor has the negative rank -1");
  s = Sample();
  s.tensor.shape = nullptr;
  EXPECT_EQ(errorOf(toTensor(s.tensor)), "the DLPack tensor has no shape");
  Sample empty;
  empty.tensor.data = nullptr;
  EXPECT_EQ(errorOf(toTensor(empty.tensor)),
            "the DLPack tensor has elements but no data");
  empty.shape[1] = 0;
  EXPECT_TRUE(toTensor(empty.tensor));
  Sample huge;
  huge.strides[0] = INT64_MAX;
  EXPECT_EQ(errorOf(toTensor(huge.tensor)),
            "its elements reach outside the 64-bit address space");
  Sample offset;
  offset.tensor.byte_offset = UINT64_MAX - 100;
  EXPECT_FALSE(toTensor(offset.tensor));
}

TEST(DLPack, ManagedTensorsOwnAndRoundTrip) {
  Sample s;
  Tensor t = *toTensor(s.tensor);
  auto owner = std::make_shared<int>(1);
  std::weak_ptr<int> watch = owner;
  Result<dlpack::ManagedTensor *> managed =
      dlpack::toManaged(t, std::move(owner));
  ASSERT_TRUE(managed);
  EXPECT_FALSE(watch.expired());
  Result<Tensor> back = toTensor(**managed);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->shape, t.shape);
  EXPECT_EQ(back->strides, t.strides);
  EXPECT_EQ(back->address(), t.address());
  EXPECT_EQ(back->type, t.type);
  (*managed)->deleter(*managed);
  EXPECT_TRUE(watch.expired());
}

TEST(DLPack, VersionedTensorsNeedAKnownMajorVersion) {
  Sample s;
  dlpack::ManagedTensorVersioned managed = {
      {1, 1}, nullptr, nullptr, 0, s.tensor};
  EXPECT_TRUE(toTensor(managed));
  managed.version.major = 2;
  EXPECT_EQ(errorOf(toTensor(managed)),
            "expected a DLPack tensor of version 1.x, found 2.1");
}

} // namespace
