//===- TensorTest.cpp - Strided views and their copies --------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Tensor.h"
#include "attn/runtime/core/SimDevice.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

using namespace attn;
using namespace attn::test;

namespace {

Tensor view(std::vector<int64_t> shape, std::vector<int64_t> strides,
            uint64_t data = 1 << 20, ElementType type = ElementType::F16) {
  Tensor t;
  t.type = type;
  t.shape = std::move(shape);
  t.strides = std::move(strides);
  t.data = data;
  return t;
}

TEST(Tensor, RangeOfStridedViews) {
  MemoryRange r = *extentOf(view({2, 3}, {100, 1}));
  EXPECT_EQ(r.begin, 1u << 20);
  EXPECT_EQ(r.size(), 206u);
  r = *extentOf(view({2, 3}, {-100, 1}));
  EXPECT_EQ(r.begin, (1u << 20) - 200u);
  EXPECT_EQ(r.size(), 206u);
  r = *extentOf(view({5, 3}, {0, 1}));
  EXPECT_EQ(r.size(), 6u);
  EXPECT_EQ(extentOf(view({5, 0}, {INT64_MAX, 1}))->size(), 0u);
  EXPECT_EQ(extentOf(view({}, {}))->size(), 2u);
  // Past 2^31 elements.
  r = *extentOf(view({3, 8}, {int64_t(3) << 31, 1}));
  EXPECT_EQ(r.size(), (uint64_t(6) << 31) * 2 + 16);
}

TEST(Tensor, RangeNoticesOverflow) {
  const char *outside = "its elements reach outside the 64-bit address space";
  EXPECT_EQ(errorOf(extentOf(view({3, 2}, {INT64_MAX, 1}))), outside);
  EXPECT_EQ(errorOf(extentOf(view({2, 2}, {INT64_MAX / 2, 1}))), outside);
  EXPECT_EQ(errorOf(extentOf(view({2, 2}, {INT64_MIN / 2 - 1, 1}))), outside);
  EXPECT_EQ(errorOf(extentOf(view({2, 2}, {INT64_MIN, 1}))), outside);
  EXPECT_EQ(errorOf(extentOf(view({2, 2}, {-(1 << 20), 1}))), outside);
  EXPECT_EQ(errorOf(extentOf(view({4}, {1}, UINT64_MAX - 6))), outside);
  EXPECT_TRUE(extentOf(view({4}, {1}, UINT64_MAX - 8)));
  Tensor offset = view({4}, {1});
  offset.byteOffset = UINT64_MAX;
  EXPECT_EQ(errorOf(extentOf(offset)), outside);
  EXPECT_EQ(errorOf(extentOf(view({4, -1}, {1, 1}))),
            "dimension 1 has the negative size -1");
  EXPECT_EQ(errorOf(extentOf(view({4}, {1, 1}))),
            "expected as many strides as dimensions (1), found 2");
}

TEST(Tensor, CountsElements) {
  EXPECT_EQ(*elementCount({3, 5, 7}), 105);
  EXPECT_EQ(*elementCount({}), 1);
  EXPECT_EQ(*elementCount({INT64_MAX, INT64_MAX, 0}), 0);
  EXPECT_EQ(errorOf(elementCount({INT64_MAX, 2})),
            "the number of elements does not fit in 64 bits");
}

/// Whether two index tuples share an element, by trying all.
bool aliases(const Tensor &t) {
  std::set<int64_t> seen;
  std::vector<int64_t> index(t.rank(), 0);
  int64_t count = *elementCount(t.shape);
  for (int64_t n = 0; n < count; ++n) {
    int64_t offset = 0;
    for (size_t d = 0; d < t.rank(); ++d)
      offset += index[d] * t.strides[d];
    if (!seen.insert(offset).second)
      return true;
    for (size_t d = t.rank(); d-- > 0 && ++index[d] == t.shape[d];)
      index[d] = 0;
  }
  return false;
}

TEST(Tensor, NestedStridesNeverAlias) {
  std::mt19937 random(11);
  int nested = 0, refused = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    Tensor t = view({}, {});
    for (size_t d = 0, rank = random() % 4; d < rank; ++d) {
      t.shape.push_back(random() % 5);
      t.strides.push_back(static_cast<int64_t>(random() % 41) - 20);
    }
    if (hasNestedStrides(t)) {
      ++nested;
      ASSERT_FALSE(aliases(t)) << toText(t.type, t.shape);
    } else if (aliases(t)) {
      ++refused;
    }
  }
  // Both answers occur often.
  EXPECT_GT(nested, 500);
  EXPECT_GT(refused, 200);
  EXPECT_TRUE(hasNestedStrides(view({2, 3, 4}, {4, 8, 1}))); // a transposition
  EXPECT_FALSE(hasNestedStrides(view({2, 3}, {0, 1})));
  EXPECT_FALSE(hasNestedStrides(view({2, 3}, {2, 1})));
  EXPECT_TRUE(hasNestedStrides(view({2, 3}, {3, 1})));
  EXPECT_TRUE(hasNestedStrides(view({2, 3}, {INT64_MAX, 1})));
}

