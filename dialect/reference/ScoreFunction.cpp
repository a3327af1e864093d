//===- ScoreFunction.cpp - see ScoreFunction.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/reference/ScoreFunction.h"

#include "attn/dialect/Score.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::reference;

static unsigned widthOf(Type type) {
  return type.isIndex() ? 64 : type.isF32() ? 0 : type.getIntOrFloatBitWidth();
}

/// `value` as a signed number of `width` bits; i1 is 0 or 1.
static int64_t wrap(int64_t value, unsigned width) {
  return width == 1 ? value & 1 : llvm::SignExtend64(value, width);
}

static uint64_t toUnsigned(int64_t value, unsigned width) {
  return width == 64 ? value : value & llvm::maskTrailingOnes<uint64_t>(width);
}

static bool compare(arith::CmpFPredicate predicate, double x, double y) {
  bool unordered = std::isnan(x) || std::isnan(y);
  // The ordered predicates are 1 to 6, the unordered ones those plus 7.
  auto number = static_cast<unsigned>(predicate);
  if (predicate == arith::CmpFPredicate::AlwaysFalse ||
      predicate == arith::CmpFPredicate::AlwaysTrue)
    return predicate == arith::CmpFPredicate::AlwaysTrue;
  if (predicate == arith::CmpFPredicate::ORD ||
      predicate == arith::CmpFPredicate::UNO)
    return unordered == (predicate == arith::CmpFPredicate::UNO);
  if (unordered)
    return number >= static_cast<unsigned>(arith::CmpFPredicate::UEQ);
  switch (predicate) {
  case arith::CmpFPredicate::OEQ:
  case arith::CmpFPredicate::UEQ:
    return x == y;
  case arith::CmpFPredicate::OGT:
  case arith::CmpFPredicate::UGT:
    return x > y;
  case arith::CmpFPredicate::OGE:
  case arith::CmpFPredicate::UGE:
    return x >= y;
  case arith::CmpFPredicate::OLT:
  case arith::CmpFPredicate::ULT:
    return x < y;
  case arith::CmpFPredicate::OLE:
  case arith::CmpFPredicate::ULE:
    return x <= y;
  default:
    return x != y;
  }
}

static double maximum(double x, double y) {
  return std::isnan(x) || std::isnan(y) ? NAN : std::fmax(x, y);
}

