//===- RegisterMathTest.cpp - functions on registers, against libm --------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Compile.h"
#include "attn/codegen/host/Level.h"
#include "attn/codegen/host/Object.h"
#include "attn/codegen/host/RegisterBuilder.h"
#include "attn/runtime/core/ElementType.h"
#include "attn/runtime/host/Cpu.h"
#include "attn/runtime/host/ObjectFile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "gtest/gtest.h"

#include <cmath>
#include <cstring>

using namespace mlir;
namespace host = mlir::attn::host;

namespace {

float toFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
uint32_t toBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// A function of one register, compiled for an instruction set: reads
/// `*params[0]`, writes `*params[1]`.
class Compiled {
public:
  using Build = llvm::function_ref<Value(host::RegisterBuilder &, Value)>;

  Compiled(const host::Level &level, Type (*input)(Builder &), Build build)
      : context(makeRegistry(), MLIRContext::Threading::DISABLED) {
    context.loadAllAvailableDialects();
    Location loc = UnknownLoc::get(&context);
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    host::RegisterBuilder b(loc, &context, level);
    b.setInsertionPointToEnd(module->getBody());
    Type pointer = LLVM::LLVMPointerType::get(&context);
    auto function = func::FuncOp::create(
        b, "f", b.getFunctionType({pointer, b.getI64Type(), pointer}, {}));
    Block *entry = function.addEntryBlock();
    b.setInsertionPointToStart(entry);
    Value params = entry->getArgument(0);
    Value from = b.load(pointer, params, 8);
    Value to = b.load(pointer, b.pointer(params, 8), 8);
    b.store(build(b, b.load(b.vectorOf(input(b)), from, 1)), to, 1);
    func::ReturnOp::create(b);
    PassManager manager(&context);
    host::buildHostToLlvmPipeline(manager);
    if (failed(manager.run(*module)))
      return;
    FailureOr<std::string> code = host::emitObject(*module, level.name);
    if (failed(code))
      return;
    auto loaded = ::attn::host::ObjectFile::load(*code);
    EXPECT_TRUE(loaded.ok()) << (loaded ? "" : loaded.error().message);
    if (!loaded)
      return;
    object = std::move(*loaded);
    entryPoint =
        reinterpret_cast<void (*)(const void *const *, int64_t, void *)>(
            object->find("f"));
  }

  explicit operator bool() const { return entryPoint; }
  void operator()(const void *from, void *to) const {
    const void *params[] = {from, to};
    entryPoint(params, 0, nullptr);
  }

private:
  static DialectRegistry makeRegistry() {
    DialectRegistry registry;
    registry
        .insert<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect,
                math::MathDialect, scf::SCFDialect, vector::VectorDialect>();
    host::registerHostTranslations(registry);
    return registry;
  }

  MLIRContext context;
  std::unique_ptr<::attn::host::ObjectFile> object;
  void (*entryPoint)(const void *const *, int64_t, void *) = nullptr;
};

Type f32(Builder &b) { return b.getF32Type(); }
Type f16(Builder &b) { return b.getF16Type(); }
Type bf16(Builder &b) { return b.getBF16Type(); }

class RegisterMath : public ::testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    level = host::findLevel(GetParam());
    if (::attn::Status status = ::attn::host::checkCpu(GetParam()); !status)
      GTEST_SKIP() << status.error().message;
  }

  /// Calls `check(x, f(x))` for every `step`-th of all floats.
  template <typename Check>
  void sweep(const Compiled &function, uint64_t step, Check check) {
    std::vector<uint32_t> from(size_t(level->lanes));
    std::vector<float> to(size_t(level->lanes));
    for (uint64_t next = 0; next < uint64_t(1) << 32;) {
      for (uint32_t &bits : from) {
        bits = uint32_t(std::min<uint64_t>(next, UINT32_MAX));
        next += step;
      }
      function(from.data(), to.data());
      for (size_t lane = 0; lane < from.size(); ++lane)
        check(toFloat(from[lane]), to[lane]);
    }
  }

  const host::Level *level = nullptr;
};

/// How many units in the last place of the float nearest to `exact` lie
/// between.
double ulps(double exact, float found) {
  float nearest = float(exact);
  if (std::isnan(exact) || std::isinf(nearest))
    return toBits(nearest) == toBits(found) ||
                   (std::isnan(exact) && std::isnan(found))
               ? 0
               : INFINITY;
  int exponent;
  std::frexp(nearest, &exponent);
  double unit = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::abs(exact - double(found)) / unit;
}

