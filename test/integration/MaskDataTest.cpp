//===- MaskDataTest.cpp - masks with tensors, compiled, run and judged ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/test/support/Elements.h"
#include "attn/test/support/Random.h"
#include "attn/test/support/Trial.h"

#include "gtest/gtest.h"

#include <algorithm>

using namespace attn::test;

namespace {

/// One argument of the function, with its name and type.
struct Named {
  std::string name, type;
  Argument argument;
};

/// One random problem.
class Problem {
public:
  /// `isPacked`: with residue classes, and lengths as the only tensor.
  /// `hasTables`: with lengths and blocks alone.
  explicit Problem(uint64_t seed, bool isPacked = false, bool hasTables = false)
      : random(seed), hasTables(hasTables) {
    batches = 1 + random.below(3);
    kvHeads = 1 + random.below(2);
    groups = random.oneOf<int64_t>({1, 1, 2});
    auto length = [&] {
      return random.oneOf<int64_t>({1, 15, 16, 17, 47, 63, 64, 65, 97, 127, 128,
                                    129, 131, 191, 193, 257, 320});
    };
    // The rule on mean errors means nothing for a handful of elements.
    queries = std::max<int64_t>(length(), 15);
    keys = random.below(3) == 0 ? queries : length();
    headSize = random.oneOf<int64_t>({16, 32, 64, 80});
    symbol = random.below(150);
    isOpen = random.below(2);
    element = random.oneOf<std::string>({"f16", "bf16"});
    add("q", {batches, kvHeads * groups, queries, headSize});
    add("k", {batches, kvHeads, keys, headSize});
    add("v", {batches, kvHeads, keys, headSize});
    mask = "mask(" +
           (isPacked ? lengthsAtom() + " & " +
                           random.oneOf<std::string>(
                               {"stride<3>", "dilated<9, 9, 4>", "stride<5>",
                                "causal & dilated<%w, 0, 2>",
                                "window<90, 0> & stride<2>"})
                     : expression(2, true)) +
           ")";
    alignment = random.oneOf<std::string>({"", "align(start)", "align(%w)"});
  }

  std::string source() const {
    std::string signature, types,
        result =
            typeOf({batches, kvHeads * groups, queries, headSize}, element),
        lse = typeOf({batches, kvHeads * groups, queries}, "f32");
    for (const Named &argument : arguments)
      signature += "%" + argument.name + ": " + argument.type + ", ";
    // Those of the mask in order of appearance.
    std::vector<std::pair<size_t, const Named *>> order;
    for (size_t n = 0; n < arguments.size(); ++n) {
      size_t at = n < 3 ? n : mask.find("%" + arguments[n].name + "#");
      order.push_back({at, &arguments[n]});
    }
    std::sort(order.begin(), order.end());
    for (auto [at, argument] : order)
      types += (types.empty() ? "" : ", ") + argument->type;
    std::string results = result + ", " + lse;
    return "func.func @f(" + signature + "%w: index) -> (" + results +
           ") {\n  %o, %lse = attn.attention %q, %k, %v " + mask + " " +
           alignment + "\n    : (" + types + ") -> (" + results +
           ")\n  return %o, %lse : " + results + "\n}\n";
  }

  Trial trial(const std::string &target, const std::string &device,
              const std::string &deviceOptions) const {
    Trial trial;
    trial.source = source();
    for (const Named &argument : arguments)
      trial.arguments.push_back(argument.argument);
    trial.arguments.push_back(Argument::index(symbol));
    trial.target = target;
    trial.device = device;
    trial.deviceOptions = deviceOptions;
    return trial;
  }

  std::vector<Named> arguments;
  int64_t symbol;
  std::string mask;

private:
  std::string typeOf(const std::vector<int64_t> &shape,
                     const std::string &type) const {
    std::vector<int64_t> extents = shape;
    for (size_t dim = 0; dim < shape.size(); ++dim) {
      // Heads and head sizes are always known.
      bool isHead = (shape.size() == 4 || type == "f32") && dim == 1;
      if (isOpen && shape[dim] != 1 && !isHead &&
          (shape.size() != 4 || dim == 0 || dim == 2))
        extents[dim] = -1;
    }
    return tensorType(extents, type);
  }

