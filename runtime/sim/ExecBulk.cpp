//===- ExecBulk.cpp - bulk and tensor copies (TMA) -------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Access.h"
#include "attn/runtime/sim/Builders.h"
#include "attn/runtime/sim/TensorMap.h"

#include <algorithm>
#include <cstring>

namespace attn::sim {
namespace {

constexpr unsigned Chunk = 16; ///< bytes that a swizzle moves together

uint64_t addressOf(const Warp &warp, const AddressOperand &operand,
                   unsigned lane) {
  uint64_t lanes[Lanes];
  laneAddresses(warp, operand.base, operand.wide, operand.offset, lanes);
  return lanes[lane];
}

/// A run of the box: `bytes` at `box` in box order, from or to `global`.
struct Run {
  uint32_t box, bytes;
  uint8_t *data;
  uint64_t global;
};

/// One lane's copy between a box in shared memory and global memory.
struct Copy {
  Warp &warp;
  const Op &op;
  unsigned lane;
  bool store;
  TensorMap::Swizzle swizzle = TensorMap::Swizzle::None;
  uint32_t shared = 0; ///< address of the box
  uint32_t bytes = 0;
  bool nanFill = false;
  TensorMap::Element element = TensorMap::Element::U8;
  std::vector<Run> runs = {}; ///< what is in bounds
};

void refuse(const Copy &copy, FindingKind kind, uint64_t address,
            std::string text) {
  copy.warp.block->report(kind, copy.warp, copy.op, copy.lane, address,
                          std::move(text));
}

/// The 128 bytes of the tensor map, or null after a finding.
const uint8_t *tensorMap(const Copy &copy, const AddressOperand &operand) {
  const Launch &launch = copy.warp.block->launch;
  uint64_t address = addressOf(copy.warp, operand, copy.lane), window = 0;
  Space space = operand.space;
  if (space == Space::Generic)
    space = windowOf(address, window);
  uint64_t offset = address - window;
  if (offset % TensorMap::Alignment) {
    refuse(copy, FindingKind::Misaligned, address,
           "the address of the tensor map is not a multiple of " +
               std::to_string(TensorMap::Alignment));
    return nullptr;
  }
  if (space == Space::Global)
    return resolveRun(copy.warp, copy.op, copy.lane, address, TensorMap::Bytes,
                      TensorMap::Alignment, false);
  const std::vector<uint8_t> *bank = space == Space::Param ? &launch.parameters
                                     : space == Space::Const ? launch.constants
                                                             : nullptr;
  if (bank && bank->size() >= TensorMap::Bytes &&
      offset <= bank->size() - TensorMap::Bytes)
    return bank->data() + offset;
  refuse(copy, FindingKind::OutOfBounds, address,
         "the tensor map lies in no parameter, constant or global memory");
  return nullptr;
}

/// Finds the rows of the box that are in bounds; false after a finding.
bool walk(Copy &copy, const TensorMap &map, const int64_t *start) {
  const unsigned size = bytesOf(map.element);
  copy.bytes = map.boxBytes();
  copy.swizzle = map.swizzle;
  copy.nanFill = map.nanFill;
  copy.element = map.element;
  const int64_t width = map.box[0];
  const int64_t first = std::min(std::max<int64_t>(0, -start[0]), width),
                last = std::max(
                    first,
                    std::min<int64_t>(width, int64_t(map.dims[0]) - start[0]));
  uint32_t rows = copy.bytes / uint32_t(width * size);
  for (uint32_t row = 0; row < rows && first < last; ++row) {
    uint64_t address = map.address + uint64_t(start[0] + first) * size;
    bool inside = true;
    uint32_t rest = row;
    for (unsigned dim = 1; dim < map.rank; ++dim) {
      int64_t index = start[dim] +
                      int64_t(rest % map.extent(dim)) * map.elementStrides[dim];
      rest /= map.extent(dim);
      inside &= index >= 0 && uint64_t(index) < map.dims[dim];
      address += uint64_t(index) * map.strides[dim - 1];
    }
    if (!inside)
      continue;
    uint32_t bytes = uint32_t(last - first) * size;
    uint8_t *data = resolveRun(copy.warp, copy.op, copy.lane, address, bytes, 1,
                               copy.store);
    if (!data)
      return false;
    copy.runs.push_back(
        {uint32_t((row * width + first) * size), bytes, data, address});
  }
  return true;
}

bool prepareTensor(Copy &copy, const BulkInfo &info) {
  const uint8_t *bytes = tensorMap(copy, info.global);
  if (!bytes)
    return false;
  Result<TensorMap> map = TensorMap::decode(bytes);
  if (!map || map->rank != info.rank) {
    refuse(copy, FindingKind::InvalidOperand, 0,
           map ? "of rank " + std::to_string(info.rank) +
                     " uses a tensor map of rank " + std::to_string(map->rank)
               : map.error().message);
    return false;
  }
  int64_t start[5];
  for (unsigned i = 0; i < info.rank; ++i) {
    start[i] =
        int32_t(copy.warp.slot<uint32_t>(info.coordinates[i])[copy.lane]);
    if (copy.store && start[i] < 0) {
      refuse(copy, FindingKind::InvalidOperand, 0,
             "a store cannot start at coordinate " + std::to_string(start[i]));
      return false;
    }
  }
  return walk(copy, *map, start);
}

bool prepareLinear(Copy &copy, const BulkInfo &info) {
  copy.bytes = copy.warp.slot<uint32_t>(info.size)[copy.lane];
  if (copy.bytes % Chunk) {
    refuse(copy, FindingKind::InvalidOperand, 0,
           "size " + std::to_string(copy.bytes) + " is not a multiple of 16");
    return false;
  }
  if (!copy.bytes)
    return true;
  uint64_t address = addressOf(copy.warp, info.global, copy.lane);
  uint8_t *data = resolveRun(copy.warp, copy.op, copy.lane, address, copy.bytes,
                             Chunk, copy.store);
  if (data)
    copy.runs.push_back({0, copy.bytes, data, address});
  return data;
}

/// Fills the copy; false after a finding.
bool prepare(Copy &copy, const BulkInfo &info) {
  Block &block = *copy.warp.block;
  if (!(info.rank ? prepareTensor(copy, info) : prepareLinear(copy, info)))
    return false;
  const unsigned alignment = info.rank ? 128 : Chunk;
  uint64_t address = addressOf(copy.warp, info.shared, copy.lane);
  uint64_t offset = address - SharedStart, size = block.shared.size();
  copy.shared = uint32_t(address);
  if (offset > size || size - offset < copy.bytes) {
    refuse(copy, FindingKind::OutOfBounds, copy.shared,
           std::string(copy.store ? "reads " : "writes ") +
               std::to_string(copy.bytes) + " bytes at " +
               showShared(uint32_t(offset)) +
               ", out of bounds: the block has " + std::to_string(size) +
               " bytes from " + showShared(0) + " on");
    return false;
  }
  if (copy.shared % alignment) {
    refuse(copy, FindingKind::Misaligned, copy.shared,
           showShared(uint32_t(offset)) + " is not a multiple of " +
               std::to_string(alignment));
    return false;
  }
  return true;
}

/// Pieces of [box, box + bytes) that stay together in shared memory.
template <typename F>
void eachPiece(const Copy &copy, uint32_t box, uint32_t bytes, F f) {
  if (copy.swizzle == TensorMap::Swizzle::None)
    return f(copy.shared - SharedStart + box, box, bytes);
  for (uint32_t end = box + bytes; box < end;) {
    uint32_t stop = std::min(end, (box / Chunk + 1) * Chunk);
    f(swizzled(copy.shared + box, copy.swizzle) - SharedStart, box, stop - box);
    box = stop;
  }
}

/// Bytes of an element that is out of bounds.
void fill(const Copy &copy, std::vector<uint8_t> &data) {
  data.assign(copy.bytes, 0);
  if (!copy.nanFill)
    return;
  const unsigned size = bytesOf(copy.element);
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = i % size == size - 1 ? 0x7f : 0xff;
}

uint32_t granulesOf(const SharedShadow &shadow, uint32_t offset, uint32_t bytes,
                    uint32_t &first) {
  first = offset >> shadow.granuleShift;
  return ((offset + bytes - 1) >> shadow.granuleShift) - first + 1;
}

void load(Copy &copy, const BulkInfo &info) {
  Warp &warp = copy.warp;
  Block &block = *warp.block;
  const LaunchOptions &options = block.launch.options;
  if (!prepare(copy, info))
    return;
  const uint32_t lanes = 1u << copy.lane;
  uint64_t where[Lanes];
  uint8_t *pointers[Lanes];
  where[copy.lane] = addressOf(warp, info.mbarrier, copy.lane);
  if (!resolve(warp, copy.op, info.mbarrier.space, where, lanes, 8,
               AccessKind::StrongWrite, pointers))
    return;
  Mbarrier *mbarrier = findMbarrier(warp, copy.op, copy.lane, where[copy.lane]);
  if (!mbarrier)
    return;
  const unsigned index = unsigned(mbarrier - block.mbarriers.data());
  const uint32_t offset = copy.shared - SharedStart;
  auto overlap = block.mbarrierAt.lower_bound(offset >= 7 ? offset - 7 : 0);
  if (overlap != block.mbarrierAt.end() &&
      overlap->first < offset + copy.bytes &&
      block.mbarriers[overlap->second].valid)
    refuse(copy, FindingKind::Mbarrier, copy.shared,
           "overwrites the " + block.mbarriers[overlap->second].name());
  BulkLoad result{&copy.op,   &warp, copy.lane, index, mbarrier->nextClock(),
                  copy.bytes, {},    {}};
  fill(copy, result.data);
  for (const Run &run : copy.runs) {
    std::memcpy(result.data.data() + run.box, run.data, run.bytes);
    traceRun(warp, copy.op, copy.lane, run.global, run.bytes, 0);
  }
  if (copy.bytes && (options.checkRaces || options.checkInitialised)) {
    uint32_t first,
        count = granulesOf(block.sharedShadow, offset, copy.bytes, first);
    Access access{warp, copy.op, copy.lane, copy.shared, false, true};
    shadowWrite(
        block.sharedShadow.region, first, count, access,
        makeEpoch(block.agents.firstMbarrier + index, result.clock, ManyLanes));
  }
  eachPiece(copy, 0, copy.bytes,
            [&](uint32_t to, uint32_t from, uint32_t bytes) {
              result.pieces.push_back({to, from, bytes});
            });
  if (options.mode != Mode::Eager)
    std::fill_n(block.shared.begin() + offset, copy.bytes, uint8_t(0xff));
  mbarrier->copiedClock = result.clock;
  mbarrier->copyOp = &copy.op;
  mbarrier->copyWarp = &warp;
  block.bulkBytes += copy.bytes;
  block.loads.push_back(std::move(result));
  if (options.mode == Mode::Eager)
    block.complete(block.loads.size() - 1);
}

void store(Copy &copy, const BulkInfo &info) {
  Warp &warp = copy.warp;
  Block &block = *warp.block;
  const LaunchOptions &options = block.launch.options;
  if (!prepare(copy, info))
    return;
  StoreQueue::Store result{
      &copy.op, warp.stores.nextSequence(), 0, uint8_t(copy.lane), false, {}};
  const uint32_t agent = block.agents.firstStore + warp.id;
  for (const Run &run : copy.runs) {
    eachPiece(copy, run.box, run.bytes,
              [&](uint32_t from, uint32_t box, uint32_t bytes) {
                result.pieces.push_back({block.shared.data() + from,
                                         run.data + (box - run.box), bytes});
                if (!options.checkRaces && !options.checkInitialised)
                  return;
                uint32_t first,
                    count = granulesOf(block.sharedShadow, from, bytes, first);
                Access access{warp,  copy.op, copy.lane, SharedStart + from,
                              false, true};
                shadowAsyncRead(block.sharedShadow.region, first, count, access,
                                agent, result.issued);
              });
    traceRun(warp, copy.op, copy.lane, run.global, run.bytes,
             makeEpoch(agent, result.issued, copy.lane));
  }
  block.bulkBytes += copy.bytes;
  if (options.mode == Mode::Eager) {
    for (const StoreQueue::Piece &piece : result.pieces)
      std::memcpy(piece.to, piece.from, piece.bytes);
    result.done = true;
  }
  warp.stores.issue(std::move(result));
}

template <void (*one)(Copy &, const BulkInfo &), bool store>
void runBulk(Warp &warp, const Op &op) {
  const BulkInfo &info = warp.block->program.bulks[op.c];
  for (uint32_t m = warp.mask; m && !warp.block->fatal; m &= m - 1) {
    Copy copy{warp, op, firstLane(m), store};
    one(copy, info);
  }
}

void runCommit(Warp &warp, const Op &) { warp.stores.commit(warp.mask); }

void runWait(Warp &warp, const Op &op) {
  // It orders for the threads that issued the stores, not for their warp.
  for (uint32_t m = warp.stores.wait(warp.mask, unsigned(op.imm)); m;
       m &= m - 1) {
    const unsigned lane = firstLane(m);
    acquire(warp, 1u << lane,
            View::Part{warp.block->agents.firstStore + warp.id, 1u << lane,
                       warp.stores.doneFor(lane)});
  }
}

template <typename T>
void runMapAddress(Warp &warp, const Op &op) {
  for (uint32_t m = warp.mask; m; m &= m - 1) {
    unsigned lane = firstLane(m);
    if (uint32_t rank = warp.slot<uint32_t>(op.b)[lane])
      warp.block->report(FindingKind::InvalidOperand, warp, op, lane, 0,
                         "names block " + std::to_string(rank) +
                             " of a cluster of one");
    warp.slot<T>(op.dst)[lane] = warp.slot<T>(op.a)[lane];
  }
}

/// Coordinates and map, or address and size.
void globalSide(Build &b, BulkInfo &info, unsigned at) {
  const Operand &operand = b.operand(at);
  if (!b.has("tensor")) {
    info.global = b.addressOperand(operand, Space::Global);
    return;
  }
  info.rank = unsigned(b.mod(3)[0] - '0');
  if (operand.elements.size() != info.rank) {
    b.fail(operand, "expected " + std::to_string(info.rank) +
                        " coordinates, found " +
                        std::to_string(operand.elements.size()));
    return;
  }
  for (unsigned i = 0; i < info.rank; ++i)
    info.coordinates[i] = b.src(operand.elements[i], Type::S32);
  info.global = b.addressOperand(operand, Space::Generic);
}

/// The 64-bit policy of L2::cache_hint changes nothing here.
bool policy(Build &b, unsigned at) {
  if (b.has("L2::cache_hint") != (b.operandCount() > at)) {
    b.fail(".L2::cache_hint comes with a 64-bit policy");
    return false;
  }
  if (b.operandCount() > at)
    b.src(at, Type::B64);
  return true;
}

Handler finish(Build &b, const BulkInfo &info, Handler handler) {
  b.noteAccess(Space::Shared, Chunk);
  b.noteAccess(Space::Global, Chunk);
  b.op.c = b.addBulk(info);
  return handler;
}

Handler buildLoad(Build &b, unsigned at) {
  BulkInfo info;
  globalSide(b, info, 1);
  info.shared = b.addressOperand(b.operand(0), Space::Shared);
  info.mbarrier = b.addressOperand(b.operand(at), Space::Shared);
  b.noteMbarriers();
  b.noteAccess(Space::Shared, 8);
  if (!b.has("tensor"))
    info.size = b.src(2, Type::U32);
  if (!policy(b, at + 1))
    return nullptr;
  return finish(b, info, runBulk<load, false>);
}

Handler buildStore(Build &b) {
  BulkInfo info;
  const bool tensor = b.has("tensor");
  globalSide(b, info, 0);
  info.shared = b.addressOperand(b.operand(1), Space::Shared);
  if (!tensor)
    info.size = b.src(2, Type::U32);
  b.noteBulkStores();
  if (!policy(b, tensor ? 2 : 3))
    return nullptr;
  return finish(b, info, runBulk<store, true>);
}

} // namespace

namespace builders {

Handler bulkLoad(Build &b) { return buildLoad(b, 3); }
Handler tensorLoad(Build &b) { return buildLoad(b, 2); }
Handler bulkStore(Build &b) { return buildStore(b); }
Handler tensorStore(Build &b) { return buildStore(b); }
Handler bulkCommit(Build &b) {
  b.noteBulkStores();
  return runCommit;
}
Handler bulkWait(Build &b) {
  b.noteBulkStores();
  b.op.imm = b.constant(b.operand(0));
  return runWait;
}

Handler mapAddress(Build &b) {
  b.op.dst = b.dst(0, bitsOf(b.type()));
  b.op.a = b.src(1, b.type());
  b.op.b = b.src(2, Type::U32);
  return b.type() == Type::U64 ? runMapAddress<uint64_t>
                               : runMapAddress<uint32_t>;
}

} // namespace builders
} // namespace attn::sim
