//===- TileProgramTest.cpp - executes tile programs against the definition of
// attention ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Attn.h"
#include "attn/dialect/Source.h"
#include "attn/dialect/mask/Packing.h"
#include "attn/passes/Passes.h"
#include "attn/passes/Pipelines.h"
#include "attn/test/passes/TileInterpreter.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FormatVariadic.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"
#include <cmath>
#include <functional>
#include <random>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;
using mlir::attn::test::View;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

int64_t floorDiv(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
int64_t floorMod(int64_t a, int64_t b) { return a - b * floorDiv(a, b); }

/// A mask in the op's syntax, and what it means: (head, position, key) with %w.
struct MaskCase {
  const char *text;
  std::function<bool(int64_t h, int64_t p, int64_t j, int64_t w)> isLive;
};

const MaskCase kMasks[] = {
    {"all", [](int64_t, int64_t, int64_t, int64_t) { return true; }},
    {"causal", [](int64_t, int64_t p, int64_t j, int64_t) { return j <= p; }},
    {"window<5, 3>", [](int64_t, int64_t p, int64_t j,
                        int64_t) { return p - 5 <= j && j <= p + 3; }},
    {"causal & window<%w, 0>", [](int64_t, int64_t p, int64_t j,
                                  int64_t w) { return p - w <= j && j <= p; }},
    {"window<%w, inf>",
     [](int64_t, int64_t p, int64_t j, int64_t w) { return p - w <= j; }},
    {"causal & (keys<0, 4> | window<%w, 0>)",
     [](int64_t, int64_t p, int64_t j, int64_t w) {
       return j <= p && (j < 4 || p - w <= j);
     }},
    {"stride<3>", [](int64_t, int64_t p, int64_t j,
                     int64_t) { return floorMod(p - j, 3) == 0; }},
    {"causal & stride<19>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return j <= p && floorMod(p - j, 19) == 0;
     }},
    {"dilated<3, 2, 4>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return floorMod(p - j, 4) == 0 && -8 <= p - j && p - j <= 12;
     }},
    {"same_block<7>", [](int64_t, int64_t p, int64_t j,
                         int64_t) { return floorDiv(p, 7) == floorDiv(j, 7); }},
    {"fixed<9, 2>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return j <= p &&
              (floorDiv(p, 9) == floorDiv(j, 9) || floorMod(j, 9) >= 7);
     }},
    {"strided<5>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return j <= p && (p - j <= 5 || floorMod(p - j, 5) == 0);
     }},
    {"causal & summary<8, 1>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return j <= p && floorMod(j, 8) == 7;
     }},
    {"window<%w, 2> & affine_set<(h, i, j) : (3 - j mod 12 >= 0, j mod 12 - 2 "
     ">= 0)> | keys<0, 5>",
     [](int64_t, int64_t p, int64_t j, int64_t w) {
       return (p - w <= j && j <= p + 2 && floorMod(j, 12) >= 2 &&
               floorMod(j, 12) <= 3) ||
              j < 5;
     }},
    {"causal & (same_block<16> | summary<16, 3> | stride<16>)",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return j <= p && (floorDiv(p, 16) == floorDiv(j, 16) ||
                         floorMod(j, 16) >= 13 || floorMod(p - j, 16) == 0);
     }},
    {"global<2> | window<1, 1>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return p < 2 || j < 2 || std::abs(p - j) <= 1;
     }},
    {"!window<2, 2>", [](int64_t, int64_t p, int64_t j,
                         int64_t) { return std::abs(p - j) > 2; }},
    {"!(stride<2> & causal)",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return !(floorMod(p - j, 2) == 0 && j <= p);
     }},
    {"heads<0, 2> & causal | heads<2, 4> & stride<2>",
     [](int64_t h, int64_t p, int64_t j, int64_t) {
       return h < 2 ? j <= p : h < 4 && floorMod(p - j, 2) == 0;
     }},
    {"queries<3, 11> & keys<5, 9>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return 3 <= p && p < 11 && 5 <= j && j < 9;
     }},
    {"keys<0, 0>", [](int64_t, int64_t, int64_t, int64_t) { return false; }},
    {"affine_set<(h, i, j)[n] : (2 * i - 3 * j + n >= 0, (i + 2 * j + h) mod 5 "
     "- 2 >= 0)>(%w)",
     [](int64_t h, int64_t p, int64_t j, int64_t w) {
       return 2 * p - 3 * j + w >= 0 && floorMod(p + 2 * j + h, 5) >= 2;
     }},
    {"affine_set<(h, i, j) : ((i + j) floordiv 6 - i floordiv 3 == 0)>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return floorDiv(p + j, 6) == floorDiv(p, 3);
     }},
    {"affine_set<(h, i, j) : (((i + j) floordiv 4 + j) mod 3 == 0)>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return floorMod(floorDiv(p + j, 4) + j, 3) == 0;
     }},
    {"affine_set<(h, i, j) : (10000000000 * i - 10000000000 * j - 5 >= 0)>",
     [](int64_t, int64_t p, int64_t j, int64_t) { return p > j; }},
    {"affine_set<(h, i, j) : (i - j + 3000000000 >= 0)>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return p - j + 3000000000 >= 0;
     }},
    {"affine_set<(h, i, j) : (i - j + 4294967296 == 0)>",
     [](int64_t, int64_t p, int64_t j, int64_t) {
       return p - j + 4294967296 == 0;
     }},
};

