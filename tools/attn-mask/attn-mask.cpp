//===- attn-mask.cpp - draws the masks of a file ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/ShapeNames.h"
#include "attn/dialect/Concrete.h"
#include "attn/dialect/mask/Columns.h"
#include "attn/dialect/mask/MaskData.h"
#include "attn/dialect/mask/Packing.h"
#include "attn/runtime/core/Npy.h"
#include "attn/tools/attn-mask/MaskGrid.h"
#include "attn/tools/attn-mask/Picture.h"
#include "attn/tools/attn-mask/Svg.h"
#include "attn/tools/support/Arguments.h"
#include "attn/tools/support/Compile.h"
#include "attn/tools/support/SourceFile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileUtilities.h"
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
static cl::list<std::string> inputs(
    "input",
    cl::desc("Values of a tensor of integers, which blocks and bits are drawn "
             "with: NAME is what manifests call it (lengths, row_ptr, ...), or "
             "the number of the argument, from 0"),
    cl::value_desc("NAME=FILE.npy"), cl::cat(category));
static cl::opt<std::string>
    tile("tile",
         cl::desc("Queries x keys of a tile (default: those of the schedule "
                  "that the kernel gets on the target)"),
         cl::value_desc("MxN"), cl::cat(category));
static cl::opt<std::string>
    target("target", cl::desc("sm_80 and newer, or host (default: sm_80)"),
           cl::init("sm_80"), cl::cat(category));
static cl::opt<int64_t> head("head",
                             cl::desc("Query head to draw (default: 0)"),
                             cl::init(0), cl::cat(category));
static cl::opt<bool> pairs("pairs",
                           cl::desc("Draw the live pairs instead of the tiles"),
                           cl::cat(category));
static cl::opt<std::string>
    output("o",
           cl::desc("Write an SVG picture of the live pairs and of the tiles, "
                    "as they are and packed, instead of text"),
           cl::value_desc("mask.svg"), cl::cat(category));
static cl::opt<int64_t> width("width",
                              cl::desc("Cells across, at most (default: 64)"),
                              cl::init(64), cl::cat(category));

static LogicalResult fail(const llvm::Twine &message) {
  llvm::errs() << "error: " << message << "\n";
  return failure();
}

/// The integers of a file.
static FailureOr<ArgumentValue> readIntegers(const std::string &path) {
  ::attn::Result<::attn::NpyArray> array = ::attn::readNpy(path);
  if (!array)
    return fail("--input: " + array.error().message);
  ::attn::Result<std::string> bytes =
      ::attn::convertNpy(*array, ::attn::ElementType::I64);
  if (!bytes)
    return fail("--input: " + path + ": " + bytes.error().message);
  ArgumentValue value;
  value.shape.assign(array->shape.begin(), array->shape.end());
  value.elements.resize(bytes->size() / sizeof(int64_t));
  std::memcpy(value.elements.data(), bytes->data(), bytes->size());
  return value;
}

/// The values of --input, by number of the argument.
static FailureOr<std::map<unsigned, ArgumentValue>>
readInputs(FunctionOpInterface function) {
  std::map<unsigned, ArgumentValue> values;
  if (inputs.empty())
    return values;
  nvptx::ShapeNames shapeNames(cast<func::FuncOp>(function.getOperation()));
  SmallVector<std::string> names;
  for (BlockArgument argument : function.getArguments())
    names.push_back(shapeNames.getName(
        argument, isa<ShapedType>(argument.getType()) ? "arg" : "scalar"));
  for (StringRef text : inputs) {
    auto [name, path] = text.split('=');
    unsigned number = llvm::find(names, name) - names.begin();
    if ((number == names.size() && name.getAsInteger(10, number)) ||
        number >= names.size() || path.empty())
      return fail("--input: expected NAME=FILE.npy with NAME one of " +
                  llvm::join(names, ", ") + ", or a number below " +
                  llvm::Twine(names.size()) + "; found '" + text + "'");
    auto type =
        dyn_cast<RankedTensorType>(function.getArgument(number).getType());
    if (!type || !type.getElementType().isInteger())
      return fail("--input: expected '" + name +
                  "' to be a tensor of integers");
    FailureOr<ArgumentValue> value = readIntegers(path.str());
    if (failed(value))
      return failure();
    values[number] = std::move(*value);
  }
  return values;
}

