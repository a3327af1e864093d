//===- TileInterpreter.cpp - see TileInterpreter.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/test/passes/TileInterpreter.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace mlir::attn::test;

double &View::at(ArrayRef<int64_t> indices) const {
  int64_t position = offset;
  for (auto [dim, index] : llvm::enumerate(indices)) {
    int64_t place = index;
    if (dim == 2 && !selection.empty())
      place = index / selection[1] * selection[2] + selection[0] +
              index % selection[1];
    position += place * strides[dim];
  }
  return (*buffer)[position];
}

View View::make(ArrayRef<int64_t> sizes, double fill, int64_t gap) {
  View view;
  view.sizes.assign(sizes.begin(), sizes.end());
  view.strides.resize(sizes.size());
  int64_t stride = 1;
  for (size_t dim = sizes.size(); dim-- > 0;) {
    view.strides[dim] = stride;
    stride = stride * sizes[dim] + (dim + 1 == sizes.size() ? gap : 0);
  }
  view.offset = gap;
  view.buffer = std::make_shared<std::vector<double>>(stride + gap, fill);
  return view;
}

namespace {

int64_t wrap(int64_t value, Type type) {
  unsigned width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  return width == 1 ? value & 1 : llvm::SignExtend64(value, width);
}

uint64_t toUnsigned(int64_t value, Type type) {
  unsigned width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  return width == 64 ? value : value & ((uint64_t(1) << width) - 1);
}

double roundTo(double value, Type type) {
  if (type.isF32())
    return static_cast<float>(value);
  APFloat number(static_cast<float>(value));
  bool losesInfo;
  number.convert(cast<FloatType>(type).getFloatSemantics(),
                 APFloat::rmNearestTiesToEven, &losesInfo);
  number.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven,
                 &losesInfo);
  return number.convertToFloat();
}

SmallVector<int64_t> shapeOf(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? llvm::to_vector(vector.getShape()) : SmallVector<int64_t>();
}

int64_t numElements(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

/// Calls `body` with every index of `shape`, in row-major order.
void forEachIndex(ArrayRef<int64_t> shape,
                  function_ref<void(ArrayRef<int64_t>)> body) {
  SmallVector<int64_t> index(shape.size(), 0);
  for (int64_t i = 0, count = numElements(shape); i < count; ++i) {
    body(index);
    for (size_t dim = shape.size(); dim-- > 0 && ++index[dim] == shape[dim];)
      index[dim] = 0;
  }
}

int64_t flatten(ArrayRef<int64_t> index, ArrayRef<int64_t> shape) {
  int64_t position = 0;
  for (auto [i, size] : llvm::zip_equal(index, shape))
    position = position * size + i;
  return position;
}

} // namespace

struct TileInterpreter::Frame {
  explicit Frame(TileInterpreter &interpreter) : interpreter(interpreter) {}

  TileInterpreter &interpreter;
  llvm::DenseMap<Value, Datum> values;

  bool fail(Operation *op, StringRef why) {
    if (interpreter.error.empty()) {
      llvm::raw_string_ostream os(interpreter.error);
      os << why << ": " << *op;
    }
    return false;
  }

  int64_t scalar(Value value) { return values.at(value).integer.front(); }
  int64_t resolve(OpFoldResult value) {
    if (auto attribute = dyn_cast<Attribute>(value))
      return cast<IntegerAttr>(attribute).getInt();
    return scalar(cast<Value>(value));
  }
  SmallVector<int64_t> scalars(ValueRange range) {
    return llvm::map_to_vector(range,
                               [&](Value value) { return scalar(value); });
  }
  void setInteger(Value value, int64_t number) {
    values[value].integer = {number};
  }
  std::vector<Datum> data(ValueRange range) {
    std::vector<Datum> result;
    for (Value value : range)
      result.push_back(values.at(value));
    return result;
  }
  void bind(ValueRange range, const std::vector<Datum> &data) {
    for (auto [value, datum] : llvm::zip_equal(range, data))
      values[value] = datum;
  }

