//===- TileKv.cpp - loops over the live key tiles ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/MaskTensors.h"
#include "attn/passes/Passes.h"
#include "attn/passes/TileBuilder.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/Constraints.h"
#include "attn/dialect/Score.h"
#include "attn/dialect/mask/MaskAnalysis.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNTILEKV
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

namespace {

/// Half-open interval of tiles.
struct Interval {
  OpFoldResult lower;
  OpFoldResult upper;
  /// Whether a condition may make it empty.
  bool isConditional = false;

  bool isEmpty() const {
    std::optional<int64_t> lo = getConstantIntValue(lower),
                           hi = getConstantIntValue(upper);
    return lo && hi && *lo >= *hi;
  }
  bool contains(const Interval &other) const {
    std::optional<int64_t> lo = getConstantIntValue(lower),
                           hi = getConstantIntValue(upper);
    std::optional<int64_t> otherLo = getConstantIntValue(other.lower),
                           otherHi = getConstantIntValue(other.upper);
    return lo && hi && otherLo && otherHi && *lo <= *otherLo && *otherHi <= *hi;
  }
};

class KvTiler {
public:
  KvTiler(OnlineAttentionOp op, int64_t tile)
      : op(op), builder(op.getLoc(), getFirstOfChain(op)), tile(tile),
        tensors(builder, op, tile) {
    for (unsigned a = 0; a < 1u << tensors.getNumLiterals(); ++a)
      cases.push_back(
          getKeyTileBounds(tensors.getOuter(a), tensors.getInner(a), tile));
    bounds = cases.back();
    OpFoldResult head = builder.getIndexAttr(0);
    if (op.getHead())
      head = op.getHead();
    positions = {head, op.getRows()[0], op.getRows()[1], op.getKeys()[1]};
    constant = getConstantIntValue(op.getKeys()[1]);
    for (const TileInterval &interval : bounds.full)
      if (Interval built = buildInterval(interval); !built.isEmpty())
        full.push_back(built);
    for (const TileInterval &interval : bounds.live)
      if (Interval built = buildInterval(interval); !built.isEmpty())
        live.push_back(built);
    cut();
    // Constants too are to stand before the first loop of a chain.
    if (builder.getInsertionPoint() != op->getIterator())
      for (SmallVector<Interval> *intervals : {&partial, &full, &except})
        for (Interval &interval : *intervals) {
          interval.lower = toValue(interval.lower);
          interval.upper = toValue(interval.upper);
        }
    builder.setInsertionPoint(op);
  }

  /// Of a tile for which everything that tables decide holds: of all tiles.
  const TileBounds &getBounds() const { return bounds; }
  std::string findProblem() const { return tensors.findProblem(); }

  struct Loops {
    int64_t partial = 0, full = 0;
  };
  /// Replaces the op by its loops. The bounds are there already: those of all
  /// ops that continue each other stand before the first loop, so that copies
  /// may run ahead from one loop to the next.
  Loops run();

private:
  /// The first op of those that this one continues, as far as the operands that
  /// bounds are made of are known there.
  static Operation *getFirstOfChain(OnlineAttentionOp op);
  void cut();
  SmallVector<OpFoldResult> getOperands(ArrayRef<OpFoldResult> dims,
                                        unsigned numSymbols) {
    SmallVector<OpFoldResult> operands(dims);
    llvm::append_range(operands, tensors.getSymbols().take_front(numSymbols));
    return operands;
  }
  unsigned numSymbols() { return tensors.getSymbols().size(); }
  OpFoldResult apply(AffineExpr expr, ArrayRef<OpFoldResult> dims);
  Value toValue(OpFoldResult value) {
    return getValueOrCreateConstantIndexOp(builder, op.getLoc(), value);
  }
  OpFoldResult max(OpFoldResult a, OpFoldResult b) {
    return extremum(/*isMax=*/true, a, b);
  }
  OpFoldResult min(OpFoldResult a, OpFoldResult b) {
    return extremum(/*isMax=*/false, a, b);
  }
  OpFoldResult extremum(bool isMax, OpFoldResult a, OpFoldResult b);

