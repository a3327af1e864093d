//===- MaskTensors.cpp - see MaskTensors.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/MaskTensors.h"

#include "attn/dialect/mask/MaskData.h"
#include "attn/passes/SearchBuilder.h"
#include "attn/passes/TileBuilder.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::attn;

/// Past every block: what stands for "no column".
static constexpr int64_t kNoColumn = int64_t(1) << 60;
/// Rows of a table that one tile may meet, where its pairs are told apart, and
/// columns: bits of a word.
static constexpr int64_t kMaxRows = 8, kMaxColumns = 32;
/// Every literal doubles the number of bounds.
static constexpr unsigned kMaxLiterals = 3;

static Value toIndex(ImplicitLocOpBuilder &b, Value value) {
  return value.getType().isIndex()
             ? value
             : arith::IndexCastOp::create(b, b.getIndexType(), value)
                   .getResult();
}

/// The most blocks of length `block` that an interval of `count` places,
/// starting at a multiple of `count`, meets.
static int64_t countBlocks(int64_t block, int64_t count) {
  if (block % count == 0)
    return 1;
  return count % block == 0 ? count / block : (count - 2 + block) / block + 1;
}

Value MaskTensors::index(int64_t value) {
  return arith::ConstantIndexOp::create(builder, value);
}

Value MaskTensors::tensorOf(unsigned atom, unsigned place) {
  return op.getMaskData()[getData(atoms[atom])[place]];
}

MaskTensors::MaskTensors(ImplicitLocOpBuilder &builder, OnlineAttentionOp op,
                         int64_t tile)
    : builder(builder), op(op),
      rows(cast<VectorType>(op.getQ().getType()).getDimSize(0)), tile(tile),
      mask(op.getMaskAttr()), symbols(op.getSymbols()) {
  MaskAttr all = MaskAttr::getAll(op.getContext());
  atoms = getDataAtoms(mask);
  for (MaskAttr atom : atoms) {
    if (atom.getKind() == MaskKind::Documents)
      prepared.push_back(prepareDocuments(atom));
    else if (atom.getKind() == MaskKind::Blocks)
      prepared.push_back(prepareBlocks(atom));
    else
      prepared.push_back({all, MaskAttr::getNot(all), {}, {}, {}, {}});
  }
  tileMask = replaceData(mask, [&](MaskAttr atom, bool negated) {
    auto isSame = [&](const Literal &literal) {
      return literal.atom == atom && literal.negated == negated;
    };
    if (atom.getKind() != MaskKind::Documents &&
        llvm::none_of(literals, isSame) && literals.size() < kMaxLiterals)
      literals.push_back({atom, negated});
    return MaskAttr::getAtom(
        mask.getContext(), MaskKind::Bits,
        MaskBound::data(llvm::find(atoms, atom) - atoms.begin()));
  });
}

std::string MaskTensors::findProblem() const {
  for (MaskAttr atom : atoms) {
    if (atom.getKind() != MaskKind::Blocks || isOneBlock(atom))
      continue;
    int64_t height = atom.getBounds()[0].getConstant(),
            width = atom.getBounds()[1].getConstant();
    if (countBlocks(height, rows) > kMaxRows ||
        countBlocks(width, tile) > kMaxColumns)
      return "the blocks of '" + atom.str() + "' are too small for tiles of " +
             std::to_string(rows) + " x " + std::to_string(tile) +
             ": a tile may meet " + std::to_string(kMaxRows) + " x " +
             std::to_string(kMaxColumns) + " of them";
  }
  return "";
}

MaskAttr MaskTensors::getHull(unsigned assignment, bool isOuter) const {
  MaskAttr all = MaskAttr::getAll(mask.getContext());
  return replaceData(mask, [&](MaskAttr atom, bool negated) {
    // Bits do not say that a tile is full.
    for (auto [number, literal] : llvm::enumerate(literals))
      if (literal.atom == atom && literal.negated == negated &&
          (isOuter || atom.getKind() == MaskKind::Blocks))
        return ((assignment >> number & 1) != 0) != negated
                   ? all
                   : MaskAttr::getNot(all);
    const Prepared &hull = prepared[llvm::find(atoms, atom) - atoms.begin()];
    return isOuter == negated ? hull.all : hull.some;
  });
}

