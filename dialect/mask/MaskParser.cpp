//===- MaskParser.cpp - recursive descent over mask expressions ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/MaskParser.h"

#include "mlir/AsmParser/AsmParser.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include <optional>

using namespace mlir;
using namespace mlir::attn;

namespace {

/// What a name takes: how many parameters, which of them (a bit set) may be
/// infinite, which must be constants, and how many tensors.
struct AtomInfo {
  StringRef name;
  std::optional<MaskKind> kind; // none: a composite
  unsigned numBounds;
  unsigned mayBeInfinite;
  unsigned mustBeConstant;
  unsigned numData = 0;
};

constexpr unsigned None = 0;
const AtomInfo atoms[] = {
    {"all", MaskKind::All, 0, None, None},
    {"causal", MaskKind::Causal, 0, None, None},
    {"window", MaskKind::Window, 2, 0b11, None},
    {"dilated", MaskKind::Dilated, 3, 0b011, 0b100},
    {"stride", MaskKind::Stride, 1, None, 0b1},
    {"same_block", MaskKind::SameBlock, 1, None, 0b1},
    {"summary", MaskKind::Summary, 2, None, 0b11},
    {"global", MaskKind::Global, 1, None, None},
    {"keys", MaskKind::Keys, 2, 0b10, None},
    {"queries", MaskKind::Queries, 2, 0b10, None},
    {"heads", MaskKind::Heads, 2, 0b10, None},
    {"lengths", MaskKind::Lengths, 0, None, None, 1},
    {"documents", MaskKind::Documents, 0, None, None, 2},
    {"blocks", MaskKind::Blocks, 2, None, 0b11, 2},
    {"bits", MaskKind::Bits, 0, None, None, 1},
    {"strided", std::nullopt, 1, None, 0b1},
    {"fixed", std::nullopt, 2, None, 0b11},
    {"chunked", std::nullopt, 1, None, 0b1},
    {"prefix", std::nullopt, 1, None, None},
    {"longformer", std::nullopt, 2, None, None},
    {"streaming", std::nullopt, 2, None, None},
};

class Parser {
public:
  Parser(StringRef text, MaskSymbolSyntax syntax, MLIRContext *context,
         function_ref<void(size_t, const Twine &)> emitError)
      : text(text), syntax(syntax), context(context), report(emitError) {}

  FailureOr<ParsedMask> run() {
    FailureOr<MaskAttr> mask = parseOr();
    if (failed(mask))
      return failure();
    return ParsedMask{*mask, std::move(symbolNames), std::move(dataNames),
                      lastEnd};
  }

private:
  LogicalResult fail(size_t offset, const Twine &message) {
    report(offset, message);
    return failure();
  }

  /// Moves over blanks and comments.
  void skipSpace() {
    while (pos < text.size()) {
      if (text.substr(pos).starts_with("//"))
        pos = std::min(text.find('\n', pos), text.size());
      else if (llvm::isSpace(text[pos]))
        ++pos;
      else
        return;
    }
  }
  bool peek(char c) {
    skipSpace();
    return pos < text.size() && text[pos] == c;
  }
  bool consume(char c) {
    if (!peek(c))
      return false;
    lastEnd = ++pos;
    return true;
  }
  LogicalResult expect(char c, const Twine &where) {
    if (consume(c))
      return success();
    return fail(pos, "expected '" + Twine(c) + "' " + where + " (M1)");
  }
  StringRef word() {
    skipSpace();
    size_t start = pos;
    while (pos < text.size() && (llvm::isAlnum(text[pos]) || text[pos] == '_'))
      ++pos;
    if (pos != start)
      lastEnd = pos;
    return text.slice(start, pos);
  }

  FailureOr<MaskAttr> parseOr() {
    SmallVector<MaskAttr> operands;
    do {
      FailureOr<MaskAttr> operand = parseAnd();
      if (failed(operand))
        return failure();
      operands.push_back(*operand);
    } while (consume('|'));
    return operands.size() == 1 ? operands.front() : MaskAttr::getOr(operands);
  }

