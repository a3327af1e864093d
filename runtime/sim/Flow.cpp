//===- Flow.cpp - order of blocks, registers left unwritten ----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Flow.h"

#include <algorithm>

namespace attn::sim {
namespace {

constexpr unsigned None = ~0u;

struct BasicBlock {
  unsigned begin, end;
  std::vector<unsigned> successors, predecessors;
  unsigned fallThrough = None;
  unsigned depth = 0;
};

/// Splits at branches and their targets.
std::vector<BasicBlock> splitBlocks(const std::vector<Op> &ops) {
  std::vector<bool> leader(ops.size() + 1);
  leader[0] = true;
  for (size_t i = 0; i < ops.size(); ++i) {
    if (ops[i].control == Control::Branch)
      leader[ops[i].target] = true;
    if (ops[i].control == Control::Branch || ops[i].control == Control::Exit ||
        ops[i].control == Control::Trap)
      leader[i + 1] = true;
  }
  std::vector<BasicBlock> blocks;
  std::vector<unsigned> blockOf(ops.size());
  for (unsigned i = 0; i < ops.size(); ++i) {
    if (leader[i])
      blocks.push_back({i, i, {}, {}});
    blocks.back().end = i + 1;
    blockOf[i] = unsigned(blocks.size() - 1);
  }
  for (unsigned b = 0; b < blocks.size(); ++b) {
    const Op &last = ops[blocks[b].end - 1];
    bool conditional = last.predicate != 0;
    bool ends = last.control == Control::Branch ||
                last.control == Control::Exit || last.control == Control::Trap;
    if ((!ends || conditional) && b + 1 < blocks.size()) {
      blocks[b].fallThrough = b + 1;
      blocks[b].successors.push_back(b + 1);
    }
    if (last.control == Control::Branch)
      blocks[b].successors.push_back(blockOf[last.target]);
  }
  return blocks;
}

/// Post-order of what is reachable from block 0, visiting shallow successors
/// first.
std::vector<unsigned> postOrder(const std::vector<BasicBlock> &blocks) {
  std::vector<unsigned> order;
  std::vector<bool> seen(blocks.size());
  struct Frame {
    unsigned block;
    std::vector<unsigned> rest;
  };
  auto open = [&](unsigned block) {
    seen[block] = true;
    // The last of `rest` is visited first: it ends up behind everything that is
    // visited later.
    std::vector<unsigned> rest = blocks[block].successors;
    std::sort(rest.begin(), rest.end(), [&](unsigned a, unsigned b) {
      return blocks[a].depth != blocks[b].depth
                 ? blocks[a].depth > blocks[b].depth
                 : a < b;
    });
    return Frame{block, std::move(rest)};
  };
  std::vector<Frame> stack;
  stack.push_back(open(0));
  while (!stack.empty()) {
    Frame &top = stack.back();
    if (top.rest.empty()) {
      order.push_back(top.block);
      stack.pop_back();
      continue;
    }
    unsigned block = top.rest.back();
    top.rest.pop_back();
    if (!seen[block])
      stack.push_back(open(block));
  }
  return order;
}

/// Immediate dominators by the iterative method over reverse post-order
/// numbers.
std::vector<unsigned> dominators(const std::vector<BasicBlock> &blocks,
                                 const std::vector<unsigned> &post) {
  std::vector<unsigned> number(blocks.size(), None), idom(blocks.size(), None);
  for (unsigned i = 0; i < post.size(); ++i)
    number[post[i]] = i;
  idom[0] = 0;
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = post.size(); i-- > 0;) {
      unsigned block = post[i], best = None;
      if (block == 0)
        continue;
      for (unsigned pred : blocks[block].predecessors) {
        if (number[pred] == None || idom[pred] == None)
          continue;
        if (best == None) {
          best = pred;
          continue;
        }
        unsigned other = pred;
        while (best != other)
          if (number[best] < number[other])
            best = idom[best];
          else
            other = idom[other];
      }
      if (idom[block] != best) {
        idom[block] = best;
        changed = true;
      }
    }
  }
  return idom;
}

void findLoops(std::vector<BasicBlock> &blocks) {
  std::vector<unsigned> post = postOrder(blocks);
  std::vector<unsigned> idom = dominators(blocks, post);
  auto dominates = [&](unsigned a, unsigned b) {
    for (; b != a && b != 0; b = idom[b])
      ;
    return a == b;
  };
  std::vector<std::vector<bool>> loops(blocks.size());
  for (unsigned block : post)
    for (unsigned header : blocks[block].successors) {
      if (!dominates(header, block))
        continue;
      std::vector<bool> &body = loops[header];
      body.resize(blocks.size());
      body[header] = true;
      std::vector<unsigned> work{block};
      while (!work.empty()) {
        unsigned next = work.back();
        work.pop_back();
        if (body[next])
          continue;
        body[next] = true;
        for (unsigned pred : blocks[next].predecessors)
          if (idom[pred] != None)
            work.push_back(pred);
      }
    }
  for (const std::vector<bool> &body : loops)
    for (unsigned b = 0; b < body.size(); ++b)
      blocks[b].depth += body[b];
}