enum class Align { End, Start, Scalar, Tensor };

struct Problem {
  int64_t batches, heads, kvHeads, queries, keys, headSize, valueSize;
  int64_t qTile, kvTile;
  bool isStatic;
  Align align;
  double scale;
  int64_t w;
  const char *type = "f32";
  /// Whether some of k and v is NaN.
  bool withNan = false;
  bool lowerTiles = false;
  /// Added to the offset of align(%x).
  int64_t farAway = 0;
};

class TileProgram : public ::testing::Test {
protected:
  TileProgram() {
    DialectRegistry registry;
    registry
        .insert<mlir::attn::AttnDialect, func::FuncDialect, arith::ArithDialect,
                affine::AffineDialect, tensor::TensorDialect>();
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    context.disableMultithreading();
  }

  std::string getSource(const Problem &problem, const MaskCase &mask) {
    auto dim = [&](int64_t size) {
      return problem.isStatic ? std::to_string(size) : std::string("?");
    };
    std::string batches = dim(problem.batches), heads = dim(problem.heads),
                kvHeads = dim(problem.kvHeads);
    std::string queries = dim(problem.queries), keys = dim(problem.keys);
    std::string q = llvm::formatv("tensor<{0}x{1}x{2}x{3}x{4}>", batches, heads,
                                  queries, problem.headSize, problem.type);
    std::string k =
        llvm::formatv("tensor<{0}x{1}x{2}x{3}x{4}>", batches, kvHeads, keys,
                      problem.headSize, problem.type);
    std::string v =
        llvm::formatv("tensor<{0}x{1}x{2}x{3}x{4}>", batches, kvHeads, keys,
                      problem.valueSize, problem.type);
    std::string o = llvm::formatv("tensor<{0}x{1}x{2}x{3}x{4}>", batches, heads,
                                  queries, problem.valueSize, problem.type);
    std::string lse =
        llvm::formatv("tensor<{0}x{1}x{2}xf32>", batches, heads, queries);
    std::string offset = llvm::formatv("tensor<{0}xi32>", batches);
    std::string align = problem.align == Align::End      ? "end"
                        : problem.align == Align::Start  ? "start"
                        : problem.align == Align::Scalar ? "%x"
                                                         : "%y : " + offset;
    return llvm::formatv(R"(
func.func @f(%q: {0}, %k: {1}, %v: {2}, %w: index, %x: index, %y: {3}) -> ({4}, {5}) {{
  %o, %l = attn.attention %q, %k, %v mask({6}) scale({7:F6}) align({8}) : ({0}, {1}, {2}) -> ({4}, {5})
  return %o, %l : {4}, {5}
})",
                         q, k, v, offset, o, lse, mask.text, problem.scale,
                         align);
  }

