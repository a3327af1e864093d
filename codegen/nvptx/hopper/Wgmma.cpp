//===- Wgmma.cpp - products of a warpgroup ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/hopper/Wgmma.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

/// The descriptor of a tile in panels that starts at `base`. Bits 13-0 hold its
/// address, 29-16 how far apart its panels are along the contiguous dimension,
/// 45-32 how far apart groups of 8 rows are, all in units of 16 bytes, and
/// 63-62 the swizzle.
static Value buildDescriptor(KernelBuilder &b, Value base,
                             const SharedTile &tile) {
  int64_t rowBytes = 2 * tile.panelWidth, panelBytes = tile.rows * rowBytes;
  uint64_t fixed = static_cast<uint64_t>(panelBytes >> 4) << 16 |
                   static_cast<uint64_t>(8 * rowBytes >> 4) << 32 |
                   static_cast<uint64_t>(rowBytes == 128 ? 1 : 2) << 62;
  Value address = LLVM::PtrToIntOp::create(b, b.i32Type, base);
  address = b.andBits(b.shiftRight(address, b.i32(4)), b.i32(0x3FFF));
  return b.orBits(b.widen(address), b.i64(static_cast<int64_t>(fixed)));
}

/// What instruction number `step` adds to a descriptor, in units of 16 bytes:
/// 16 columns further, or 16 rows where the rows are the depth.
static int64_t getAdvance(const SharedTile &tile, int64_t step,
                          bool depthIsRows) {
  int64_t width = tile.panelWidth, column = 16 * step;
  int64_t bytes =
      depthIsRows ? 16 * step * 2 * width
                  : column / width * tile.rows * 2 * width + column % width * 2;
  return bytes / 16;
}

static LLVM::InlineAsmOp buildAsm(KernelBuilder &b, Type result,
                                  ValueRange operands, StringRef text,
                                  StringRef constraints) {
  return LLVM::InlineAsmOp::create(
      b, result, operands, text, constraints, /*has_side_effects=*/true,
      /*is_align_stack=*/false, LLVM::TailCallKind::None,
      LLVM::AsmDialectAttr::get(b.getContext(), LLVM::AsmDialect::AD_ATT),
      ArrayAttr());
}

static Type getStruct(KernelBuilder &b, size_t count) {
  return LLVM::LLVMStructType::getLiteral(b.getContext(),
                                          SmallVector<Type>(count, b.f32Type));
}

static SmallVector<Value> unpack(KernelBuilder &b, Value packed, size_t count) {
  SmallVector<Value> values;
  for (size_t i = 0; i < count; ++i)
    values.push_back(
        LLVM::ExtractValueOp::create(b, packed, static_cast<int64_t>(i)));
  return values;
}

/// `$first, $first+1, ...` in braces.
static std::string listOperands(size_t first, size_t count) {
  std::string text = "{";
  for (size_t i = 0; i < count; ++i)
    text += (i ? ", $" : "$") + std::to_string(first + i);
  return text + "}";
}

// One piece of text for the whole product: nothing can come between its
// instructions, and its accumulators stay in the same registers.
SmallVector<Value> nvptx::issueProduct(KernelBuilder &b,
                                       const WarpgroupProduct &product,
                                       ArrayRef<Value> acc, int64_t &count) {
  size_t numAcc = product.n / 2;
  int64_t steps = product.depth / 16;
  bool inRegisters = !product.left.empty();
  std::string type = product.elementType.isBF16() ? "bf16" : "f16";
  std::string mnemonic = "wgmma.mma_async.sync.aligned.m64n" +
                         std::to_string(product.n) + "k16.f32." + type + "." +
                         type + " ";

  SmallVector<Value> operands(acc);
  std::string constraints;
  for (size_t i = 0; i < numAcc; ++i)
    constraints += i ? ",=f" : "=f";
  for (size_t i = 0; i < acc.size(); ++i)
    constraints += "," + std::to_string(i);
  size_t firstLeft = numAcc + acc.size();
  if (inRegisters) {
    for (Value value : product.left) {
      operands.push_back(value);
      constraints += ",r";
    }
  } else {
    operands.push_back(buildDescriptor(b, product.leftBase, product.leftTile));
    constraints += ",l";
  }
  size_t right = numAcc + operands.size();
  operands.push_back(buildDescriptor(b, product.rightBase, product.rightTile));
  constraints += ",l,~{memory}";

  std::string text = "{\n\t.reg .pred more;\n\t.reg .b64 left, right;\n"
                     "\twgmma.fence.sync.aligned;\n";
  for (int64_t step = 0; step < steps; ++step) {
    // The descriptor of this step: the operand itself at first.
    auto advance = [&](const char *name, size_t operand, const SharedTile &tile,
                       bool depthIsRows) -> std::string {
      std::string given = "$" + std::to_string(operand);
      int64_t distance = getAdvance(tile, step, depthIsRows);
      if (distance == 0)
        return given;
      text += std::string("\tadd.s64 ") + name + ", " + given + ", " +
              std::to_string(distance) + ";\n";
      return name;
    };
    std::string left =
        inRegisters ? listOperands(firstLeft + 4 * step, 4)
                    : advance("left", firstLeft, product.leftTile, false);
    std::string rightName =
        advance("right", right, product.rightTile, product.transposed);
    if (step < 2)
      text += std::string("\tsetp.ne.b32 more, ") +
              (step == 0 && acc.empty() ? "0" : "1") + ", 0;\n";
    text += "\t" + mnemonic + listOperands(0, numAcc) + ", " + left + ", " +
            rightName + ", more, 1, 1, " + (inRegisters ? "" : "0, ") +
            (product.transposed ? "1" : "0") + ";\n";
  }
  text += "\twgmma.commit_group.sync.aligned;\n\t}";
  count += steps;
  Value packed = buildAsm(b, getStruct(b, numAcc), operands, text, constraints)
                     .getResult(0);
  return unpack(b, packed, numAcc);
}

SmallVector<Value> nvptx::waitForProducts(KernelBuilder &b, int64_t pending,
                                          ArrayRef<Value> values) {
  std::string constraints;
  for (size_t i = 0; i < values.size(); ++i)
    constraints += i ? ",=f" : "=f";
  for (size_t i = 0; i < values.size(); ++i)
    constraints += "," + std::to_string(i);
  constraints += ",~{memory}";
  std::string text =
      "wgmma.wait_group.sync.aligned " + std::to_string(pending) + ";";
  Value packed =
      buildAsm(b, getStruct(b, values.size()), values, text, constraints)
          .getResult(0);
  return unpack(b, packed, values.size());
}
