//===- TensorMap.cpp - checks and encoding of tensor maps ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/TensorMap.h"

#include <cstring>

namespace attn::sim {
namespace {

/// The simulator's 128 bytes.
struct Encoded {
  uint32_t magic, check;
  uint64_t address;
  uint64_t strides[TensorMap::MaxRank - 1];
  uint32_t lastIndex[TensorMap::MaxRank]; ///< dims - 1: a dim may be 2^32
  uint16_t box[TensorMap::MaxRank];
  uint8_t elementStrides[TensorMap::MaxRank];
  uint8_t element, rank, swizzle, nanFill, reserved;
};
static_assert(sizeof(Encoded) == 88, "no padding, and fits the parameter");
constexpr uint32_t Magic = 0x6e747461;

uint32_t checksum(Encoded encoded) {
  encoded.check = 0;
  uint8_t bytes[sizeof encoded];
  std::memcpy(bytes, &encoded, sizeof encoded);
  uint32_t hash = 2166136261u;
  for (uint8_t byte : bytes)
    hash = (hash ^ byte) * 16777619u;
  return hash;
}

std::string problem(const TensorMap &map) {
  auto show = [](uint64_t value) { return std::to_string(value); };
  if (map.rank < 1 || map.rank > TensorMap::MaxRank)
    return "a tensor map has rank 1 to 5, found " + show(map.rank);
  if (map.address % 16)
    return "the address of a tensor map must be a multiple of 16 bytes";
  for (unsigned i = 0; i < map.rank; ++i) {
    const std::string dim = "dim " + show(i) + " of a tensor map ";
    if (map.dims[i] < 1 || map.dims[i] > 1ull << 32)
      return dim + "has 1 to 2^32 elements, found " + show(map.dims[i]);
    if (map.box[i] < 1 || map.box[i] > 256)
      return dim + "takes a box of 1 to 256 elements, found " +
             show(map.box[i]);
    if (map.elementStrides[i] < 1 || map.elementStrides[i] > 8 ||
        (i == 0 && map.elementStrides[i] != 1))
      return dim + "takes an element stride of " + (i ? "1 to 8" : "1") +
             ", found " + show(map.elementStrides[i]);
    if (i && (map.strides[i - 1] % 16 || map.strides[i - 1] >= 1ull << 40))
      return dim +
             "needs a stride that is a multiple of 16 bytes below 2^40, "
             "found " +
             show(map.strides[i - 1]);
  }
  const uint64_t inner = uint64_t(map.box[0]) * bytesOf(map.element);
  const uint64_t span = map.swizzle == TensorMap::Swizzle::None
                            ? 0
                            : 16ull << unsigned(map.swizzle);
  if (inner % 16)
    return "the inner box of a tensor map must be a multiple of 16 bytes, "
           "found " +
           show(inner);
  if (span && inner > span)
    return "the inner box of a tensor map with a swizzle of " + show(span) +
           " bytes has at most as many, found " + show(inner);
  if (span && inner < span)
    return "an inner box of " + show(inner) +
           " bytes, less than the swizzle of " + show(span) +
           ", is not modelled: take the swizzle of " + show(inner) + " bytes";
  return "";
}

} // namespace

unsigned bytesOf(TensorMap::Element element) {
  using Element = TensorMap::Element;
  switch (element) {
  case Element::U8:
    return 1;
  case Element::U16:
  case Element::F16:
  case Element::BF16:
    return 2;
  case Element::U64:
  case Element::S64:
  case Element::F64:
    return 8;
  default:
    return 4;
  }
}

uint32_t TensorMap::boxBytes() const {
  uint32_t bytes = bytesOf(element);
  for (unsigned i = 0; i < rank; ++i)
    bytes *= extent(i);
  return bytes;
}

Result<std::array<uint8_t, TensorMap::Bytes>> TensorMap::encode() const {
  if (std::string text = problem(*this); !text.empty())
    return Error{std::move(text), 0, 0};
  Encoded encoded{};
  encoded.magic = Magic;
  encoded.address = address;
  for (unsigned i = 0; i < MaxRank; ++i) {
    if (i < MaxRank - 1)
      encoded.strides[i] = strides[i];
    encoded.lastIndex[i] = uint32_t(dims[i] - 1);
    encoded.box[i] = uint16_t(box[i]);
    encoded.elementStrides[i] = uint8_t(elementStrides[i]);
  }
  encoded.element = uint8_t(element);
  encoded.rank = uint8_t(rank);
  encoded.swizzle = uint8_t(swizzle);
  encoded.nanFill = nanFill;
  encoded.check = checksum(encoded);
  std::array<uint8_t, Bytes> bytes{};
  std::memcpy(bytes.data(), &encoded, sizeof encoded);
  return bytes;
}

Result<TensorMap> TensorMap::decode(const uint8_t *bytes) {
  Encoded encoded;
  std::memcpy(&encoded, bytes, sizeof encoded);
  if (encoded.magic != Magic || encoded.check != checksum(encoded))
    return Error{"these 128 bytes are no tensor map of the simulator", 0, 0};
  TensorMap map;
  map.element = Element(encoded.element);
  map.rank = encoded.rank;
  map.address = encoded.address;
  for (unsigned i = 0; i < MaxRank; ++i) {
    if (i < MaxRank - 1)
      map.strides[i] = encoded.strides[i];
    map.dims[i] = uint64_t(encoded.lastIndex[i]) + 1;
    map.box[i] = encoded.box[i];
    map.elementStrides[i] = encoded.elementStrides[i];
  }
  map.swizzle = Swizzle(encoded.swizzle);
  map.nanFill = encoded.nanFill;
  return map;
}

} // namespace attn::sim
