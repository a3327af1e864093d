//===- Svg.cpp - see Svg.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/attn-mask/Svg.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir::attn;
using llvm::divideCeil;

namespace {

constexpr int64_t mostCells = 256;
// In pixels.
constexpr double panelSize = 256, gap = 28, headingHeight = 30,
                 titleHeight = 22, captionHeight = 24;

constexpr const char *style = R"(<style>
  text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1f2937 }
  .heading { font: 600 14px ui-monospace, monospace }
  .caption { font-size: 11px; fill: #4b5563 }
  .page { fill: #ffffff } .back { fill: #f1f3f5 }
  .full { fill: #0f766e } .some { fill: #7fb8b2 } .partial { fill: #f59e0b }
  .tile, .empty, .frame { vector-effect: non-scaling-stroke }
  .tile { stroke: #ffffff; stroke-width: 0.7 }
  .empty { fill: none; stroke: #d5dae0; stroke-width: 0.5 }
  .frame { fill: none; stroke: #9ca3af }
</style>
)";

std::string escape(llvm::StringRef text) {
  std::string result;
  for (char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else
      result += c;
  }
  return result;
}

/// The rectangles of one class as one path, in pairs.
struct Path {
  std::string data;

  void add(int64_t x, int64_t y, int64_t width, int64_t height) {
    llvm::raw_string_ostream(data) << 'M' << x << ' ' << y << 'h' << width
                                   << 'v' << height << 'h' << -width << 'z';
  }
  void draw(llvm::raw_ostream &os, llvm::StringRef name) const {
    if (!data.empty())
      os << "<path class=\"" << name << "\" d=\"" << data << "\"/>\n";
  }
};

class PanelWriter {
public:
  PanelWriter(llvm::raw_ostream &os, const SvgPanel &panel, double x, double y)
      : os(os), panel(panel), x(x), y(y) {}

  void draw() {
    os << "<text x=\"" << x << "\" y=\"" << y + 14 << "\">"
       << escape(panel.title) << "</text>\n";
    y += titleHeight;
    double scale =
        panelSize / double(std::max<int64_t>({panel.rows, panel.columns, 1}));
    os << llvm::format("<g transform=\"translate(%g %g) scale(%.6g)\">\n", x, y,
                       scale);
    drawFrame("back");
    for (const PlacedGrid &grid : panel.grids)
      addGrid(grid);
    bool tiles = panel.rowsPerTile;
    empty.draw(os, "empty");
    partial.draw(os, tiles ? "partial tile" : "some");
    full.draw(os, tiles ? "full tile" : "full");
    drawFrame("frame");
    os << "</g>\n<text class=\"caption\" x=\"" << x << "\" y=\""
       << y + panelSize + 16 << "\">" << escape(panel.caption) << "</text>\n";
  }

private:
  void drawFrame(llvm::StringRef name) {
    os << "<rect class=\"" << name << "\" width=\"" << panel.columns
       << "\" height=\"" << panel.rows << "\"/>\n";
  }

  /// Neighbouring cells of one class in a row become one rectangle, except that
  /// tiles stay apart.
  void addGrid(const PlacedGrid &grid) {
    int64_t down = std::max<int64_t>(panel.rowsPerTile, 1);
    int64_t across = std::max<int64_t>(panel.keysPerTile, 1);
    down *= divideCeil(divideCeil(panel.rows, down), mostCells);
    across *= divideCeil(divideCeil(panel.columns, across), mostCells);
    for (int64_t i = 0; i < grid.queries; i += down) {
      int64_t lastRow = std::min(i + down, grid.queries);
      for (int64_t j = 0; j < grid.keys;) {
        int64_t last = std::min(j + across, grid.keys);
        TileClass kind = grid.mask->classify(i, lastRow, j, last);
        while (!panel.rowsPerTile && last < grid.keys &&
               grid.mask->classify(i, lastRow, last,
                                   std::min(last + across, grid.keys)) == kind)
          last = std::min(last + across, grid.keys);
        Path *path = kind == TileClass::Full      ? &full
                     : kind == TileClass::Partial ? &partial
                     : panel.rowsPerTile          ? &empty
                                                  : nullptr;
        if (path)
          path->add(grid.column + j, grid.row + i, last - j, lastRow - i);
        j = last;
      }
    }
  }

  llvm::raw_ostream &os;
  const SvgPanel &panel;
  double x, y;
  Path full, partial, empty;
};

} // namespace

void mlir::attn::drawSvg(llvm::raw_ostream &os, llvm::ArrayRef<SvgRow> rows) {
  size_t most = 1;
  for (const SvgRow &row : rows)
    most = std::max(most, row.panels.size());
  double rowHeight =
      headingHeight + titleHeight + panelSize + captionHeight + gap / 2;
  double width = gap + double(most) * (panelSize + gap);
  double height = gap / 2 + double(rows.size()) * rowHeight;
  os << llvm::format("<svg xmlns=\"http://www.w3.org/2000/svg\" "
                     "viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\">\n",
                     width, height, width, height)
     << style << "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n";
  double y = gap / 2;
  for (const SvgRow &row : rows) {
    os << "<text class=\"heading\" x=\"" << gap << "\" y=\"" << y + 16 << "\">"
       << escape(row.heading) << "</text>\n";
    double x = gap;
    for (const SvgPanel &panel : row.panels) {
      PanelWriter(os, panel, x, y + headingHeight).draw();
      x += panelSize + gap;
    }
    y += rowHeight;
  }
  os << "</svg>\n";
}