  FailureOr<MaskAttr> parseAnd() {
    SmallVector<MaskAttr> operands;
    do {
      FailureOr<MaskAttr> operand = parseUnary();
      if (failed(operand))
        return failure();
      operands.push_back(*operand);
    } while (consume('&') || consume('*'));
    return operands.size() == 1 ? operands.front() : MaskAttr::getAnd(operands);
  }

  FailureOr<MaskAttr> parseUnary() {
    if (++depth > maxDepth)
      return fail(pos, "mask is nested deeper than " + Twine(maxDepth) +
                           " levels (M10)");
    llvm::scope_exit leave([&] { --depth; });
    if (consume('!') || consume('-')) {
      FailureOr<MaskAttr> operand = parseUnary();
      if (failed(operand))
        return failure();
      return MaskAttr::getNot(*operand);
    }
    if (consume('(')) {
      FailureOr<MaskAttr> inner = parseOr();
      if (failed(inner) || failed(expect(')', "to close the parenthesis")))
        return failure();
      return *inner;
    }
    return parseAtom();
  }

  FailureOr<MaskAttr> parseAtom() {
    skipSpace();
    size_t start = pos;
    StringRef name = word();
    if (name == "affine_set")
      return parseSet();
    const AtomInfo *info = llvm::find_if(
        atoms, [&](const AtomInfo &atom) { return atom.name == name; });
    if (info == std::end(atoms)) {
      if (name.empty())
        return fail(start, "expected a mask (M1)");
      return fail(start,
                  "unknown mask '" + name + "'" + nearest(name) + " (M1)");
    }
    SmallVector<MaskBound> bounds;
    if (info->numBounds != 0) {
      if (failed(expect(
              '<', "after '" + name + "', which takes " +
                       Twine(info->numBounds) +
                       (info->numBounds == 1 ? " parameter" : " parameters"))))
        return failure();
      for (unsigned i = 0; i < info->numBounds; ++i) {
        if (i != 0 &&
            failed(expect(',', "in '" + name + "', which takes " +
                                   Twine(info->numBounds) + " parameters")))
          return failure();
        skipSpace();
        size_t at = pos;
        FailureOr<MaskBound> bound = parseBound();
        if (failed(bound))
          return failure();
        if (bound->isInfinity() && !(info->mayBeInfinite >> i & 1))
          return fail(at, "parameter " + Twine(i + 1) + " of '" + name +
                              "' must be finite (M2)");
        if (bound->isSymbol() && (info->mustBeConstant >> i & 1))
          return fail(at, "parameter " + Twine(i + 1) + " of '" + name +
                              "' must be a constant: a modulus that is a "
                              "run-time value has no integer set (M3)");
        bounds.push_back(*bound);
      }
      // A tile says which row of the table's grid its first query is.
      if (info->kind == MaskKind::Blocks && consume(',')) {
        FailureOr<MaskBound> first = parseBound();
        if (failed(first))
          return failure();
        if (first->isInfinity())
          return fail(lastEnd - 3, "parameter 3 of 'blocks' must be finite "
                                   "(M2)");
        bounds.push_back(*first);
      }
      if (failed(expect(
              '>', "to close '" + name + "', which takes " +
                       Twine(info->numBounds) +
                       (info->numBounds == 1 ? " parameter" : " parameters"))))
        return failure();
    }
    if (failed(check(*info, bounds, start)) || failed(parseData(*info, bounds)))
      return failure();
    return info->kind ? MaskAttr::getAtom(context, *info->kind, bounds)
                      : expand(name, bounds);
  }