  /// Runs the ops of a block up to its terminator.
  bool runBlock(Block &block) {
    for (Operation &op : block.without_terminator())
      if (!runOp(&op))
        return false;
    return true;
  }

  bool runInteger(Operation *op,
                  function_ref<int64_t(ArrayRef<int64_t>)> compute) {
    Datum result;
    Type type = getElementTypeOrSelf(op->getResult(0).getType());
    for (size_t i = 0, e = values.at(op->getOperand(0)).integer.size(); i < e;
         ++i) {
      SmallVector<int64_t> operands;
      for (Value operand : op->getOperands())
        operands.push_back(values.at(operand).integer[i]);
      result.integer.push_back(wrap(compute(operands), type));
    }
    values[op->getResult(0)] = std::move(result);
    return true;
  }

  bool runReal(Operation *op, function_ref<float(ArrayRef<float>)> compute) {
    Datum result;
    for (size_t i = 0, e = values.at(op->getOperand(0)).real.size(); i < e;
         ++i) {
      SmallVector<float> operands;
      for (Value operand : op->getOperands())
        operands.push_back(static_cast<float>(values.at(operand).real[i]));
      result.real.push_back(compute(operands));
    }
    values[op->getResult(0)] = std::move(result);
    return true;
  }

  bool runAffine(Operation *op, AffineMap map, bool isMax) {
    MLIRContext *context = op->getContext();
    SmallVector<Attribute> operands;
    for (Value operand : op->getOperands())
      operands.push_back(
          IntegerAttr::get(IndexType::get(context), scalar(operand)));
    SmallVector<Attribute> results;
    if (failed(map.constantFold(operands, results)))
      return fail(op, "affine map does not evaluate");
    int64_t best = cast<IntegerAttr>(results.front()).getInt();
    for (Attribute result : results) {
      int64_t number = cast<IntegerAttr>(result).getInt();
      best = isMax ? std::max(best, number) : std::min(best, number);
    }
    setInteger(op->getResult(0), best);
    return true;
  }

  bool runConstant(arith::ConstantOp op) {
    Datum result;
    if (auto dense = dyn_cast<DenseElementsAttr>(op.getValue())) {
      if (isa<FloatType>(dense.getElementType()))
        for (APFloat number : dense.getValues<APFloat>())
          result.real.push_back(number.convertToFloat());
      else
        for (APInt number : dense.getValues<APInt>())
          result.integer.push_back(
              wrap(number.getSExtValue(), dense.getElementType()));
    } else if (auto real = dyn_cast<FloatAttr>(op.getValue())) {
      result.real = {real.getValueAsDouble()};
    } else {
      result.integer = {
          wrap(cast<IntegerAttr>(op.getValue()).getInt(), op.getType())};
    }
    values[op.getResult()] = std::move(result);
    return true;
  }

  bool runCmpI(arith::CmpIOp op) {
    Type type = getElementTypeOrSelf(op.getLhs().getType());
    return runInteger(op, [&](ArrayRef<int64_t> x) -> int64_t {
      switch (op.getPredicate()) {
      case arith::CmpIPredicate::eq:
        return x[0] == x[1];
      case arith::CmpIPredicate::ne:
        return x[0] != x[1];
      case arith::CmpIPredicate::slt:
        return x[0] < x[1];
      case arith::CmpIPredicate::sge:
        return x[0] >= x[1];
      case arith::CmpIPredicate::uge:
        return toUnsigned(x[0], type) >= toUnsigned(x[1], type);
      default:
        return fail(op, "unknown comparison");
      }
    });
  }

