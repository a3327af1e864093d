//===- NonFinite.cpp - masked products where v is not finite ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Product.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

using Predicate = LLVM::ICmpPredicate;

namespace {
/// Bit patterns of the elements of a word: two of a 16-bit type or one f32.
struct NonFinitePattern {
  /// The exponent bits, and their lowest bits: a sum of the two overflows into
  /// the sign bit exactly for an element whose exponent is all ones.
  uint32_t exponents, lowest;
  /// The sign bits.
  uint32_t marks;
  int64_t elements;
  explicit NonFinitePattern(Type type)
      : exponents(type.isF32()    ? 0x7F800000
                  : type.isBF16() ? 0x7F807F80
                                  : 0x7C007C00),
        lowest(type.isF32()    ? 0x00800000
               : type.isBF16() ? 0x00800080
                               : 0x04000400),
        marks(type.isF32() ? 0x80000000 : 0x80008000),
        elements(type.isF32() ? 1 : 2) {}
};
} // namespace

/// A word whose bits in `pattern.marks` say whether the element below is NaN or
/// infinity; other bits are arbitrary.
static Value markNonFinite(KernelBuilder &b, Value word,
                           NonFinitePattern pattern) {
  return b.add(b.andBits(word, b.i32(static_cast<int32_t>(pattern.exponents))),
               b.i32(pattern.lowest));
}

static Value getMarks(KernelBuilder &b, Value marked,
                      NonFinitePattern pattern) {
  return b.andBits(marked, b.i32(static_cast<int32_t>(pattern.marks)));
}

/// Calls `visit` with the address of every 16-byte chunk of the calling thread.
static void visitChunks(KernelBuilder &b, SharedMemory &shared,
                        const SharedOperand &tile,
                        function_ref<void(Value)> visit) {
  Value thread = b.hide(b.thread);
  for (const Panel &panel : getPanels(tile)) {
    Walk walk(b, panel, thread);
    for (int64_t row = 0, pass = 0; row < tile.rows;
         row += walk.rowsPerPass, ++pass) {
      Value chunk = walk.getAddress(b, tile.base, pass);
      if (row + walk.rowsPerPass <= tile.rows)
        visit(chunk);
      else
        b.ifThen(b.compare(Predicate::slt, walk.row, b.i32(tile.rows - row)),
                 [&] { visit(chunk); });
    }
  }
}

/// Whether any thread finds an element that is not finite: the same i1 in every
/// thread.
static Value buildTest(KernelBuilder &b, SharedMemory &shared,
                       const SharedOperand &tile, NonFinitePattern pattern) {
  Type vector = VectorType::get({4}, b.i32Type);
  Value marks;
  Value thread = b.hide(b.thread);
  for (const Panel &panel : getPanels(tile)) {
    Walk walk(b, panel, thread);
    for (int64_t row = 0, pass = 0; row < tile.rows;
         row += walk.rowsPerPass, ++pass) {
      auto test = [&] {
        Value chunk = b.load(vector, walk.getAddress(b, tile.base, pass), 16);
        Value mark;
        for (int64_t i = 0; i < 4; ++i) {
          Value word = LLVM::ExtractElementOp::create(b, chunk, b.i32(i));
          word = markNonFinite(b, word, pattern);
          mark = mark ? b.orBits(mark, word) : word;
        }
        return mark;
      };
      // The last pass may have fewer rows than threads.
      Value mark = row + walk.rowsPerPass <= tile.rows
                       ? test()
                       : b.choose(b.compare(Predicate::slt, walk.row,
                                            b.i32(tile.rows - row)),
                                  test, b.i32(0));
      marks = marks ? b.orBits(marks, mark) : mark;
    }
  }
  Value found = b.compare(Predicate::ne, getMarks(b, marks, pattern), b.i32(0));
  return b.barrierOr(found);
}

/// Zeroes the elements that are not finite. Every thread has chunks of its own.
static void buildClear(KernelBuilder &b, SharedMemory &shared,
                       const SharedOperand &tile, NonFinitePattern pattern) {
  visitChunks(b, shared, tile, [&](Value chunk) {
    b.loop(b.i32(0), b.i32(16), b.i32(4), {},
           [&](Value offset, ValueRange) -> SmallVector<Value> {
             Value address = b.advance(chunk, offset);
             Value word = b.load(b.i32Type, address, 4);
             Value marks =
                 getMarks(b, markNonFinite(b, word, pattern), pattern);
             // A 1 for each marked element, times all its bits.
             int64_t bits = 32 / pattern.elements;
             Value ones = b.shiftRight(marks, b.i32(bits - 1));
             Value set =
                 b.mul(ones, b.i32(pattern.elements == 1 ? -1 : 0xFFFF));
             b.store(b.andBits(word, b.xorBits(set, b.i32(-1))), address, 4);
             return {};
           });
  });
}

/// The f32 of a half of `word`, or of all of it, if it is marked, else 0.
static Value getNonFinite(KernelBuilder &b, Value word, Value marks, bool upper,
                          Type elementType) {
  if (elementType.isF32())
    return b.select(b.compare(Predicate::slt, marks, b.i32(0)),
                    b.bitcast(b.f32Type, word), b.f32(0.0f));
  Value half = upper ? b.shiftRight(word, b.i32(16)) : word;
  Value element =
      b.bitcast(elementType, LLVM::TruncOp::create(b, b.i16Type, half));
  Value extended = LLVM::FPExtOp::create(b, b.f32Type, element);
  Value marked = b.compare(
      Predicate::ne,
      b.andBits(marks, b.i32(upper ? int32_t(0x80000000) : 0x8000)), b.i32(0));
  return b.select(marked, extended, b.f32(0.0f));
}

