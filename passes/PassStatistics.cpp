//===- PassStatistics.cpp - see PassStatistics.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/PassStatistics.h"

#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/Statistic.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace mlir;

// A release build of libMLIR is compiled without statistics, and its
// constructor leaves the fields of ours, which are compiled with them,
// uninitialised. This is upstream's definition with the fields; being hidden,
// it replaces the library's for this project's passes alone.
#if LLVM_ENABLE_STATS
Pass::Statistic::Statistic(Pass *owner, const char *name,
                           const char *description)
    : llvm::Statistic{/*DebugType=*/"", name, description} {
  owner->statistics.push_back(this);
}
#endif

namespace {

class StatisticsPrinter : public PassInstrumentation {
public:
  explicit StatisticsPrinter(raw_ostream &os) : os(os) {}

  ~StatisticsPrinter() override {
    for (auto &[argument, instances] : passes) {
      std::map<StringRef, std::pair<uint64_t, StringRef>> sums;
      for (auto &[pass, counters] : instances)
        for (const Counter &counter : counters) {
          auto &[sum, description] = sums[counter.name];
          sum += counter.value;
          description = counter.description;
        }
      os << argument << "\n";
      for (auto &[name, sum] : sums)
        os << "  (S) " << sum.first << " " << name << " - " << sum.second
           << "\n";
    }
  }

  void runAfterPass(Pass *pass, Operation *) override { record(pass); }
  void runAfterPassFailed(Pass *pass, Operation *) override { record(pass); }

private:
  struct Counter {
    StringRef name, description;
    uint64_t value;
  };

  /// A pass instance counts on over all ops it runs on; there is one instance
  /// for each thread.
  void record(Pass *pass) {
    if (!pass->getArgument().starts_with("attn-"))
      return;
    std::vector<Counter> &counters = passes[pass->getArgument()][pass];
    counters.clear();
#if LLVM_ENABLE_STATS
    for (const Pass::Statistic *statistic : pass->getStatistics())
      counters.push_back(
          {statistic->getName(), statistic->getDesc(), statistic->getValue()});
#endif
  }

  raw_ostream &os;
  llvm::MapVector<StringRef, std::map<Pass *, std::vector<Counter>>> passes;
};

} // namespace

std::unique_ptr<PassInstrumentation>
mlir::attn::createStatisticsPrinter(raw_ostream &os) {
  return std::make_unique<StatisticsPrinter>(os);
}
