//===- Ptxas.cpp - what ptxas makes of emitted PTX ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Ptxas.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace mlir::attn::nvptx;

std::optional<std::string> mlir::attn::nvptx::findPtxas() {
  if (ErrorOr<std::string> found = sys::findProgramByName("ptxas"))
    return *found;
  std::optional<std::string> home = sys::Process::GetEnv("CUDA_HOME");
  if (!home)
    return std::nullopt;
  SmallString<128> path(*home);
  sys::path::append(path, "bin", "ptxas");
  return sys::fs::can_execute(path) ? std::optional(path.str().str()) : std::nullopt;
}

/// The number before `unit` in `line`, 0 if there is none.
static int64_t getNumberBefore(StringRef line, StringRef unit) {
  size_t end = line.find(unit);
  if (end == StringRef::npos)
    return 0;
  int64_t number = 0;
  line.take_front(end).rtrim().rsplit(' ').second.getAsInteger(10, number);
  return number;
}

static std::vector<PtxasReport> parse(StringRef text) {
  std::vector<PtxasReport> reports;
  std::vector<std::string> general;
  SmallVector<StringRef> lines;
  text.split(lines, '\n');
  for (StringRef line : lines) {
    if (line.contains("Compiling entry function '")) {
      reports.emplace_back().entry = line.split('\'').second.split('\'').first.str();
    } else if (line.contains("warning") || line.contains("(C75")) {
      (reports.empty() ? general : reports.back().warnings).push_back(line.str());
    } else if (!reports.empty()) {
      PtxasReport &report = reports.back();
      if (line.contains("bytes stack frame")) {
        report.stackBytes = getNumberBefore(line, " bytes stack frame");
        report.spillStores = getNumberBefore(line, " bytes spill stores");
        report.spillLoads = getNumberBefore(line, " bytes spill loads");
      } else if (line.contains("Used ")) {
        report.registers = getNumberBefore(line, " registers");
      }
    }
  }
  for (PtxasReport &report : reports)
    report.warnings.insert(report.warnings.end(), general.begin(), general.end());
  return reports;
}

std::optional<std::vector<PtxasReport>> mlir::attn::nvptx::assemble(StringRef ptx, StringRef target,
                                                                    std::string *error) {
  auto fail = [&](const Twine &message) {
    if (error)
      *error = message.str();
    return std::nullopt;
  };
  std::optional<std::string> ptxas = findPtxas();
  if (!ptxas)
    return fail("no ptxas in PATH or CUDA_HOME");
  SmallString<128> input, log, output;
  int descriptor;
  if (sys::fs::createTemporaryFile("attn", "ptx", descriptor, input))
    return fail("cannot create a temporary file");
  FileRemover removeInput(input);
  {
    raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream << ptx;
  }
  if (sys::fs::createTemporaryFile("attn", "log", log) || sys::fs::createTemporaryFile("attn", "cubin", output))
    return fail("cannot create a temporary file");
  FileRemover removeLog(log), removeOutput(output);
  std::string architecture = ("-arch=" + target).str();
  StringRef arguments[] = {*ptxas, "-v", architecture, input, "-o", output};
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(log), StringRef(log)};
  std::string message;
  int status = sys::ExecuteAndWait(*ptxas, arguments, /*Env=*/std::nullopt, redirects, /*SecondsToWait=*/0,
                                   /*MemoryLimit=*/0, &message);
  ErrorOr<std::unique_ptr<MemoryBuffer>> text = MemoryBuffer::getFile(log);
  StringRef said = text ? (*text)->getBuffer() : StringRef(message);
  if (status != 0)
    return fail(said);
  return parse(said);
}