  /// The range of every parameter that is known now; the others are checked at
  /// launch.
  LogicalResult check(const AtomInfo &info, ArrayRef<MaskBound> bounds,
                      size_t at) {
    for (const MaskBound &bound : bounds)
      if (bound.isConstant() && (bound.getConstant() > maxParameter ||
                                 bound.getConstant() < -maxParameter))
        return fail(at, "parameter " + Twine(bound.getConstant()) + " of '" +
                            info.name + "' is beyond +-2^40 (M4)");
    auto constant = [&](unsigned i) -> std::optional<int64_t> {
      return bounds[i].isConstant() ? std::optional(bounds[i].getConstant())
                                    : std::nullopt;
    };
    auto atLeast = [&](unsigned i, int64_t least,
                       StringRef what) -> LogicalResult {
      if (std::optional<int64_t> value = constant(i); value && *value < least)
        return fail(at, what + " of '" + info.name + "' must be at least " +
                            Twine(least) + ", found " + Twine(*value) +
                            (least == 1 ? " (M5)" : " (M6)"));
      return success();
    };
    StringRef name = info.name;
    if (name == "dilated")
      return atLeast(2, 1, "the step");
    if (name == "stride" || name == "strided")
      return atLeast(0, 1, "the stride");
    if (name == "same_block" || name == "chunked")
      return atLeast(0, 1, "the block length");
    if (name == "blocks")
      return failure(failed(atLeast(0, 1, "the block height")) ||
                     failed(atLeast(1, 1, "the block width")));
    if (name == "global" || name == "prefix")
      return atLeast(0, 0, "the number of tokens");
    if (name == "summary" || name == "fixed") {
      if (failed(atLeast(0, 1, "the block length")) ||
          failed(atLeast(1, 0, "the summary length")))
        return failure();
      if (*constant(1) > *constant(0))
        return fail(at, "the summary length " + Twine(*constant(1)) + " of '" +
                            name + "' exceeds the block length " +
                            Twine(*constant(0)) + " (M6)");
    }
    if (name == "keys" || name == "queries" || name == "heads")
      if (constant(0) && constant(1) && *constant(0) > *constant(1))
        return fail(at, "the range of '" + name +
                            "' is reversed: " + Twine(*constant(0)) + " > " +
                            Twine(*constant(1)) + " (M7)");
    return success();
  }

  /// Appends the tensors of an atom to its parameters.
  LogicalResult parseData(const AtomInfo &info,
                          SmallVectorImpl<MaskBound> &bounds) {
    if (info.numData == 0)
      return success();
    std::string takes = "'" + info.name.str() + "', which takes " +
                        std::to_string(info.numData) +
                        (info.numData == 1 ? " tensor" : " tensors");
    if (failed(expect('(', "after " + takes)))
      return failure();
    for (unsigned i = 0; i < info.numData; ++i) {
      if (i != 0 && failed(expect(',', "in " + takes)))
        return failure();
      skipSpace();
      size_t start = pos;
      if (syntax == MaskSymbolSyntax::Named) {
        if (!consume('%'))
          return fail(start, "expected a tensor as '%name' (M1)");
        FailureOr<unsigned> number = parseName(start, dataNames);
        if (failed(number))
          return failure();
        bounds.push_back(MaskBound::data(*number));
        continue;
      }
      StringRef token = word();
      unsigned number;
      if (!token.consume_front("t") || token.getAsInteger(10, number))
        return fail(start, "expected a tensor: t0, t1, ... (M1)");
      if (number >= maxSymbols)
        return fail(start, "a mask has at most " + Twine(maxSymbols) +
                               " tensors (M10)");
      bounds.push_back(MaskBound::data(number));
    }
    return expect(')', "to close " + takes);
  }

  /// The number of the name that stands here, after its percent sign.
  FailureOr<unsigned> parseName(size_t start,
                                SmallVectorImpl<StringRef> &names) {
    size_t nameStart = pos;
    while (pos < text.size() &&
           (llvm::isAlnum(text[pos]) || StringRef("$._-#").contains(text[pos])))
      ++pos;
    lastEnd = pos;
    StringRef name = text.slice(nameStart, pos);
    if (name.empty())
      return fail(start, "expected a value name after '%' (M1)");
    auto *found = llvm::find(names, name);
    unsigned number = found - names.begin();
    if (found == names.end())
      names.push_back(name);
    return number;
  }