  /// Whether the point lies in the set, as an i1 or a constant.
  OpFoldResult contains(IntegerSet set, ArrayRef<OpFoldResult> dims);
  Interval buildInterval(const TileInterval &interval);
  /// Whether every tile of the live intervals satisfies expr >= 0, over (h, p0,
  /// p1, n, t).
  bool isImplied(AffineExpr expr);
  void buildFilter(ForTilesOp loop);
  SmallVector<Value> readScoreInputs(ForTilesOp loop, Value first,
                                     bool inBounds);
  /// The filter where tables decide: the live tiles that are not full, or the
  /// full ones.
  void buildTableFilter(ForTilesOp loop, bool isFull);
  OpFoldResult isInside(ArrayRef<TileInterval> intervals, Value number);
  /// Whether the classes of a tile make it live, or full.
  Value buildVerdict(ArrayRef<MaskTensors::TileClass> classes, Value number,
                     bool isFull);
  Value toBool(OpFoldResult value) {
    if (auto known = dyn_cast<Value>(value))
      return known;
    return arith::ConstantOp::create(builder,
                                     cast<BoolAttr>(cast<Attribute>(value)));
  }
  ForTilesOp buildLoop(ArrayRef<Interval> live, ArrayRef<Interval> except,
                       ValueRange state, bool isFull);

  OnlineAttentionOp op;
  ImplicitLocOpBuilder builder;
  int64_t tile;
  MaskTensors tensors;
  TileBounds bounds;
  /// By assignment of the literals of `tensors`; the last one is `bounds`.
  SmallVector<TileBounds, 1> cases;
  /// h, p0, p1, n.
  SmallVector<OpFoldResult> positions;
  SmallVector<Interval> live, full, partial, except;
  /// n where it is constant.
  std::optional<int64_t> constant;
};

OpFoldResult KvTiler::apply(AffineExpr expr, ArrayRef<OpFoldResult> dims) {
  auto map = AffineMap::get(dims.size(), numSymbols(), expr);
  return affine::makeComposedFoldedAffineApply(builder, op.getLoc(), map,
                                               getOperands(dims, numSymbols()));
}

OpFoldResult KvTiler::extremum(bool isMax, OpFoldResult a, OpFoldResult b) {
  if (a == b)
    return a;
  AffineMap map = builder.getMultiDimIdentityMap(2);
  return isMax ? affine::makeComposedFoldedAffineMax(builder, op.getLoc(), map,
                                                     {a, b})
               : affine::makeComposedFoldedAffineMin(builder, op.getLoc(), map,
                                                     {a, b});
}

OpFoldResult KvTiler::contains(IntegerSet set, ArrayRef<OpFoldResult> dims) {
  Value result;
  for (auto [index, expr] : llvm::enumerate(set.getConstraints())) {
    bool isEq = set.isEq(index);
    OpFoldResult value = apply(expr, dims);
    if (std::optional<int64_t> known = getConstantIntValue(value)) {
      if (isEq ? *known != 0 : *known < 0)
        return builder.getBoolAttr(false);
      continue;
    }
    Value holds = arith::CmpIOp::create(
        builder, isEq ? arith::CmpIPredicate::eq : arith::CmpIPredicate::sge,
        cast<Value>(value), arith::ConstantIndexOp::create(builder, 0));
    result = result ? arith::AndIOp::create(builder, result, holds) : holds;
  }
  return result ? OpFoldResult(result)
                : OpFoldResult(builder.getBoolAttr(true));
}

Interval KvTiler::buildInterval(const TileInterval &interval) {
  Interval result;
  result.lower = affine::makeComposedFoldedAffineMax(
      builder, op.getLoc(), interval.lower,
      getOperands(positions, interval.lower.getNumSymbols()));
  result.upper = affine::makeComposedFoldedAffineMin(
      builder, op.getLoc(), interval.upper,
      getOperands(positions, interval.upper.getNumSymbols()));
  OpFoldResult condition = contains(interval.condition, positions);
  if (auto value = dyn_cast<Value>(condition)) {
    // The bounds mean nothing where the condition fails, and may be far away.
    Value none = toValue(builder.getIndexAttr(0));
    auto guard = [&](OpFoldResult bound) -> OpFoldResult {
      return arith::SelectOp::create(builder, value, toValue(bound), none)
          .getResult();
    };
    result.lower = guard(result.lower);
    result.upper = guard(result.upper);
    result.isConditional = true;
  } else if (!cast<BoolAttr>(cast<Attribute>(condition)).getValue()) {
    result.upper = result.lower = builder.getIndexAttr(0);
  }
  return result;
}

bool KvTiler::isImplied(AffineExpr expr) {
  AffineExpr n = builder.getAffineDimExpr(3), t = builder.getAffineDimExpr(4);
  return expr == t ||
         simplifyAffineExpr(n - t * tile - 1 - expr, 5, numSymbols()) ==
             builder.getAffineConstantExpr(0);
}

void KvTiler::buildFilter(ForTilesOp loop) {
  // What the intervals ensure anyway need not be asked; a set without a
  // question lets every tile pass.
  SmallVector<IntegerSet> sets;
  for (IntegerSet set : bounds.filter) {
    SmallVector<AffineExpr> constraints;
    SmallVector<bool> isEq;
    for (auto [index, expr] : llvm::enumerate(set.getConstraints()))
      if (set.isEq(index) || !isImplied(expr)) {
        constraints.push_back(expr);
        isEq.push_back(set.isEq(index));
      }
    if (constraints.empty())
      return;
    sets.push_back(IntegerSet::get(set.getNumDims(), set.getNumSymbols(),
                                   constraints, isEq));
  }
  if (sets.empty())
    return;
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&loop.getFilter(), {},
                                     {builder.getIndexType()}, {op.getLoc()});
  SmallVector<OpFoldResult> dims = positions;
  dims.push_back(block->getArgument(0));
  Value any;
  for (IntegerSet set : sets) {
    OpFoldResult holds = contains(set, dims);
    Value value = toBool(holds);
    any = any ? arith::OrIOp::create(builder, any, value) : value;
  }
  ConditionOp::create(builder, any, Value());
}