std::function<ScoreFunction::Slot(const ScoreFunction::Slot *)>
ScoreFunction::getFunction(Operation *op) {
  using Function = std::function<Slot(const Slot *)>;
  auto real1 = [](auto f) -> Function {
    return [f](const Slot *x) { return Slot{f(x[0].real), 0}; };
  };
  auto real2 = [](auto f) -> Function {
    return [f](const Slot *x) { return Slot{f(x[0].real, x[1].real), 0}; };
  };
  auto integer2 = [](auto f) -> Function {
    return
        [f](const Slot *x) { return Slot{0, f(x[0].integer, x[1].integer)}; };
  };
  Type from = op->getNumOperands() ? op->getOperand(0).getType()
                                   : op->getResult(0).getType();
  unsigned width = widthOf(from);
  auto unsigned2 = [width](auto f) -> Function {
    return [f, width](const Slot *x) {
      return Slot{0, static_cast<int64_t>(f(toUnsigned(x[0].integer, width),
                                            toUnsigned(x[1].integer, width)))};
    };
  };
  using Int = int64_t;
  using Word = uint64_t;
  return llvm::TypeSwitch<Operation *, Function>(op)
      .Case([](arith::ConstantOp constant) -> Function {
        Slot value;
        if (auto number = dyn_cast<FloatAttr>(constant.getValue()))
          value.real = number.getValueAsDouble();
        else
          value.integer = wrap(
              cast<IntegerAttr>(constant.getValue()).getValue().getSExtValue(),
              widthOf(constant.getType()));
        return [value](const Slot *) { return value; };
      })
      .Case([](arith::SelectOp) -> Function {
        return [](const Slot *x) { return x[0].integer ? x[1] : x[2]; };
      })
      .Case([&](arith::AddFOp) { return real2(std::plus<double>()); })
      .Case([&](arith::SubFOp) { return real2(std::minus<double>()); })
      .Case([&](arith::MulFOp) { return real2(std::multiplies<double>()); })
      .Case([&](arith::DivFOp) { return real2(std::divides<double>()); })
      .Case([&](arith::NegFOp) { return real1(std::negate<double>()); })
      .Case([&](arith::MaxNumFOp) {
        return real2([](double x, double y) { return std::fmax(x, y); });
      })
      .Case([&](arith::MinNumFOp) {
        return real2([](double x, double y) { return std::fmin(x, y); });
      })
      .Case([&](arith::MaximumFOp) { return real2(maximum); })
      .Case([&](arith::MinimumFOp) {
        return real2([](double x, double y) { return -maximum(-x, -y); });
      })
      .Case([&](arith::CmpFOp cmp) -> Function {
        return [predicate = cmp.getPredicate()](const Slot *x) {
          return Slot{0, compare(predicate, x[0].real, x[1].real)};
        };
      })
      .Case([&](math::FmaOp) -> Function {
        return [](const Slot *x) {
          return Slot{x[0].real * x[1].real + x[2].real, 0};
        };
      })
      .Case([&](math::AbsFOp) {
        return real1([](double x) { return std::fabs(x); });
      })
      .Case([&](math::ExpOp) {
        return real1([](double x) { return std::exp(x); });
      })
      .Case([&](math::Exp2Op) {
        return real1([](double x) { return std::exp2(x); });
      })
      .Case([&](math::LogOp) {
        return real1([](double x) { return std::log(x); });
      })
      .Case([&](math::Log2Op) {
        return real1([](double x) { return std::log2(x); });
      })
      .Case([&](math::TanhOp) {
        return real1([](double x) { return std::tanh(x); });
      })
      .Case([&](math::SqrtOp) {
        return real1([](double x) { return std::sqrt(x); });
      })
      .Case([&](math::RsqrtOp) {
        return real1([](double x) { return 1 / std::sqrt(x); });
      })
      .Case([&](math::PowFOp) {
        return real2([](double x, double y) { return std::pow(x, y); });
      })
      .Case([&](arith::AddIOp) {
        return integer2([](Int x, Int y) { return Int(Word(x) + Word(y)); });
      })
      .Case([&](arith::SubIOp) {
        return integer2([](Int x, Int y) { return Int(Word(x) - Word(y)); });
      })
      .Case([&](arith::MulIOp) {
        return integer2([](Int x, Int y) { return Int(Word(x) * Word(y)); });
      })
      // Division by zero is undefined: any value will do.
      .Case([&](arith::DivSIOp) {
        return integer2([](Int x, Int y) { return y ? x / y : 0; });
      })
      .Case([&](arith::RemSIOp) {
        return integer2([](Int x, Int y) { return y ? x % y : 0; });
      })
      .Case([&](arith::FloorDivSIOp) {
        return integer2(
            [](Int x, Int y) { return y ? llvm::divideFloorSigned(x, y) : 0; });
      })
      .Case([&](arith::CeilDivSIOp) {
        return integer2(
            [](Int x, Int y) { return y ? llvm::divideCeilSigned(x, y) : 0; });
      })
      .Case([&](arith::DivUIOp) {
        return unsigned2([](Word x, Word y) { return y ? x / y : 0; });
      })
      .Case([&](arith::RemUIOp) {
        return unsigned2([](Word x, Word y) { return y ? x % y : 0; });
      })
      .Case([&](arith::AndIOp) { return integer2(std::bit_and<Int>()); })
      .Case([&](arith::OrIOp) { return integer2(std::bit_or<Int>()); })
      .Case([&](arith::XOrIOp) { return integer2(std::bit_xor<Int>()); })
      .Case([&](arith::MinSIOp) {
        return integer2([](Int x, Int y) { return std::min(x, y); });
      })
      .Case([&](arith::MaxSIOp) {
        return integer2([](Int x, Int y) { return std::max(x, y); });
      })
      .Case([&](arith::CmpIOp cmp) -> Function {
        return [predicate = cmp.getPredicate(), width](const Slot *x) {
          bool holds = arith::applyCmpPredicate(
              predicate, APInt(64, toUnsigned(x[0].integer, width)),
              APInt(64, toUnsigned(x[1].integer, width)));
          if (predicate < arith::CmpIPredicate::ult)
            holds = arith::applyCmpPredicate(
                predicate, APInt(64, static_cast<Word>(x[0].integer)),
                APInt(64, static_cast<Word>(x[1].integer)));
          return Slot{0, holds};
        };
      })
      .Case<arith::IndexCastOp, arith::TruncIOp>(
          [](auto) -> Function { return [](const Slot *x) { return x[0]; }; })
      .Case([&](arith::ExtSIOp) -> Function {
        return [width](const Slot *x) {
          return Slot{0, width == 1 ? -x[0].integer : x[0].integer};
        };
      })
      .Case<arith::ExtUIOp, arith::IndexCastUIOp>([&](auto) -> Function {
        return [width](const Slot *x) {
          return Slot{0, Int(toUnsigned(x[0].integer, width))};
        };
      })
      .Case([&](arith::SIToFPOp) -> Function {
        return [width](const Slot *x) {
          return Slot{
              static_cast<double>(width == 1 ? -x[0].integer : x[0].integer),
              0};
        };
      })
      .Case([&](arith::UIToFPOp) -> Function {
        return [width](const Slot *x) {
          return Slot{static_cast<double>(toUnsigned(x[0].integer, width)), 0};
        };
      })
      .Default(Function());
}

