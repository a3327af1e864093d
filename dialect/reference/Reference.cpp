//===- Reference.cpp - see Reference.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/reference/Reference.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/Scalars.h"
#include "attn/dialect/mask/MaskData.h"
#include "attn/dialect/reference/MaskMembership.h"
#include "attn/dialect/reference/ScoreFunction.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <cmath>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::reference;
using ::attn::reference::Problem;
using ::attn::reference::Solution;
using ::attn::reference::View;

std::optional<Format> mlir::attn::reference::getFormat(Type elementType) {
  if (elementType.isF16())
    return Format::F16;
  if (elementType.isBF16())
    return Format::BF16;
  if (elementType.isF32())
    return Format::F32;
  return std::nullopt;
}

Judgement mlir::attn::reference::judge(const Tensor &result,
                                       const Output &output) {
  if (result.shape != output.exact.shape) {
    Judgement judgement;
    judgement.passed = false;
    judgement.problem =
        "the shape of the result is not that of the reference (J3)";
    return judgement;
  }
  if (output.isLse)
    return judgeLse(result.values, output.exact.values, result.shape,
                    output.inputFormat);
  return judgeOutput(result.values, output.exact.values, output.naive.values,
                     result.shape, output.format, output.maxFactor);
}

namespace {

/// Positions, offsets and symbols stay within +-2^40, as the constants of a
/// mask do.
constexpr int64_t maxPosition = int64_t(1) << 40;

std::string shapeText(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(shape, os, "x");
  return text.empty() ? "a scalar" : text;
}

/// The membership of a mask, each row of keys evaluated once.
class LiveKeys {
public:
  LiveKeys(MaskAttr mask, ArrayRef<int64_t> symbols, int64_t numKeys)
      : mask(mask), symbols(symbols), numKeys(numKeys),
        perHead(mask.dependsOnHead()) {}

  bool contains(int64_t head, int64_t p, int64_t j) {
    auto [row, isNew] = rows.try_emplace({perHead ? head : 0, p});
    if (isNew) {
      row->second.resize(numKeys);
      for (int64_t key = 0; key < numKeys; ++key)
        row->second[key] = reference::contains(mask, symbols, head, p, key);
    }
    return row->second[j];
  }

private:
  MaskAttr mask;
  ArrayRef<int64_t> symbols;
  int64_t numKeys;
  bool perHead;
  llvm::DenseMap<std::pair<int64_t, int64_t>, std::vector<bool>> rows;
};

class Evaluator {
public:
  explicit Evaluator(func::FuncOp function) : function(function) {}

