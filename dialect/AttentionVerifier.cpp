//===- AttentionVerifier.cpp - the constraints of docs/Spec.md ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Attn.h"
#include "attn/dialect/Constraints.h"
#include "attn/dialect/mask/MaskData.h"

#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/SmallBitVector.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

/// A tensor operand or result of the op, by the name that the spec gives it.
struct Named {
  StringRef name;
  Value value;

  RankedTensorType type() const {
    return cast<RankedTensorType>(value.getType());
  }
  int64_t size(unsigned dim) const { return type().getDimSize(dim); }
};

LogicalResult verifyElementTypes(AttentionOp op, ArrayRef<Named> tensors) {
  const Named &q = tensors.front();
  for (const Named &other : tensors.drop_front()) {
    if (other.type().getElementType() == q.type().getElementType())
      continue;
    InFlightDiagnostic diagnostic =
        op.emitOpError("expected q, k, v and o of one element type, found ")
        << q.type().getElementType() << " for q and "
        << other.type().getElementType() << " for " << other.name << " (A2)";
    diagnostic.attachNote(other.value.getLoc())
        << other.name << " is a " << other.type();
    return diagnostic;
  }
  return success();
}

/// What both types say about one dimension agrees. Sizes that only run time
/// knows are checked then.
LogicalResult verifySame(AttentionOp op, StringRef what, const Named &a,
                         const Named &b, unsigned dim, StringRef label) {
  int64_t sizeA = a.size(dim), sizeB = b.size(dim);
  if (sizeA == sizeB || ShapedType::isDynamic(sizeA) ||
      ShapedType::isDynamic(sizeB))
    return success();
  InFlightDiagnostic diagnostic = op.emitOpError("expected ")
                                  << a.name << " and " << b.name << " of one "
                                  << what << ", found " << sizeA << " and "
                                  << sizeB << " (" << label << ")";
  diagnostic.attachNote(b.value.getLoc()) << b.name << " is a " << b.type();
  return diagnostic;
}

LogicalResult verifyGroups(AttentionOp op, const Named &q, const Named &k) {
  int64_t heads = q.size(1), kvHeads = k.size(1);
  if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(kvHeads))
    return success();
  if (kvHeads == 0 ? heads == 0 : heads % kvHeads == 0)
    return success();
  InFlightDiagnostic diagnostic =
      op.emitOpError(
          "expected the number of query heads to be a multiple of the ")
      << kvHeads << " KV heads, found " << heads;
  if (kvHeads != 0) {
    int64_t above = (heads / kvHeads + 1) * kvHeads;
    diagnostic << "; " << above << " is the nearest above";
  }
  diagnostic << " (A5)";
  diagnostic.attachNote(k.value.getLoc()) << "k is a " << k.type();
  return diagnostic;
}

/// The sizes that kernels are specialised for.
LogicalResult verifyHeadSize(AttentionOp op, StringRef what,
                             const Named &tensor, StringRef label) {
  constexpr int64_t least = 16, most = 256, step = 8;
  int64_t size = tensor.size(3);
  if (ShapedType::isDynamic(size)) {
    InFlightDiagnostic diagnostic = op.emitOpError("expected a static ")
                                    << what << ", the last dimension of "
                                    << tensor.name << ", found '?' (" << label
                                    << ")";
    diagnostic.attachNote(tensor.value.getLoc())
        << tensor.name << " is a " << tensor.type();
    return diagnostic;
  }
  if (size >= least && size <= most && size % step == 0)
    return success();
  InFlightDiagnostic diagnostic =
      op.emitOpError() << what << " must be a multiple of " << step << " in "
                       << least << ".." << most << ", found " << size << "; ";
  if (size > most)
    diagnostic << most << " is the nearest below";
  else
    diagnostic << std::max(least, (size + step - 1) / step * step)
               << " is the nearest above";
  diagnostic << " (" << label << ")";
  diagnostic.attachNote(tensor.value.getLoc())
      << tensor.name << " is a " << tensor.type();
  return diagnostic;
}

LogicalResult verifyResult(AttentionOp op, const Named &result,
                           ArrayRef<int64_t> shape, StringRef label) {
  if (succeeded(verifyCompatibleShape(result.type().getShape(), shape)))
    return success();
  return op.emitOpError("expected ")
         << result.name << " to be "
         << RankedTensorType::get(shape, result.type().getElementType())
         << ", found " << result.type() << " (" << label << ")";
}

