//===- DataCheck.cpp - What the elements of arguments must be -------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/DataCheck.h"

#include <cstdlib>
#include <cstring>

using namespace attn;

bool attn::isDataChecked() {
  const char *value = std::getenv("ATTN_CHECK_DATA");
  return !value || std::strcmp(value, "0") != 0;
}

static std::string number(int64_t value) { return std::to_string(value); }

static Status checkRange(const CheckDesc &check, const IntegerData &data,
                         const Bindings &bindings) {
  Result<int64_t> max = evaluate(check.max, bindings);
  if (!max)
    return max.error();
  for (size_t n = 0; n < data.elements.size(); ++n)
    if (data.elements[n] < check.min || data.elements[n] > *max)
      return invalidArgument(
          "expected elements in " + number(check.min) + ".." + number(*max) +
          ", found " + number(data.elements[n]) + " at " + number(int64_t(n)));
  return Status::success();
}

static Status checkSorted(const IntegerData &data) {
  int64_t length = data.shape.back();
  for (size_t n = 1; n < data.elements.size(); ++n)
    if (int64_t(n) % length != 0 && data.elements[n] < data.elements[n - 1])
      return invalidArgument("expected elements that do not decrease, found " +
                             number(data.elements[n]) + " after " +
                             number(data.elements[n - 1]) + " at " +
                             number(int64_t(n)));
  return Status::success();
}

static Status checkRising(const IntegerData &data, const IntegerData &rows) {
  int64_t length = rows.shape.back(), count = int64_t(data.elements.size());
  for (size_t n = 1; n < rows.elements.size(); ++n) {
    if (int64_t(n) % length == 0)
      continue;
    int64_t from = rows.elements[n - 1], to = rows.elements[n];
    if (from < 0 || to > count)
      return invalidArgument("expected " + number(to) +
                             " elements or more, found " + number(count));
    for (int64_t e = from + 1; e < to; ++e)
      if (data.elements[size_t(e)] <= data.elements[size_t(e - 1)])
        return invalidArgument(
            "expected rising elements in row " + number(int64_t(n) - 1) +
            ", found " + number(data.elements[size_t(e)]) + " after " +
            number(data.elements[size_t(e - 1)]) + " at " + number(e));
  }
  return Status::success();
}

Status attn::checkData(const CheckDesc &check, const IntegerData &data,
                       const IntegerData *rows, const Bindings &bindings) {
  switch (check.kind) {
  case CheckDesc::Kind::Range:
    return checkRange(check, data, bindings);
  case CheckDesc::Kind::Sorted:
    return checkSorted(data);
  case CheckDesc::Kind::Rising:
    return checkRising(data, *rows);
  case CheckDesc::Kind::Size:
  case CheckDesc::Kind::Multiple:
    return checkShape(check, data.shape, bindings);
  }
  return Status::success();
}

Status attn::checkShape(const CheckDesc &check,
                        const std::vector<int64_t> &shape,
                        const Bindings &bindings) {
  Result<int64_t> size = evaluate(check.max, bindings);
  if (!size)
    return size.error();
  int64_t found = shape[size_t(check.dim)];
  bool isMultiple = check.kind == CheckDesc::Kind::Multiple;
  bool holds = isMultiple && *size != 0 ? found % *size == 0 : found == *size;
  if (holds)
    return Status::success();
  return invalidArgument("dimension " + number(check.dim) + ": expected " +
                         (isMultiple ? "a multiple of " : "size ") +
                         number(*size) + ", found " + number(found));
}
