//===- attn-lsp-server.cpp - MLIR's language server with the attn dialect ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Attn.h"
#include "attn/tools/attn-lsp-server/SourceFilter.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

#include <thread>
#include <unistd.h>

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlir::attn::AttnDialect>();

  // The server reads stdin itself: give it the read end of a pipe that the
  // filter fills.
  int ends[2];
  std::FILE *client = ::fdopen(::dup(STDIN_FILENO), "r");
  if (!client || ::pipe(ends) != 0 || ::dup2(ends[0], STDIN_FILENO) < 0) {
    std::perror("attn-lsp-server");
    return 1;
  }
  std::FILE *server = ::fdopen(ends[1], "w");
  std::thread([client, server] {
    mlir::attn::SourceFilter().run(client, server);
    std::fclose(server);
  }).detach();
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry)) ? 1 : 0;
}
