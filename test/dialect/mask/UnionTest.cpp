//===- UnionTest.cpp - parts of unions and sets of keys -------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "attn/dialect/mask/Columns.h"
#include "attn/dialect/mask/Packing.h"
#include "attn/dialect/mask/Union.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;

static int64_t floorMod(int64_t a, int64_t b) { return (a % b + b) % b; }

/// The key that stands for number `number`.
static int64_t getKey(const ColumnSet &columns, int64_t number) {
  return number / columns.count * columns.step + columns.first +
         number % columns.count;
}

TEST(Union, DifferencesOfKnownMasks) {
  struct Case {
    const char *mask, *other, *result;
  };
  const Case cases[] = {
      {"causal", "window<4, 0>", "window<inf, -5>"},
      {"causal & stride<128>", "causal & window<128, 0>",
       "window<inf, -129> & stride<128>"},
      {"causal & summary<16, 2>", "causal & same_block<16>",
       "summary<16, 2> & affine_set<(h, i, j) : (i floordiv 16 - j floordiv 16 "
       "- 1 >= 0)>"},
      {"window<3, 3>", "window<5, 4>", "!all"},
      {"causal & stride<4>",
       "affine_set<(h, i, j) : (i - j >= 0, 4 + j - i >= "
       "0)>",
       "affine_set<(h, i, j) : (i - j - 5 >= 0)> & stride<4>"},
      {"keys<3, 9>", "!causal", "causal & keys<3, 9>"},
  };
  MLIRContext context;
  for (const Case &c : cases) {
    MaskAttr found =
        subtract(parseMask(context, c.mask), parseMask(context, c.other));
    MaskAttr expected = parseMask(context, c.result);
    EXPECT_TRUE(isEqual(found, expected).value_or(false))
        << c.mask << " without " << c.other << " is " << found.str();
    // No more parts than expected.
    EXPECT_LE(found.str().size(), expected.str().size() + 12) << found.str();
  }
}

TEST(Union, ColumnsOfKnownMasks) {
  struct Case {
    const char *mask;
    int64_t first, count, step;
  };
  const Case cases[] = {
      {"causal & summary<128, 8>", 120, 8, 128},
      {"affine_set<(h, i, j) : (i - j >= 0, j mod 128 - 120 >= 0)>", 120, 8,
       128},
      {"affine_set<(h, i, j) : ((j - 3) mod 5 == 0)>", 3, 1, 5},
      {"summary<8, 4> & summary<4, 1>", 7, 1, 8},
      {"summary<4, 2> & !summary<4, 1> & window<9, s0>", 2, 1, 4},
      // Around the end of a block: the hull is everything.
      {"affine_set<(h, i, j) : (1 - (j + 1) mod 8 >= 0)>", 0, 0, 0},
      {"causal", 0, 0, 0},
      {"stride<4>", 0, 0, 0},
      {"summary<8, 2> | window<3, 0>", 0, 0, 0},
      {"affine_set<(h, i, j) : ((i + j) mod 8 == 0)>", 0, 0, 0},
      {"affine_set<(h, i, j) : (j floordiv 8 == 0)>", 0, 0, 0},
  };
  MLIRContext context;
  for (const Case &c : cases) {
    std::optional<ColumnSet> found = getColumnSet(parseMask(context, c.mask));
    ASSERT_EQ(found.has_value(), c.step != 0) << c.mask;
    if (found)
      EXPECT_TRUE(*found == (ColumnSet{c.first, c.count, c.step}))
          << c.mask << ": " << found->first << " " << found->count << " "
          << found->step;
  }
}

TEST(Union, CompactedMasksAreCompact) {
  MLIRContext context;
  auto compact = [&](const char *text, ColumnSet columns) {
    return compactColumns(parseMask(context, text), columns).str();
  };
  const ColumnSet last = {120, 8, 128};
  EXPECT_EQ(compact("summary<128, 8>", last), "all");
  EXPECT_EQ(
      compact("summary<128, 8> & affine_set<(h, i, j) : (i floordiv 128 - "
              "j floordiv 128 - 1 >= 0)>",
              last),
      "affine_set<(d0, d1, d2) : (-d2 + (d1 floordiv 128) * 8 - 1 >= "
      "0)>");
  EXPECT_EQ(compact("keys<100, 380>", last),
            "affine_set<(d0, d1, d2) : (-d2 + 19 >= 0)>");
  EXPECT_EQ(compact("same_block<256>", last),
            "affine_set<(d0, d1, d2) : (d2 - (d1 floordiv 256) * 16 >= 0)> & "
            "affine_set<(d0, d1, d2) : (-d2 + (d1 floordiv 256) * 16 + 15 >= "
            "0)>");
  EXPECT_EQ(compact("keys<s1, inf>", {0, 1, 4}),
            "affine_set<(d0, d1, d2)[s0] : (d2 * 4 - s0 >= 0)>(s1)");
}

namespace {
struct Sizes {
  int64_t numQueries, numKeys, offset, head;
  SmallVector<int64_t> symbols;
};
} // namespace