LogicalResult verifyAlignment(AttentionOp op, const Named &q) {
  bool wanted = op.getAlignment() == Alignment::Offset;
  // A13
  if (wanted && !op.getOffset())
    return op.emitOpError(
        "expected an offset with alignment offset, found none (A13)");
  if (!wanted && op.getOffset())
    return op.emitOpError("expected an offset only with alignment offset, "
                          "found alignment ")
           << stringifyAlignment(op.getAlignment()) << " (A13)";
  // A14
  auto offsets = wanted ? dyn_cast<RankedTensorType>(op.getOffset().getType())
                        : RankedTensorType();
  if (!offsets || succeeded(verifyCompatibleShape(
                      offsets.getShape(), q.type().getShape().take_front())))
    return success();
  InFlightDiagnostic diagnostic =
      op.emitOpError("expected one offset for each of the ")
      << q.size(0) << " batches, found " << offsets.getDimSize(0) << " (A14)";
  diagnostic.attachNote(op.getOffset().getLoc())
      << "the offset is a " << offsets;
  return diagnostic;
}

LogicalResult verifyHeadRanges(AttentionOp op) {
  MaskAttr range = findHeadsBeyond(op, op.getMask());
  if (!range)
    return success();
  int64_t heads = cast<RankedTensorType>(op.getQ().getType()).getDimSize(1);
  InFlightDiagnostic diagnostic = op.emitOpError("expected the range of '")
                                  << range.str() << "' to lie in the " << heads
                                  << " query heads";
  for (const MaskBound &bound : range.getBounds())
    if (bound.isConstant() &&
        (bound.getConstant() < 0 || bound.getConstant() > heads))
      return diagnostic << ", found " << bound.getConstant() << "; "
                        << (bound.getConstant() < 0 ? 0 : heads)
                        << " is the nearest (A16)";
  llvm_unreachable("one of the bounds lies beyond");
}

void markUsedSymbols(MaskAttr mask, llvm::SmallBitVector &used) {
  for (const MaskBound &bound : mask.getBounds())
    if (bound.isSymbol())
      used.set(bound.getSymbol());
  for (MaskAttr operand : mask.getOperands())
    markUsedSymbols(operand, used);
}

/// Sizes, and the elements of constants, of the tensors of one atom.
LogicalResult verifyAtomData(AttentionOp op, MaskAttr atom) {
  SmallVector<DataTensor, 2> tensors;
  SmallVector<Value, 2> values;
  for (unsigned number : getData(atom)) {
    Value value = op.getMaskData()[number];
    auto type = cast<RankedTensorType>(value.getType());
    DataTensor &tensor = tensors.emplace_back();
    for (int64_t size : type.getShape())
      tensor.shape.push_back(ShapedType::isDynamic(size) ? -1 : size);
    DenseIntElementsAttr constant;
    if (matchPattern(value, m_Constant(&constant)))
      for (const APInt &element : constant.getValues<APInt>())
        tensor.elements.push_back(element.getSExtValue());
    bool isBits = type.getElementTypeBitWidth() <= 8;
    if (isBits != (atom.getKind() == MaskKind::Bits)) {
      bool wantsBits = !isBits;
      InFlightDiagnostic diagnostic =
          op.emitOpError("expected a tensor of ")
          << (wantsBits ? "i1 or i8" : "i32 or i64") << " in '" << atom.str()
          << "', found " << type << " ("
          << (wantsBits                               ? "A25"
              : atom.getKind() == MaskKind::Lengths   ? "A22"
              : atom.getKind() == MaskKind::Documents ? "A23"
                                                      : "A24")
          << ")";
      diagnostic.attachNote(value.getLoc()) << "the tensor is this value";
      return diagnostic;
    }
    values.push_back(value);
  }
  if (values.size() == 2 && getElementTypeOrSelf(values[0].getType()) !=
                                getElementTypeOrSelf(values[1].getType()))
    return op.emitOpError("expected the tensors of '")
           << atom.str() << "' to have one element type, found "
           << values[0].getType() << " and " << values[1].getType() << " ("
           << (atom.getKind() == MaskKind::Documents ? "A23" : "A24") << ")";
  auto size = [](Value value, unsigned dim) {
    int64_t known = cast<RankedTensorType>(value.getType()).getDimSize(dim);
    return ShapedType::isDynamic(known) ? -1 : known;
  };
  MaskExtents extents{size(op.getQ(), 0), size(op.getQ(), 1),
                      size(op.getQ(), 2), size(op.getK(), 2)};
  std::optional<std::string> error = findDataError(atom, tensors, extents);
  if (!error)
    return success();
  InFlightDiagnostic diagnostic = op.emitOpError("'")
                                  << atom.str() << "': " << *error;
  for (Value value : values)
    diagnostic.attachNote(value.getLoc())
        << "a tensor of the mask is this " << value.getType();
  return diagnostic;
}

/// What every tensor of the mask must be.
LogicalResult verifyData(AttentionOp op) {
  if (failed(verifyMaskData(op, op.getMask(), op.getMaskData(), "A21")))
    return failure();
  for (MaskAttr atom : getDataAtoms(op.getMask()))
    if (failed(verifyAtomData(op, atom)))
      return failure();
  return success();
}

} // namespace