/// Registers written on every path, at the start of each block: a bit set over
/// registers.
class MustWrite {
public:
  MustWrite(const Program &program, const std::vector<BasicBlock> &blocks)
      : program(program), blocks(blocks),
        in(blocks.size(), std::vector<bool>(program.registers.size(), true)) {
    in[0].assign(program.registers.size(), false);
    for (bool changed = true; changed;) {
      changed = false;
      for (unsigned b = 0; b < blocks.size(); ++b) {
        std::vector<bool> state = in[b];
        for (unsigned i = blocks[b].begin; i < blocks[b].end; ++i)
          step(state, i);
        for (unsigned s : blocks[b].successors)
          for (unsigned reg = 0; reg < state.size(); ++reg)
            if (in[s][reg] && !state[reg]) {
              in[s][reg] = false;
              changed = true;
            }
      }
    }
  }

  /// Registers that some operation may read unwritten.
  std::vector<bool> suspects() const {
    std::vector<bool> result(program.registers.size());
    for (unsigned b = 0; b < blocks.size(); ++b) {
      std::vector<bool> state = in[b];
      for (unsigned i = blocks[b].begin; i < blocks[b].end; ++i) {
        for (unsigned reg : program.effects[i].uses)
          if (!state[reg])
            result[reg] = true;
        if (unsigned reg = program.effects[i].predicate;
            reg != None && !state[reg])
          result[reg] = true;
        step(state, i);
      }
    }
    return result;
  }

private:
  void step(std::vector<bool> &state, unsigned i) const {
    const RegisterEffects &effects = program.effects[i];
    bool sound = true;
    if (effects.copies)
      for (unsigned reg : effects.uses)
        sound = sound && state[reg];
    for (unsigned reg : effects.defines)
      if (program.ops[i].predicate == 0)
        state[reg] = sound;
      else if (!sound)
        state[reg] = false;
  }

  const Program &program;
  const std::vector<BasicBlock> &blocks;
  std::vector<std::vector<bool>> in;
};

} // namespace

void layoutBlocks(Program &program, const std::vector<Op> &ops,
                  const std::vector<RegisterEffects> &effects) {
  std::vector<BasicBlock> blocks = splitBlocks(ops);
  for (unsigned b = 0; b < blocks.size(); ++b)
    for (unsigned s : blocks[b].successors)
      blocks[s].predecessors.push_back(b);
  findLoops(blocks);
  std::vector<unsigned> order = postOrder(blocks);
  std::reverse(order.begin(), order.end());

  std::vector<uint32_t> newPosition(ops.size() + 1);
  for (size_t k = 0; k < order.size(); ++k) {
    const BasicBlock &block = blocks[order[k]];
    newPosition[block.begin] = uint32_t(program.ops.size());
    for (unsigned i = block.begin; i < block.end; ++i) {
      program.ops.push_back(ops[i]);
      program.effects.push_back(effects[i]);
    }
    bool adjacent = k + 1 < order.size() && order[k + 1] == block.fallThrough;
    if (block.fallThrough != None && !adjacent) {
      Op jump;
      jump.control = Control::Branch;
      jump.flags = Inserted;
      jump.target = blocks[block.fallThrough].begin;
      jump.line = ops[block.end - 1].line;
      jump.id = ops[block.end - 1].id;
      program.ops.push_back(jump);
      program.effects.emplace_back();
    }
  }
  for (Op &op : program.ops)
    if (op.control == Control::Branch)
      op.target = newPosition[op.target];
}

void markMmaRegisters(Program &program) {
  if (program.mmas.empty())
    return;
  std::vector<unsigned> number(program.registers.size(), None);
  for (const Op &op : program.ops) {
    if (!(op.flags & IsMma))
      continue;
    const uint32_t *slot = op.list;
    MmaInfo &info = program.mmas[op.c];
    for (std::vector<uint32_t> *list : {&info.d, &info.a})
      for (uint32_t &reg : *list) {
        if (number[reg] == None) {
          number[reg] = unsigned(program.mmaRegisters.size());
          program.mmaRegisters.push_back(program.registers[reg].name);
          program.mmaSlots.push_back(*slot);
        }
        ++slot;
        reg = number[reg];
      }
  }
  program.mmaTouches.resize(program.ops.size());
  for (size_t i = 0; i < program.ops.size(); ++i) {
    Op &op = program.ops[i];
    if (op.flags & IsMma)
      continue;
    for (const std::vector<unsigned> *list :
         {&program.effects[i].uses, &program.effects[i].defines})
      for (unsigned reg : *list)
        if (number[reg] != None) {
          program.mmaTouches[i].push_back(number[reg]);
          op.flags |= TouchesMma;
        }
  }
}

void trackRegisters(Program &program) {
  std::vector<BasicBlock> blocks = splitBlocks(program.ops);
  std::vector<bool> suspects = MustWrite(program, blocks).suspects();
  std::vector<unsigned> number(suspects.size(), None);
  std::vector<RegisterInfo> tracked;
  for (unsigned reg = 0; reg < suspects.size(); ++reg)
    if (suspects[reg]) {
      number[reg] = unsigned(tracked.size());
      tracked.push_back(program.registers[reg]);
    }
  program.registers = std::move(tracked);
  for (size_t i = 0; i < program.ops.size(); ++i) {
    RegisterEffects &effects = program.effects[i];
    for (std::vector<unsigned> *list : {&effects.uses, &effects.defines}) {
      size_t kept = 0;
      for (unsigned reg : *list)
        if (number[reg] != None)
          (*list)[kept++] = number[reg];
      list->resize(kept);
    }
    effects.predicate =
        effects.predicate == None ? None : number[effects.predicate];
    if (!effects.uses.empty() || !effects.defines.empty() ||
        effects.predicate != None)
      program.ops[i].flags |= TracksRegisters;
  }
}

} // namespace attn::sim