  OwningOpRef<ModuleOp> compile(const std::string &source,
                                const Problem &problem) {
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(
        mlir::attn::prepareSource(source), ParserConfig(&context));
    if (!module)
      return {};
    if (mutatePacked || mutateCompacted)
      return compileMutated(std::move(module), problem);
    PassManager manager(&context);
    mlir::attn::TileProgramOptions options;
    options.qTile = problem.qTile;
    options.kvTile = problem.kvTile;
    mlir::attn::buildTileProgramPipeline(manager, options);
    if (problem.lowerTiles)
      manager.nest<func::FuncOp>().addPass(mlir::attn::createAttnLowerTiles());
    if (failed(manager.run(*module)))
      return {};
    return module;
  }

  /// The same passes, with a slip between two of them.
  OwningOpRef<ModuleOp> compileMutated(OwningOpRef<ModuleOp> module,
                                       const Problem &problem) {
    auto run = [&](ArrayRef<std::function<std::unique_ptr<Pass>()>> passes) {
      PassManager manager(&context);
      for (const auto &create : passes)
        manager.nest<func::FuncOp>().addPass(create());
      return succeeded(manager.run(*module));
    };
    AttnTileOptions tile;
    tile.qTile = problem.qTile;
    tile.kvTile = problem.kvTile;
    auto pack = [&] { return createAttnPack({problem.qTile, problem.kvTile}); };
    if (!run({pack}))
      return {};
    if (mutatePacked)
      mutatePacked(*module);
    if (!run({[&] { return createAttnTile(tile); },
              [] { return createAttnToOnline(); },
              [] { return createAttnCompact(); }}))
      return {};
    if (mutateCompacted)
      mutateCompacted(*module);
    if (!run({[] { return createAttnTileKv(); },
              [] { return createAttnDecompose(); }}))
      return {};
    PassManager manager(&context);
    manager.addPass(createAttnBufferize());
    manager.addPass(createAttnOutline());
    return succeeded(manager.run(*module)) ? std::move(module)
                                           : OwningOpRef<ModuleOp>();
  }

  View random(ArrayRef<int64_t> sizes, const char *type) {
    // Everything that is not an element is NaN: none of it may reach a result.
    View view = View::make(sizes, std::nan(""), 3);
    std::normal_distribution<double> normal(0.1, 1.0);
    SmallVector<int64_t> index(sizes.size());
    std::function<void(size_t)> fill = [&](size_t dim) {
      if (dim == sizes.size()) {
        double x = normal(engine);
        view.at(index) = StringRef(type) == "f32" ? static_cast<float>(x)
                                                  : std::round(x * 64) / 64;
        return;
      }
      for (index[dim] = 0; index[dim] < sizes[dim]; ++index[dim])
        fill(dim + 1);
    };
    fill(0);
    return view;
  }

  void check(const Problem &problem, const MaskCase &mask);

  MLIRContext context;
  int inexactCases = 0, splitCases = 0;
  std::function<void(ModuleOp)> mutatePacked, mutateCompacted;
  std::mt19937 engine{20240607};
};

