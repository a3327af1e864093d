//===- LowerBits.cpp - whether a tile of bits has one that is set ---------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/KernelLowering.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

using Predicate = LLVM::ICmpPredicate;

namespace {

/// The threads of a block look at a tile together. Rows and columns that do
/// not exist are read as the last ones, which answers the same question; where
/// there are none, nothing is read.
class BitReader {
public:
  BitReader(KernelBuilder &b, AnyBitOp op, const GlobalArray &bits,
            Value column)
      : b(b), wanted(op.getValue()) {
    auto type = cast<MemRefType>(op.getBits().getType());
    bool hasRows = type.getDimSize(2) != 1,
         hasColumns = type.getDimSize(3) != 1;
    rows = hasRows ? b.shape.rows : 1;
    columns = hasColumns ? op.getCount() : 1;
    rowStride = bits.strides[2];
    base = hasColumns ? b.advance(bits.base, column) : bits.base;
    Value left = hasColumns ? b.sub(bits.sizes[3], column) : b.i64(1);
    lastRow = b.narrow(b.sub(bits.sizes[2], b.i64(1)));
    lastColumn = b.narrow(b.minSigned(left, b.i64(columns)));
    isWhole = b.compare(Predicate::eq, lastColumn, b.i32(columns));
    lastColumn = b.sub(lastColumn, b.i32(1));
    // Neither is negative.
    exists = b.compare(Predicate::sge, b.orBits(lastRow, lastColumn), b.i32(0));
  }

  /// Words of the answer: not 0 in some thread if there is such a bit.
  Value read() {
    Value none = b.i32(0);
    if (columns % kWideBytes != 0)
      return b.choose(exists, [&] { return readBytes(); }, none);
    Value start = LLVM::PtrToIntOp::create(b, b.i64Type, base);
    Value rest = b.andBits(b.orBits(start, rowStride), b.i64(kWideBytes - 1));
    Value isAligned = b.compare(Predicate::eq, rest, b.i64(0));
    Value isWide = b.andBits(b.andBits(isWhole, isAligned), exists);
    Value wide = b.choose(isWide, [&] { return readWide(); }, none);
    Value isNarrow =
        b.andBits(b.xorBits(isWide, b.constant(b.i1Type, 1)), exists);
    return b.choose(isNarrow, [&] { return readBytes(); }, wide);
  }

private:
  static constexpr int64_t kWideBytes = 16;

  /// All loads of a tile at once: they wait for each other otherwise.
  Value readWide() {
    int64_t chunks = columns / kWideBytes, threads = b.shape.getThreads();
    Type words = VectorType::get({4}, b.i32Type);
    SmallVector<Value> loaded;
    for (int64_t from = 0; from < rows * chunks; from += threads) {
      Value place = b.add(b.hide(b.thread), b.i32(from));
      Value chunk = LLVM::URemOp::create(b, place, b.i32(chunks));
      loaded.push_back(b.loadConstant(
          words,
          b.advance(getRow(LLVM::UDivOp::create(b, place, b.i32(chunks))),
                    b.widen(b.mul(chunk, b.i32(kWideBytes)))),
          kWideBytes));
    }
    Value found = b.i32(0);
    for (Value vector : loaded)
      for (int64_t word = 0; word < 4; ++word)
        found = b.orBits(
            found, ask(LLVM::ExtractElementOp::create(b, vector, b.i32(word))));
    return found;
  }

  Value readBytes() {
    constexpr int64_t inFlight = 8;
    int64_t threads = b.shape.getThreads();
    auto step = [&](Value first, ValueRange state) -> SmallVector<Value> {
      SmallVector<Value> loaded;
      for (int64_t n = 0; n < inFlight; ++n) {
        Value place = b.add(b.add(first, b.thread), b.i32(n * threads));
        Value column = b.minSigned(
            LLVM::URemOp::create(b, place, b.i32(columns)), lastColumn);
        Value row = LLVM::UDivOp::create(b, place, b.i32(columns));
        loaded.push_back(b.loadConstant(
            b.getI8Type(), b.advance(getRow(row), b.widen(column)), 1));
      }
      Value found = state[0];
      for (Value byte : loaded)
        // The other bytes of the word are such that nobody finds them.
        found = b.orBits(
            found, ask(b.orBits(LLVM::ZExtOp::create(b, b.i32Type, byte),
                                b.i32(wanted ? 0 : int32_t(0xFFFFFF00)))));
      return {found};
    };
    return b.loop(b.i32(0), b.i32(rows * columns), b.i32(inFlight * threads),
                  b.i32(0), step)[0];
  }

  Value getRow(Value row) {
    return b.advance(base,
                     b.mul(b.widen(b.minSigned(row, lastRow)), rowStride));
  }

  /// Not 0 if one of the bytes of a word is not 0, or else is 0.
  Value ask(Value word) {
    if (wanted)
      return word;
    Value below = b.sub(word, b.i32(0x01010101));
    return b.andBits(b.andBits(below, b.xorBits(word, b.i32(-1))),
                     b.i32(int32_t(0x80808080)));
  }

  KernelBuilder &b;
  bool wanted;
  /// Of a tile.
  int64_t rows, columns;
  Value base, rowStride, lastRow, lastColumn, isWhole, exists;
};

} // namespace

LogicalResult KernelLowering::lower(AnyBitOp op) {
  auto bits = arrays.find(op.getBits());
  if (bits == arrays.end())
    return op.emitOpError("expected bits that are an argument or a slice");
  Value found =
      BitReader(b, op, bits->second, getScalar(op.getColumn())).read();
  scalars[op.getResult()] =
      b.barrierOr(b.compare(Predicate::ne, found, b.i32(0)));
  return success();
}
