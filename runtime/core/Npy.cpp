//===- Npy.cpp - NumPy's array files --------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Npy.h"

#include "attn/runtime/core/Arith.h"
#include "attn/runtime/core/File.h"
#include "attn/runtime/core/Tensor.h"

#include <cmath>
#include <cstring>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the array files' bytes are used as they are: little endian only"
#endif

using namespace attn;

static constexpr std::string_view magic("\x93NUMPY", 6);

int64_t attn::sizeOf(NpyType type) {
  switch (type) {
  case NpyType::Bool:
  case NpyType::I8:
    return 1;
  case NpyType::F16:
  case NpyType::BF16:
    return 2;
  case NpyType::F32:
  case NpyType::I32:
    return 4;
  case NpyType::F64:
  case NpyType::I64:
    return 8;
  }
  return 0;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {

struct Header {
  std::string descr;
  bool fortranOrder = false;
  std::vector<int64_t> shape;
};

/// Parses the header: a Python dictionary literal with three known keys.
class HeaderParser {
public:
  HeaderParser(std::string_view text, size_t offset)
      : text(text), offset(offset) {}

  Result<Header> run() {
    bool hasDescr = false, hasOrder = false, hasShape = false;
    if (!eat('{'))
      return unexpected("'{'");
    while (!eat('}')) {
      Result<std::string> key = string();
      if (!key)
        return key.error();
      bool *seen = *key == "descr"           ? &hasDescr
                   : *key == "fortran_order" ? &hasOrder
                   : *key == "shape"         ? &hasShape
                                             : nullptr;
      if (!seen)
        return invalidArgument("npy header has the unknown key '" + *key + "'");
      if (*seen)
        return invalidArgument("npy header has the key '" + *key + "' twice");
      *seen = true;
      if (!eat(':'))
        return unexpected("':'");
      Status value = seen == &hasDescr   ? readDescr()
                     : seen == &hasOrder ? readOrder()
                                         : readShape();
      if (!value)
        return value.error();
      if (!eat(',') && peek() != '}')
        return unexpected("',' or '}'");
    }
    skipBlanks();
    if (at != text.size())
      return unexpected("the end of the header");
    for (auto [seen, key] :
         {std::pair{hasDescr, "descr"}, std::pair{hasOrder, "fortran_order"},
          std::pair{hasShape, "shape"}})
      if (!seen)
        return invalidArgument("npy header has no '" + std::string(key) + "'");
    return header;
  }

private:
  void skipBlanks() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n'))
      ++at;
  }
  char peek() {
    skipBlanks();
    return at < text.size() ? text[at] : 0;
  }
  bool eat(char c) {
    if (peek() != c)
      return false;
    ++at;
    return true;
  }
  bool eatWord(std::string_view word) {
    skipBlanks();
    if (text.substr(at, word.size()) != word)
      return false;
    at += word.size();
    return true;
  }
  Error unexpected(const std::string &expected) {
    skipBlanks();
    std::string found = at < text.size() ? "'" + std::string(1, text[at]) + "'"
                                         : "the end of the header";
    return invalidArgument("npy header, byte " + std::to_string(offset + at) +
                           ": expected " + expected + ", found " + found);
  }
  Result<std::string> string() {
    char quote = peek();
    if (quote != '\'' && quote != '"')
      return unexpected("a string");
    size_t end = text.find(quote, at + 1);
    if (end == std::string_view::npos)
      return invalidArgument("npy header, byte " + std::to_string(offset + at) +
                             ": the string has no end");
    std::string value(text.substr(at + 1, end - at - 1));
    at = end + 1;
    return value;
  }
  Status readDescr() {
    if (peek() == '[')
      return invalidArgument("npy files with records are not supported, save a "
                             "plain array");
    Result<std::string> value = string();
    if (!value)
      return value.error();
    header.descr = *value;
    return Status::success();
  }
  Status readOrder() {
    if (eatWord("True"))
      header.fortranOrder = true;
    else if (!eatWord("False"))
      return unexpected("True or False");
    return Status::success();
  }
  Status readShape() {
    if (!eat('('))
      return unexpected("'('");
    while (!eat(')')) {
      if (peek() < '0' || peek() > '9')
        return unexpected("a size");
      int64_t size = 0;
      for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
        std::optional<int64_t> next = checkedMul(size, 10);
        if (next)
          next = checkedAdd(*next, text[at] - '0');
        if (!next)
          return invalidArgument("npy header: a size does not fit in 64 bits");
        size = *next;
      }
      header.shape.push_back(size);
      if (!eat(',') && peek() != ')')
        return unexpected("',' or ')'");
    }
    return Status::success();
  }

  std::string_view text;
  size_t offset; ///< of the header in the file
  size_t at = 0;
  Header header;
};