  bool runSelect(arith::SelectOp op) {
    const Datum &condition = values.at(op.getCondition());
    Datum result = values.at(op.getTrueValue());
    const Datum &other = values.at(op.getFalseValue());
    auto pick = [&](size_t i) {
      return condition.integer[condition.integer.size() == 1 ? 0 : i];
    };
    for (size_t i = 0; i < result.real.size(); ++i)
      result.real[i] = pick(i) ? result.real[i] : other.real[i];
    for (size_t i = 0; i < result.integer.size(); ++i)
      result.integer[i] = pick(i) ? result.integer[i] : other.integer[i];
    values[op.getResult()] = result;
    return true;
  }

  bool runSubView(memref::SubViewOp op) {
    View view = values.at(op.getSource()).view;
    for (auto [dim, offset] : llvm::enumerate(op.getMixedOffsets())) {
      int64_t from = resolve(offset), size = resolve(op.getMixedSizes()[dim]),
              step = resolve(op.getMixedStrides()[dim]);
      if (from < 0 || size < 0 ||
          (size > 0 && from + (size - 1) * step >= view.sizes[dim]))
        return fail(op, "subview out of bounds");
      view.offset += from * view.strides[dim];
      view.sizes[dim] = size;
      view.strides[dim] *= step;
    }
    values[op.getResult()].view = view;
    return true;
  }

  bool runSelectRows(SelectRowsOp op) {
    View view = values.at(op.getSource()).view;
    if (!view.selection.empty())
      return fail(op, "rows of selected rows");
    int64_t first = op.getFirst(), count = op.getCount(), step = op.getStep(),
            rows = 0;
    for (int64_t row = 0; row < view.sizes[2]; ++row)
      rows += row % step >= first && row % step < first + count;
    view.sizes[2] = rows;
    view.selection = {first, count, step};
    values[op.getResult()].view = view;
    return true;
  }

  bool runRead(vector::TransferReadOp op) {
    const View view = values.at(op.getBase()).view;
    SmallVector<int64_t> indices = scalars(op.getIndices());
    double padding = values.at(op.getPadding()).real.front();
    Datum result;
    bool ok = true;
    forEachIndex(op.getVectorType().getShape(), [&](ArrayRef<int64_t> index) {
      SmallVector<int64_t> at(indices);
      bool inside = true;
      for (auto [dim, i] : llvm::enumerate(index)) {
        size_t target = at.size() - index.size() + dim;
        at[target] += i;
        bool here = at[target] >= 0 && at[target] < view.sizes[target];
        ok &= here || !op.isDimInBounds(dim);
        inside &= here;
      }
      result.real.push_back(inside ? view.at(at) : padding);
    });
    values[op.getResult()] = std::move(result);
    return ok || fail(op, "read out of bounds");
  }

  bool runWrite(vector::TransferWriteOp op) {
    const View view = values.at(op.getBase()).view;
    SmallVector<int64_t> indices = scalars(op.getIndices());
    const Datum vector = values.at(op.getVector());
    bool ok = true;
    int64_t position = 0;
    forEachIndex(op.getVectorType().getShape(), [&](ArrayRef<int64_t> index) {
      SmallVector<int64_t> at(indices);
      bool inside = true;
      for (auto [dim, i] : llvm::enumerate(index)) {
        size_t target = at.size() - index.size() + dim;
        at[target] += i;
        bool here = at[target] < view.sizes[target];
        ok &= here || !op.isDimInBounds(dim);
        inside &= here;
      }
      if (inside)
        view.at(at) = vector.real[position];
      ++position;
    });
    return ok || fail(op, "write out of bounds");
  }

  bool runBroadcast(vector::BroadcastOp op) {
    const Datum source = values.at(op.getSource());
    SmallVector<int64_t> from = shapeOf(op.getSource().getType());
    Datum result;
    forEachIndex(op.getResultVectorType().getShape(),
                 [&](ArrayRef<int64_t> index) {
                   SmallVector<int64_t> at(index.take_back(from.size()));
                   for (auto [i, size] : llvm::zip_equal(at, from))
                     i = size == 1 ? 0 : i;
                   int64_t position = flatten(at, from);
                   if (source.integer.empty())
                     result.real.push_back(source.real[position]);
                   else
                     result.integer.push_back(source.integer[position]);
                 });
    values[op.getResult()] = std::move(result);
    return true;
  }