MaskAttr MaskTensors::getOuter(unsigned assignment) const {
  return getHull(assignment, /*isOuter=*/true);
}
MaskAttr MaskTensors::getInner(unsigned assignment) const {
  return getHull(assignment, /*isOuter=*/false);
}

bool MaskTensors::decideFull() const {
  return llvm::any_of(literals, [](const Literal &literal) {
    return literal.atom.getKind() == MaskKind::Blocks;
  });
}

SmallVector<MaskTensors::TileClass, 2> MaskTensors::buildClasses(Value number) {
  SmallVector<TileClass, 2> classes;
  for (const Literal &literal : literals) {
    unsigned atom = llvm::find(atoms, literal.atom) - atoms.begin();
    TileClass found = literal.atom.getKind() == MaskKind::Bits
                          ? classifyBits(atom, number, literal.negated)
                          : classifyBlocks(atom, number);
    if (literal.negated) {
      Value yes = arith::ConstantIntOp::create(builder, 1, 1);
      Value some = arith::XOrIOp::create(builder, found.all, yes);
      found.all = arith::XOrIOp::create(builder, found.some, yes);
      found.some = some;
      found.next = Value();
    }
    classes.push_back(found);
  }
  return classes;
}

SmallVector<Value> MaskTensors::buildTile(Value first, bool inBounds) {
  SmallVector<Value> vectors;
  for (auto [number, atom] : llvm::enumerate(atoms))
    vectors.push_back(atom.getKind() == MaskKind::Documents
                          ? buildDocuments(number, first, inBounds)
                      : atom.getKind() == MaskKind::Blocks
                          ? buildBlocks(number, first)
                          : buildBits(number, first, inBounds));
  return vectors;
}

//===----------------------------------------------------------------------===//
// Documents
//===----------------------------------------------------------------------===//

/// Elements `first` on of a 1 x N tensor: `count` x 1 if `alongRows`, else 1 x
/// `count`.
static Value readElements(ImplicitLocOpBuilder &builder, Value tensor,
                          Value first, int64_t count, bool alongRows,
                          bool inBounds) {
  auto type = cast<RankedTensorType>(tensor.getType());
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  Value padding = arith::ConstantOp::create(
      builder, builder.getZeroAttr(type.getElementType()));
  AffineExpr d0 = builder.getAffineDimExpr(0), d1 = builder.getAffineDimExpr(1);
  AffineMap map =
      AffineMap::get(2, 0, alongRows ? ArrayRef{d1, d0} : ArrayRef{d0, d1},
                     builder.getContext());
  SmallVector<int64_t> shape = {1, count};
  SmallVector<bool> bounds = {true, inBounds};
  if (alongRows) {
    std::swap(shape[0], shape[1]);
    std::swap(bounds[0], bounds[1]);
  }
  return vector::TransferReadOp::create(
      builder, VectorType::get(shape, type.getElementType()), tensor,
      ValueRange{zero, first}, padding, map, ArrayRef<bool>(bounds));
}