  FailureOr<MaskBound> parseBound() {
    skipSpace();
    size_t start = pos;
    if (syntax == MaskSymbolSyntax::Named && consume('%')) {
      FailureOr<unsigned> number = parseName(start, symbolNames);
      if (failed(number))
        return failure();
      return MaskBound::symbol(*number);
    }
    bool negative = consume('-');
    StringRef token = word();
    if (!negative && token == "inf")
      return MaskBound::infinity();
    unsigned number;
    if (!negative && syntax == MaskSymbolSyntax::Numbered &&
        token.consume_front("s") && !token.getAsInteger(10, number)) {
      if (number >= maxSymbols)
        return fail(start, "a mask has at most " + Twine(maxSymbols) +
                               " symbols (M10)");
      return MaskBound::symbol(number);
    }
    int64_t value;
    if (token.empty() || token.getAsInteger(10, value))
      return fail(start, Twine("expected an integer, 'inf' or a symbol") +
                             (token.empty() ? " (M1)"
                                            : " that fits in 64 bits, found '" +
                                                  token.str() + "' (M1)"));
    return MaskBound::constant(negative ? -value : value);
  }

  FailureOr<MaskAttr> parseSet() {
    if (failed(expect('<', "after 'affine_set'")))
      return failure();
    skipSpace();
    size_t start = pos;
    StringRef body;
    if (consume('"')) {
      size_t end = text.find('"', pos);
      if (end == StringRef::npos)
        return fail(start, "expected '\"' to close the set (M1)");
      body = text.slice(pos, end);
      pos = end + 1;
    } else {
      // `(dims)[symbols] : (constraints)`: the body ends with the parenthesis
      // after the colon.
      size_t colon = text.find(':', pos);
      size_t open = colon == StringRef::npos ? colon : text.find('(', colon);
      if (open == StringRef::npos)
        return fail(start,
                    "expected '(h, i, j)[symbols] : (constraints)' (M8)");
      size_t end = open;
      for (int level = 0; end < text.size(); ++end) {
        level += (text[end] == '(') - (text[end] == ')');
        if (level == 0)
          break;
      }
      if (end == text.size())
        return fail(open, "expected ')' to close the constraints (M8)");
      body = text.slice(pos, end + 1);
      pos = end + 1;
    }
    if (failed(expect('>', "to close 'affine_set'")))
      return failure();
    FailureOr<IntegerSet> parsed = parseIntegerSet(body);
    if (failed(parsed))
      return failure();
    IntegerSet set = *parsed;
    if (set.getNumDims() != 3)
      return fail(start, "expected a set of three dimensions (head, query "
                         "position, key position), found " +
                             Twine(set.getNumDims()) + " (M8)");
    for (AffineExpr constraint : set.getConstraints()) {
      std::string problem;
      constraint.walk([&](AffineExpr expr) { check(expr, problem); });
      if (!problem.empty())
        return fail(start, problem);
    }
    SmallVector<MaskBound> bounds;
    if (consume('(')) {
      do {
        FailureOr<MaskBound> bound = parseBound();
        if (failed(bound))
          return failure();
        if (bound->isInfinity())
          return fail(pos, "a set's symbol must be finite (M9)");
        bounds.push_back(*bound);
      } while (consume(','));
      if (failed(expect(')', "to close the values of the set's symbols")))
        return failure();
    }
    if (bounds.size() != set.getNumSymbols())
      return fail(start, "the set has " + Twine(set.getNumSymbols()) +
                             " symbols, but " + Twine(bounds.size()) +
                             " values are given after it (M9)");
    return MaskAttr::getSet(set, bounds);
  }

  /// The set that `body`, a part of `text`, writes in MLIR's own syntax. MLIR's
  /// message is repeated where it points.
  FailureOr<IntegerSet> parseIntegerSet(StringRef body) {
    constexpr StringLiteral before = "affine_set<";
    Attribute attr;
    std::string message;
    size_t offset = body.data() - text.data();
    {
      ScopedDiagnosticHandler handler(context, [&](Diagnostic &diagnostic) {
        if (!message.empty())
          return success();
        message = diagnostic.str();
        if (auto loc = dyn_cast<FileLineColLoc>(diagnostic.getLocation())) {
          size_t line = 0;
          for (unsigned n = 1; n < loc.getLine() && line != StringRef::npos;
               ++n)
            line = body.find('\n', line) + 1;
          size_t column =
              loc.getColumn() - 1 - (loc.getLine() == 1 ? before.size() : 0);
          offset += std::min(line + column, body.size());
        }
        return success();
      });
      attr = parseAttribute((before + body + ">").str(), context);
    }
    if (auto set = dyn_cast_or_null<IntegerSetAttr>(attr))
      return set.getValue();
    return fail(offset,
                "malformed set" +
                    (message.empty() ? Twine("") : ": " + Twine(message)) +
                    " (M8)");
  }