void nvptx::absorbNonFinite(
    KernelBuilder &b, SharedMemory &shared, const SharedOperand &right,
    MutableArrayRef<Value> acc, int64_t numN, Type elementType,
    function_ref<Value(int64_t, int64_t, int64_t)> getLive) {
  NonFinitePattern pattern(elementType);
  Value found = buildTest(b, shared, right, pattern);
  Block *origin = b.getInsertionBlock();
  Block *rare = b.createBlockAfter();
  b.setInsertionPointToStart(rare);

  // Which keys each row sees: bit 2 * n + c of a lane's words is key 8 * n + 2
  // * t + c, in words of 128 keys.
  constexpr int64_t wordKeys = 128;
  int64_t numRows = 2 * b.shape.getRowFragments();
  SmallVector<SmallVector<Value, 2>> words;
  for (int64_t row = 0; getLive && row < numRows; ++row) {
    SmallVector<Value, 2> &rowWords = words.emplace_back();
    for (int64_t n = 0; n < right.rows / 8; ++n) {
      if (8 * n % wordKeys == 0)
        rowWords.push_back(b.i32(0));
      for (int64_t c = 0; c < 2; ++c) {
        Value live = getLive(row / 2, n, (row % 2) * 2 + c);
        auto bit = static_cast<int32_t>(1u << (8 * n % wordKeys / 4 + c));
        rowWords.back() =
            b.orBits(rowWords.back(), b.select(live, b.i32(bit), b.i32(0)));
      }
    }
  }

  // Hidden, or else addresses that only this path needs would be computed
  // before the main loop and kept in registers through it.
  Value lane = b.hide(b.lane);
  Value firstLane = b.andBits(lane, b.i32(28));
  Value columns = b.shiftLeft(b.andBits(lane, b.i32(3)), b.i32(1));
  SmallVector<Value> sums = b.loop(
      b.i32(0), b.i32(right.rows), b.i32(1), ValueRange(acc),
      [&](Value key, ValueRange state) {
        Value source = b.orBits(
            firstLane, b.andBits(b.shiftRight(key, b.i32(1)), b.i32(3)));
        Value bit = b.orBits(b.shiftLeft(b.shiftRight(key, b.i32(3)), b.i32(1)),
                             b.andBits(key, b.i32(1)));
        bit = b.andBits(bit, b.i32(31));
        SmallVector<Value> live;
        for (ArrayRef<Value> rowWords : words) {
          Value word = rowWords.front();
          for (auto [number, next] : llvm::enumerate(rowWords.drop_front()))
            word = b.select(
                b.compare(Predicate::slt, key,
                          b.i32(wordKeys * static_cast<int64_t>(number + 1))),
                word, next);
          Value shifted = b.andBits(
              b.shiftRight(b.shuffleFrom(word, source), bit), b.i32(1));
          live.push_back(b.compare(Predicate::ne, shifted, b.i32(0)));
        }
        SmallVector<Value> next(state);
        for (int64_t n = 0; n < numN; ++n) {
          Panel panel =
              *llvm::find_if(getPanels(right), [&](const Panel &panel) {
                return 8 * n < panel.column + panel.width;
              });
          // Columns 8 * n + 2 * t and the next lie in one word, or in two.
          Value first = b.add(columns, b.i32(8 * n - panel.column));
          Value address = shared.getElement(right.base, panel, key, first);
          SmallVector<Value, 2> columnWords, columnMarks;
          Value any;
          for (int64_t i = 0; i < 2 / pattern.elements; ++i) {
            Value word = b.load(b.i32Type, b.advance(address, 4 * i), 4);
            Value marks = markNonFinite(b, word, pattern);
            columnWords.append(pattern.elements, word);
            columnMarks.append(pattern.elements, marks);
            any = any ? b.orBits(any, marks) : marks;
          }
          // A branch around the sums of each block of columns keeps the few
          // values of one block in registers at a time.
          any = b.compare(Predicate::ne, getMarks(b, any, pattern), b.i32(0));
          Block *before = b.getInsertionBlock(), *adds = b.createBlockAfter();
          Block *after =
              b.createBlockAfter(SmallVector<Type>(2 * numRows, b.f32Type));
          b.setInsertionPointToStart(adds);
          SmallVector<Value> olds, news;
          SmallVector<Value *> places;
          for (int64_t c = 0; c < 2; ++c) {
            Value value = getNonFinite(b, columnWords[c], columnMarks[c],
                                       c == 1, elementType);
            for (int64_t row = 0; row < numRows; ++row) {
              Value &sum = next[((row / 2) * numN + n) * 4 + (row % 2) * 2 + c];
              places.push_back(&sum);
              olds.push_back(sum);
              news.push_back(LLVM::FAddOp::create(
                  b, sum,
                  getLive ? b.select(live[row], value, b.f32(0.0f)) : value));
            }
          }
          b.branch(after, news);
          b.setInsertionPointToEnd(before);
          LLVM::CondBrOp::create(b, any, adds, ValueRange(), after,
                                 ValueRange(olds));
          b.setInsertionPointToStart(after);
          for (auto [place, value] :
               llvm::zip_equal(places, after->getArguments()))
            *place = value;
        }
        return next;
      });
  b.barrier();
  buildClear(b, shared, right, pattern);
  if (right.panelWidth) // Read next by products of warpgroups.
    b.fenceAsyncShared();
  b.barrier();

  Block *merge = b.createBlockAfter(SmallVector<Type>(acc.size(), b.f32Type));
  b.branch(merge, sums);
  b.setInsertionPointToEnd(origin);
  LLVM::CondBrOp::create(b, found, rare, ValueRange(), merge, ValueRange(acc));
  b.setInsertionPointToStart(merge);
  llvm::copy(merge->getArguments(), acc.begin());
}