/// Ids do not decrease: the keys that the rows of a tile see lie between the
/// first key with the id of the first row and the last key with that of the
/// last row; where the ids of both are the same, all of them are seen by all
/// rows.
MaskTensors::Prepared MaskTensors::prepareDocuments(MaskAttr atom) {
  auto numbers = getData(atom);
  Value queries = op.getMaskData()[numbers[0]],
        keys = op.getMaskData()[numbers[1]];
  Value zero = index(0);
  Value count =
      arith::SubIOp::create(builder, op.getRows()[1], op.getRows()[0]);
  Value last = arith::SubIOp::create(builder, count, index(1));
  Value firstId =
      tensor::ExtractOp::create(builder, queries, ValueRange{zero, zero});
  Value lastId =
      tensor::ExtractOp::create(builder, queries, ValueRange{zero, last});
  SmallVector<Value> found = buildSearch(
      builder, zero, op.getKeys()[1],
      {{firstId, false}, {lastId, true}, {lastId, false}, {firstId, true}},
      [&](ImplicitLocOpBuilder &b, Value at) -> Value {
        Value row = arith::ConstantIndexOp::create(b, 0);
        return tensor::ExtractOp::create(b, keys, ValueRange{row, at});
      });
  auto getKeys = [&](unsigned first) {
    unsigned number = symbols.size();
    symbols.append({found[first], found[first + 1]});
    return MaskAttr::getAtom(
        op.getContext(), MaskKind::Keys,
        {MaskBound::symbol(number), MaskBound::symbol(number + 1)});
  };
  Prepared result;
  result.some = getKeys(0);
  result.all = getKeys(2);
  bool inBounds =
      cast<RankedTensorType>(queries.getType()).getDimSize(1) == rows;
  result.ids =
      readElements(builder, queries, zero, rows, /*alongRows=*/true, inBounds);
  return result;
}

Value MaskTensors::buildDocuments(unsigned atom, Value first, bool inBounds) {
  Value ids = prepared[atom].ids;
  Value keys = readElements(builder, tensorOf(atom, 1), first, tile,
                            /*alongRows=*/false, inBounds);
  auto type = VectorType::get({rows, tile}, getElementTypeOrSelf(ids));
  return arith::CmpIOp::create(
      builder, arith::CmpIPredicate::eq,
      vector::BroadcastOp::create(builder, type, ids),
      vector::BroadcastOp::create(builder, type, keys));
}

//===----------------------------------------------------------------------===//
// Bits
//===----------------------------------------------------------------------===//

Value MaskTensors::buildBits(unsigned atom, Value first, bool inBounds) {
  Value bits = tensorOf(atom, 0);
  auto type = cast<RankedTensorType>(bits.getType());
  bool hasRows = type.getDimSize(2) != 1, hasKeys = type.getDimSize(3) != 1;
  Value zero = index(0);
  Value padding = arith::ConstantOp::create(
      builder, builder.getZeroAttr(type.getElementType()));
  Value read;
  if (!hasRows && !hasKeys) {
    Value bit = tensor::ExtractOp::create(builder, bits,
                                          ValueRange{zero, zero, zero, zero});
    read = vector::BroadcastOp::create(
        builder, VectorType::get({rows, 1}, type.getElementType()), bit);
  } else {
    bool allRows = !hasRows || type.getDimSize(2) == rows;
    read = vector::TransferReadOp::create(
        builder,
        VectorType::get({hasRows ? rows : 1, hasKeys ? tile : 1},
                        type.getElementType()),
        bits, ValueRange{zero, zero, zero, hasKeys ? first : zero}, padding,
        ArrayRef<bool>{allRows, !hasKeys || inBounds});
  }
  if (type.getElementType().isInteger(1))
    return read;
  auto readType = cast<VectorType>(read.getType());
  return arith::CmpIOp::create(
      builder, arith::CmpIPredicate::ne, read,
      splat(builder, readType, builder.getZeroAttr(readType.getElementType())));
}