  FailureOr<std::vector<Output>> run(ArrayRef<Tensor> inputs) {
    if (!function.getBody().hasOneBlock())
      return function.emitError("expected a function of one block");
    if (inputs.size() != function.getNumArguments())
      return function.emitError("expected ")
             << function.getNumArguments() << " inputs, found " << inputs.size()
             << " (R1)";
    for (auto [argument, input] :
         llvm::zip_equal(function.getArguments(), inputs))
      if (failed(bind(argument, input)))
        return failure();
    for (Operation &op : function.getBody().front().without_terminator())
      if (failed(evaluate(op)))
        return failure();

    std::vector<Output> outputs;
    Operation *terminator = function.getBody().front().getTerminator();
    for (Value value : terminator->getOperands()) {
      auto found = tensors.find(value);
      if (found == tensors.end())
        return terminator->emitError(
                   "expected a function that returns float tensors, found ")
               << value.getType();
      outputs.push_back(found->second);
    }
    return outputs;
  }

private:
  LogicalResult bind(BlockArgument argument, const Tensor &input) {
    auto error = [&] {
      return emitError(argument.getLoc(), "input ")
             << argument.getArgNumber() << ": ";
    };
    Type type = argument.getType();
    auto tensorType = dyn_cast<RankedTensorType>(type);
    ArrayRef<int64_t> expected =
        tensorType ? tensorType.getShape() : ArrayRef<int64_t>();
    if (failed(verifyCompatibleShape(expected, input.shape)) ||
        llvm::any_of(input.shape, [](int64_t n) { return n < 0; }))
      return error() << "expected " << type << ", found "
                     << shapeText(input.shape) << " (R1)";
    size_t size = 1;
    for (int64_t extent : input.shape)
      size *= extent;
    if (input.values.size() != size)
      return error() << "expected " << size << " values, found "
                     << input.values.size() << " (R1)";

    if (std::optional<Format> format =
            tensorType ? getFormat(tensorType.getElementType())
                       : std::nullopt) {
      Tensor rounded = input;
      for (double &value : rounded.values)
        value = ::attn::reference::round(value, *format);
      tensors[argument] = {rounded, rounded, *format, *format, false};
      return success();
    }
    Type elementType = tensorType ? tensorType.getElementType() : type;
    if (!elementType.isIndex() && !elementType.isInteger())
      return error() << "expected f16, bf16 or f32 tensors, or integers, found "
                     << type;
    unsigned width =
        elementType.isIndex() ? 64 : elementType.getIntOrFloatBitWidth();
    SmallVector<APInt> integers;
    for (double value : input.values) {
      bool isBit = width == 1 && (value == 0 || value == 1);
      if (!isBit &&
          (value != std::nearbyint(value) || std::fabs(value) > 0x1p53 ||
           (width < 54 && !llvm::isIntN(width, static_cast<int64_t>(value)))))
        return error() << "expected integers that fit " << elementType
                       << ", found " << value << " (R1)";
      integers.push_back(APInt(width, static_cast<int64_t>(value),
                               /*isSigned=*/true, /*implicitTrunc=*/isBit));
    }
    if (tensorType)
      constants[argument] = DenseElementsAttr::get(
          RankedTensorType::get(input.shape, elementType), integers);
    else
      constants[argument] = IntegerAttr::get(elementType, integers.front());
    return success();
  }

  LogicalResult evaluate(Operation &op) {
    if (isa<tensor::EmptyOp>(op)) // without values: no operand of anything here
      return success();
    if (auto attention = dyn_cast<AttentionOp>(op))
      return evaluate(attention);
    if (auto dim = dyn_cast<tensor::DimOp>(op)) {
      auto source = tensors.find(dim.getSource());
      std::optional<int64_t> index;
      if (auto known =
              dyn_cast_or_null<IntegerAttr>(constants.lookup(dim.getIndex())))
        index = known.getInt();
      if (source != tensors.end() && index &&
          (*index < 0 ||
           *index >= static_cast<int64_t>(source->second.exact.shape.size())))
        return op.emitError("expected a dimension below ")
               << source->second.exact.shape.size() << ", found " << *index;
    }
    if (auto cast = dyn_cast<tensor::CastOp>(op);
        cast && tensors.contains(cast.getSource())) {
      Output source = tensors[cast.getSource()];
      if (failed(
              checkShape(op, "the cast", cast.getType(), source.exact.shape)))
        return failure();
      tensors[cast.getResult()] = std::move(source);
      return success();
    }
    return fold(op);
  }

  LogicalResult fold(Operation &op) {
    auto getShape = [&](Value value) -> std::optional<ArrayRef<int64_t>> {
      auto known = tensors.find(value);
      if (known == tensors.end())
        return std::nullopt;
      return ArrayRef<int64_t>(known->second.exact.shape);
    };
    if (foldKnown(op, constants, getShape))
      return success();
    return op.emitError("expected attn.attention or arithmetic on known "
                        "scalars, found '")
           << op.getName() << "'";
  }

  LogicalResult checkShape(Operation &op, const Twine &what, Type type,
                           ArrayRef<int64_t> shape) {
    if (succeeded(
            verifyCompatibleShape(cast<ShapedType>(type).getShape(), shape)))
      return success();
    return op.emitError() << "expected " << what << " to be " << type
                          << ", found " << shapeText(shape) << " (R5)";
  }