OpFoldResult KvTiler::isInside(ArrayRef<TileInterval> intervals, Value number) {
  Value any;
  for (const TileInterval &interval : intervals) {
    Interval built = buildInterval(interval);
    if (built.isEmpty())
      continue;
    Value above = arith::CmpIOp::create(builder, arith::CmpIPredicate::sge,
                                        number, toValue(built.lower)),
          below = arith::CmpIOp::create(builder, arith::CmpIPredicate::slt,
                                        number, toValue(built.upper));
    Value inside = arith::AndIOp::create(builder, above, below);
    any = any ? arith::OrIOp::create(builder, any, inside) : inside;
  }
  return any ? OpFoldResult(any) : OpFoldResult(builder.getBoolAttr(false));
}

Value KvTiler::buildVerdict(ArrayRef<MaskTensors::TileClass> classes,
                            Value number, bool isFull) {
  Value any = toBool(builder.getBoolAttr(false));
  for (auto [assignment, known] : llvm::enumerate(cases)) {
    ArrayRef<TileInterval> intervals = isFull ? known.full : known.live;
    if (intervals.empty())
      continue;
    Value holds = toBool(isInside(intervals, number));
    if (!isFull && !known.filter.empty()) {
      SmallVector<OpFoldResult> dims = positions;
      dims.push_back(number);
      Value passes = toBool(builder.getBoolAttr(false));
      for (IntegerSet set : known.filter)
        passes =
            arith::OrIOp::create(builder, passes, toBool(contains(set, dims)));
      holds = arith::AndIOp::create(builder, holds, passes);
    }
    for (auto [bit, found] : llvm::enumerate(classes))
      if (assignment >> bit & 1)
        holds = arith::AndIOp::create(builder, holds,
                                      isFull ? found.all : found.some);
    any = arith::OrIOp::create(builder, any, holds);
  }
  return any;
}

void KvTiler::buildTableFilter(ForTilesOp loop, bool isFull) {
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&loop.getFilter(), {},
                                     {builder.getIndexType()}, {op.getLoc()});
  Value number = block->getArgument(0);
  auto classes = tensors.buildClasses(number);
  Value verdict = buildVerdict(classes, number, /*isFull=*/true);
  if (!isFull) {
    Value isNotFull = arith::XOrIOp::create(builder, verdict,
                                            toBool(builder.getBoolAttr(true)));
    verdict = arith::AndIOp::create(
        builder, buildVerdict(classes, number, /*isFull=*/false), isNotFull);
  }
  // Where no tile is live without a literal, its table says where to go on.
  Value next;
  for (unsigned bit = 0; bit < classes.size(); ++bit) {
    const MaskTensors::TileClass &found = classes[bit];
    bool isNeeded = llvm::all_of(llvm::enumerate(cases), [&](auto entry) {
      return entry.index() >> bit & 1 || entry.value().live.empty();
    });
    if (found.next && isNeeded)
      next = next
                 ? arith::MaxSIOp::create(builder, next, found.next).getResult()
                 : found.next;
  }
  ConditionOp::create(builder, verdict, next);
}

