//===- MaskAttr.cpp - building, printing and reading the mask attribute ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Attn.h"
#include "attn/dialect/mask/MaskParser.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"

using namespace mlir;
using namespace mlir::attn;

MaskAttr MaskAttr::getAll(MLIRContext *context) {
  return get(context, MaskKind::All, {}, {}, IntegerSet());
}

MaskAttr MaskAttr::getAtom(MLIRContext *context, MaskKind kind,
                           ArrayRef<MaskBound> bounds) {
  return get(context, kind, bounds, {}, IntegerSet());
}

MaskAttr MaskAttr::getSet(IntegerSet set, ArrayRef<MaskBound> bounds) {
  assert(set.getNumDims() == 3 && set.getNumSymbols() == bounds.size());
  return get(set.getContext(), MaskKind::Set, bounds, {}, set);
}

static MaskAttr getFlat(MaskKind kind, ArrayRef<MaskAttr> operands) {
  assert(!operands.empty());
  SmallVector<MaskAttr> flat;
  for (MaskAttr operand : operands) {
    if (operand.getKind() == kind)
      llvm::append_range(flat, operand.getOperands());
    else
      flat.push_back(operand);
  }
  if (flat.size() == 1)
    return flat.front();
  return MaskAttr::get(flat.front().getContext(), kind, {}, flat, IntegerSet());
}

MaskAttr MaskAttr::getAnd(ArrayRef<MaskAttr> operands) {
  return getFlat(MaskKind::And, operands);
}
MaskAttr MaskAttr::getOr(ArrayRef<MaskAttr> operands) {
  return getFlat(MaskKind::Or, operands);
}
MaskAttr MaskAttr::getNot(MaskAttr operand) {
  return get(operand.getContext(), MaskKind::Not, {}, operand, IntegerSet());
}

unsigned MaskAttr::getNumSymbols() const {
  unsigned count = 0;
  for (const MaskBound &bound : getBounds())
    if (bound.isSymbol())
      count = std::max(count, bound.getSymbol() + 1);
  for (MaskAttr operand : getOperands())
    count = std::max(count, operand.getNumSymbols());
  return count;
}

unsigned MaskAttr::getNumData() const {
  unsigned count = 0;
  for (const MaskBound &bound : getBounds())
    if (bound.isData())
      count = std::max(count, bound.getData() + 1);
  for (MaskAttr operand : getOperands())
    count = std::max(count, operand.getNumData());
  return count;
}

MaskAttr MaskAttr::replaceSymbols(ArrayRef<MaskBound> bounds) const {
  SmallVector<MaskBound> newBounds =
      llvm::map_to_vector(getBounds(), [&](const MaskBound &bound) {
        return bound.isSymbol() ? bounds[bound.getSymbol()] : bound;
      });
  SmallVector<MaskAttr> newOperands =
      llvm::map_to_vector(getOperands(), [&](MaskAttr operand) {
        return operand.replaceSymbols(bounds);
      });
  return get(getContext(), getKind(), newBounds, newOperands, getSet());
}

bool MaskAttr::dependsOnHead() const {
  if (getKind() == MaskKind::Heads)
    return true;
  if (getKind() == MaskKind::Set)
    return llvm::any_of(getSet().getConstraints(),
                        [](AffineExpr e) { return e.isFunctionOfDim(0); });
  return llvm::any_of(getOperands(),
                      [](MaskAttr operand) { return operand.dependsOnHead(); });
}

static StringRef atomName(MaskKind kind) {
  switch (kind) {
  case MaskKind::All:
    return "all";
  case MaskKind::Causal:
    return "causal";
  case MaskKind::Window:
    return "window";
  case MaskKind::Dilated:
    return "dilated";
  case MaskKind::Stride:
    return "stride";
  case MaskKind::SameBlock:
    return "same_block";
  case MaskKind::Summary:
    return "summary";
  case MaskKind::Global:
    return "global";
  case MaskKind::Keys:
    return "keys";
  case MaskKind::Queries:
    return "queries";
  case MaskKind::Heads:
    return "heads";
  case MaskKind::Set:
    return "affine_set";
  case MaskKind::Lengths:
    return "lengths";
  case MaskKind::Documents:
    return "documents";
  case MaskKind::Blocks:
    return "blocks";
  case MaskKind::Bits:
    return "bits";
  case MaskKind::And:
  case MaskKind::Or:
  case MaskKind::Not:
    break;
  }
  llvm_unreachable("an operator has no atom name");
}

