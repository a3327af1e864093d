//===- NpyTest.cpp - NumPy's array files ----------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Npy.h"
#include "attn/runtime/core/File.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <cmath>
#include <cstring>
#include <random>

using namespace attn;
using namespace attn::test;

namespace {

/// A file of format `version` around a header and data given as they are.
std::string file(const std::string &header, const std::string &data,
                 int version = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += static_cast<char>(version);
  bytes += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    bytes += static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

template <typename T>
std::string bytesOf(const std::vector<T> &values) {
  return {reinterpret_cast<const char *>(values.data()),
          values.size() * sizeof(T)};
}

template <typename T>
std::vector<T> valuesOf(const std::string &bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

const std::string data6 = bytesOf<float>({1, 2, 3, 4, 5, 6});

TEST(Npy, ReadsEveryVersion) {
  for (int version : {1, 2, 3}) {
    Result<NpyArray> a = parseNpy(
        file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
             data6, version));
    ASSERT_TRUE(a) << errorOf(a);
    EXPECT_EQ(a->shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(a->type, NpyType::F32);
    EXPECT_EQ(a->data, data6);
  }
}

TEST(Npy, ReadsFortranOrder) {
  Result<NpyArray> a = parseNpy(file(
      "{\"descr\":\"<f4\",\"fortran_order\":True,\"shape\":(2,3)}", data6));
  ASSERT_TRUE(a) << errorOf(a);
  EXPECT_EQ(valuesOf<float>(a->data), (std::vector<float>{1, 3, 5, 2, 4, 6}));
  // Three dimensions: element (i, j, k) of shape 2x3x4 is at i + 2 j + 6 k.
  std::vector<int64_t> items(24), expected;
  for (size_t n = 0; n < 24; ++n)
    items[n] = static_cast<int64_t>(n);
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k)
        expected.push_back(i + 2 * j + 6 * k);
  a = parseNpy(
      file("{'descr': '<i8', 'fortran_order': True, 'shape': (2, 3, 4), }\n",
           bytesOf(items)));
  ASSERT_TRUE(a) << errorOf(a);
  EXPECT_EQ(valuesOf<int64_t>(a->data), expected);
}

TEST(Npy, ShapesOfScalarsVectorsAndNothing) {
  auto shape = [](const char *text, size_t items) {
    return parseNpy(file("{'descr': '<i4', 'fortran_order': False, 'shape': " +
                             std::string(text) + ", }\n",
                         std::string(4 * items, 0)));
  };
  EXPECT_EQ(shape("()", 1)->shape, std::vector<int64_t>{});
  EXPECT_EQ(shape("(5,)", 5)->shape, std::vector<int64_t>{5});
  EXPECT_EQ(shape("(3, 0, 2)", 0)->shape, (std::vector<int64_t>{3, 0, 2}));
}

TEST(Npy, RoundTripsEveryTypeAndRank) {
  std::mt19937 random(5);
  for (NpyType type : {NpyType::F16, NpyType::BF16, NpyType::F32, NpyType::F64,
                       NpyType::I32, NpyType::I64})
    for (size_t rank = 0; rank < 5; ++rank) {
      NpyArray a;
      a.type = type;
      size_t count = 1;
      for (size_t d = 0; d < rank; ++d) {
        a.shape.push_back(1 + random() % 4);
        count *= static_cast<size_t>(a.shape.back());
      }
      for (size_t i = 0; i < count * static_cast<size_t>(sizeOf(type)); ++i)
        a.data += static_cast<char>(random());
      Result<std::string> bytes = formatNpy(a);
      ASSERT_TRUE(bytes);
      size_t header = bytes->size() - a.data.size();
      EXPECT_EQ(header % 64, 0u);
      Result<NpyArray> back = parseNpy(*bytes, {true});
      ASSERT_TRUE(back) << errorOf(back);
      EXPECT_EQ(back->type, type);
      EXPECT_EQ(back->shape, a.shape);
      EXPECT_EQ(back->data, a.data);
    }
}

TEST(Npy, LongHeadersTakeFormatTwo) {
  NpyArray a;
  a.type = NpyType::I32;
  a.shape.assign(30000, 1);
  a.data = "abcd";
  std::string bytes = *formatNpy(a);
  EXPECT_EQ(bytes[6], 2);
  EXPECT_EQ(parseNpy(bytes)->shape, a.shape);
}

TEST(Npy, EveryTruncationIsRefused) {
  NpyArray a;
  a.shape = {2, 3};
  a.data = data6;
  std::string whole = *formatNpy(a);
  ASSERT_TRUE(parseNpy(whole));
  for (size_t n = 0; n < whole.size(); ++n) {
    Result<NpyArray> cut = parseNpy(whole.substr(0, n));
    ASSERT_FALSE(cut) << n;
    ASSERT_EQ(cut.error().message.substr(0, 19), "truncated npy file:") << n;
  }
  EXPECT_EQ(errorOf(parseNpy(whole.substr(0, 7))),
            "truncated npy file: the magic number and version needs 8 bytes, "
            "found 7");
  EXPECT_EQ(
      errorOf(parseNpy(whole.substr(0, 9))),
      "truncated npy file: the start of the file needs 10 bytes, found 9");
  EXPECT_EQ(errorOf(parseNpy(whole.substr(0, 60))),
            "truncated npy file: the header needs 118 bytes, found 50");
  EXPECT_EQ(errorOf(parseNpy(whole.substr(0, whole.size() - 1))),
            "truncated npy file: the data needs 24 bytes, found 23");
  EXPECT_EQ(errorOf(parseNpy(whole + "x")),
            "npy file: expected 24 bytes of data, found 25");
}

TEST(Npy, RefusesMalformedFiles) {
  auto header = [](const std::string &text) {
    return errorOf(parseNpy(file(text, data6)));
  };
  EXPECT_EQ(errorOf(parseNpy("PK\x03\x04 an archive")),
            "not an npy file: it does not start with the bytes \\x93NUMPY");
  EXPECT_EQ(errorOf(parseNpy(file("{}", "", 4))),
            "expected npy format 1.0, 2.0 or 3.0, found 4.0");
  EXPECT_EQ(header(""),
            "npy header, byte 10: expected '{', found the end of the header");
  EXPECT_EQ(header("{}"), "npy header has no 'descr'");
  EXPECT_EQ(header("{'descr': '<f4', 'fortran_order': False}"),
            "npy header has no 'shape'");
  EXPECT_EQ(header("{'descr': '<f4', 'shape': (6,)}"),
            "npy header has no 'fortran_order'");
  EXPECT_EQ(header("{'descr': '<f4', 'descr': '<f4'}"),
            "npy header has the key 'descr' twice");
  EXPECT_EQ(header("{'extra': 1}"), "npy header has the unknown key 'extra'");
  EXPECT_EQ(header("{descr: 1}"),
            "npy header, byte 11: expected a string, found 'd'");
  EXPECT_EQ(header("{'descr"), "npy header, byte 11: the string has no end");
  EXPECT_EQ(header("{'descr' '<f4'}"),
            "npy header, byte 19: expected ':', found '''");
  EXPECT_EQ(header("{'fortran_order': 1}"),
            "npy header, byte 28: expected True or False, found '1'");
  EXPECT_EQ(header("{'shape': 6}"),
            "npy header, byte 20: expected '(', found '6'");
  EXPECT_EQ(header("{'shape': (-6,)}"),
            "npy header, byte 21: expected a size, found '-'");
  EXPECT_EQ(header("{'shape': (6 6)}"),
            "npy header, byte 23: expected ',' or ')', found '6'");
  EXPECT_EQ(header("{'shape': (6,) 'descr': '<f4'}"),
            "npy header, byte 25: expected ',' or '}', found '''");
  EXPECT_EQ(header("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x"),
            "npy header, byte 66: expected the end of the header, found 'x'");
  EXPECT_EQ(header("{'shape': (99999999999999999999,)}"),
            "npy header: a size does not fit in 64 bits");
  EXPECT_EQ(header("{'descr': '<f4', 'fortran_order': False, 'shape': "
                   "(4611686018427387904, 4)}"),
            "npy header: the array's size does not fit in 64 bits");
  EXPECT_EQ(header("{'descr': '<f4', 'fortran_order': False, 'shape': "
                   "(1000000000000000,)}"),
            "truncated npy file: the data needs 4000000000000000 bytes, found "
            "24");
}

TEST(Npy, RefusesOtherTypes) {
  auto descr = [](const std::string &text, NpyReadOptions options = {}) {
    return errorOf(parseNpy(
        file("{'descr': " + text + ", 'fortran_order': False, 'shape': (0,)}",
             ""),
        options));
  };
  EXPECT_EQ(descr("'<c8'"),
            "expected npy element type <f2, <f4, <f8, |b1, |i1, <i4 or "
            "<i8, found '<c8'");
  EXPECT_EQ(descr("'>f4'"),
            "npy element type '>f4' is big endian: save it as '<f4'");
  EXPECT_EQ(descr("[('x', '<f4')]"),
            "npy files with records are not supported, save a plain array");
  for (const char *raw : {"'<V2'", "'|V2'", "'<u2'"}) {
    std::string word(raw);
    EXPECT_EQ(descr(raw), "npy element type " + word +
                              " may be bf16 bits, or not: say that it is, or "
                              "save the array as float32");
    EXPECT_EQ(descr(raw, {true}), "no error");
  }
}

TEST(Npy, ConvertsWithOneRounding) {
  NpyArray a;
  a.type = NpyType::F64;
  a.shape = {4};
  // 1 + 2^-11 is a tie in f16; the bit below it decides, and f32 would lose it.
  a.data = bytesOf<double>({1 + 0x1p-11, 1 + 0x1p-11 + 0x1p-40, -65520, 3e300});
  EXPECT_EQ(valuesOf<uint16_t>(*convertNpy(a, ElementType::F16)),
            (std::vector<uint16_t>{0x3C00, 0x3C01, 0xFC00, 0x7C00}));
  EXPECT_EQ(valuesOf<uint16_t>(*convertNpy(a, ElementType::BF16))[2], 0xC780);
  EXPECT_TRUE(std::isinf(valuesOf<float>(*convertNpy(a, ElementType::F32))[3]));

  a.type = NpyType::I64;
  a.shape = {2};
  a.data = bytesOf<int64_t>({(int64_t(1) << 60) + (int64_t(1) << 52) + 1, -3});
  EXPECT_EQ(valuesOf<uint16_t>(*convertNpy(a, ElementType::BF16)),
            (std::vector<uint16_t>{0x5D81, 0xC040}));
  EXPECT_EQ(valuesOf<float>(*convertNpy(a, ElementType::F32))[1], -3.0f);
  EXPECT_EQ(errorOf(convertNpy(a, ElementType::I32)),
            "element 0 is 1157425104234217473, which does not fit in i32");

  a.type = NpyType::F32;
  a.data = bytesOf<float>({7, 2.5f});
  EXPECT_EQ(errorOf(convertNpy(a, ElementType::I64)),
            "element 1 is 2.500000, which does not fit in i64");
  a.data = bytesOf<float>({7, -8});
  EXPECT_EQ(valuesOf<int32_t>(*convertNpy(a, ElementType::I32)),
            (std::vector<int32_t>{7, -8}));
  a.data = bytesOf<float>({0x1p63f, NAN});
  EXPECT_FALSE(convertNpy(a, ElementType::I64));
}

TEST(Npy, MakesFilesFromElements) {
  std::string half = bytesOf<uint16_t>({0x3C00, 0xC000, 0x0001});
  Result<NpyArray> a = makeNpy(NpyType::F32, ElementType::F16, {3}, half);
  ASSERT_TRUE(a);
  EXPECT_EQ(valuesOf<float>(a->data), (std::vector<float>{1, -2, 0x1p-24f}));
  EXPECT_EQ(errorOf(makeNpy(NpyType::F32, ElementType::F16, {4}, half)),
            "expected the elements of f16[4], found 6 bytes");
  NpyArray broken = *a;
  broken.shape = {2};
  EXPECT_EQ(errorOf(formatNpy(broken)),
            "the array's data has 12 bytes, its shape needs 8");
}

TEST(Npy, Files) {
  ScratchFolder scratch;
  NpyArray a;
  a.shape = {6};
  a.data = data6;
  ASSERT_TRUE(writeNpy(scratch.file("a.npy"), a));
  EXPECT_EQ(readNpy(scratch.file("a.npy"))->data, data6);
  EXPECT_EQ(scratch.entries(), 1u);
  EXPECT_EQ(errorOf(readNpy(scratch.file("b.npy"))),
            "cannot open '" + scratch.file("b.npy") +
                "': No such file or directory");
  ASSERT_TRUE(writeFileAtomically(scratch.file("c.npy"), "hello"));
  EXPECT_EQ(errorOf(readNpy(scratch.file("c.npy"))),
            "'" + scratch.file("c.npy") +
                "': not an npy file: it does not start with the bytes "
                "\\x93NUMPY");
}

} // namespace