  void add(const std::string &name, std::vector<int64_t> shape) {
    attn::ElementType type = elementOf(element);
    int64_t count = 1;
    for (int64_t size : shape)
      count *= size;
    std::vector<double> values;
    for (int64_t n = 0; n < count; ++n)
      values.push_back(attn::reference::round(random.normal(), formatOf(type)));
    arguments.push_back({name,
                         typeOf(shape, element),
                         {type, {std::move(shape), std::move(values)}}});
  }

  /// A tensor of the mask; returns its name.
  std::string addData(const std::string &type, std::vector<int64_t> shape,
                      std::vector<double> values) {
    Named named{"t" + std::to_string(arguments.size() + 1),
                typeOf(shape, type),
                {elementOf(type), {shape, std::move(values)}}};
    // Some elements between one row and the next.
    shape.back() += random.below(3);
    named.argument.strides = attn::rowMajorStrides(shape);
    arguments.push_back(named);
    return "%" + named.name + "#0";
  }

  /// Sorted ids, of `count` documents at most.
  std::vector<double> ids(int64_t length, int64_t count) {
    std::vector<double> values;
    for (int64_t b = 0; b < batches; ++b) {
      std::vector<double> row;
      for (int64_t n = 0; n < length; ++n)
        row.push_back(double(random.below(count)) - 2);
      std::sort(row.begin(), row.end());
      values.insert(values.end(), row.begin(), row.end());
    }
    return values;
  }

  std::string lengthsAtom() {
    std::vector<double> lengths;
    for (int64_t b = 0; b < batches; ++b)
      lengths.push_back(double(random.below(keys + 1)));
    return "lengths(" +
           addData(random.oneOf<std::string>({"i32", "i64"}), {batches},
                   lengths) +
           ")";
  }

  std::string dataAtom() {
    std::string type = random.oneOf<std::string>({"i32", "i64"});
    switch (hasTables ? 3 * random.below(2) : random.below(4)) {
    case 0:
      return lengthsAtom();
    case 1: {
      int64_t count = random.oneOf<int64_t>({1, 2, 3, 5, 40});
      std::vector<double> values = ids(keys, count);
      std::string k = addData(type, {batches, keys}, values);
      std::string q =
          queries == keys && random.below(2)
              ? k
              : addData(type, {batches, queries}, ids(queries, count));
      return "documents(" + q + ", " + k + ")";
    }
    case 2:
      return bitsAtom();
    default:
      return blocksAtom(type);
    }
  }

  std::string bitsAtom() {
    std::vector<int64_t> shape = {batches, kvHeads * groups, queries, keys};
    for (size_t dim = 0; dim < 4; ++dim)
      if (random.below(dim < 2 ? 2 : 5) == 0)
        shape[dim] = 1;
    int64_t count = shape[0] * shape[1] * shape[2] * shape[3];
    std::vector<double> values(count, 0);
    // Runs of equal elements: tiles of all kinds.
    int64_t run = random.oneOf<int64_t>({1, 3, 200, 20000});
    bool isLive = random.below(2);
    for (int64_t n = 0; n < count; ++n) {
      if (random.below(run) == 0)
        isLive = !isLive;
      values[n] = isLive;
    }
    return "bits(" +
           addData(random.oneOf<std::string>({"i1", "i8"}), shape, values) +
           ")";
  }

  std::string blocksAtom(const std::string &type) {
    int64_t height = random.oneOf<int64_t>({16, 32, 48, 64, 128, 256}),
            width = random.oneOf<int64_t>({8, 16, 24, 64, 128, 100});
    int64_t numRows = (queries + height - 1) / height,
            numColumns = (keys + width - 1) / width;
    std::vector<int64_t> shape = {numRows + 1};
    if (random.below(2))
      shape = {random.below(2) ? batches : 1,
               random.below(2) ? kvHeads * groups : 1, numRows + 1};
    int64_t tables = shape.size() == 3 ? shape[0] * shape[1] : 1;
    int64_t density = 1 + random.below(4);
    std::vector<double> offsets, columns;
    for (int64_t table = 0; table < tables; ++table) {
      offsets.push_back(double(columns.size()));
      for (int64_t row = 0; row < numRows; ++row) {
        for (int64_t column = 0; column < numColumns; ++column)
          if (random.below(4) < density)
            columns.push_back(double(column));
        offsets.push_back(double(columns.size()));
      }
    }
    std::string rows = addData(type, shape, offsets);
    int64_t count = int64_t(columns.size());
    return "blocks<" + std::to_string(height) + ", " + std::to_string(width) +
           ">(" + rows + ", " + addData(type, {count}, columns) + ")";
  }

