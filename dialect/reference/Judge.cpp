//===- Judge.cpp - see Judge.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/reference/Judge.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace attn::reference {

uint32_t poisonBits(Format format) {
  switch (format) {
  case Format::F16:
    return 0x7E5A;
  case Format::BF16:
    return 0x7FDA;
  case Format::F32:
    break;
  }
  return 0x7FDA5A5A;
}

bool isPoison(double value, Format format) {
  return std::isnan(value) && encode(value, format) == poisonBits(format);
}

namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

/// `[1, 0, 17, 3]`.
std::string indexText(size_t linear, const std::vector<int64_t> &shape) {
  std::string text;
  for (size_t d = shape.size(); d-- > 0;) {
    text =
        std::to_string(linear % shape[d]) + (text.empty() ? "" : ", ") + text;
    linear /= shape[d];
  }
  return "[" + text + "]";
}

class Judge {
public:
  Judge(const std::vector<double> &result, const std::vector<double> &reference,
        const std::vector<int64_t> &shape, Format stored)
      : result(result), reference(reference), shape(shape), stored(stored) {}

  /// J3, J4: sizes agree, everything is written, and NaN and infinities stand
  /// exactly where the reference has them.
  bool checkElements() {
    size_t size = 1;
    for (int64_t extent : shape)
      size *= extent;
    if (result.size() != size || reference.size() != size)
      return fail("expected " + std::to_string(size) + " elements, found " +
                  std::to_string(result.size()) + " in the result and " +
                  std::to_string(reference.size()) + " in the reference (J3)");
    for (size_t n = 0; n < size; ++n) {
      if (isPoison(result[n], stored))
        return fail("element " + indexText(n, shape) + " was not written (J3)");
      bool same = std::isnan(reference[n])   ? std::isnan(result[n])
                  : std::isinf(reference[n]) ? result[n] == reference[n]
                                             : std::isfinite(result[n]);
      if (!same)
        return fail("expected " + number(reference[n]) + " at " +
                    indexText(n, shape) + ", found " + number(result[n]) +
                    " (J4)");
    }
    return true;
  }

  /// Maximum and mean of |values - reference| where the reference is finite.
  /// False if one of them is not finite.
  bool errors(const std::vector<double> &values, double &max,
              double &mean) const {
    size_t count = 0;
    max = mean = 0;
    for (size_t n = 0; n < reference.size(); ++n) {
      if (!std::isfinite(reference[n]))
        continue;
      double error = std::fabs(values[n] - reference[n]);
      if (!std::isfinite(error))
        return false;
      max = std::max(max, error);
      mean += error;
      ++count;
    }
    if (count)
      mean /= static_cast<double>(count);
    return true;
  }

  /// The first element whose error exceeds `bound`.
  std::string firstBeyond(double bound) const {
    for (size_t n = 0; n < reference.size(); ++n)
      if (std::isfinite(reference[n]) &&
          std::fabs(result[n] - reference[n]) > bound)
        return "expected " + number(reference[n]) + " at " +
               indexText(n, shape) + ", found " + number(result[n]);
    return "";
  }

  bool fail(const std::string &problem) {
    judgement.passed = false;
    judgement.problem = problem;
    return false;
  }

  Judgement judgement;

private:
  const std::vector<double> &result, &reference;
  const std::vector<int64_t> &shape;
  Format stored;
};

} // namespace

Judgement judgeOutput(const std::vector<double> &result,
                      const std::vector<double> &reference,
                      const std::vector<double> &naive,
                      const std::vector<int64_t> &shape, Format format,
                      double factor) {
  Judge judge(result, reference, shape, format);
  Judgement &judgement = judge.judgement;
  if (!judge.checkElements())
    return judgement;
  double naiveMax, naiveMean;
  if (naive.size() != reference.size() ||
      !judge.errors(naive, naiveMax, naiveMean)) {
    judge.fail("the naive computation overflowed where the reference is "
               "finite, so there is no bound: scale the inputs "
               "down");
    return judgement;
  }
  judge.errors(result, judgement.maxError, judgement.meanError);
  judgement.maxBound = factor * naiveMax + 1e-5;
  judgement.meanBound = 1.25 * naiveMean + 1e-6;
  if (judgement.maxError > judgement.maxBound)
    judge.fail("maximum error " + number(judgement.maxError) + " exceeds " +
               number(judgement.maxBound) + ": " +
               judge.firstBeyond(judgement.maxBound) + " (J1)");
  else if (judgement.meanError > judgement.meanBound)
    judge.fail("mean error " + number(judgement.meanError) + " exceeds " +
               number(judgement.meanBound) + " (J2)");
  return judgement;
}

Judgement judgeLse(const std::vector<double> &result,
                   const std::vector<double> &reference,
                   const std::vector<int64_t> &shape, Format format) {
  Judge judge(result, reference, shape, Format::F32);
  Judgement &judgement = judge.judgement;
  if (!judge.checkElements())
    return judgement;
  judge.errors(result, judgement.maxError, judgement.meanError);
  judgement.maxBound = judgement.meanBound =
      format == Format::F32 ? 1e-5 : 1e-3;
  if (judgement.maxError > judgement.maxBound)
    judge.fail("lse error " + number(judgement.maxError) + " exceeds " +
               number(judgement.maxBound) + ": " +
               judge.firstBeyond(judgement.maxBound) + " (J5)");
  return judgement;
}

std::string toText(const Judgement &judgement) {
  std::string text = "max error " + number(judgement.maxError) + " (bound " +
                     number(judgement.maxBound) + "), mean error " +
                     number(judgement.meanError) + " (bound " +
                     number(judgement.meanBound) + ")";
  return judgement.passed ? text : judgement.problem + "; " + text;
}

} // namespace attn::reference