static FailureOr<SmallVector<ArgumentValue>>
getArguments(FunctionOpInterface function) {
  FailureOr<std::map<unsigned, ArgumentValue>> given = readInputs(function);
  if (failed(given))
    return failure();
  if (shapes.empty()) {
    FailureOr<SmallVector<ArgumentValue>> arguments =
        getStaticArguments(function, *given);
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
  for (auto &[number, value] : *given)
    if (number < arguments.size())
      arguments[number] = value;
  return arguments;
}

/// The whole mask of one op, for the head that is drawn.
struct Drawn {
  const ConcreteAttention &attention;
  std::string heading;
  std::shared_ptr<MaskGrid> mask;
  PictureOptions options;
  Packing packing;
};

static std::string describe(const MaskGrid &mask,
                            const MaskProblem::TileCounts &counts) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "full " << counts.full << "  partial " << counts.partial << "  empty "
     << counts.empty << " of " << counts.total << " tiles";
  if (counts.executedPairs > 0)
    os << llvm::format(", useful %.1f %%", 100.0 *
                                               double(mask.countLivePairs()) /
                                               double(counts.executedPairs));
  return text;
}

/// The number of keys, where it stands in the types.
static std::optional<int64_t> getKnownKeys(AttentionOp op) {
  auto type = cast<RankedTensorType>(op.getK().getType());
  return type.isDynamicDim(2) ? std::nullopt
                              : std::optional(type.getDimSize(2));
}

static MaskProblem::TileCounts countPacked(const Drawn &drawn,
                                           ArrayRef<PackedPart> parts) {
  const ConcreteAttention &attention = drawn.attention;
  return countPackedTiles(parts, attention.symbols, attention.firstHead + head,
                          attention.queries, attention.keys,
                          attention.offsets[0], drawn.options.rowsPerTile,
                          drawn.options.keysPerTile, getKnownKeys(attention.op),
                          keepsKeysInOrder(attention.op));
}

/// One class of the part: the residue is one more symbol after those of the op.
static MaskAttr getClassMask(const Drawn &drawn, const PackedPart &part) {
  if (part.modulus == 1)
    return part.mask;
  return getResidueClass(part.mask, part.modulus,
                         MaskBound::symbol(drawn.attention.symbols.size()));
}

static SmallVector<Segment, 1> getClassSegments(const Drawn &drawn,
                                                const PackedPart &part) {
  return getSegments(
      getClassMask(drawn, part), drawn.options.rowsPerTile,
      drawn.options.keysPerTile,
      getKnownClassKeys(part.modulus, getKnownKeys(drawn.attention.op)),
      keepsKeysInOrder(drawn.attention.op));
}

/// Whether what runs is not simply the tiles of the mask.
static bool isPacked(const Drawn &drawn) {
  return drawn.packing.isPacked() ||
         llvm::any_of(getClassSegments(drawn, drawn.packing.parts[0]),
                      [](const Segment &segment) {
                        return segment.columns.has_value();
                      });
}

static std::string describe(const Drawn &drawn, const PackedPart &part) {
  std::string text = part.modulus == 1 ? "as it is"
                                       : "as " + std::to_string(part.modulus) +
                                             " residue classes";
  for (const Segment &segment : getClassSegments(drawn, part))
    if (const std::optional<ColumnSet> &columns = segment.columns)
      text += ", keys with j mod " + std::to_string(columns->step) + " in " +
              std::to_string(columns->first) + " to " +
              std::to_string(columns->first + columns->count - 1) +
              " made adjacent";
  return text;
}

static void drawText(const Drawn &drawn) {
  llvm::outs() << drawn.heading << "\n";
  if (pairs) {
    drawPairs(llvm::outs(), *drawn.mask, drawn.options);
    return;
  }
  drawTiles(llvm::outs(), *drawn.mask, drawn.options);
  if (!isPacked(drawn))
    return;
  ArrayRef<PackedPart> parts = drawn.packing.parts;
  if (parts.size() > 1)
    for (const PackedPart &part : parts) {
      MaskProblem::TileCounts counts = countPacked(drawn, part);
      llvm::outs() << "  part " << part.mask.str() << " runs "
                   << describe(drawn, part) << ": full " << counts.full
                   << "  partial " << counts.partial << "\n";
    }
  llvm::outs() << "  runs "
               << (parts.size() > 1
                       ? "in " + std::to_string(parts.size()) + " parts"
                       : describe(drawn, parts.front()))
               << ": " << describe(*drawn.mask, countPacked(drawn, parts))
               << "\n";
}

static std::string getCaption(const MaskGrid &mask,
                              const MaskProblem::TileCounts &counts,
                              bool isWhole = true) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << counts.full + counts.partial << " of " << counts.total << " tiles run";
  if (counts.executedPairs > 0 && isWhole)
    os << llvm::format(", %.0f %% useful", 100.0 *
                                               double(mask.countLivePairs()) /
                                               double(counts.executedPairs));
  return text;
}