  /// The value of an index operand that positions are computed from.
  FailureOr<int64_t> position(Operation &op, Value value, StringRef what) {
    auto attr = dyn_cast_or_null<IntegerAttr>(constants.lookup(value));
    if (!attr)
      return op.emitError() << "expected " << what << " to be a known integer";
    return inRange(op, attr.getInt(), what);
  }

  FailureOr<int64_t> inRange(Operation &op, int64_t value, StringRef what) {
    if (value > maxPosition || value < -maxPosition)
      return op.emitError() << "expected " << what << " within +-2^40, found "
                            << value << " (R7)";
    return value;
  }

  LogicalResult evaluate(AttentionOp op) {
    Value operands[] = {op.getQ(), op.getK(), op.getV()};
    for (Value operand : operands)
      if (!tensors.contains(operand))
        return op.emitError("expected q, k and v from the function's arguments "
                            "or from other attn.attention ops");
    const Output &q = tensors[op.getQ()], &k = tensors[op.getK()],
                 &v = tensors[op.getV()];
    ArrayRef<int64_t> qs = q.exact.shape, ks = k.exact.shape,
                      vs = v.exact.shape;
    auto differ = [&](StringRef what, StringRef names, int64_t a, int64_t b,
                      StringRef label) {
      return op.emitError()
             << "expected " << names << " of one " << what << ", found " << a
             << " and " << b << " (" << label << ")";
    };
    if (qs[0] != ks[0])
      return differ("batch size", "q and k", qs[0], ks[0], "R2");
    if (ks[0] != vs[0])
      return differ("batch size", "k and v", ks[0], vs[0], "R2");
    if (ks[1] != vs[1])
      return differ("number of heads", "k and v", ks[1], vs[1], "R3");
    if (ks[1] == 0 ? qs[1] != 0 : qs[1] % ks[1] != 0)
      return op.emitError("expected the ")
             << qs[1] << " query heads to be a multiple of the " << ks[1]
             << " KV heads (R3)";
    if (ks[2] != vs[2])
      return differ("length", "k and v", ks[2], vs[2], "R4");

    Problem problem;
    problem.scale = op.getScaleValue();
    if (failed(setPositions(op, qs, ks, problem)))
      return failure();
    SmallVector<int64_t> symbols;
    for (Value symbol : op.getSymbols()) {
      FailureOr<int64_t> value =
          position(*op, symbol, "the symbols of the mask");
      if (failed(value))
        return failure();
      symbols.push_back(*value);
    }
    LiveKeys live(op.getMask(), symbols, ks[2]);
    FailureOr<std::vector<DataTensor>> data =
        getMaskData(op, {qs[0], qs[1], qs[2], ks[2]});
    if (failed(data))
      return failure();
    if (hasData(op.getMask()))
      problem.livePair = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
        return reference::contains(
            op.getMask(), symbols, problem.firstHead + h,
            i + problem.offsets[b], j, [&](MaskAttr atom) {
              return containsPair(atom, *data, b, h, i, j);
            });
      };
    else if (op.getMask().getKind() != MaskKind::All)
      problem.live = [&](int64_t h, int64_t p, int64_t j) {
        return live.contains(h, p, j);
      };

    FailureOr<ScoreFunction> score = ScoreFunction::compile(op);
    if (failed(score))
      return failure();
    Changes exactChanges, naiveChanges;
    if (failed(setScore(op, ks[2], problem, exactChanges, naiveChanges)))
      return failure();