LogicalResult mlir::attn::verifyMaskData(Operation *op, MaskAttr mask,
                                         OperandRange tensors,
                                         StringRef label) {
  llvm::SmallBitVector used(
      std::max<size_t>(mask.getNumData(), tensors.size()));
  for (MaskAttr atom : getDataAtoms(mask))
    for (unsigned number : getData(atom))
      used.set(number);
  int last = used.find_last();
  if (last >= static_cast<int>(tensors.size()))
    return op->emitOpError("expected a tensor for t")
           << last << " of the mask, found " << tensors.size() << " tensors ("
           << label << ")";
  int unused = used.find_first_unset();
  if (unused < 0)
    return success();
  InFlightDiagnostic diagnostic =
      op->emitOpError("expected every tensor to occur in the mask, found no t")
      << unused << " in '" << mask.str() << "' (" << label << ")";
  diagnostic.attachNote(tensors[unused].getLoc())
      << "t" << unused << " is bound to this value";
  return diagnostic;
}

LogicalResult mlir::attn::verifySymbols(Operation *op, MaskAttr mask,
                                        OperandRange symbols, StringRef label) {
  llvm::SmallBitVector used(
      std::max<size_t>(mask.getNumSymbols(), symbols.size()));
  markUsedSymbols(mask, used);
  int last = used.find_last();
  if (last >= static_cast<int>(symbols.size()))
    return op->emitOpError("expected a value for symbol s")
           << last << " of the mask, found " << symbols.size() << " values ("
           << label << ")";
  int unused = used.find_first_unset();
  if (unused < 0)
    return success();
  InFlightDiagnostic diagnostic =
      op->emitOpError(
          "expected every bound value to occur in the mask, found no s")
      << unused << " in '" << mask.str() << "' (" << label << ")";
  diagnostic.attachNote(symbols[unused].getLoc())
      << "s" << unused << " is bound to this value";
  return diagnostic;
}

MaskAttr mlir::attn::findHeadsBeyond(AttentionOp op, MaskAttr mask) {
  auto q = cast<RankedTensorType>(op.getQ().getType());
  if (op.getHead() || q.isDynamicDim(1))
    return {};
  if (mask.getKind() == MaskKind::Heads)
    for (const MaskBound &bound : mask.getBounds())
      if (bound.isConstant() &&
          (bound.getConstant() < 0 || bound.getConstant() > q.getDimSize(1)))
        return mask;
  for (MaskAttr operand : mask.getOperands())
    if (MaskAttr range = findHeadsBeyond(op, operand))
      return range;
  return {};
}

LogicalResult mlir::attn::verifyScale(Operation *op, const APFloat &scale,
                                      StringRef label) {
  if (scale.isFinite())
    return success();
  return op->emitOpError("expected a finite scale, found ")
         << (scale.isNaN()        ? "nan"
             : scale.isNegative() ? "-inf"
                                  : "inf")
         << " (" << label << ")";
}

// A1, the ranks and element types, is in the types of AttnOps.td.
LogicalResult AttentionOp::verify() {
  Named q{"q", getQ()}, k{"k", getK()}, v{"v", getV()}, o{"o", getO()};
  if (failed(verifyElementTypes(*this, {q, k, v, o})) ||             // A2
      failed(verifySame(*this, "batch size", q, k, 0, "A3")) ||      //
      failed(verifySame(*this, "batch size", q, v, 0, "A3")) ||      //
      failed(verifySame(*this, "number of heads", k, v, 1, "A4")) || //
      failed(verifyGroups(*this, q, k)) ||                           // A5
      failed(verifyHeadSize(*this, "head size", q, "A6")) ||         //
      failed(verifyHeadSize(*this, "head size", k, "A6")) ||         //
      failed(verifySame(*this, "head size", q, k, 3, "A7")) ||       //
      failed(verifyHeadSize(*this, "head size of v", v, "A8")) ||    //
      failed(verifySame(*this, "length", k, v, 2, "A9")))
    return failure();

  ArrayRef<int64_t> rows = q.type().getShape().drop_back();
  SmallVector<int64_t> outShape(rows);
  outShape.push_back(v.size(3));
  if (failed(verifyResult(*this, o, outShape, "A10")) ||
      (getLse() && failed(verifyResult(*this, {"lse", getLse()}, rows, "A11"))))
    return failure();

  if (std::optional<APFloat> scale = getScale();
      scale && failed(verifyScale(*this, *scale, "A12")))
    return failure();
  if (failed(verifyAlignment(*this, q)) || // A13, A14
      failed(verifySymbols(*this, getMask(), getSymbols(), "A15")) ||
      failed(verifyData(*this))) // A21 to A25
    return failure();
  return verifyHeadRanges(*this); // A16
}