/// The score inputs of the tile of keys that starts at `first`. What is the
/// same for every key is read before the loop.
SmallVector<Value> KvTiler::readScoreInputs(ForTilesOp loop, Value first,
                                            bool inBounds) {
  int64_t rows = cast<VectorType>(op.getQ().getType()).getDimSize(0);
  SmallVector<Value> tiles;
  for (Value input : op.getScoreInputs()) {
    auto slice = dyn_cast<RankedTensorType>(input.getType());
    if (!slice) {
      tiles.push_back(input);
      continue;
    }
    bool perKey = slice.getDimSize(3) != 1, perRow = slice.getDimSize(2) != 1;
    OpBuilder::InsertionGuard guard(builder);
    if (!perKey)
      builder.setInsertionPoint(loop);
    Value zero = arith::ConstantIndexOp::create(builder, 0);
    Value padding = arith::ConstantOp::create(
        builder, builder.getZeroAttr(slice.getElementType()));
    tiles.push_back(vector::TransferReadOp::create(
        builder,
        VectorType::get({perRow ? rows : 1, perKey ? tile : 1},
                        slice.getElementType()),
        input, ValueRange{zero, zero, zero, perKey ? first : zero}, padding,
        ArrayRef<bool>{!perRow || slice.getDimSize(2) == rows,
                       !perKey || inBounds}));
  }
  return tiles;
}

ForTilesOp KvTiler::buildLoop(ArrayRef<Interval> live,
                              ArrayRef<Interval> except, ValueRange state,
                              bool isFull) {
  OpBuilder::InsertionGuard guard(builder);
  SmallVector<Value> lower, upper, exceptLower, exceptUpper;
  for (const Interval &interval : live) {
    lower.push_back(toValue(interval.lower));
    upper.push_back(toValue(interval.upper));
  }
  for (const Interval &interval : except) {
    exceptLower.push_back(toValue(interval.lower));
    exceptUpper.push_back(toValue(interval.upper));
  }
  auto loop = ForTilesOp::create(builder, lower, upper, exceptLower,
                                 exceptUpper, state);
  if (isFull ? tensors.decideFull() : tensors.getNumLiterals() != 0)
    buildTableFilter(loop, isFull);
  else if (!isFull)
    buildFilter(loop);

  builder.setInsertionPointToEnd(&loop.getBody().front());
  Value first = toValue(affine::makeComposedFoldedAffineApply(
      builder, op.getLoc(), builder.getAffineDimExpr(0) * tile,
      {loop.getInductionVar()}));
  bool inBounds = isFull || (constant && *constant % tile == 0);
  Value k = readTile(builder, op.getK(), first, tile, inBounds);
  Value v = readTile(builder, op.getV(), first, tile, inBounds);
  SmallVector<Value> maskData, symbols;
  MaskAttr mask;
  if (!isFull) {
    maskData = tensors.buildTile(first, inBounds);
    mask = bindUsedSymbols(tensors.getTileMask(), op.getSymbols(), symbols);
  }
  auto args = loop.getIterArgs();
  // A score region wants positions even where there is no mask.
  bool hasScore = !op.getScore().empty(), isPlaced = !isFull || hasScore;
  auto step = OnlineAttentionOp::create(
      builder, op.getResultTypes(), op.getQ(), k, v, args[0], args[1], args[2],
      symbols, isPlaced ? ValueRange(op.getRows()) : ValueRange(),
      isPlaced ? ValueRange{first, op.getKeys()[1]} : ValueRange(),
      !isFull || usesScoreArgument(op.getScore(), kHead) ? op.getHead()
                                                         : Value(),
      maskData, readScoreInputs(loop, first, inBounds), mask, op.getScaleAttr(),
      isPlaced ? op.getHeadsAttr() : IntegerAttr());
  IRMapping mapping;
  op.getScore().cloneInto(&step.getScore(), mapping);
  YieldOp::create(builder, step.getResults());
  return loop;
}

Operation *KvTiler::getFirstOfChain(OnlineAttentionOp op) {
  Operation *first = op;
  while (auto before = cast<OnlineAttentionOp>(first)
                           .getMax()
                           .getDefiningOp<OnlineAttentionOp>()) {
    auto isKnown = [&](Value value) {
      Operation *source = value.getDefiningOp();
      return !source || source->getBlock() != before->getBlock() ||
             source->isBeforeInBlock(before);
    };
    if (before->getBlock() != op->getBlock() ||
        !llvm::all_of(op.getRows(), isKnown) ||
        !llvm::all_of(op.getKeys(), isKnown) ||
        !llvm::all_of(op.getSymbols(), isKnown) ||
        !llvm::all_of(op.getMaskData(), isKnown) ||
        (op.getHead() && !isKnown(op.getHead())))
      break;
    first = before;
  }
  return first;
}

