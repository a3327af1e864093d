//===- Concrete.cpp - see Concrete.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Concrete.h"

#include "attn/dialect/Scalars.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::attn;

/// More documents than this are not written out.
static constexpr size_t kMaxDocuments = 12;

/// The documents of a batch as boxes of query positions and keys; null if there
/// are too many.
static MaskAttr getDocuments(MLIRContext *context, const DataTensor &queries,
                             const DataTensor &keys, int64_t batch,
                             int64_t offset) {
  auto rowOf = [&](const DataTensor &ids) {
    return ArrayRef(ids.elements).slice(batch * ids.shape[1], ids.shape[1]);
  };
  ArrayRef<int64_t> rows = rowOf(queries), columns = rowOf(keys);
  SmallVector<MaskAttr> boxes;
  for (size_t first = 0; first < rows.size();) {
    size_t last = llvm::upper_bound(rows, rows[first]) - rows.begin();
    int64_t from = llvm::lower_bound(columns, rows[first]) - columns.begin(),
            to = llvm::upper_bound(columns, rows[first]) - columns.begin();
    auto range = [&](MaskKind kind, int64_t a, int64_t b) {
      return MaskAttr::getAtom(
          context, kind, {MaskBound::constant(a), MaskBound::constant(b)});
    };
    boxes.push_back(MaskAttr::getAnd(
        {range(MaskKind::Queries, first + offset, last + offset),
         range(MaskKind::Keys, from, to)}));
    first = last;
    if (boxes.size() > kMaxDocuments)
      return {};
  }
  return boxes.empty() ? MaskAttr::getAll(context) : MaskAttr::getOr(boxes);
}

/// The atom for one batch; null if it is not known.
static MaskAttr closeAtom(const ConcreteAttention &attention, MaskAttr atom,
                          int64_t batch) {
  SmallVector<const DataTensor *, 2> tensors;
  for (unsigned number : getData(atom)) {
    tensors.push_back(&attention.maskData[number]);
    if (tensors.back()->elements.empty())
      return {};
  }
  if (atom.getKind() == MaskKind::Lengths)
    return MaskAttr::getAtom(
        atom.getContext(), MaskKind::Keys,
        {MaskBound::constant(0),
         MaskBound::constant(tensors[0]->elements[batch])});
  if (atom.getKind() == MaskKind::Documents)
    return getDocuments(atom.getContext(), *tensors[0], *tensors[1], batch,
                        attention.offsets[batch]);
  return {};
}

MaskAttr ConcreteAttention::getClosedMask(int64_t batch) const {
  MaskAttr mask = AttentionOp(op).getMask();
  return replaceData(mask, [&](MaskAttr atom, bool negated) {
    if (MaskAttr closed = closeAtom(*this, atom, batch))
      return closed;
    MaskAttr all = MaskAttr::getAll(mask.getContext());
    return negated ? MaskAttr::getNot(all) : all;
  });
}

bool ConcreteAttention::isAssumed() const {
  for (MaskAttr atom : getDataAtoms(AttentionOp(op).getMask()))
    for (int64_t batch = 0; batch < batches; ++batch)
      if (!closeAtom(*this, atom, batch))
        return true;
  return false;
}

MaskProblem ConcreteAttention::getMask(int64_t batch, int64_t head) const {
  return MaskProblem(getClosedMask(batch), symbols, firstHead + head, queries,
                     keys, offsets[batch]);
}

namespace {

/// Shapes of tensors and values of integers, as far as they are known.
class Binder {
public:
  explicit Binder(FunctionOpInterface function) : function(function) {}

  LogicalResult bind(ArrayRef<ArgumentValue> arguments) {
    if (arguments.size() != function.getNumArguments())
      return function.emitError("expected ")
             << function.getNumArguments() << " arguments, found "
             << arguments.size();
    for (auto [argument, value] :
         llvm::zip_equal(function.getArguments(), arguments)) {
      auto tensor = dyn_cast<RankedTensorType>(argument.getType());
      if (!tensor) {
        if (value.elements.size() != 1 || !value.shape.empty())
          return error(argument) << "expected one integer";
        known[argument] =
            IntegerAttr::get(argument.getType(), value.elements.front());
        continue;
      }
      if (static_cast<int64_t>(value.shape.size()) != tensor.getRank())
        return error(argument) << "expected " << tensor.getRank()
                               << " dimensions, found " << value.shape.size();
      for (auto [dim, pair] :
           llvm::enumerate(llvm::zip_equal(tensor.getShape(), value.shape)))
        if (!ShapedType::isDynamic(std::get<0>(pair)) &&
            std::get<0>(pair) != std::get<1>(pair))
          return error(argument)
                 << "expected extent " << std::get<0>(pair) << " in dimension "
                 << dim << ", found " << std::get<1>(pair);
      shapes[argument] = value.shape;
      elements[argument] = value.elements;
    }
    return success();
  }

  LogicalResult run(SmallVectorImpl<ConcreteAttention> &result) {
    for (Operation &op : function.getFunctionBody().front()) {
      if (auto attention = dyn_cast<AttentionOp>(op)) {
        FailureOr<ConcreteAttention> concrete = resolve(attention);
        if (failed(concrete))
          return failure();
        result.push_back(std::move(*concrete));
      } else {
        foldKnown(op, known, [&](Value value) { return getShape(value); });
      }
    }
    return success();
  }

private:
  InFlightDiagnostic error(BlockArgument argument) {
    return function.emitError("argument ") << argument.getArgNumber() << ": ";
  }

  std::optional<ArrayRef<int64_t>> getShape(Value value) {
    auto known = shapes.find(value);
    if (known == shapes.end())
      return std::nullopt;
    return ArrayRef<int64_t>(known->second);
  }