  bool runReduction(vector::MultiDimReductionOp op) {
    const Datum source = values.at(op.getSource());
    Datum result = values.at(op.getAcc());
    ArrayRef<int64_t> shape = op.getSourceVectorType().getShape();
    bool isAdd = op.getKind() == vector::CombiningKind::ADD;
    if ((!isAdd && op.getKind() != vector::CombiningKind::MAXNUMF) ||
        shape.size() != 2 || op.getReductionDims() != ArrayRef<int64_t>{1})
      return fail(op, "unknown reduction");
    for (int64_t i = 0; i < shape[0]; ++i)
      for (int64_t j = 0; j < shape[1]; ++j) {
        double x = source.real[i * shape[1] + j];
        result.real[i] = isAdd ? static_cast<float>(result.real[i] + x)
                               : std::fmax(result.real[i], x);
      }
    values[op.getResult()] = std::move(result);
    return true;
  }

  bool runContract(vector::ContractionOp op, const Datum *mask) {
    SmallVector<AffineMap> maps = op.getIndexingMapsArray();
    const Datum lhs = values.at(op.getLhs()), rhs = values.at(op.getRhs());
    Datum result = values.at(op.getAcc());
    SmallVector<int64_t> bounds;
    op.getIterationBounds(bounds);
    SmallVector<int64_t> shapes[] = {shapeOf(op.getLhs().getType()),
                                     shapeOf(op.getRhs().getType()),
                                     shapeOf(op.getAcc().getType())};
    auto position = [&](unsigned which, ArrayRef<int64_t> index) {
      SmallVector<int64_t> at;
      for (AffineExpr expr : maps[which].getResults())
        at.push_back(index[cast<AffineDimExpr>(expr).getPosition()]);
      return flatten(at, shapes[which]);
    };
    int64_t count = 0;
    forEachIndex(bounds, [&](ArrayRef<int64_t> index) {
      if (mask && !mask->integer[count++])
        return;
      double &acc = result.real[position(2, index)];
      acc = static_cast<float>(acc + lhs.real[position(0, index)] *
                                         rhs.real[position(1, index)]);
    });
    // The second product takes its weights along the keys: its right side is
    // indexed by the key first.
    if (maps[1].getResult(0) == getAffineDimExpr(2, op.getContext()))
      ++(mask ? interpreter.maskedProducts : interpreter.plainProducts);
    values[op.getResult()] = std::move(result);
    return true;
  }

  bool runForall(scf::ForallOp op) {
    SmallVector<int64_t> lower, upper, step;
    for (auto [lo, hi, by] :
         llvm::zip_equal(op.getMixedLowerBound(), op.getMixedUpperBound(),
                         op.getMixedStep())) {
      lower.push_back(resolve(lo));
      upper.push_back(resolve(hi));
      step.push_back(resolve(by));
    }
    SmallVector<int64_t> counts;
    for (size_t dim = 0; dim < lower.size(); ++dim)
      counts.push_back(std::max<int64_t>(
          0, llvm::divideCeilSigned(upper[dim] - lower[dim], step[dim])));
    bool ok = true;
    forEachIndex(counts, [&](ArrayRef<int64_t> index) {
      for (auto [dim, variable] : llvm::enumerate(op.getInductionVars()))
        setInteger(variable, lower[dim] + index[dim] * step[dim]);
      ok = ok && runBlock(*op.getBody());
    });
    return ok;
  }