  /// Leaves in `problem` why a part of a constraint has no integer set, or no
  /// safe one.
  void check(AffineExpr expr, std::string &problem) {
    auto constant = dyn_cast<AffineConstantExpr>(expr);
    if (constant && (constant.getValue() > maxParameter ||
                     constant.getValue() < -maxParameter))
      problem = "constant " + std::to_string(constant.getValue()) +
                " of the set is beyond +-2^40 (M4)";
    auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
    if (!binary || binary.getKind() == AffineExprKind::Add)
      return;
    auto rhs = dyn_cast<AffineConstantExpr>(binary.getRHS());
    if (!rhs)
      problem = "the set has a constraint that is not affine: a factor or "
                "divisor that is not a constant (M8)";
    else if (binary.getKind() != AffineExprKind::Mul && rhs.getValue() < 1)
      problem = "a divisor in the set must be at least 1, found " +
                std::to_string(rhs.getValue()) + " (M5)";
  }

  MaskAttr expand(StringRef name, ArrayRef<MaskBound> b) {
    auto atom = [&](MaskKind kind, ArrayRef<MaskBound> bounds = {}) {
      return MaskAttr::getAtom(context, kind, bounds);
    };
    MaskBound zero = MaskBound::constant(0);
    MaskAttr causal = atom(MaskKind::Causal);
    if (name == "prefix")
      return MaskAttr::getOr({causal, atom(MaskKind::Keys, {zero, b[0]})});
    if (name == "longformer")
      return MaskAttr::getOr(
          {atom(MaskKind::Window, {b[0], b[0]}), atom(MaskKind::Global, b[1])});
    if (name == "chunked")
      return MaskAttr::getAnd({causal, atom(MaskKind::SameBlock, b[0])});
    if (name == "strided")
      return MaskAttr::getAnd(
          {causal, MaskAttr::getOr({atom(MaskKind::Window, {b[0], zero}),
                                    atom(MaskKind::Stride, b[0])})});
    if (name == "fixed")
      return MaskAttr::getAnd(
          {causal, MaskAttr::getOr({atom(MaskKind::SameBlock, b[0]),
                                    atom(MaskKind::Summary, b)})});
    assert(name == "streaming");
    return MaskAttr::getAnd(
        {causal, MaskAttr::getOr({atom(MaskKind::Keys, {zero, b[0]}),
                                  atom(MaskKind::Window, {b[1], zero})})});
  }

  static std::string nearest(StringRef name) {
    const AtomInfo *best = std::min_element(
        std::begin(atoms), std::end(atoms), [&](auto &a, auto &b) {
          return name.edit_distance(a.name) < name.edit_distance(b.name);
        });
    return name.edit_distance(best->name) <= 3
               ? "; did you mean '" + best->name.str() + "'?"
               : "";
  }

  static constexpr unsigned maxDepth = 64;
  static constexpr unsigned maxSymbols = 64;
  /// Keeps every product of a position, a step and a tile size inside 64 bits.
  static constexpr int64_t maxParameter = int64_t(1) << 40;

  StringRef text;
  MaskSymbolSyntax syntax;
  MLIRContext *context;
  function_ref<void(size_t, const Twine &)> report;
  SmallVector<StringRef> symbolNames, dataNames;
  size_t pos = 0;
  size_t lastEnd = 0;
  unsigned depth = 0;
};

} // namespace

FailureOr<ParsedMask> mlir::attn::parseMaskExpression(
    StringRef text, MaskSymbolSyntax syntax, MLIRContext *context,
    function_ref<void(size_t, const Twine &)> emitError) {
  return Parser(text, syntax, context, emitError).run();
}