static int precedence(MaskKind kind) {
  return kind == MaskKind::Or    ? 0
         : kind == MaskKind::And ? 1
         : kind == MaskKind::Not ? 2
                                 : 3;
}

void MaskAttr::printExpression(raw_ostream &os,
                               function_ref<void(const MaskBound &)> printValue,
                               bool quoteSets) const {
  auto printOperand = [&](MaskAttr operand) {
    // `!` may repeat; `&` and `|` never hold themselves.
    bool parenthesize = precedence(operand.getKind()) < precedence(getKind());
    os << (parenthesize ? "(" : "");
    operand.printExpression(os, printValue, quoteSets);
    os << (parenthesize ? ")" : "");
  };
  auto printBound = [&](const MaskBound &bound) {
    if (bound.isConstant())
      os << bound.getConstant();
    else if (bound.isInfinity())
      os << "inf";
    else
      printValue(bound);
  };
  auto printList = [&](ArrayRef<MaskBound> bounds, StringRef open,
                       StringRef close) {
    if (bounds.empty())
      return;
    os << open;
    llvm::interleaveComma(bounds, os, printBound);
    os << close;
  };
  switch (getKind()) {
  case MaskKind::And:
  case MaskKind::Or:
    llvm::interleave(getOperands(), os, printOperand,
                     getKind() == MaskKind::And ? " & " : " | ");
    return;
  case MaskKind::Not:
    os << '!';
    printOperand(getOperands().front());
    return;
  case MaskKind::Set:
    os << "affine_set<" << (quoteSets ? "\"" : "");
    getSet().print(os);
    os << (quoteSets ? "\">" : ">");
    printList(getBounds(), "(", ")");
    return;
  default: {
    os << atomName(getKind());
    auto isData = [](const MaskBound &bound) { return bound.isData(); };
    size_t count = llvm::find_if(getBounds(), isData) - getBounds().begin();
    printList(getBounds().take_front(count), "<", ">");
    printList(getBounds().drop_front(count), "(", ")");
  }
  }
}

/// Symbols and tensors by number.
static void printNumbered(raw_ostream &os, const MaskBound &bound) {
  if (bound.isData())
    os << 't' << bound.getData();
  else
    os << 's' << bound.getSymbol();
}

std::string MaskAttr::str() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  printExpression(
      os, [&](const MaskBound &bound) { printNumbered(os, bound); },
      /*quoteSets=*/false);
  return text;
}

void MaskAttr::print(AsmPrinter &printer) const {
  raw_ostream &os = printer.getStream();
  os << '<';
  printExpression(
      os, [&](const MaskBound &bound) { printNumbered(os, bound); },
      /*quoteSets=*/true);
  os << '>';
}

Attribute MaskAttr::parse(AsmParser &parser, Type) {
  // The body of a dialect attribute is balanced text; MLIR lends it whole and
  // moves past it afterwards.
  StringRef spec = static_cast<DialectAsmParser &>(parser).getFullSymbolSpec();
  size_t open = spec.find('<');
  if (open == StringRef::npos || !spec.ends_with(">")) {
    parser.emitError(parser.getCurrentLocation(),
                     "expected '<' and a mask expression");
    return {};
  }
  StringRef body = spec.slice(open + 1, spec.size() - 1);
  auto emitError = [&](size_t offset, const Twine &message) {
    parser.emitError(SMLoc::getFromPointer(body.data() + offset), message);
  };
  FailureOr<ParsedMask> parsed = parseMaskExpression(
      body, MaskSymbolSyntax::Numbered, parser.getContext(), emitError);
  if (failed(parsed))
    return {};
  if (!body.drop_front(parsed->length).trim().empty()) {
    emitError(parsed->length, "expected '&', '|' or the end of the mask (M1)");
    return {};
  }
  return parsed->mask;
}