    auto view = [](const Tensor &tensor) {
      return View::rowMajor(
          tensor.values.data(),
          {tensor.shape[0], tensor.shape[1], tensor.shape[2], tensor.shape[3]});
    };
    std::vector<int64_t> rowShape = {qs[0], qs[1], qs[2]},
                         outShape = {qs[0], qs[1], qs[2], vs[3]};
    const Output *initO = nullptr, *initLse = nullptr;
    if (op.getInitO()) {
      if (!tensors.contains(op.getInitO()) ||
          !tensors.contains(op.getInitLse()))
        return op.emitError("expected the initial o and lse from the "
                            "function's arguments or from other attn.attention "
                            "ops");
      initO = &tensors[op.getInitO()], initLse = &tensors[op.getInitLse()];
      if (initO->exact.shape != outShape || initLse->exact.shape != rowShape)
        return op.emitError("expected the initial o and lse to be ")
               << shapeText(outShape) << " and " << shapeText(rowShape)
               << ", found " << shapeText(initO->exact.shape) << " and "
               << shapeText(initLse->exact.shape) << " (A20)";
    }
    auto rowView = [&](const Tensor &tensor) {
      return View::rowMajor(tensor.values.data(), {qs[0], qs[1], qs[2], 1});
    };
    problem.q = view(q.exact), problem.k = view(k.exact),
    problem.v = view(v.exact);
    setChanges(*score, exactChanges, /*single=*/false, problem);
    if (initO)
      problem.initO = view(initO->exact),
      problem.initLse = rowView(initLse->exact);
    Solution exact = ::attn::reference::evaluate(problem);
    problem.q = view(q.naive), problem.k = view(k.naive),
    problem.v = view(v.naive);
    if (initO)
      problem.initO = view(initO->naive),
      problem.initLse = rowView(initLse->naive);
    setChanges(*score, naiveChanges, /*single=*/true, problem);
    Format outFormat =
        *getFormat(cast<ShapedType>(op.getO().getType()).getElementType());
    Solution naive =
        ::attn::reference::evaluateNaive(problem, v.format, outFormat);

    if (failed(checkShape(*op, "o", op.getO().getType(), outShape)) ||
        (op.getLse() &&
         failed(checkShape(*op, "lse", op.getLse().getType(), rowShape))))
      return failure();
    Format qFormat = q.format;
    tensors[op.getO()] = {{outShape, std::move(exact.o)},
                          {outShape, std::move(naive.o)},
                          outFormat,
                          qFormat,
                          false,
                          score->hasTanh() ? 3.0 : 2.0};
    if (op.getLse())
      tensors[op.getLse()] = {{rowShape, std::move(exact.lse)},
                              {rowShape, std::move(naive.lse)},
                              Format::F32,
                              qFormat,
                              true};
    return success();
  }

  /// The operands that change scores, as one of the two computations sees them.
  struct Changes {
    std::vector<ScoreFunction::Input> inputs;
    std::vector<double> sinks;
  };

  LogicalResult setScore(AttentionOp op, int64_t numKeys,
                         const Problem &problem, Changes &exact,
                         Changes &naive) {
    ArrayRef<int64_t> q = tensors[op.getQ()].exact.shape;
    SmallVector<int64_t> full = {q[0], q[1], q[2], numKeys};
    for (auto [number, value] : llvm::enumerate(op.getScoreInputs())) {
      if (value.getType().isIndex()) {
        FailureOr<int64_t> known = position(*op, value, "a score input");
        if (failed(known))
          return failure();
        for (Changes *changes : {&exact, &naive})
          changes->inputs.push_back({nullptr, {}, *known});
        continue;
      }
      auto found = tensors.find(value);
      if (found == tensors.end())
        return op.emitError("expected score inputs from the function's "
                            "arguments or from other attn.attention ops");
      auto type = cast<RankedTensorType>(value.getType());
      ArrayRef<int64_t> shape = found->second.exact.shape;
      bool perHead = shape.size() == 1;
      for (auto [dim, extent] : llvm::enumerate(shape))
        if (extent != full[perHead ? 1 : dim] &&
            (perHead || type.getDimSize(dim) != 1))
          return op.emitError("expected score input ")
                 << number << " to be broadcastable to " << shapeText(full)
                 << ", found " << shapeText(shape) << " (R8)";
      ScoreFunction::Input input;
      int64_t stride = 1;
      for (size_t dim = shape.size(); dim-- > 0; stride *= shape[dim])
        if (perHead || type.getDimSize(dim) != 1)
          input.strides[perHead ? 1 : dim] = stride;
      input.data = found->second.exact.values.data();
      exact.inputs.push_back(input);
      input.data = found->second.naive.values.data();
      naive.inputs.push_back(input);
    }
    if (Value sinks = op.getSinks()) {
      auto found = tensors.find(sinks);
      if (found == tensors.end())
        return op.emitError("expected sinks from the function's arguments");
      exact.sinks = found->second.exact.values;
      naive.sinks = found->second.naive.values;
      if (static_cast<int64_t>(exact.sinks.size()) != q[1])
        return op.emitError("expected one sink for each of the ")
               << q[1] << " query heads, found " << exact.sinks.size()
               << " (R9)";
    }
    return success();
  }