/// What is live but not full. Where the two start or end together, one interval
/// is left.
void KvTiler::cut() {
  if (tensors.getNumLiterals() != 0) {
    // The filters tell the tiles apart.
    for (Interval &interval : full) {
      interval.lower = toValue(interval.lower);
      interval.upper = toValue(interval.upper);
    }
    partial = live;
    return;
  }
  for (const Interval &interval : live)
    if (llvm::none_of(full, [&](const Interval &other) {
          return other.contains(interval);
        }))
      partial.push_back(interval);
  if (partial.size() == 1 && full.size() == 1 && bounds.live.size() == 1 &&
      bounds.full.size() == 1) {
    if (bounds.live[0].lower == bounds.full[0].lower)
      partial[0].lower = max(full[0].upper, partial[0].lower);
    else if (bounds.live[0].upper == bounds.full[0].upper &&
             !full[0].isConditional && !partial[0].isConditional)
      partial[0].upper = min(full[0].lower, partial[0].upper);
    else
      except = full;
  } else {
    except = full;
  }
  llvm::erase_if(partial,
                 [](const Interval &interval) { return interval.isEmpty(); });
}

KvTiler::Loops KvTiler::run() {
  Loops loops;
  SmallVector<Value> state = {op.getMax(), op.getSum(), op.getAcc()};
  if (!partial.empty()) {
    state = buildLoop(partial, except, state, /*isFull=*/false).getResults();
    loops.partial = 1;
  }
  if (!full.empty()) {
    state = buildLoop(full, {}, state, /*isFull=*/true).getResults();
    loops.full = 1;
  }
  op->replaceAllUsesWith(state);
  op->erase();
  return loops;
}

struct AttnTileKvPass : attn::impl::AttnTileKvBase<AttnTileKvPass> {
  using AttnTileKvBase::AttnTileKvBase;

  FailureOr<int64_t> getTile(OnlineAttentionOp op) {
    if (auto forall = op->getParentOfType<scf::ForallOp>())
      if (auto schedule = forall->getAttrOfType<ScheduleAttr>("attn.schedule"))
        return schedule.getKvTile();
    if (kvTile > 0)
      return int64_t(kvTile);
    return op.emitOpError("expected an enclosing scf.forall with "
                          "attn.schedule, or the option kv-tile above 0");
  }

  void runOnOperation() override {
    SmallVector<OnlineAttentionOp> ops;
    getOperation().walk([&](OnlineAttentionOp op) {
      if (!isa<VectorType>(op.getK().getType()))
        ops.push_back(op);
    });
    std::vector<std::unique_ptr<KvTiler>> tilers;
    for (OnlineAttentionOp op : ops) {
      FailureOr<int64_t> tile = getTile(op);
      if (failed(tile))
        return signalPassFailure();
      if (!op.getMaskAttr()) {
        op.emitOpError(
            "expected a mask on slices; mask(all) makes every key live");
        return signalPassFailure();
      }
      if (getConstantIntValue(op.getKeys()[0]) != 0) {
        op.emitOpError("expected the slices to start at key 0");
        return signalPassFailure();
      }
      KvTiler &tiler =
          *tilers.emplace_back(std::make_unique<KvTiler>(op, *tile));
      if (std::string problem = tiler.findProblem(); !problem.empty()) {
        op.emitOpError(problem);
        return signalPassFailure();
      }
      if (!tiler.getBounds().exact) {
        ++numInexact;
        op.emitRemark() << "the bounds of mask " << op.getMaskAttr().str()
                        << " admit key tiles without a live pair";
      }
      if (!tiler.getBounds().fullExact) {
        ++numFullInexact;
        op.emitRemark() << "some full key tiles of mask "
                        << op.getMaskAttr().str() << " run as partial ones";
      }
    }
    for (const std::unique_ptr<KvTiler> &tiler : tilers) {
      KvTiler::Loops loops = tiler->run();
      ++numTiled;
      numPartialLoops += loops.partial;
      numFullLoops += loops.full;
      numOmitted += 2 - loops.partial - loops.full;
    }
  }
};

} // namespace