void TileProgram::check(const Problem &problem, const MaskCase &mask) {
  std::string source = getSource(problem, mask);
  SCOPED_TRACE(
      llvm::formatv(
          "{0}\nB {1} Hq {2} Hkv {3} Nq {4} Nk {5} tiles {6}x{7} w {8}", source,
          problem.batches, problem.heads, problem.kvHeads, problem.queries,
          problem.keys, problem.qTile, problem.kvTile, problem.w)
          .str());
  // attn-tile-kv says where its bounds are wider than they need be, attn-pack
  // into how many classes it took the mask apart, or into which parts;
  // attn-compact which keys it made adjacent.
  bool isExact = true, isFullExact = true, isSplit = false;
  SmallVector<int64_t> classesOfHead(problem.heads, 1);
  OwningOpRef<ModuleOp> module;
  {
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() != DiagnosticSeverity::Remark)
        return failure();
      std::string text = diagnostic.str();
      if (StringRef(text).contains("are made adjacent") ||
          StringRef(text).contains("part ")) {
        isSplit = true;
        return success();
      }
      auto [mask, packed] = StringRef(text).split(" runs as ");
      if (!packed.empty()) {
        int64_t first = 0, last = problem.heads - 1, classes;
        if (mask.consume_front("heads ") &&
            (mask.consumeInteger(10, first) || !mask.consume_front(" to ") ||
             mask.consumeInteger(10, last)))
          return failure();
        if (packed.consumeInteger(10, classes))
          return failure();
        std::fill(&classesOfHead[first], &classesOfHead[last] + 1, classes);
        return success();
      }
      if (StringRef(text).contains("are not packed"))
        return success();
      (StringRef(text).contains("full key tiles") ? isFullExact : isExact) =
          false;
      return success();
    });
    module = compile(source, problem);
  }
  ASSERT_TRUE(module);

  const auto &[B, Hq, Hkv, Nq, Nk, D, Dv] = std::make_tuple(
      problem.batches, problem.heads, problem.kvHeads, problem.queries,
      problem.keys, problem.headSize, problem.valueSize);
  View q = random({B, Hq, Nq, D}, problem.type),
       k = random({B, Hkv, Nk, D}, problem.type),
       v = random({B, Hkv, Nk, Dv}, problem.type);
  if (problem.withNan && Nk > 0) {
    k.at({0, 0, Nk / 2, 1}) = std::nan("");
    v.at({0, 0, Nk / 3, 2}) = std::nan("");
  }
  View o = View::make({B, Hq, Nq, Dv}, 77.0, 5),
       lse = View::make({B, Hq, Nq}, 77.0, 5);
  int64_t shift = Nk - Nq + 3 + problem.farAway;
  View offsets = View::make({B}, 0);
  for (int64_t b = 0; b < B; ++b)
    offsets.at({b}) = Nk - Nq + 3 - 5 * b;

  // The kernel gets what it uses.
  std::vector<Datum> arguments = {
      {q, {}, {}},       {k, {}, {}},       {v, {}, {}}, {{}, {}, {problem.w}},
      {{}, {}, {shift}}, {offsets, {}, {}}, {o, {}, {}}, {lse, {}, {}}};
  TileInterpreter interpreter(*module);
  ASSERT_TRUE(interpreter.run("f", arguments)) << interpreter.error;

  // What runs in parts is counted as the report does.
  int64_t splitTiles = 0;
  OwningOpRef<ModuleOp> original;
  SmallVector<Packing, 1> packings;
  AttentionOp attention;
  if (isSplit) {
    ++splitCases;
    original = parseSourceString<ModuleOp>(mlir::attn::prepareSource(source),
                                           ParserConfig(&context));
    original->walk([&](AttentionOp op) { attention = op; });
    packings = getPackings(attention, problem.qTile, problem.kvTile);
  }

  double tolerance = StringRef(problem.type) == "f32" ? 2e-5 : 2e-2;
  int64_t liveTiles = 0, fullTiles = 0;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t h = 0; h < Hq; ++h) {
      int64_t hk = h / (Hq / Hkv), classes = classesOfHead[h];
      int64_t offset = problem.align == Align::End     ? Nk - Nq
                       : problem.align == Align::Start ? 0
                       : problem.align == Align::Scalar
                           ? shift
                           : static_cast<int64_t>(offsets.at({b}));
      if (isSplit) {
        std::optional<int64_t> knownKeys;
        auto keyType = cast<RankedTensorType>(attention.getK().getType());
        if (!keyType.isDynamicDim(2))
          knownKeys = Nk;
        MaskProblem::TileCounts counts = countPackedTiles(
            getPacking(packings, h).parts,
            SmallVector<int64_t>(attention.getSymbols().size(), problem.w), h,
            Nq, Nk, offset, problem.qTile, problem.kvTile, knownKeys);
        splitTiles += counts.full + counts.partial;
      }
      for (int64_t r = 0; r < std::min(classes, Nq); ++r)
        for (int64_t i0 = r; i0 < Nq; i0 += problem.qTile * classes)
          for (int64_t j0 = floorMod(r + offset, classes); j0 < Nk;
               j0 += problem.kvTile * classes) {
            int64_t live = 0, rows = 0,
                    i1 = std::min(i0 + problem.qTile * classes, Nq),
                    j1 = std::min(j0 + problem.kvTile * classes, Nk);
            for (int64_t i = i0; i < i1; i += classes) {
              ++rows;
              for (int64_t j = j0; j < j1; j += classes)
                live += mask.isLive(h, i + offset, j, problem.w);
            }
            liveTiles += live > 0;
            fullTiles += live == rows * problem.kvTile;
          }
      for (int64_t i = 0; i < Nq; ++i) {
        std::vector<double> scores(Nk, -kInf);
        double max = -kInf, sum = 0;
        bool anyNan = false, anyLive = false;
        for (int64_t j = 0; j < Nk; ++j) {
          if (!mask.isLive(h, i + offset, j, problem.w))
            continue;
          double s = 0;
          for (int64_t d = 0; d < D; ++d)
            s += q.at({b, h, i, d}) * k.at({b, hk, j, d});
          scores[j] = s * problem.scale;
          anyLive = true;
          anyNan |= std::isnan(s);
          max = std::fmax(max, scores[j]);
        }
        for (double &score : scores) {
          score = score == -kInf ? 0 : std::exp(score - max);
          sum += score;
        }
        double gotLse = lse.at({b, h, i});
        if (anyNan)
          EXPECT_TRUE(std::isnan(gotLse)) << b << " " << h << " " << i;
        else if (!anyLive)
          EXPECT_EQ(gotLse, -kInf) << b << " " << h << " " << i;
        else
          EXPECT_NEAR(gotLse, max + std::log(sum), 1e-4)
              << b << " " << h << " " << i;
        for (int64_t d = 0; d < Dv; ++d) {
          double expected = 0;
          for (int64_t j = 0; j < Nk; ++j)
            if (mask.isLive(h, i + offset, j, problem.w))
              expected += scores[j] / sum * v.at({b, hk, j, d});
          double got = o.at({b, h, i, d});
          if (anyNan || std::isnan(expected))
            EXPECT_TRUE(std::isnan(got))
                << b << " " << h << " " << i << " " << d;
          else
            EXPECT_NEAR(got, expected, tolerance)
                << b << " " << h << " " << i << " " << d;
          if (::testing::Test::HasFailure())
            return;
        }
      }
    }
  // Not one product for a tile without a live pair, and none with a mask for a
  // full one.
  int64_t products = interpreter.maskedProducts + interpreter.plainProducts;
  if (isSplit) {
    EXPECT_GE(products, splitTiles);
    if (isExact)
      EXPECT_EQ(products, splitTiles);
    return;
  }
  EXPECT_GE(products, liveTiles);
  EXPECT_LE(interpreter.plainProducts, fullTiles);
  if (isExact)
    EXPECT_EQ(products, liveTiles);
  if (isFullExact)
    EXPECT_EQ(interpreter.plainProducts, fullTiles);
  inexactCases += !isExact || !isFullExact;
}