  static void setChanges(const ScoreFunction &score, const Changes &changes,
                         bool single, Problem &problem) {
    problem.sinks = changes.sinks;
    if (!score.isEmpty())
      problem.score = [&score, &changes, &problem,
                       single](double value, int64_t b, int64_t h, int64_t i,
                               int64_t j) {
        return score.evaluate(
            value, {b, h, i, j},
            {b, problem.firstHead + h, i + problem.offsets[b], j},
            changes.inputs, single);
      };
  }

  /// The tensors of the mask, which hold what they must.
  FailureOr<std::vector<DataTensor>> getMaskData(AttentionOp op,
                                                 const MaskExtents &extents) {
    std::vector<DataTensor> tensors;
    for (Value value : op.getMaskData()) {
      auto constant =
          dyn_cast_or_null<DenseIntElementsAttr>(constants.lookup(value));
      if (!constant)
        return op.emitError("expected the tensors of the mask to be known "
                            "integers");
      DataTensor &tensor = tensors.emplace_back();
      tensor.shape = llvm::to_vector(constant.getType().getShape());
      for (const APInt &element : constant.getValues<APInt>())
        tensor.elements.push_back(element.getSExtValue());
    }
    for (MaskAttr atom : getDataAtoms(op.getMask())) {
      SmallVector<DataTensor, 2> ofAtom;
      for (unsigned number : getData(atom))
        ofAtom.push_back(tensors[number]);
      // R10 to R13
      if (std::optional<std::string> error =
              findDataError(atom, ofAtom, extents))
        return op.emitError("'") << atom.str() << "': " << *error;
    }
    return tensors;
  }

  LogicalResult setPositions(AttentionOp op, ArrayRef<int64_t> q,
                             ArrayRef<int64_t> k, Problem &problem) {
    if (op.getHead()) {
      FailureOr<int64_t> head = position(*op, op.getHead(), "the first head");
      if (failed(head))
        return failure();
      problem.firstHead = *head;
    }
    switch (op.getAlignment()) {
    case Alignment::End:
      problem.offsets.assign(q[0], k[2] - q[2]);
      return success();
    case Alignment::Start:
      problem.offsets.assign(q[0], 0);
      return success();
    case Alignment::Offset:
      break;
    }
    if (op.getOffset().getType().isIndex()) {
      FailureOr<int64_t> offset = position(*op, op.getOffset(), "the offset");
      if (failed(offset))
        return failure();
      problem.offsets.assign(q[0], *offset);
      return success();
    }
    auto offsets = dyn_cast_or_null<DenseIntElementsAttr>(
        constants.lookup(op.getOffset()));
    if (!offsets)
      return op.emitError("expected the offsets to be known integers");
    if (offsets.getNumElements() != q[0])
      return op.emitError("expected one offset for each of the ")
             << q[0] << " batches, found " << offsets.getNumElements()
             << " (R6)";
    for (const APInt &value : offsets.getValues<APInt>()) {
      FailureOr<int64_t> offset =
          inRange(*op, value.getSExtValue(), "the offsets");
      if (failed(offset))
        return failure();
      problem.offsets.push_back(*offset);
    }
    return success();
  }

  func::FuncOp function;
  llvm::DenseMap<Value, Output> tensors;
  KnownValues constants;
};

} // namespace

FailureOr<std::vector<Output>>
mlir::attn::reference::evaluateFunction(func::FuncOp function,
                                        ArrayRef<Tensor> inputs) {
  return Evaluator(function).run(inputs);
}