/// Terms, differences, segments, parts and compacted columns of random masks
/// against membership: nothing is lost, nothing is counted twice.
TEST(Union, BijectionOfLivePairs) {
  constexpr unsigned seed = 1701;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  auto atom = [&](MaskKind kind, ArrayRef<int64_t> values) {
    return MaskAttr::getAtom(&context, kind,
                             llvm::map_to_vector(values, [](int64_t value) {
                               return MaskBound::constant(value);
                             }));
  };
  int compacted = 0, segmented = 0, parted = 0, live = 0;
  const int rounds = getRounds(1500);
  for (int round = 0; round < rounds; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 2);
    MaskAttr mask = randomMask(context, rng, options);
    int64_t step = pick(2, 12), count = pick(1, step);
    if (round % 3 == 1)
      mask = MaskAttr::getOr(
          {MaskAttr::getAnd({mask, atom(MaskKind::Summary, {step, count})}),
           atom(MaskKind::Window, {pick(0, 9), pick(0, 3)})});
    if (round % 3 == 2)
      mask = MaskAttr::getOr(
          {MaskAttr::getAnd({mask, atom(MaskKind::Stride, {step})}),
           atom(MaskKind::SameBlock, {pick(1, 12)})});
    Sizes sizes{pick(1, 40), pick(0, 45), pick(-30, 30), pick(0, 4), {}};
    sizes.symbols = {pick(-3, 30), pick(0, 45)};
    sizes.symbols.resize(std::max(2u, mask.getNumSymbols()));
    auto contains = [&](MaskAttr some, int64_t i, int64_t j) {
      return isLive(some, sizes.symbols, sizes.head, i + sizes.offset, j);
    };
    std::string context_ =
        llvm::formatv("{0}, round {1}, seed {2}", mask.str(), round, seed);

    SmallVector<MaskAttr> terms = getTerms(mask);
    MaskAttr other = randomMask(context, rng, options);
    sizes.symbols.resize(
        std::max<size_t>(sizes.symbols.size(), other.getNumSymbols()));
    MaskAttr difference = subtract(mask, other);
    SmallVector<Segment, 1> segments = getSegments(mask, 3, 2, sizes.numKeys);
    segmented += segments.size() > 1 || segments[0].columns;
    SmallVector<PackedPart, 1> parts =
        splitUnion(mask, {sizes.numQueries, sizes.numKeys, 2, 2});
    parted += parts.size() > 1;
    for (int64_t i = 0; i < sizes.numQueries; ++i)
      for (int64_t j = 0; j < sizes.numKeys; ++j) {
        bool expected = contains(mask, i, j);
        live += expected;
        ASSERT_EQ(
            llvm::any_of(terms,
                         [&](MaskAttr term) { return contains(term, i, j); }),
            expected)
            << context_;
        ASSERT_EQ(contains(difference, i, j),
                  expected && !contains(other, i, j))
            << context_ << " without " << other.str();
        int64_t inSegments = 0, inParts = 0;
        for (const Segment &segment : segments)
          inSegments += contains(segment.mask, i, j);
        ASSERT_EQ(inSegments, int64_t(expected)) << context_;
        for (const PackedPart &part : parts)
          if (contains(part.mask, i, j)) {
            ++inParts;
            ASSERT_EQ(floorMod(i + sizes.offset - j, part.modulus), 0)
                << context_ << " part " << part.mask.str();
          }
        if (!parts.empty())
          ASSERT_EQ(inParts, int64_t(expected)) << context_;
      }

    // Every term and segment over its own keys: all of them, each once.
    for (MaskAttr term : terms)
      if (std::optional<ColumnSet> columns = getColumnSet(term))
        segments.push_back({term, columns});
    for (const Segment &segment : segments) {
      if (!segment.columns)
        continue;
      ++compacted;
      MaskAttr local = segment.getLocalMask();
      int64_t numLocal = segment.countKeys(sizes.numKeys);
      for (int64_t i = 0; i < sizes.numQueries; ++i) {
        SmallVector<bool> seen(sizes.numKeys);
        for (int64_t number = 0; number < numLocal; ++number) {
          int64_t key = getKey(*segment.columns, number);
          ASSERT_LT(key, sizes.numKeys) << context_;
          ASSERT_FALSE(seen[key]);
          seen[key] = true;
          ASSERT_EQ(contains(local, i, number), contains(segment.mask, i, key))
              << context_ << ": " << segment.mask.str() << " is " << local.str()
              << " at query " << i << " key " << key;
        }
        for (int64_t key = 0; key < sizes.numKeys; ++key)
          ASSERT_TRUE(seen[key] || !contains(segment.mask, i, key))
              << context_ << ": key " << key << " is left out";
      }
    }
  }
  llvm::outs() << rounds << " masks, " << segmented << " in segments, "
               << parted << " in parts, " << compacted << " compacted terms, "
               << live << " live pairs, seed " << seed << "\n";
  EXPECT_GT(compacted, 300);
  EXPECT_GT(segmented, 100);
  EXPECT_GT(parted, 100);
}

/// The figures of the README and what the tiles are made of, whatever the
/// atoms.
TEST(Union, LongSequences) {
  struct Named {
    const char *mask;
    int64_t tiles; // 128 x 128 at 16384
    size_t segments;
  };
  const Named masks[] = {
      {"fixed<128, 8>", 696, 2},
      {"affine_set<(h, i, j) : (i - j >= 0, i floordiv 128 - j floordiv 128 == "
       "0)> | affine_set<(h, i, j) : (i - j >= 0, j mod 128 - 120 >= 0)>",
       696, 2},
      {"causal & summary<128, 8>", 576, 1},
      {"causal & (window<256, 0> | summary<64, 1>)", 0, 2},
  };
  MLIRContext context;
  for (const Named &named : masks) {
    MaskAttr mask = parseMask(context, named.mask);
    EXPECT_EQ(getSegments(mask, 128, 128, {}).size(), named.segments)
        << named.mask;
    MaskProblem::TileCounts counts =
        countPackedTiles(mask, 1, {}, 0, 16384, 16384, 0, 128, 128);
    llvm::outs() << named.mask << ": " << counts.full + counts.partial
                 << " tiles\n";
    if (named.tiles)
      EXPECT_EQ(counts.full + counts.partial, named.tiles) << named.mask;
    EXPECT_LE(counts.full + counts.partial, 750) << named.mask;
  }
}