  FailureOr<int64_t> integer(AttentionOp op, Value value, StringRef what) {
    if (auto integer = dyn_cast_or_null<IntegerAttr>(known.lookup(value)))
      return integer.getInt();
    return op.emitError(what)
           << " is not a function of the arguments' shapes and values";
  }

  FailureOr<ConcreteAttention> resolve(AttentionOp op) {
    for (Value tensor : {op.getQ(), op.getK(), op.getV()})
      if (!shapes.contains(tensor))
        return op.emitError("the shape of ") << tensor << " is not known";
    ArrayRef<int64_t> q = shapes[op.getQ()], k = shapes[op.getK()],
                      v = shapes[op.getV()];
    if (q[0] != k[0] || q[0] != v[0])
      return op.emitError("q, k and v disagree on the number of batches: ")
             << q[0] << ", " << k[0] << ", " << v[0];
    if (k[1] != v[1] || k[2] != v[2])
      return op.emitError("k and v disagree: ")
             << k[1] << " heads of " << k[2] << " keys, " << v[1]
             << " heads of " << v[2] << " keys";
    if (q[3] != k[3])
      return op.emitError("q and k disagree on the head size: ")
             << q[3] << ", " << k[3];
    if (k[1] == 0 || q[1] % k[1] != 0)
      return op.emitError("the number of query heads, ")
             << q[1] << ", is not a multiple of the number of KV heads, "
             << k[1];
    ConcreteAttention result{op,   q[0], q[1], k[1], q[2], k[2],
                             q[3], v[3], {},   {},   0,    {}};
    for (Value tensor : op.getMaskData()) {
      DataTensor &data = result.maskData.emplace_back();
      if (auto constant =
              dyn_cast_or_null<DenseIntElementsAttr>(known.lookup(tensor))) {
        data.shape.assign(constant.getType().getShape());
        for (const APInt &element : constant.getValues<APInt>())
          data.elements.push_back(element.getSExtValue());
        continue;
      }
      data.shape = shapes.lookup(tensor);
      ArrayRef<int64_t> given = elements[tensor];
      data.elements.assign(given.begin(), given.end());
    }
    for (MaskAttr atom : getDataAtoms(op.getMask())) {
      SmallVector<DataTensor, 2> ofAtom;
      for (unsigned number : getData(atom))
        ofAtom.push_back(result.maskData[number]);
      if (std::optional<std::string> error = findDataError(
              atom, ofAtom,
              {result.batches, result.queryHeads, result.queries, result.keys}))
        return op.emitError("'") << atom.str() << "': " << *error;
    }
    for (Value symbol : op.getSymbols()) {
      FailureOr<int64_t> value = integer(op, symbol, "a symbol of the mask");
      if (failed(value))
        return failure();
      result.symbols.push_back(*value);
    }
    if (op.getHead()) {
      FailureOr<int64_t> value = integer(op, op.getHead(), "the first head");
      if (failed(value))
        return failure();
      result.firstHead = *value;
    }
    int64_t offset =
        op.getAlignment() == Alignment::End ? result.keys - result.queries : 0;
    result.offsets.assign(result.batches, offset);
    if (op.getAlignment() == Alignment::Offset) {
      if (op.getOffset().getType().isIndex()) {
        FailureOr<int64_t> value = integer(op, op.getOffset(), "the offset");
        if (failed(value))
          return failure();
        result.offsets.assign(result.batches, *value);
      } else {
        auto known = elements.find(op.getOffset());
        if (known == elements.end())
          return op.emitError(
              "the offsets are not an argument of the function");
        if (static_cast<int64_t>(known->second.size()) != result.batches)
          return op.emitError("expected one offset for each of the ")
                 << result.batches << " batches, found "
                 << known->second.size();
        result.offsets = known->second;
      }
    }
    shapes[op.getO()] = {q[0], q[1], q[2], v[3]};
    if (op.getLse())
      shapes[op.getLse()] = {q[0], q[1], q[2]};
    return result;
  }

  FunctionOpInterface function;
  DenseMap<Value, SmallVector<int64_t>> shapes;
  DenseMap<Value, SmallVector<int64_t>> elements;
  KnownValues known;
};

} // namespace

FailureOr<SmallVector<ConcreteAttention>>
mlir::attn::bindArguments(FunctionOpInterface function,
                          ArrayRef<ArgumentValue> arguments) {
  Binder binder(function);
  SmallVector<ConcreteAttention> result;
  if (failed(binder.bind(arguments)) || failed(binder.run(result)))
    return failure();
  return result;
}

FailureOr<SmallVector<ArgumentValue>>
mlir::attn::getStaticArguments(FunctionOpInterface function,
                               const std::map<unsigned, ArgumentValue> &given) {
  SmallVector<ArgumentValue> result;
  for (BlockArgument argument : function.getArguments()) {
    if (auto known = given.find(argument.getArgNumber());
        known != given.end()) {
      result.push_back(known->second);
      continue;
    }
    auto tensor = dyn_cast<RankedTensorType>(argument.getType());
    bool isMaskData = llvm::all_of(argument.getUses(), [](OpOperand &use) {
      auto op = dyn_cast<AttentionOp>(use.getOwner());
      return op && llvm::is_contained(op.getMaskData(), use.get()) &&
             use.get() != op.getOffset();
    });
    if (!tensor || !tensor.hasStaticShape() ||
        (tensor.getElementType().isIntOrIndex() && !isMaskData))
      return failure();
    result.push_back({llvm::to_vector(tensor.getShape()), {}});
  }
  return result;
}