TEST_F(TileProgram, EveryMaskOnOddShapes) {
  const std::pair<int64_t, int64_t> lengths[] = {{37, 53}, {53, 37}, {16, 32},
                                                 {1, 41},  {33, 1},  {17, 0}};
  int count = 0;
  for (const MaskCase &mask : kMasks)
    for (auto [queries, keys] : lengths) {
      ++count;
      Problem problem{2,
                      4,
                      2,
                      queries,
                      keys,
                      16,
                      24,
                      count % 2 ? 16 : 32,
                      count % 3 ? 16 : 32,
                      count % 2 == 0,
                      static_cast<Align>(count % 4),
                      0.25,
                      count % 7 * 3};
      problem.withNan = count % 5 == 0;
      problem.lowerTiles = count % 3 == 0;
      check(problem, mask);
      if (HasFailure())
        return;
    }
}

TEST_F(TileProgram, LoweredLoopsVisitTheSameTiles) {
  for (const MaskCase &mask : kMasks) {
    Problem problem{1,  4,  4,     70,         83,   16, 16,
                    16, 16, false, Align::End, 0.25, 20};
    problem.lowerTiles = true;
    check(problem, mask);
    if (HasFailure())
      return;
  }
}

TEST_F(TileProgram, RandomExpressions) {
  std::vector<std::pair<std::string, decltype(MaskCase::isLive)>> pool;
  for (const MaskCase &mask : kMasks)
    pool.emplace_back(mask.text, mask.isLive);
  auto pick = [&](int count) { return static_cast<int>(engine() % count); };
  for (int round = 0; round < 120; ++round) {
    auto [text, isLive] = pool[pick(pool.size())];
    for (int depth = pick(3); depth >= 0; --depth) {
      auto [otherText, otherIsLive] = pool[pick(pool.size())];
      auto left = isLive, right = otherIsLive;
      bool isAnd = pick(2), negate = pick(2);
      text = "(" + text + ")" + (isAnd ? " & " : " | ") + (negate ? "!" : "") +
             "(" + otherText + ")";
      isLive = [=](int64_t h, int64_t p, int64_t j, int64_t w) {
        bool other = right(h, p, j, w) != negate;
        return isAnd ? left(h, p, j, w) && other : left(h, p, j, w) || other;
      };
    }
    Problem problem{1,
                    4,
                    2,
                    1 + pick(45),
                    pick(70),
                    16,
                    16,
                    16,
                    16,
                    pick(2) == 0,
                    static_cast<Align>(pick(4)),
                    0.25,
                    pick(30)};
    problem.withNan = pick(3) == 0;
    problem.lowerTiles = pick(2) == 0;
    check(problem, {text.c_str(), isLive});
    if (HasFailure())
      return;
  }
  // The bounds are a matter of speed; that they are exact for most expressions
  // is worth knowing.
  EXPECT_LT(inexactCases, 60);
}