/// One look at the bits of the tile, of which a loop is asked only whether one
/// of them makes a pair live: with the other question each bit would be read
/// once more, also where no tile is full.
MaskTensors::TileClass MaskTensors::classifyBits(unsigned atom, Value number,
                                                 bool negated) {
  Value first = arith::MulIOp::create(builder, clampTile(number), index(tile));
  Value found =
      AnyBitOp::create(builder, tensorOf(atom, 0), first, tile, !negated);
  Value yes = arith::ConstantIntOp::create(builder, 1, 1);
  if (!negated)
    return {found, arith::XOrIOp::create(builder, yes, yes), Value()};
  return {yes, arith::XOrIOp::create(builder, found, yes), Value()};
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

bool MaskTensors::isOneBlock(MaskAttr atom) const {
  return atom.getBounds()[0].getConstant() % rows == 0 &&
         atom.getBounds()[1].getConstant() % tile == 0;
}

MaskTensors::Prepared MaskTensors::prepareBlocks(MaskAttr atom) {
  MaskAttr all = MaskAttr::getAll(op.getContext());
  const MaskBound &first = atom.getBounds()[2];
  Prepared result;
  result.some = all;
  result.all = MaskAttr::getNot(all);
  result.firstQuery = first.isSymbol() ? op.getSymbols()[first.getSymbol()]
                                       : index(first.getConstant());
  Value height = index(atom.getBounds()[0].getConstant());
  Value count =
      arith::SubIOp::create(builder, op.getRows()[1], op.getRows()[0]);
  Value end = arith::AddIOp::create(builder, result.firstQuery, count);
  Value last = arith::SubIOp::create(builder, end, index(1));
  result.firstRow = arith::DivUIOp::create(builder, result.firstQuery, height);
  result.lastRow = arith::DivUIOp::create(builder, last, height);
  return result;
}

/// Where row `number` of the table begins.
Value MaskTensors::loadRow(Value table, Value number) {
  SmallVector<Value> at(cast<RankedTensorType>(table.getType()).getRank(),
                        index(0));
  at.back() = number;
  return toIndex(builder, tensor::ExtractOp::create(builder, table, at));
}

namespace {

/// The columns of one row of a table from a given one on: entries `position` ..
/// `end` - 1.
struct RowPart {
  Value position, end;
};

} // namespace

static RowPart findColumn(ImplicitLocOpBuilder &b, Value columns, Value begin,
                          Value end, Value column) {
  Value length = arith::SubIOp::create(b, end, begin);
  auto found = buildSearch(
      b, begin, length, {{column, false}},
      [&](ImplicitLocOpBuilder &nested, Value at) {
        return toIndex(nested, tensor::ExtractOp::create(nested, columns, at));
      });
  return {found.front(), end};
}

/// Entry `at` of the table if it lies before `end`, else kNoColumn.
static Value loadColumn(ImplicitLocOpBuilder &b, Value columns, Value at,
                        Value end) {
  Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, at, end);
  auto choice = scf::IfOp::create(
      b, exists,
      [&](OpBuilder &nested, Location loc) {
        ImplicitLocOpBuilder inner(loc, nested);
        scf::YieldOp::create(inner, toIndex(inner, tensor::ExtractOp::create(
                                                       inner, columns, at)));
      },
      [&](OpBuilder &nested, Location loc) {
        ImplicitLocOpBuilder inner(loc, nested);
        scf::YieldOp::create(
            inner,
            arith::ConstantIndexOp::create(inner, kNoColumn).getResult());
      });
  return choice.getResult(0);
}

/// A tile past the last one may be asked for.
Value MaskTensors::clampTile(Value number) {
  Value last = arith::DivSIOp::create(
      builder, arith::SubIOp::create(builder, op.getKeys()[1], index(1)),
      index(tile));
  return arith::MaxSIOp::create(
      builder, arith::MinSIOp::create(builder, number, last), index(0));
}

