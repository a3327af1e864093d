//===- Async.h - work that completes after it was issued -------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_ASYNC_H
#define ATTN_RUNTIME_SIM_ASYNC_H

#include <cstdint>
#include <string>
#include <vector>

namespace attn::sim {

struct Op;

/// An asynchronous agent: it owns effects on memory that were issued and have
/// not happened yet. Each agent has its own entry in the vector clocks; shadow
/// memory remembers its writes under that entry, numbered by `sequence`.
class AsyncAgent {
public:
  virtual ~AsyncAgent() = default;

  /// Effects that have not happened yet.
  virtual size_t pending() const = 0;
  /// Lets some of the pending effects happen, chosen by `seed` among the orders
  /// that are legal.
  virtual void completeSome(uint64_t seed) = 0;
  /// Lets everything happen that is still pending.
  virtual void drain() = 0;
  /// One line for the report of a deadlock; empty when idle.
  virtual std::string describe() const = 0;
};

/// Groups of the lanes of a warp. A group is what one commit covers; groups of
/// a lane complete in order.
class GroupLog {
public:
  void reset();
  /// Number of the new group.
  uint32_t commit(uint32_t lanes);
  /// Latest group of `lane` that a wait for all but the last `keep` covers.
  uint32_t limit(unsigned lane, unsigned keep) const;
  /// Forgets the groups up to limits[lane] of each lane.
  void retire(const uint32_t *limits);
  uint32_t last() const { return committed; }
  size_t open() const { return groups.size(); }

private:
  /// Groups not yet waited for, oldest first, with the lanes that have them
  /// open.
  struct Group {
    uint32_t sequence;
    uint32_t lanes;
  };
  std::vector<Group> groups;
  uint32_t committed = 0;
};

/// The cp.async copies of one warp.
class CopyQueue final : public AsyncAgent {
public:
  struct Copy {
    uint8_t *destination;
    uint32_t
        issued; ///< nextSequence() when issued: what shadow memory remembers
    uint32_t sequence; ///< number of the group, 0 while not committed
    uint8_t lane;
    uint8_t bytes;
    bool done;
    uint8_t data[16]; ///< read from the source when issued, zero-filled
  };

  void reset();
  /// Group number that a copy issued now will get.
  uint32_t nextSequence() const { return groups.last() + 1; }
  void issue(const Copy &copy) { copies.push_back(copy); }
  void commit(uint32_t lanes);
  /// Completes all but the latest `keep` committed groups of each lane.
  void wait(uint32_t lanes, unsigned keep);

  /// Last group of which `lane` may read its own copies.
  uint32_t doneFor(unsigned lane) const { return done[lane]; }
  /// Last group such that every lane has waited for its copies of it and of all
  /// earlier ones.
  uint32_t doneForAll() const;

  size_t pending() const override { return copies.size(); }
  void completeSome(uint64_t seed) override;
  void drain() override;
  std::string describe() const override;

private:
  static void perform(Copy &copy);

  std::vector<Copy> copies;
  GroupLog groups;
  uint32_t done[32] = {};
};

/// The copies of a warp from shared to global memory: cp.async.bulk with
/// bulk_group. Shared memory is read when the copy happens.
class StoreQueue final : public AsyncAgent {
public:
  struct Piece {
    const uint8_t *from;
    uint8_t *to;
    uint32_t bytes;
  };
  struct Store {
    const Op *op;
    uint32_t issued, sequence; ///< as of CopyQueue::Copy
    uint8_t lane;
    bool done;
    std::vector<Piece> pieces;
  };

  void reset();
  uint32_t nextSequence() const { return groups.last() + 1; }
  void issue(Store store) { stores.push_back(std::move(store)); }
  void commit(uint32_t lanes);
  /// Completes all but the latest `keep` committed groups of each lane. Returns
  /// the lanes that had stores to wait for.
  uint32_t wait(uint32_t lanes, unsigned keep);
  /// Last group such that `lane` has waited for its stores of it and of all
  /// earlier ones.
  uint32_t doneFor(unsigned lane) const { return done[lane]; }
  /// Last group such that its stores and all earlier ones were waited for.
  uint32_t waitedFor() const;
  /// A store of these lanes that no wait has covered, or null.
  const Store *open(uint32_t lanes) const;

  size_t pending() const override { return stores.size(); }
  void completeSome(uint64_t seed) override;
  void drain() override;
  std::string describe() const override;

private:
  static void perform(Store &store);

  std::vector<Store> stores;
  GroupLog groups;
  uint32_t done[32] = {};
};

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_ASYNC_H