  bool runFor(scf::ForOp op) {
    std::vector<Datum> state = data(op.getInitArgs());
    int64_t upper = scalar(op.getUpperBound()), step = scalar(op.getStep());
    for (int64_t i = scalar(op.getLowerBound()); i < upper; i += step) {
      setInteger(op.getInductionVar(), i);
      bind(op.getRegionIterArgs(), state);
      if (!runBlock(*op.getBody()))
        return false;
      state = data(op.getBody()->getTerminator()->getOperands());
    }
    bind(op.getResults(), state);
    return true;
  }

  bool runWhile(scf::WhileOp op) {
    std::vector<Datum> state = data(op.getInits());
    for (int64_t count = 0; count < 100000; ++count) {
      bind(op.getBeforeArguments(), state);
      if (!runBlock(*op.getBeforeBody()))
        return false;
      auto condition = op.getConditionOp();
      std::vector<Datum> passed = data(condition.getArgs());
      if (!scalar(condition.getCondition())) {
        bind(op.getResults(), passed);
        return true;
      }
      bind(op.getAfterArguments(), passed);
      if (!runBlock(*op.getAfterBody()))
        return false;
      state = data(op.getAfterBody()->getTerminator()->getOperands());
    }
    return fail(op, "loop does not end");
  }

  /// Straight from the definition: every tile number, one after the other.
  bool runForTiles(mlir::attn::ForTilesOp op) {
    SmallVector<int64_t> lower = scalars(op.getLower()),
                         upper = scalars(op.getUpper());
    SmallVector<int64_t> exceptLower = scalars(op.getExceptLower()),
                         exceptUpper = scalars(op.getExceptUpper());
    auto holds = [](ArrayRef<int64_t> lo, ArrayRef<int64_t> hi, int64_t tile) {
      return llvm::any_of(llvm::zip_equal(lo, hi), [&](auto pair) {
        return std::get<0>(pair) <= tile && tile < std::get<1>(pair);
      });
    };
    std::vector<Datum> state = data(op.getInits());
    for (int64_t tile = *llvm::min_element(lower),
                 last = *llvm::max_element(upper);
         tile < last; ++tile) {
      if (!holds(lower, upper, tile) || holds(exceptLower, exceptUpper, tile))
        continue;
      if (!op.getFilter().empty()) {
        Block &filter = op.getFilter().front();
        setInteger(filter.getArgument(0), tile);
        if (!runBlock(filter))
          return false;
        if (!scalar(filter.getTerminator()->getOperand(0)))
          continue;
      }
      setInteger(op.getInductionVar(), tile);
      bind(op.getIterArgs(), state);
      if (!runBlock(op.getBody().front()))
        return false;
      state = data(op.getBody().front().getTerminator()->getOperands());
    }
    bind(op.getResults(), state);
    return true;
  }

  bool runCall(func::CallOp op) {
    return interpreter.run(op.getCallee(), data(op.getOperands()));
  }