/// The oracle can fail: each slip in what packing makes is seen.
TEST_F(TileProgram, SlipsInPackingAreSeen) {
  auto find = [](StringRef text) {
    return *llvm::find_if(
        kMasks, [&](const MaskCase &mask) { return text == mask.text; });
  };
  MaskCase strided = find("strided<5>"), fixed = find("fixed<9, 2>");
  Problem problem{1, 2, 1, 45, 52, 16, 16, 16, 16, false, Align::End, 0.25, 20};
  auto fails = [&](const MaskCase &mask) {
    ::testing::TestPartResultArray failures;
    ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::
            INTERCEPT_ONLY_CURRENT_THREAD,
        &failures);
    check(problem, mask);
    return failures.size() > 0;
  };
  EXPECT_FALSE(fails(strided));
  EXPECT_FALSE(fails(fixed));
  EXPECT_EQ(splitCases, 2);
  auto getOps = [](ModuleOp module, auto take) {
    module.walk([&](Operation *op) {
      if (auto attention = dyn_cast<AttentionOp>(op))
        take(attention);
    });
  };
  auto isClass = [](AttentionOp op) {
    return op->getParentOfType<scf::ForallOp>() != nullptr;
  };

  // Without a slip, by the same route.
  mutatePacked = [](ModuleOp) {};
  EXPECT_FALSE(fails(strided));
  EXPECT_FALSE(fails(fixed));
  // The position of a class's first query.
  int slips = 0;
  mutatePacked = [&](ModuleOp module) {
    getOps(module, [&](AttentionOp op) {
      if (!isClass(op))
        return;
      ++slips;
      ImplicitLocOpBuilder b(op.getLoc(), op);
      Value one = arith::ConstantIndexOp::create(b, 1);
      op.getOffsetMutable().assign(
          arith::AddIOp::create(b, op.getOffset(), one));
    });
  };
  EXPECT_TRUE(fails(strided));
  // A part that is left out: the first, then the keys of the second.
  mutatePacked = [&](ModuleOp module) {
    getOps(module, [&](AttentionOp op) {
      if (!op.getInitO())
        return;
      ++slips;
      op.getInitOMutable().clear();
      op.getInitLseMutable().clear();
    });
  };
  EXPECT_TRUE(fails(strided));
  mutatePacked = [&](ModuleOp module) {
    getOps(module, [&](AttentionOp op) {
      if (!isClass(op))
        return;
      ++slips;
      op.setMaskAttr(MaskAttr::getNot(MaskAttr::getAll(&context)));
    });
  };
  EXPECT_TRUE(fails(strided));
  // A bound that is off by one, in either part.
  for (int64_t shift : {-1, 1})
    for (bool ofClass : {false, true}) {
      mutatePacked = [&](ModuleOp module) {
        getOps(module, [&](AttentionOp op) {
          MaskAttr mask = op.getMask();
          if (isClass(op) != ofClass || mask.getKind() != MaskKind::Window)
            return;
          ++slips;
          SmallVector<MaskBound> bounds(mask.getBounds());
          MaskBound &bound = bounds[ofClass ? 1 : 0];
          bound = MaskBound::constant(bound.getConstant() + shift);
          op.setMaskAttr(MaskAttr::getAtom(&context, MaskKind::Window, bounds));
        });
      };
      EXPECT_TRUE(fails(strided)) << shift << ofClass;
    }
  EXPECT_EQ(slips, 7);

  // Key sets: the first column, the number of keys, a segment left out.
  mutatePacked = nullptr;
  slips = 0;
  mutateCompacted = [&](ModuleOp module) {
    module.walk([&](SelectRowsOp op) {
      ++slips;
      op.setFirst(op.getFirst() - 1);
    });
  };
  EXPECT_TRUE(fails(fixed));
  auto onColumns = [&](std::function<void(OnlineAttentionOp)> slip) {
    return [&slips, slip](ModuleOp module) {
      SmallVector<OnlineAttentionOp> ops;
      module.walk([&](OnlineAttentionOp op) {
        if (op.getK().getDefiningOp<SelectRowsOp>())
          ops.push_back(op);
      });
      slips += ops.size();
      llvm::for_each(ops, slip);
    };
  };
  mutateCompacted = onColumns([](OnlineAttentionOp op) {
    op.replaceAllUsesWith(ValueRange{op.getMax(), op.getSum(), op.getAcc()});
    op.erase();
  });
  EXPECT_TRUE(fails(fixed));
  mutateCompacted = onColumns([](OnlineAttentionOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    Value few = arith::ConstantIndexOp::create(b, 5);
    op.getKeysMutable().slice(1, 1).assign(few);
  });
  EXPECT_TRUE(fails(fixed));
  // One block later than it should be.
  mutateCompacted = onColumns([&](OnlineAttentionOp op) {
    AffineExpr p = getAffineDimExpr(1, &context),
               j = getAffineDimExpr(2, &context);
    op.setMaskAttr(MaskAttr::getSet(
        IntegerSet::get(3, 0, p.floorDiv(9) * 2 - j - 2, false), {}));
  });
  EXPECT_TRUE(fails(fixed));
  EXPECT_EQ(slips, 5);
}