/// The classes along the diagonal: queries and keys in the order of their
/// residues.
static SvgPanel getPackedPanel(const Drawn &drawn, const PackedPart &part,
                               const Segment &segment) {
  const ConcreteAttention &attention = drawn.attention;
  SmallVector<int64_t> symbols(attention.symbols);
  symbols.push_back(0);
  SvgPanel panel;
  MaskAttr mask = segment.getLocalMask();
  if (part.modulus > 1)
    panel.title =
        "packed: " + std::to_string(part.modulus) + " classes of " + mask.str();
  else if (!segment.columns)
    panel.title = "part: " + mask.str();
  if (const std::optional<ColumnSet> &columns = segment.columns)
    panel.title = "made adjacent: keys " + std::to_string(columns->first) +
                  ".." + std::to_string(columns->first + columns->count - 1) +
                  " mod " + std::to_string(columns->step);
  panel.rows = 0, panel.columns = 0;
  panel.rowsPerTile = drawn.options.rowsPerTile;
  panel.keysPerTile = drawn.options.keysPerTile;
  MaskProblem::TileCounts sum;
  for (int64_t index = 0; index < std::min(part.modulus, attention.queries);
       ++index) {
    ResidueGrid grid = getResidueGrid(part.modulus, index, attention.queries,
                                      attention.keys, attention.offsets[0]);
    symbols.back() = grid.residue;
    int64_t numKeys = segment.countKeys(grid.numKeys);
    panel.grids.push_back(
        {makeSetGrid(mask, ArrayRef(symbols).take_front(mask.getNumSymbols()),
                     attention.firstHead + head, grid.numQueries, numKeys,
                     grid.offset),
         grid.numQueries, numKeys, panel.rows, panel.columns});
    panel.rows += grid.numQueries;
    panel.columns += numKeys;
    MaskProblem::TileCounts counts = panel.grids.back().mask->countTiles(
        panel.rowsPerTile, panel.keysPerTile);
    sum.full += counts.full;
    sum.partial += counts.partial;
    sum.total += counts.total;
    sum.executedPairs += counts.executedPairs;
  }
  bool isWhole = drawn.packing.parts.size() == 1 && !segment.columns &&
                 getClassSegments(drawn, part).size() == 1;
  panel.caption = getCaption(*drawn.mask, sum, isWhole);
  return panel;
}

static SvgRow getRow(const Drawn &drawn) {
  const ConcreteAttention &attention = drawn.attention;
  PlacedGrid whole{drawn.mask, attention.queries, attention.keys};
  std::string tileText = std::to_string(drawn.options.rowsPerTile) + " x " +
                         std::to_string(drawn.options.keysPerTile);
  SvgRow row{drawn.heading, {}};
  row.panels.push_back({"live pairs",
                        std::to_string(drawn.mask->countLivePairs()) + " pairs",
                        attention.queries,
                        attention.keys,
                        0,
                        0,
                        {whole}});
  row.panels.push_back({"tiles of " + tileText,
                        getCaption(*drawn.mask, drawn.mask->countTiles(
                                                    drawn.options.rowsPerTile,
                                                    drawn.options.keysPerTile)),
                        attention.queries,
                        attention.keys,
                        drawn.options.rowsPerTile,
                        drawn.options.keysPerTile,
                        {whole}});
  if (isPacked(drawn))
    for (const PackedPart &part : drawn.packing.parts)
      for (const Segment &segment : getClassSegments(drawn, part))
        row.panels.push_back(getPackedPanel(drawn, part, segment));
  return row;
}

static LogicalResult writeSvg(ArrayRef<SvgRow> rows) {
  // A reader sees the old picture or the new one, and an error leaves none.
  llvm::Error error =
      llvm::writeToOutput(output, [&](llvm::raw_ostream &os) -> llvm::Error {
        drawSvg(os, rows);
        return llvm::Error::success();
      });
  if (!error)
    return success();
  llvm::errs() << "error: -o: cannot write '" << output
               << "': " << llvm::toString(std::move(error)) << "\n";
  return failure();
}

/// Whether the values of all tensors of the mask are there.
static bool isKnown(const ConcreteAttention &attention) {
  return llvm::all_of(attention.maskData, [](const DataTensor &tensor) {
    return !tensor.elements.empty() || llvm::is_contained(tensor.shape, 0);
  });
}