  bool runOp(Operation *op) {
    auto type = [&](unsigned operand) {
      return getElementTypeOrSelf(op->getOperand(operand).getType());
    };
    using Integers = ArrayRef<int64_t>;
    using Reals = ArrayRef<float>;
    return llvm::TypeSwitch<Operation *, bool>(op)
        .Case<func::CallOp>([&](auto x) { return runCall(x); })
        .Case<scf::ForallOp>([&](auto x) { return runForall(x); })
        .Case<scf::ForOp>([&](auto x) { return runFor(x); })
        .Case<scf::WhileOp>([&](auto x) { return runWhile(x); })
        .Case<mlir::attn::ForTilesOp>([&](auto x) { return runForTiles(x); })
        .Case<affine::AffineApplyOp>(
            [&](auto x) { return runAffine(x, x.getMap(), false); })
        .Case<affine::AffineMinOp>(
            [&](auto x) { return runAffine(x, x.getMap(), false); })
        .Case<affine::AffineMaxOp>(
            [&](auto x) { return runAffine(x, x.getMap(), true); })
        .Case<arith::ConstantOp>([&](auto x) { return runConstant(x); })
        .Case<arith::AddIOp>([&](auto) {
          return runInteger(
              op, [](Integers x) { return int64_t(uint64_t(x[0]) + x[1]); });
        })
        .Case<arith::SubIOp>([&](auto) {
          return runInteger(
              op, [](Integers x) { return int64_t(uint64_t(x[0]) - x[1]); });
        })
        .Case<arith::MulIOp>([&](auto) {
          return runInteger(
              op, [](Integers x) { return int64_t(uint64_t(x[0]) * x[1]); });
        })
        .Case<arith::DivUIOp>([&](auto) {
          return runInteger(op, [&](Integers x) {
            return toUnsigned(x[0], type(0)) / toUnsigned(x[1], type(0));
          });
        })
        .Case<arith::RemUIOp>([&](auto) {
          return runInteger(op, [&](Integers x) {
            return toUnsigned(x[0], type(0)) % toUnsigned(x[1], type(0));
          });
        })
        .Case<arith::MinUIOp>([&](auto) {
          return runInteger(op, [&](Integers x) {
            return std::min(toUnsigned(x[0], type(0)),
                            toUnsigned(x[1], type(0)));
          });
        })
        .Case<arith::MinSIOp>([&](auto) {
          return runInteger(op,
                            [](Integers x) { return std::min(x[0], x[1]); });
        })
        .Case<arith::MaxSIOp>([&](auto) {
          return runInteger(op,
                            [](Integers x) { return std::max(x[0], x[1]); });
        })
        .Case<arith::AndIOp>([&](auto) {
          return runInteger(op, [](Integers x) { return x[0] & x[1]; });
        })
        .Case<arith::OrIOp>([&](auto) {
          return runInteger(op, [](Integers x) { return x[0] | x[1]; });
        })
        .Case<arith::XOrIOp>([&](auto) {
          return runInteger(op, [](Integers x) { return x[0] ^ x[1]; });
        })
        .Case<arith::IndexCastOp>([&](auto) {
          return runInteger(op, [](Integers x) { return x[0]; });
        })
        .Case<arith::ExtUIOp>([&](auto) {
          return runInteger(
              op, [&](Integers x) { return toUnsigned(x[0], type(0)); });
        })
        .Case<arith::CmpIOp>([&](auto x) { return runCmpI(x); })
        .Case<arith::SelectOp>([&](auto x) { return runSelect(x); })
        .Case<arith::CmpFOp>([&](auto x) {
          Datum result;
          const Datum lhs = values.at(x.getLhs()), rhs = values.at(x.getRhs());
          for (size_t i = 0; i < lhs.real.size(); ++i)
            result.integer.push_back(lhs.real[i] == rhs.real[i]);
          values[x.getResult()] = result;
          return x.getPredicate() == arith::CmpFPredicate::OEQ ||
                 fail(op, "unknown comparison");
        })
        .Case<arith::AddFOp>([&](auto) {
          return runReal(op, [](Reals x) { return x[0] + x[1]; });
        })
        .Case<arith::SubFOp>([&](auto) {
          return runReal(op, [](Reals x) { return x[0] - x[1]; });
        })
        .Case<arith::MulFOp>([&](auto) {
          return runReal(op, [](Reals x) { return x[0] * x[1]; });
        })
        .Case<arith::DivFOp>([&](auto) {
          return runReal(op, [](Reals x) { return x[0] / x[1]; });
        })
        .Case<arith::NegFOp>(
            [&](auto) { return runReal(op, [](Reals x) { return -x[0]; }); })
        .Case<arith::MaxNumFOp>([&](auto) {
          return runReal(op, [](Reals x) { return std::fmax(x[0], x[1]); });
        })
        .Case<math::Exp2Op>([&](auto) {
          return runReal(op, [](Reals x) { return std::exp2(x[0]); });
        })
        .Case<math::Log2Op>([&](auto) {
          return runReal(op, [](Reals x) { return std::log2(x[0]); });
        })
        .Case<math::FmaOp>([&](auto) {
          return runReal(op,
                         [](Reals x) { return std::fma(x[0], x[1], x[2]); });
        })
        .Case<arith::TruncFOp>([&](auto x) {
          Type to = getElementTypeOrSelf(x.getType());
          Datum result = values.at(x.getIn());
          for (double &number : result.real)
            number = roundTo(number, to);
          values[x.getResult()] = result;
          return true;
        })
        .Case<memref::DimOp>([&](auto x) {
          setInteger(x.getResult(),
                     values.at(x.getSource()).view.sizes[scalar(x.getIndex())]);
          return true;
        })
        .Case<memref::CastOp>([&](auto x) {
          Datum source = values.at(x.getSource());
          values[x.getResult()] = source;
          return true;
        })
        .Case<memref::AllocOp>([&](auto x) {
          SmallVector<int64_t> sizes(x.getType().getShape()),
              dynamic = scalars(x.getDynamicSizes());
          for (int64_t &size : sizes)
            if (ShapedType::isDynamic(size)) {
              size = dynamic.front();
              dynamic.erase(dynamic.begin());
            }
          values[x.getResult()].view = View::make(sizes, std::nan(""));
          return true;
        })
        .Case<memref::LoadOp>([&](auto x) {
          setInteger(x.getResult(),
                     values.at(x.getMemRef()).view.at(scalars(x.getIndices())));
          return true;
        })
        .Case<memref::SubViewOp>([&](auto x) { return runSubView(x); })
        .Case<SelectRowsOp>([&](auto x) { return runSelectRows(x); })
        .Case<AnyBitOp>([&](auto x) {
          const View &bits = values.at(x.getBits()).view;
          int64_t columns = bits.sizes[3], first = scalar(x.getColumn());
          if (cast<ShapedType>(x.getBits().getType()).getDimSize(3) == 1)
            first = 0;
          bool any = false;
          for (int64_t i = 0; i < bits.sizes[2]; ++i)
            for (int64_t j = first;
                 j < std::min<int64_t>(first + x.getCount(), columns); ++j)
              any |= (bits.at({0, 0, i, j}) != 0) == x.getValue();
          setInteger(x.getResult(), any);
          return true;
        })
        .Case<vector::TransferReadOp>([&](auto x) { return runRead(x); })
        .Case<vector::TransferWriteOp>([&](auto x) { return runWrite(x); })
        .Case<vector::BroadcastOp>([&](auto x) { return runBroadcast(x); })
        .Case<vector::ShapeCastOp>([&](auto x) {
          Datum source = values.at(x.getSource());
          values[x.getResult()] = source;
          return true;
        })
        .Case<vector::StepOp>([&](auto x) {
          Datum result;
          for (int64_t i = 0, e = x.getType().getNumElements(); i < e; ++i)
            result.integer.push_back(i);
          values[x.getResult()] = result;
          return true;
        })
        .Case<vector::MultiDimReductionOp>(
            [&](auto x) { return runReduction(x); })
        .Case<vector::ContractionOp>(
            [&](auto x) { return runContract(x, nullptr); })
        .Case<vector::MaskOp>([&](auto x) {
          auto contraction = dyn_cast<vector::ContractionOp>(x.getMaskableOp());
          const Datum mask = values.at(x.getMask());
          if (!contraction || !runContract(contraction, &mask))
            return fail(op, "unknown masked op");
          Datum result = values.at(contraction.getResult());
          values[x.getResult(0)] = result;
          return true;
        })
        .Default([&](Operation *) { return fail(op, "unknown op"); });
  }
};

bool TileInterpreter::run(StringRef name, std::vector<Datum> arguments) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function || function.getNumArguments() != arguments.size()) {
    error = "no such function, or not its arguments: " + name.str();
    return false;
  }
  Frame frame(*this);
  frame.bind(function.getArguments(), arguments);
  return frame.runBlock(function.getBody().front());
}