TEST_F(TileProgram, PositionsPast32Bits) {
  for (int64_t farAway :
       {int64_t(1) << 29, int64_t(1) << 31, (int64_t(1) << 40) + 7,
        -(int64_t(1) << 31), -(int64_t(1) << 40) - 3, (int64_t(1) << 32) - 1})
    for (const MaskCase &mask : kMasks) {
      Problem problem{1,    2, 1, 19, 35, 16, 16, 16, 16, false, Align::Scalar,
                      0.25, 11};
      problem.farAway = farAway;
      check(problem, mask);
      if (HasFailure())
        return;
    }
}

TEST_F(TileProgram, AnyFiniteScale) {
  for (double scale : {0.0, -0.5, -2.0, 1.0, 3.0}) {
    Problem problem{1,  2,  1,     21,         35,    16, 16,
                    16, 16, false, Align::End, scale, 6};
    check(problem, kMasks[3]);
    problem.isStatic = true;
    problem.withNan = true;
    check(problem, kMasks[1]);
  }
}

TEST_F(TileProgram, SixteenBitElements) {
  for (const char *type : {"f16", "bf16"}) {
    Problem problem{1,  2,  1,    40,         50,   16, 24,
                    32, 16, true, Align::End, 0.25, 9,  type};
    check(problem, kMasks[1]);
    check(problem, kMasks[0]);
    check(problem, kMasks[5]);
  }
}

} // namespace