Result<NpyType> typeOf(const std::string &descr,
                       const NpyReadOptions &options) {
  for (auto [word, type] :
       {std::pair{"<f2", NpyType::F16}, std::pair{"<f4", NpyType::F32},
        std::pair{"<f8", NpyType::F64}, std::pair{"|b1", NpyType::Bool},
        std::pair{"|i1", NpyType::I8}, std::pair{"<i4", NpyType::I32},
        std::pair{"<i8", NpyType::I64}})
    if (descr == word)
      return type;
  if (descr == "<V2" || descr == "|V2" || descr == "<u2") {
    if (options.rawIsBF16)
      return NpyType::BF16;
    return invalidArgument(
        "npy element type '" + descr +
        "' may be bf16 bits, or not: say that it is, or save the array as "
        "float32");
  }
  if (!descr.empty() && descr[0] == '>')
    return invalidArgument("npy element type '" + descr +
                           "' is big endian: save it as '<" + descr.substr(1) +
                           "'");
  return invalidArgument("expected npy element type <f2, <f4, <f8, |b1, |i1, "
                         "<i4 or <i8, found '" +
                         descr + "'");
}

/// Column-major to row-major.
std::string transposed(std::string_view data, const std::vector<int64_t> &shape,
                       size_t itemSize) {
  std::string result(data.size(), 0);
  std::vector<int64_t> index(shape.size(), 0);
  std::vector<size_t> strides(shape.size());
  size_t stride = itemSize;
  for (size_t d = 0; d < shape.size(); ++d) {
    strides[d] = stride;
    stride *= static_cast<size_t>(shape[d]);
  }
  for (size_t to = 0; to < data.size(); to += itemSize) {
    size_t from = 0;
    for (size_t d = 0; d < shape.size(); ++d)
      from += static_cast<size_t>(index[d]) * strides[d];
    std::memcpy(&result[to], &data[from], itemSize);
    size_t d = shape.size();
    while (d > 0 && ++index[d - 1] == shape[d - 1])
      index[--d] = 0;
  }
  return result;
}

Error truncated(const std::string &part, size_t need, size_t have) {
  return invalidArgument("truncated npy file: " + part + " needs " +
                         std::to_string(need) + " bytes, found " +
                         std::to_string(have));
}

} // namespace

Result<NpyArray> attn::parseNpy(std::string_view bytes,
                                const NpyReadOptions &options) {
  if (bytes.substr(0, magic.size()) != magic.substr(0, bytes.size()))
    return invalidArgument("not an npy file: it does not start with the bytes "
                           "\\x93NUMPY");
  if (bytes.size() < 8)
    return truncated("the magic number and version", 8, bytes.size());
  int major = static_cast<unsigned char>(bytes[6]);
  int minor = static_cast<unsigned char>(bytes[7]);
  if (major < 1 || major > 3 || minor != 0)
    return invalidArgument("expected npy format 1.0, 2.0 or 3.0, found " +
                           std::to_string(major) + "." + std::to_string(minor));
  size_t lengthBytes = major == 1 ? 2 : 4;
  size_t start = 8 + lengthBytes;
  if (bytes.size() < start)
    return truncated("the start of the file", start, bytes.size());
  size_t length = 0;
  for (size_t i = 0; i < lengthBytes; ++i)
    length |= static_cast<size_t>(static_cast<unsigned char>(bytes[8 + i]))
              << (8 * i);
  if (bytes.size() - start < length)
    return truncated("the header", length, bytes.size() - start);

  Result<Header> header =
      HeaderParser(bytes.substr(start, length), start).run();
  if (!header)
    return header.error();
  Result<NpyType> type = typeOf(header->descr, options);
  if (!type)
    return type.error();
  Result<int64_t> count = elementCount(header->shape);
  std::optional<int64_t> size =
      count ? checkedMul(*count, sizeOf(*type)) : std::nullopt;
  if (!size)
    return invalidArgument("npy header: the array's size does not fit in 64 "
                           "bits");
  std::string_view data = bytes.substr(start + length);
  auto need = static_cast<size_t>(*size);
  if (data.size() < need)
    return truncated("the data", need, data.size());
  if (data.size() > need)
    return invalidArgument("npy file: expected " + std::to_string(need) +
                           " bytes of data, found " +
                           std::to_string(data.size()));
  NpyArray array;
  array.type = *type;
  array.shape = std::move(header->shape);
  array.data =
      header->fortranOrder && array.shape.size() > 1
          ? transposed(data, array.shape, static_cast<size_t>(sizeOf(*type)))
          : std::string(data);
  return array;
}