/// One look at each row of the table that the tile meets. A row rises: it has
/// all columns from the first to the last one of the tile if the entry that
/// many places after the first is the last.
MaskTensors::TileClass MaskTensors::classifyBlocks(unsigned atom,
                                                   Value number) {
  Value table = tensorOf(atom, 0), columns = tensorOf(atom, 1);
  int64_t blockWidth = atoms[atom].getBounds()[1].getConstant();
  Location loc = builder.getLoc();
  Value numKeys = op.getKeys()[1], one = index(1), size = index(tile),
        width = index(blockWidth);
  Value t = clampTile(number);
  Value key = arith::MulIOp::create(builder, t, size);
  Value lastKey = arith::SubIOp::create(
      builder,
      arith::MinSIOp::create(builder, arith::AddIOp::create(builder, key, size),
                             numKeys),
      one);
  Value from = arith::DivSIOp::create(builder, key, width),
        to = arith::DivSIOp::create(
            builder, arith::MaxSIOp::create(builder, lastKey, key), width);
  Value span = arith::SubIOp::create(builder, to, from);
  Type indexType = builder.getIndexType(), bit = builder.getI1Type();
  Value no = arith::ConstantIntOp::create(builder, 0, 1),
        yes = arith::ConstantIntOp::create(builder, 1, 1);
  auto loop = scf::WhileOp::create(
      builder, TypeRange{indexType, bit, bit, indexType},
      ValueRange{prepared[atom].firstRow, no, yes, index(kNoColumn)},
      [&](OpBuilder &nested, Location, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        Value more = arith::CmpIOp::create(b, arith::CmpIPredicate::sle,
                                           args[0], prepared[atom].lastRow);
        scf::ConditionOp::create(b, more, args);
      },
      [&](OpBuilder &nested, Location, ValueRange args) {
        OpBuilder::InsertionGuard guard(builder);
        builder.setInsertionPoint(nested.getInsertionBlock(),
                                  nested.getInsertionPoint());
        Value following = arith::AddIOp::create(builder, args[0], index(1));
        RowPart part = findColumn(builder, columns, loadRow(table, args[0]),
                                  loadRow(table, following), from);
        Value found = loadColumn(builder, columns, part.position, part.end);
        Value last = loadColumn(
            builder, columns,
            arith::AddIOp::create(builder, part.position, span), part.end);
        Value here = arith::CmpIOp::create(builder, arith::CmpIPredicate::sle,
                                           found, to);
        Value isFirst = arith::CmpIOp::create(builder, arith::CmpIPredicate::eq,
                                              found, from),
              isLast = arith::CmpIOp::create(builder, arith::CmpIPredicate::eq,
                                             last, to);
        Value whole = arith::AndIOp::create(builder, isFirst, isLast);
        scf::YieldOp::create(
            builder,
            ValueRange{following, arith::OrIOp::create(builder, args[1], here),
                       arith::AndIOp::create(builder, args[2], whole),
                       arith::MinSIOp::create(builder, args[3], found)});
      });
  // Columns and block widths keep this within 64 bits, but not kNoColumn.
  Value column = loop.getResult(3);
  Value isNone = arith::CmpIOp::create(builder, arith::CmpIPredicate::eq,
                                       column, index(kNoColumn));
  Value next = arith::DivSIOp::create(
      builder, arith::MulIOp::create(builder, column, width), size);
  next = arith::SelectOp::create(builder, isNone, index(kNoColumn), next);
  return {loop.getResult(1), loop.getResult(2), next};
}