FailureOr<ScoreFunction> ScoreFunction::compile(AttentionOp op) {
  ScoreFunction function;
  if (op.getScore().empty())
    return function;
  Block &block = op.getScore().front();
  llvm::DenseMap<Value, unsigned> numbers;
  for (BlockArgument argument : block.getArguments())
    numbers[argument] = function.slots++;
  for (Operation &inner : block.without_terminator()) {
    Step step;
    step.apply = inner.getNumOperands() <= 3 ? getFunction(&inner) : nullptr;
    if (!step.apply)
      return inner.emitError("the reference cannot evaluate '")
             << inner.getName()
             << "' in a score region; it knows arithmetic, comparisons, "
                "math.absf, exp, exp2, fma, log, log2, powf, rsqrt, sqrt and "
                "tanh";
    for (Value operand : inner.getOperands())
      step.operands[step.numOperands++] = numbers.at(operand);
    Value result = inner.getResult(0);
    step.width = widthOf(result.getType());
    step.result = numbers[result] = function.slots++;
    function.steps.push_back(std::move(step));
    function.tanh |= isa<math::TanhOp>(inner);
  }
  function.result = numbers.at(block.getTerminator()->getOperand(0));
  return function;
}

double ScoreFunction::evaluate(double score,
                               const std::array<int64_t, 4> &element,
                               const std::array<int64_t, 4> &position,
                               const std::vector<Input> &inputs,
                               bool single) const {
  SmallVector<Slot, 32> values(slots);
  values[kScore].real = score;
  for (unsigned dim = 0; dim < 4; ++dim)
    values[kBatch + dim].integer = position[dim];
  for (auto [number, input] : llvm::enumerate(inputs)) {
    Slot &value = values[kFirstScoreInput + number];
    value.integer = input.integer;
    int64_t offset = 0;
    for (unsigned dim = 0; dim < 4; ++dim)
      offset += element[dim] * input.strides[dim];
    if (input.data)
      value.real = input.data[offset];
  }
  for (const Step &step : steps) {
    Slot operands[3];
    for (unsigned i = 0; i < step.numOperands; ++i)
      operands[i] = values[step.operands[i]];
    Slot value = step.apply(operands);
    if (step.width)
      value.integer = wrap(value.integer, step.width);
    else if (single)
      value.real = static_cast<float>(value.real);
    values[step.result] = value;
  }
  return values[result].real;
}
