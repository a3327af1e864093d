//===- Ptxas.cpp - see Ptxas.h ----------------------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Ptxas.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>

using namespace llvm;
using mlir::attn::nvptx::PtxasReport;

static std::optional<std::string> findPtxas() {
  if (const char *path = std::getenv("ATTN_PTXAS"); path && *path)
    return std::string(path);
  if (const char *home = std::getenv("CUDA_HOME")) {
    SmallString<128> path(home);
    sys::path::append(path, "bin", "ptxas");
    if (sys::fs::can_execute(path))
      return path.str().str();
  }
  if (ErrorOr<std::string> path = sys::findProgramByName("ptxas"))
    return *path;
  return std::nullopt;
}

/// The number before `unit` in `line`, 0 if there is none.
static int64_t numberBefore(StringRef line, StringRef unit) {
  size_t at = line.find(unit);
  if (at == StringRef::npos)
    return 0;
  StringRef text = line.take_front(at).rtrim();
  size_t start = text.find_last_not_of("0123456789");
  int64_t value = 0;
  text.drop_front(start == StringRef::npos ? 0 : start + 1)
      .getAsInteger(10, value);
  return value;
}

static std::vector<PtxasReport> parseLog(StringRef log) {
  std::vector<PtxasReport> reports;
  SmallVector<StringRef> lines;
  log.split(lines, '\n');
  for (StringRef line : lines) {
    if (line.contains("Compiling entry function '")) {
      PtxasReport &report = reports.emplace_back();
      report.entry = line.split('\'').second.split('\'').first.str();
    } else if (!reports.empty()) {
      PtxasReport &report = reports.back();
      report.registers += numberBefore(line, " registers");
      report.stackBytes += numberBefore(line, " bytes stack frame");
      report.spillStores += numberBefore(line, " bytes spill stores");
      report.spillLoads += numberBefore(line, " bytes spill loads");
    }
  }
  // These notes stand anywhere, and name their function.
  for (StringRef line : lines)
    for (PtxasReport &report : reports)
      if (line.contains("(C75") && line.contains("'" + report.entry + "'"))
        report.hasSerialProducts = true;
  return reports;
}

std::optional<std::vector<PtxasReport>>
mlir::attn::nvptx::assemble(const std::string &ptx, const std::string &target,
                            std::string *log) {
  auto fail = [&](const Twine &why) -> std::nullopt_t {
    if (log)
      *log = why.str();
    return std::nullopt;
  };
  std::optional<std::string> ptxas = findPtxas();
  if (!ptxas)
    return fail("no ptxas in $ATTN_PTXAS, $CUDA_HOME/bin or the PATH");
  SmallString<128> input, output, code;
  int descriptor;
  if (sys::fs::createTemporaryFile("attn", "ptx", descriptor, input))
    return fail("cannot make a temporary file");
  scope_exit removeInput([&] { sys::fs::remove(input); });
  {
    raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream << ptx;
  }
  if (sys::fs::createTemporaryFile("attn", "log", output))
    return fail("cannot make a temporary file");
  scope_exit removeOutput([&] { sys::fs::remove(output); });
  // Not /dev/null, which ptxas replaces by a file where it may.
  if (sys::fs::createTemporaryFile("attn", "cubin", code))
    return fail("cannot make a temporary file");
  scope_exit removeCode([&] { sys::fs::remove(code); });

  std::string arch = "-arch=" + target;
  std::optional<StringRef> redirects[] = {StringRef(""), output.str(),
                                          output.str()};
  int status = sys::ExecuteAndWait(
      *ptxas, {*ptxas, arch, "-v", input, "-o", code}, std::nullopt, redirects);
  auto text = MemoryBuffer::getFile(output);
  StringRef printed = text ? (*text)->getBuffer() : "";
  if (status != 0)
    return fail("ptxas failed: " + printed);
  if (log)
    *log = printed.str();
  return parseLog(printed);
}