  std::string closedAtom() {
    auto number = [&](int64_t n) { return std::to_string(random.below(n)); };
    switch (random.below(6)) {
    case 0:
      return "causal";
    case 1:
      return "window<" + number(150) + ", " + number(20) + ">";
    case 2:
      return "keys<0, " + number(200) + ">";
    case 3:
      return "keys<%w, inf>";
    case 4:
      return "heads<0, 1>";
    default:
      return random.oneOf<std::string>(
          {"stride<5>", "same_block<48>", "summary<40, 7>", "global<9>"});
    }
  }

  std::string expression(int depth, bool needsData) {
    if (depth == 0)
      return needsData || random.below(3) == 0 ? dataAtom() : closedAtom();
    switch (random.below(5)) {
    case 0:
      return "!(" + expression(depth - 1, needsData) + ")";
    case 1:
      return expression(0, needsData);
    case 2:
      return "(" + expression(depth - 1, needsData) + " | " +
             expression(depth - 1, false) + ")";
    default:
      return "(" + expression(depth - 1, false) + " & " +
             expression(depth - 1, needsData) + ")";
    }
  }

  Random random;
  int64_t batches, kvHeads, groups, queries, keys, headSize;
  bool isOpen, hasTables;
  std::string element, alignment;
};

} // namespace

TEST(MaskData, RandomMasksAgreeWithTheReferenceInTheSimulator) {
  TrialRunner runner;
  int64_t first = environment("ATTN_DIFFERENTIAL_SEED", 1);
  const char *modes[] = {"mode=eager", "mode=lazy", "mode=random,seed=5"};
  for (int64_t i = 0; i < environment("ATTN_DIFFERENTIAL_COUNT", 30); ++i) {
    // What runs with roles there.
    const char *target = i % 2 ? "sm_90a" : "sm_80";
    Problem problem{uint64_t(first + i), /*isPacked=*/false,
                    /*hasTables=*/i % 4 == 1};
    EXPECT_EQ(runner.run(problem.trial(target, "sim", modes[i % 3])), "")
        << "seed " << first + i << ", " << target << ", w = " << problem.symbol
        << "\n"
        << problem.source();
  }
}

TEST(MaskData, LengthsOfResidueClassesAgreeWithTheReference) {
  TrialRunner runner;
  for (int64_t i = 0; i < 12; ++i) {
    Problem problem{uint64_t(i), /*isPacked=*/true};
    const char *target = i % 3 ? "sm_90a" : "sm_80";
    EXPECT_EQ(runner.run(problem.trial(target, "sim", "mode=lazy")), "")
        << "seed " << i << "\n"
        << problem.source();
  }
  EXPECT_GE(runner.countRemarks("residue classes, each"), 4);
}

/// A length more on the device alone is found.
TEST(MaskData, AWrongLengthIsFound) {
  TrialRunner runner;
  int64_t found = 0;
  for (int64_t i = 0; i < 6; ++i) {
    Trial trial = Problem{uint64_t(i), true}.trial("sm_80", "sim", "");
    trial.spoil = [](std::vector<Argument> &arguments) {
      for (double &length : arguments[3].value.values)
        length = length > 8 ? length - 8 : length;
    };
    found += !runner.run(trial).empty();
  }
  EXPECT_GE(found, 3);
}

TEST(MaskData, RandomMasksAgreeWithTheReferenceOnTheHost) {
  TrialRunner runner;
  int64_t first = environment("ATTN_DIFFERENTIAL_SEED", 1000);
  for (int64_t i = 0; i < environment("ATTN_DIFFERENTIAL_COUNT", 40); ++i) {
    Problem problem{uint64_t(first + i)};
    EXPECT_EQ(runner.run(problem.trial("host", "host", "")), "")
        << "seed " << first + i << ", w = " << problem.symbol << "\n"
        << problem.source();
  }
}