TEST(Tensor, Density) {
  EXPECT_TRUE(isDense(view({2, 3, 4}, {12, 4, 1})));
  EXPECT_TRUE(isDense(view({2, 3, 4}, {4, 8, 1})));
  EXPECT_TRUE(isDense(view({1, 3}, {999, 1})));
  EXPECT_FALSE(isDense(view({2, 3}, {4, 1})));
  EXPECT_FALSE(isDense(view({2, 3}, {0, 1})));
}

TEST(Tensor, RowMajorSaturates) {
  EXPECT_EQ(rowMajorStrides({2, 3, 4}), (std::vector<int64_t>{12, 4, 1}));
  EXPECT_EQ(rowMajorStrides({2, 0, 4}), (std::vector<int64_t>{4, 4, 1}));
  EXPECT_EQ(rowMajorStrides({5, INT64_MAX, 4}),
            (std::vector<int64_t>{INT64_MAX, 4, 1}));
}

/// Random strided views of device memory, written and read back, with nothing
/// touched between their elements.
TEST(Tensor, StridedCopies) {
  std::shared_ptr<Device> device = *SimDevice::create();
  std::mt19937 random(3);
  constexpr size_t arena = 40000;
  uint64_t memory = *device->allocate(arena * 2, nullptr);
  auto *items = reinterpret_cast<uint16_t *>(memory);
  for (int trial = 0; trial < 300; ++trial) {
    // A dense layout of padded sizes in a random order of dimensions.
    size_t rank = random() % 5;
    Tensor t = view(std::vector<int64_t>(rank), std::vector<int64_t>(rank));
    std::vector<size_t> order(rank);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    int64_t stride = 1 + random() % 2, first = 0;
    for (size_t d : order) {
      t.shape[d] = random() % 6;
      t.strides[d] = stride;
      stride *= t.shape[d] + random() % 3;
      stride += stride == 0;
      if (random() % 4 == 0 && t.shape[d] > 0) {
        first += (t.shape[d] - 1) * t.strides[d];
        t.strides[d] = -t.strides[d];
      }
    }
    t.data = memory + 100;
    t.byteOffset = static_cast<uint64_t>(2 * first);
    int64_t count = *elementCount(t.shape);
    ASSERT_LT(stride + 100, static_cast<int64_t>(arena));

    std::fill(items, items + arena, uint16_t(0xEEEE));
    std::vector<uint16_t> source(count), back(count, 0);
    for (uint16_t &item : source)
      item = static_cast<uint16_t>(random() % 0xEEEE);
    ASSERT_TRUE(copyToTensor(*device, t, source.data()));
    ASSERT_TRUE(copyFromTensor(*device, back.data(), t));
    ASSERT_EQ(back, source) << "trial " << trial;

    std::vector<uint16_t> expected(arena, 0xEEEE);
    std::vector<int64_t> index(rank, 0);
    for (int64_t n = 0; n < count; ++n) {
      int64_t offset = 50 + first;
      for (size_t d = 0; d < rank; ++d)
        offset += index[d] * t.strides[d];
      expected[static_cast<size_t>(offset)] = source[static_cast<size_t>(n)];
      for (size_t d = rank; d-- > 0 && ++index[d] == t.shape[d];)
        index[d] = 0;
    }
    ASSERT_TRUE(std::equal(expected.begin(), expected.end(), items))
        << "trial " << trial;
  }
  // Broadcasts can be read, not written.
  Tensor broadcast = view({3, 2}, {0, 1}, memory);
  items[0] = 7, items[1] = 9;
  std::vector<uint16_t> back(6);
  EXPECT_TRUE(copyFromTensor(*device, back.data(), broadcast));
  EXPECT_EQ(back, (std::vector<uint16_t>{7, 9, 7, 9, 7, 9}));
  EXPECT_EQ(errorOf(copyToTensor(*device, broadcast, back.data())),
            "elements of the destination share memory");
  broadcast.space = {MemorySpace::Kind::Cuda, 1};
  EXPECT_EQ(errorOf(copyFromTensor(*device, back.data(), broadcast)),
            "expected a tensor in host memory, found cuda:1");
  EXPECT_TRUE(device->free(memory, nullptr));
}

} // namespace
