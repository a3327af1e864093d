//===- attn-mask.cpp - draws the masks of a file ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Concrete.h"
#include "attn/dialect/mask/Packing.h"
#include "attn/tools/attn-mask/Picture.h"
#include "attn/tools/support/Arguments.h"
#include "attn/tools/support/SourceFile.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllDialects.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"

using namespace mlir;
using namespace mlir::attn;
namespace cl = llvm::cl;

static cl::OptionCategory category("attn-mask options");
static cl::opt<std::string> input(cl::Positional, cl::desc("FILE.mlir"),
                                  cl::init("-"), cl::cat(category));
static cl::opt<std::string>
    entry("entry", cl::desc("Function to draw (default: the only one)"),
          cl::cat(category));
static cl::opt<std::string>
    shapes("args",
           cl::desc("Arguments in order: shapes such as 2x8x1000x64, integers "
                    "for indices; needed where the "
                    "function's types leave them open"),
           cl::value_desc("SHAPE,INTEGER,..."), cl::cat(category));
static cl::opt<std::string>
    tile("tile", cl::desc("Queries x keys of a tile (default: 128x64)"),
         cl::value_desc("MxN"), cl::init("128x64"), cl::cat(category));
static cl::opt<int64_t> head("head",
                             cl::desc("Query head to draw (default: 0)"),
                             cl::init(0), cl::cat(category));
static cl::opt<bool> pairs("pairs",
                           cl::desc("Draw the live pairs instead of the tiles"),
                           cl::cat(category));
static cl::opt<int64_t> width("width",
                              cl::desc("Cells across, at most (default: 64)"),
                              cl::init(64), cl::cat(category));

static FailureOr<SmallVector<ArgumentValue>>
getArguments(FunctionOpInterface function) {
  if (shapes.empty()) {
    FailureOr<SmallVector<ArgumentValue>> arguments =
        getStaticArguments(function);
    if (failed(arguments))
      return function.emitError(
          "the types of the arguments do not say everything; give shapes and "
          "values with --args");
    return arguments;
  }
  llvm::Expected<std::vector<ArgumentSpec>> specs = parseArgumentSpecs(shapes);
  if (!specs) {
    llvm::errs() << "error: --args: " << llvm::toString(specs.takeError())
                 << "\n";
    return failure();
  }
  SmallVector<ArgumentValue> arguments;
  for (const ArgumentSpec &spec : *specs) {
    ArgumentValue &value = arguments.emplace_back();
    if (spec.isInteger)
      value.elements = {spec.integer};
    else
      value.shape.assign(spec.shape.begin(), spec.shape.end());
  }
  return arguments;
}

static LogicalResult draw(MLIRContext &context) {
  FailureOr<std::unique_ptr<SourceFile>> file =
      SourceFile::load(input, &context);
  if (failed(file))
    return failure();
  FailureOr<FunctionOpInterface> function = (*file)->getEntry(entry);
  if (failed(function))
    return failure();
  llvm::Expected<ArgumentSpec> tileSpec = parseArgumentSpec(tile);
  if (!tileSpec || tileSpec->shape.size() != 2 || tileSpec->shape[0] < 1 ||
      tileSpec->shape[1] < 1) {
    llvm::consumeError(tileSpec.takeError());
    llvm::errs()
        << "error: --tile: expected queries x keys, such as 128x64, found '"
        << tile << "'\n";
    return failure();
  }
  if (width < 1) {
    llvm::errs() << "error: --width: expected at least 1, found " << width
                 << "\n";
    return failure();
  }
  FailureOr<SmallVector<ArgumentValue>> arguments = getArguments(*function);
  if (failed(arguments))
    return failure();
  FailureOr<SmallVector<ConcreteAttention>> attentions =
      bindArguments(*function, *arguments);
  if (failed(attentions))
    return failure();
  for (const ConcreteAttention &attention : *attentions) {
    if (head < 0 || head >= attention.queryHeads)
      return attention.op->emitError("--head: expected 0 to ")
             << attention.queryHeads - 1 << ", found "
             << static_cast<int64_t>(head);
    if (attention.batches == 0)
      return attention.op->emitError("there is no batch to draw");
    PictureOptions options;
    options.queries = attention.queries;
    options.keys = attention.keys;
    options.rowsPerTile = tileSpec->shape[0];
    options.keysPerTile = tileSpec->shape[1];
    options.columns = width;
    options.rows = width / 2 + 1;
    options.color = llvm::outs().has_colors();
    AttentionOp op = attention.op;
    llvm::outs() << (*function).getName() << ": ";
    op.getMask().printExpression(
        llvm::outs(),
        [&](const MaskBound &bound) {
          if (bound.isData())
            llvm::outs() << 't' << bound.getData();
          else
            llvm::outs() << attention.symbols[bound.getSymbol()];
        },
        /*quoteSets=*/false);
    llvm::outs() << ", " << attention.queries << " queries x " << attention.keys
                 << " keys, head " << head << "\n";
    MaskProblem mask = attention.getMask(0, head);
    if (pairs) {
      drawPairs(llvm::outs(), mask, options);
      continue;
    }
    drawTiles(llvm::outs(), mask, options);
    int64_t modulus = getModulus(
        getPackings(op, options.rowsPerTile, options.keysPerTile), head);
    if (modulus == 1)
      continue;
    MaskProblem::TileCounts counts = countPackedTiles(
        attention.getClosedMask(0), modulus, attention.symbols,
        attention.firstHead + head, attention.queries, attention.keys,
        attention.offsets[0], options.rowsPerTile, options.keysPerTile);
    llvm::outs() << "  runs as " << modulus << " residue classes: full "
                 << counts.full << "  partial " << counts.partial << "  empty "
                 << counts.empty << " of " << counts.total << " tiles";
    if (counts.executedPairs > 0)
      llvm::outs() << ", executed " << counts.executedPairs
                   << llvm::format(", useful %.1f %%",
                                   100.0 * double(mask.countLivePairs()) /
                                       double(counts.executedPairs));
    llvm::outs() << "\n";
  }
  return success();
}

int main(int argc, char **argv) {
  llvm::InitLLVM y(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "draws the masks of a function's attention ops and the classes of their "
      "tiles\n\n"
      "  attn-mask FILE.mlir --args=1x8x1000x64,1x2x1000x64,1x2x1000x64,128\n");
  DialectRegistry registry;
  registerAllDialects(registry);
  registry.insert<AttnDialect>();
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  return failed(draw(context)) ? 1 : 0;
}