Result<NpyArray> attn::readNpy(const std::string &path,
                               const NpyReadOptions &options) {
  Result<std::string> bytes = readFile(path);
  if (!bytes)
    return bytes.error();
  Result<NpyArray> array = parseNpy(*bytes, options);
  if (!array)
    return array.error().in("'" + path + "'");
  return array;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

static const char *descrOf(NpyType type) {
  switch (type) {
  case NpyType::F16:
    return "<f2";
  case NpyType::BF16:
    return "<V2";
  case NpyType::F32:
    return "<f4";
  case NpyType::F64:
    return "<f8";
  case NpyType::Bool:
    return "|b1";
  case NpyType::I8:
    return "|i1";
  case NpyType::I32:
    return "<i4";
  case NpyType::I64:
    return "<i8";
  }
  return "";
}

Result<std::string> attn::formatNpy(const NpyArray &array) {
  Result<int64_t> count = elementCount(array.shape);
  if (!count)
    return count.error();
  std::optional<int64_t> size = checkedMul(*count, sizeOf(array.type));
  if (!size || static_cast<size_t>(*size) != array.data.size())
    return invalidArgument("the array's data has " +
                           std::to_string(array.data.size()) +
                           " bytes, its shape needs " +
                           (size ? std::to_string(*size) : "more than 2^63"));
  std::string header = "{'descr': '";
  header += descrOf(array.type);
  header += "', 'fortran_order': False, 'shape': (";
  for (int64_t extent : array.shape)
    header += std::to_string(extent) + ", ";
  if (array.shape.size() > 1)
    header.resize(header.size() - 2);
  else if (array.shape.size() == 1)
    header.resize(header.size() - 1); // a tuple of one keeps its comma
  header += "), }";
  // The data starts at a multiple of 64 bytes.
  auto padded = [&](size_t prefix) {
    return (prefix + header.size() + 1 + 63) / 64 * 64 - prefix;
  };
  bool isLong = padded(10) > 0xFFFF;
  size_t lengthBytes = isLong ? 4 : 2;
  size_t length = padded(8 + lengthBytes);
  header.resize(length - 1, ' ');
  header += '\n';
  std::string bytes(magic);
  bytes += isLong ? '\2' : '\1';
  bytes += '\0';
  for (size_t i = 0; i < lengthBytes; ++i)
    bytes += static_cast<char>(length >> (8 * i));
  return bytes + header + array.data;
}

Status attn::writeNpy(const std::string &path, const NpyArray &array) {
  Result<std::string> bytes = formatNpy(array);
  if (!bytes)
    return bytes.error();
  return writeFileAtomically(path, *bytes);
}

//===----------------------------------------------------------------------===//
// Conversion
//===----------------------------------------------------------------------===//

namespace {

/// An element without loss: integers as integers, floats as doubles.
struct Value {
  bool isInteger;
  int64_t integer;
  double real;
};

template <typename T>
T loadAs(const char *at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <typename T>
void storeAs(std::string &bytes, T value) {
  bytes.append(reinterpret_cast<const char *>(&value), sizeof value);
}

Value load(NpyType type, const char *at) {
  switch (type) {
  case NpyType::F16:
    return {false, 0, fromF16(loadAs<uint16_t>(at))};
  case NpyType::BF16:
    return {false, 0, fromBF16(loadAs<uint16_t>(at))};
  case NpyType::F32:
    return {false, 0, loadAs<float>(at)};
  case NpyType::F64:
    return {false, 0, loadAs<double>(at)};
  case NpyType::Bool:
    return {true, loadAs<uint8_t>(at) != 0, 0};
  case NpyType::I8:
    return {true, loadAs<int8_t>(at), 0};
  case NpyType::I32:
    return {true, loadAs<int32_t>(at), 0};
  case NpyType::I64:
    return {true, loadAs<int64_t>(at), 0};
  }
  return {};
}

/// Appends `value` as `type`; false where an integer type cannot hold it.
bool store(NpyType type, Value value, std::string &bytes) {
  double narrow =
      value.isInteger ? toDoubleRoundOdd(value.integer) : value.real;
  switch (type) {
  case NpyType::F16:
    storeAs(bytes, toF16(narrow));
    return true;
  case NpyType::BF16:
    storeAs(bytes, toBF16(narrow));
    return true;
  case NpyType::F32:
    storeAs(bytes, static_cast<float>(narrow));
    return true;
  case NpyType::F64:
    storeAs(bytes,
            value.isInteger ? static_cast<double>(value.integer) : value.real);
    return true;
  case NpyType::Bool:
  case NpyType::I8:
  case NpyType::I32:
  case NpyType::I64:
    break;
  }
  if (!value.isInteger) {
    if (!(value.real >= -0x1p63 && value.real < 0x1p63) ||
        std::trunc(value.real) != value.real)
      return false;
    value.integer = static_cast<int64_t>(value.real);
  }
  if (type == NpyType::I64) {
    storeAs(bytes, value.integer);
    return true;
  }
  if (type == NpyType::Bool || type == NpyType::I8) {
    bool isBool = type == NpyType::Bool;
    if (value.integer < (isBool ? 0 : INT8_MIN) ||
        value.integer > (isBool ? 1 : INT8_MAX))
      return false;
    storeAs(bytes, static_cast<int8_t>(value.integer));
    return true;
  }
  if (value.integer < INT32_MIN || value.integer > INT32_MAX)
    return false;
  storeAs(bytes, static_cast<int32_t>(value.integer));
  return true;
}

Result<std::string> convert(NpyType from, std::string_view bytes, NpyType to) {
  if (from == to)
    return std::string(bytes);
  auto step = static_cast<size_t>(sizeOf(from));
  std::string result;
  result.reserve(bytes.size() / step * static_cast<size_t>(sizeOf(to)));
  for (size_t at = 0; at < bytes.size(); at += step) {
    Value value = load(from, &bytes[at]);
    if (!store(to, value, result))
      return invalidArgument("element " + std::to_string(at / step) + " is " +
                             (value.isInteger ? std::to_string(value.integer)
                                              : std::to_string(value.real)) +
                             ", which does not fit in " +
                             (to == NpyType::Bool  ? "i1"
                              : to == NpyType::I8  ? "i8"
                              : to == NpyType::I32 ? "i32"
                                                   : "i64"));
  }
  return result;
}

NpyType npyTypeOf(ElementType type) {
  switch (type) {
  case ElementType::F16:
    return NpyType::F16;
  case ElementType::BF16:
    return NpyType::BF16;
  case ElementType::F32:
    return NpyType::F32;
  case ElementType::Bool:
    return NpyType::Bool;
  case ElementType::I8:
    return NpyType::I8;
  case ElementType::I32:
    return NpyType::I32;
  case ElementType::I64:
  case ElementType::Index:
    break;
  }
  return NpyType::I64;
}

} // namespace

Result<std::string> attn::convertNpy(const NpyArray &array, ElementType type) {
  return convert(array.type, array.data, npyTypeOf(type));
}

Result<NpyArray> attn::makeNpy(NpyType to, ElementType type,
                               std::vector<int64_t> shape,
                               std::string_view elements) {
  Result<int64_t> count = elementCount(shape);
  if (!count)
    return count.error();
  std::optional<int64_t> size = checkedMul(*count, sizeOf(type));
  if (!size || static_cast<size_t>(*size) != elements.size())
    return invalidArgument("expected the elements of " + toText(type, shape) +
                           ", found " + std::to_string(elements.size()) +
                           " bytes");
  Result<std::string> data = convert(npyTypeOf(type), elements, to);
  if (!data)
    return data.error();
  return NpyArray{to, std::move(shape), std::move(*data)};
}