Value MaskTensors::buildBlocks(unsigned atom, Value first) {
  MaskAttr blocks = atoms[atom];
  Value number = arith::DivUIOp::create(builder, first, index(tile));
  if (isOneBlock(blocks))
    return vector::BroadcastOp::create(
        builder, VectorType::get({rows, 1}, builder.getI1Type()),
        classifyBlocks(atom, number).some);

  // For each row of blocks a word with a bit for each block.
  int64_t height = blocks.getBounds()[0].getConstant(),
          width = blocks.getBounds()[1].getConstant();
  Value table = tensorOf(atom, 0), columns = tensorOf(atom, 1);
  const Prepared &at = prepared[atom];
  Location loc = builder.getLoc();
  Type i32 = builder.getI32Type();
  Value from = arith::DivUIOp::create(builder, first, index(width));
  Value last = arith::DivUIOp::create(
      builder, arith::AddIOp::create(builder, first, index(tile - 1)),
      index(width));
  auto toInt = [&](Value value) -> Value {
    return arith::IndexCastOp::create(builder, i32, value);
  };
  auto getWord = [&](Value row) {
    RowPart part = findColumn(
        builder, columns, loadRow(table, row),
        loadRow(table, arith::AddIOp::create(builder, row, index(1))), from);
    Value none = arith::ConstantIntOp::create(builder, 0, 32);
    auto loop = scf::WhileOp::create(
        builder, TypeRange{builder.getIndexType(), i32},
        ValueRange{part.position, none},
        [&](OpBuilder &nested, Location, ValueRange args) {
          ImplicitLocOpBuilder b(loc, nested);
          Value column = loadColumn(b, columns, args[0], part.end);
          Value more =
              arith::CmpIOp::create(b, arith::CmpIPredicate::sle, column, last);
          scf::ConditionOp::create(b, more, args);
        },
        [&](OpBuilder &nested, Location, ValueRange args) {
          ImplicitLocOpBuilder b(loc, nested);
          Value column =
              toIndex(b, tensor::ExtractOp::create(b, columns, args[0]));
          Value place = arith::IndexCastOp::create(
              b, i32, arith::SubIOp::create(b, column, from));
          Value one = arith::ConstantIntOp::create(b, 1, 32);
          Value word = arith::OrIOp::create(
              b, args[1], arith::ShLIOp::create(b, one, place));
          Value next = arith::AddIOp::create(
              b, args[0], arith::ConstantIndexOp::create(b, 1));
          scf::YieldOp::create(b, ValueRange{next, word});
        });
    return loop.getResult(1);
  };
  /// Block numbers of the rows or columns, counted from the first one's.
  auto getBlocks = [&](int64_t count, int64_t block, Value start,
                       bool isRow) -> Value {
    auto type = VectorType::get({isRow ? count : 1, isRow ? 1 : count}, i32);
    Value step = vector::StepOp::create(
        builder, VectorType::get({count}, builder.getIndexType()));
    step = arith::IndexCastOp::create(builder, VectorType::get({count}, i32),
                                      step);
    step = vector::ShapeCastOp::create(builder, type, step);
    Value rest = toInt(arith::RemUIOp::create(builder, start, index(block)));
    step = arith::AddIOp::create(
        builder, step, vector::BroadcastOp::create(builder, type, rest));
    return arith::DivUIOp::create(
        builder, step, splat(builder, type, builder.getI32IntegerAttr(block)));
  };
  Value rowBlocks = getBlocks(rows, height, at.firstQuery, /*isRow=*/true);
  auto rowType = cast<VectorType>(rowBlocks.getType());
  Value words;
  for (int64_t n = 0; n < countBlocks(height, rows); ++n) {
    Value row = arith::MinSIOp::create(
        builder, arith::AddIOp::create(builder, at.firstRow, index(n)),
        at.lastRow);
    Value word = vector::BroadcastOp::create(builder, rowType, getWord(row));
    if (!words) {
      words = word;
      continue;
    }
    Value isRow = arith::CmpIOp::create(
        builder, arith::CmpIPredicate::eq, rowBlocks,
        splat(builder, rowType, builder.getI32IntegerAttr(n)));
    words = arith::SelectOp::create(builder, isRow, word, words);
  }
  Value columnBlocks = getBlocks(tile, width, first, /*isRow=*/false);
  auto columnType = cast<VectorType>(columnBlocks.getType());
  Value bits = arith::ShLIOp::create(
      builder, splat(builder, columnType, builder.getI32IntegerAttr(1)),
      columnBlocks);
  auto type = VectorType::get({rows, tile}, i32);
  Value both = arith::AndIOp::create(
      builder, vector::BroadcastOp::create(builder, type, words),
      vector::BroadcastOp::create(builder, type, bits));
  return arith::CmpIOp::create(
      builder, arith::CmpIPredicate::ne, both,
      splat(builder, type, builder.getI32IntegerAttr(0)));
}
