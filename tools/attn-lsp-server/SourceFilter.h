//===- SourceFilter.h - mask clauses on their way to the language server ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_LSP_SOURCEFILTER_H
#define ATTN_TOOLS_LSP_SOURCEFILTER_H

#include <cstdio>
#include <map>
#include <string>

namespace mlir::attn {

/// Editors send documents in JSON messages. MLIR's server must see them as
/// `prepareSource` leaves them, so each opened document is kept here, every
/// edit is applied to it, and the server gets the whole text each time.
class SourceFilter {
public:
  /// The body of one message, as the server is to see it. What is not about a
  /// document's text passes unchanged.
  std::string filter(const std::string &body);

  /// Filters messages framed by `Content-Length` from `input` to `output` until
  /// the input ends.
  void run(std::FILE *input, std::FILE *output);

private:
  std::map<std::string, std::string> documents;
};

} // namespace mlir::attn

#endif // ATTN_TOOLS_LSP_SOURCEFILTER_H
