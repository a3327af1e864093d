//===- SourceFilter.cpp - see SourceFilter.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/attn-lsp-server/SourceFilter.h"

#include "attn/dialect/Source.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/LSP/Protocol.h"

#include <cstdlib>
#include <cstring>

using namespace llvm;

std::string mlir::attn::SourceFilter::filter(const std::string &body) {
  Expected<json::Value> message = json::parse(body);
  if (!message) {
    consumeError(message.takeError());
    return body;
  }
  json::Object *object = message->getAsObject();
  std::optional<StringRef> method =
      object ? object->getString("method") : std::nullopt;
  json::Object *params = object ? object->getObject("params") : nullptr;
  json::Object *document = params ? params->getObject("textDocument") : nullptr;
  std::optional<StringRef> uri =
      document ? document->getString("uri") : std::nullopt;
  if (!method || !uri)
    return body;

  if (*method == "textDocument/didOpen") {
    std::string &text = documents[uri->str()];
    text = document->getString("text").value_or("").str();
    (*document)["text"] = prepareSource(text);
  } else if (*method == "textDocument/didChange") {
    std::vector<lsp::TextDocumentContentChangeEvent> changes;
    json::Path::Root root;
    std::string &text = documents[uri->str()];
    if (!json::fromJSON(*params->get("contentChanges"), changes, root) ||
        failed(lsp::TextDocumentContentChangeEvent::applyTo(changes, text)))
      return body;
    (*params)["contentChanges"] =
        json::Array{json::Object{{"text", prepareSource(text)}}};
  } else if (*method == "textDocument/didClose") {
    documents.erase(uri->str());
    return body;
  } else {
    return body;
  }
  return formatv("{0}", *message).str();
}

void mlir::attn::SourceFilter::run(std::FILE *input, std::FILE *output) {
  size_t length = 0;
  char line[1024];
  while (std::fgets(line, sizeof line, input)) {
    constexpr char field[] = "Content-Length:";
    if (std::strncmp(line, field, sizeof field - 1) == 0) {
      length = std::strtoull(line + sizeof field - 1, nullptr, 10);
      continue;
    }
    if (std::strcmp(line, "\r\n") != 0 && std::strcmp(line, "\n") != 0)
      continue; // another header field
    std::string body(length, '\0');
    if (std::fread(body.data(), 1, length, input) != length)
      return;
    body = filter(body);
    std::fprintf(output, "Content-Length: %zu\r\n\r\n", body.size());
    std::fwrite(body.data(), 1, body.size(), output);
    std::fflush(output);
    length = 0;
  }
}