/// What is no set that can be written out is drawn pair by pair.
static bool isDrawnByPairs(const ConcreteAttention &attention) {
  return attention.isAssumed() && isKnown(attention) &&
         attention.queries * attention.keys <= kMaxPairs;
}

static std::shared_ptr<MaskGrid> getGrid(const ConcreteAttention &attention) {
  return isDrawnByPairs(attention)
             ? makePairGrid(attention, 0, head)
             : makeSetGrid(attention.getClosedMask(0), attention.symbols,
                           attention.firstHead + head, attention.queries,
                           attention.keys, attention.offsets[0]);
}

static LogicalResult draw(MLIRContext &context) {
  FailureOr<std::unique_ptr<SourceFile>> file =
      SourceFile::load(input, &context);
  if (failed(file))
    return failure();
  FailureOr<FunctionOpInterface> function = (*file)->getEntry(entry);
  if (failed(function))
    return failure();
  std::optional<ArgumentSpec> tileSpec;
  if (tile.empty()) {
    if (!resolveTarget(target))
      return failure();
    PassManager manager(&context);
    addAssignSchedule(manager, target);
    if (failed(manager.run((*file)->getModule())))
      return failure();
  } else {
    llvm::Expected<ArgumentSpec> parsed = parseArgumentSpec(tile);
    if (!parsed || parsed->shape.size() != 2 || parsed->shape[0] < 1 ||
        parsed->shape[1] < 1) {
      llvm::consumeError(parsed.takeError());
      llvm::errs()
          << "error: --tile: expected queries x keys, such as 128x64, found '"
          << tile << "'\n";
      return failure();
    }
    tileSpec = *parsed;
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
  std::vector<SvgRow> rows;
  for (const ConcreteAttention &attention : *attentions) {
    AttentionOp op = attention.op;
    if (head < 0 || head >= attention.queryHeads)
      return op->emitError("--head: expected 0 to ")
             << attention.queryHeads - 1 << ", found "
             << static_cast<int64_t>(head);
    if (attention.batches == 0)
      return op->emitError("there is no batch to draw");
    PictureOptions options;
    options.queries = attention.queries;
    options.keys = attention.keys;
    options.rowsPerTile =
        tileSpec ? tileSpec->shape[0] : op.getScheduleAttr().getQueries();
    options.keysPerTile =
        tileSpec ? tileSpec->shape[1] : op.getScheduleAttr().getKvTile();
    options.columns = width;
    options.rows = width / 2 + 1;
    options.color = llvm::outs().has_colors();
    std::string heading;
    llvm::raw_string_ostream os(heading);
    os << (*function).getName() << ": ";
    op.getMask().printExpression(
        os,
        [&](const MaskBound &bound) {
          if (bound.isData())
            os << 't' << bound.getData();
          else
            os << attention.symbols[bound.getSymbol()];
        },
        /*quoteSets=*/false);
    os << ", " << attention.queries << " queries x " << attention.keys
       << " keys, head " << head;
    Drawn drawn{
        attention, heading, getGrid(attention), options,
        getPacking(getPackings(op, options.rowsPerTile, options.keysPerTile),
                   head)};
    // A mask with tensors runs in one part; here they have values.
    if (hasData(op.getMask()))
      drawn.packing.parts = {
          {attention.getClosedMask(0), drawn.packing.parts[0].modulus}};
    if (attention.isAssumed()) {
      // Nothing can be said of its classes as sets.
      drawn.packing.parts[0].modulus = 1;
      if (!isDrawnByPairs(attention)) {
        op.emitWarning("pairs that tensors of the mask decide are drawn as "
                       "live")
                .attachNote()
            << (isKnown(attention)
                    ? "there are more than 2^25 pairs"
                    : "give the tensors' values with --input=NAME=FILE.npy");
        drawn.heading += ", as if its tensors made every pair live";
      }
    }
    if (output.empty())
      drawText(drawn);
    else
      rows.push_back(getRow(drawn));
  }
  return output.empty() ? success() : writeSvg(rows);
}

int main(int argc, char **argv) {
  llvm::InitLLVM y(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "draws the masks of a function's attention ops and the classes of their "
      "tiles\n\n"
      "  attn-mask FILE.mlir --args=1x8x1000x64,1x2x1000x64,1x2x1000x64,128\n"
      "  attn-mask FILE.mlir --args=... --tile=16x16 -o mask.svg\n");
  DialectRegistry registry;
  registerAllDialects(registry);
  registry.insert<AttnDialect>();
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  return failed(draw(context)) ? 1 : 0;
}