TEST_P(RegisterMath, Exp2IsWithinTwoUnits) {
  Compiled function(
      *level, f32, [](host::RegisterBuilder &b, Value x) { return b.exp2(x); });
  ASSERT_TRUE(bool(function));
  double worst = 0;
  float worstAt = 0;
  int64_t count = 0;
  sweep(function, 397, [&](float x, float y) {
    ++count;
    double error = ulps(std::exp2(double(x)), y);
    if (!(error <= worst)) {
      worst = error;
      worstAt = x;
    }
  });
  RecordProperty("worst_ulps", std::to_string(worst));
  EXPECT_GT(count, 10000000);
  EXPECT_LE(worst, 2.0) << "at " << worstAt;
  // A function that is 0 where it should not be would be caught above; an
  // oracle that accepts anything, here.
  EXPECT_GT(ulps(1.0, 1.0f + 0x1p-21f), 2.0);
}

TEST_P(RegisterMath, Log2IsAccurate) {
  Compiled function(
      *level, f32, [](host::RegisterBuilder &b, Value x) { return b.log2(x); });
  ASSERT_TRUE(bool(function));
  int64_t bad = 0;
  sweep(function, 1009, [&](float x, float y) {
    double exact = std::log2(double(x));
    bool good = std::isnan(exact) ? std::isnan(y)
                : std::isinf(exact)
                    ? double(y) == exact
                    : std::abs(exact - double(y)) <=
                          0x1p-22 * std::max(1.0, std::abs(exact));
    if (!good && ++bad < 5)
      ADD_FAILURE() << "log2(" << x << ") = " << exact << ", found " << y;
  });
  EXPECT_EQ(bad, 0);
}

TEST_P(RegisterMath, ExtendsEvery16BitFloat) {
  for (bool isF16 : {true, false}) {
    Compiled function(
        *level, isF16 ? f16 : bf16,
        [](host::RegisterBuilder &b, Value x) { return b.extend(x); });
    ASSERT_TRUE(bool(function));
    std::vector<uint16_t> from(size_t(level->lanes));
    std::vector<float> to(size_t(level->lanes));
    for (uint32_t next = 0; next < 65536;) {
      for (uint16_t &bits : from)
        bits = uint16_t(next++);
      function(from.data(), to.data());
      for (size_t lane = 0; lane < from.size(); ++lane) {
        float expected =
            isF16 ? ::attn::fromF16(from[lane]) : ::attn::fromBF16(from[lane]);
        if (std::isnan(expected))
          EXPECT_TRUE(std::isnan(to[lane])) << from[lane];
        else
          EXPECT_EQ(toBits(to[lane]), toBits(expected)) << from[lane];
      }
    }
  }
}

TEST_P(RegisterMath, TruncatesToNearestEven) {
  for (bool isF16 : {true, false}) {
    Compiled function(*level, f32, [&](host::RegisterBuilder &b, Value x) {
      return b.truncate(x,
                        isF16 ? Type(b.getF16Type()) : Type(b.getBF16Type()));
    });
    ASSERT_TRUE(bool(function));
    std::vector<uint32_t> from(size_t(level->lanes));
    std::vector<uint16_t> to(size_t(level->lanes));
    int64_t bad = 0;
    auto check = [&] {
      function(from.data(), to.data());
      for (size_t lane = 0; lane < from.size(); ++lane) {
        float x = toFloat(from[lane]);
        uint16_t expected = isF16 ? ::attn::toF16(x) : ::attn::toBF16(x);
        float y =
            isF16 ? ::attn::fromF16(to[lane]) : ::attn::fromBF16(to[lane]);
        bool good = std::isnan(x) ? std::isnan(y) : to[lane] == expected;
        // The instruction takes denormals as zeros.
        if (!isF16 && level->hasBf16Dot && std::abs(x) < 0x1p-126f)
          good = (to[lane] & 0x7fff) == 0 || to[lane] == expected;
        if (!good && ++bad < 5)
          ADD_FAILURE() << x << ": expected " << expected << ", found "
                        << to[lane];
      }
    };
    // All ties and their neighbours, then everything thinned out.
    uint32_t half = isF16 ? 0x1000 : 0x8000;
    for (uint64_t next = 0; next < uint64_t(1) << 32;) {
      for (uint32_t &bits : from) {
        uint64_t group = next / 3 * (2 * half) + half;
        bits = uint32_t(std::min<uint64_t>(group, UINT32_MAX)) +
               uint32_t(next % 3) - 1;
        next += isF16 ? 7 : 1;
        if (group > UINT32_MAX)
          next = uint64_t(1) << 32;
      }
      check();
    }
    for (uint64_t next = 0; next < uint64_t(1) << 32;) {
      for (uint32_t &bits : from) {
        bits = uint32_t(next);
        next += 2503;
      }
      check();
    }
    EXPECT_EQ(bad, 0) << (isF16 ? "f16" : "bf16");
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, RegisterMath,
                         ::testing::Values("x86-64", "x86-64-v3", "x86-64-v4",
                                           "x86-64-v4-bf16"),
                         [](const auto &info) {
                           std::string name = info.param;
                           for (char &c : name)
                             c = c == '-' ? '_' : c;
                           return name;
                         });

} // namespace
