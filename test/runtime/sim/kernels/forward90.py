#!/usr/bin/env python3
# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints the PTX of a dense attention forward kernel for sm_90a: one producer warp with TMA, two or three consumer
warpgroups.

usage: forward90.py HEAD_DIM [overlap]

Head dimension 64 or 128: three consumer warpgroups, tiles of 128 keys, one product after the other. With `overlap`:
two consumer warpgroups that take turns, tiles of 176 keys, and the softmax of a tile under the product of the one
before.

Entry `forward`, grid (query tiles of 64 rows for each consumer warpgroup, heads). Parameters: tensor maps of Q, K, V
and O (dims D, rows, heads; boxes of 64 columns x 64 rows for Q and O, 64 x keys of a tile for K and V; 128-byte
swizzle; bf16), the f32 array of log-sum-exps by head and query, the numbers of queries and keys, and scale * log2(e).
"""
import sys

ROWS, COLUMNS, CHUNK = 64, 64, 16  # COLUMNS: of a swizzled subtile


class Kernel:
    def __init__(self, head_dim, overlap):
        self.dim = head_dim
        self.overlap = overlap
        self.groups, self.keys = (2, 176) if overlap else (3, 128)
        self.producer_registers, self.consumer_registers = (24, 240) if overlap else (32, 160)
        self.parts = head_dim // COLUMNS  # subtiles of a tile, side by side
        self.stages = 2 if head_dim > 64 else 4
        self.q_bytes = ROWS * 128  # of one subtile
        self.k_bytes = self.keys * 128
        self.q_tile = self.parts * self.q_bytes
        self.k_tile = self.parts * self.k_bytes
        self.k_start = self.groups * self.q_tile
        self.v_start = self.k_start + self.stages * self.k_tile
        self.barriers = self.v_start + self.stages * self.k_tile
        self.lines = []
        self.labels = 0

    # Barrier offsets: Q of each warpgroup, then full K, full V, empty K, empty V of each stage.
    def bar_q(self, group):
        return self.barriers + 8 * group

    def bars(self, kind):
        return self.barriers + 8 * (self.groups + ["full_k", "full_v", "empty_k", "empty_v"].index(kind) * self.stages)

    def shared_bytes(self):
        return self.barriers + 8 * (self.groups + 4 * self.stages)

    def emit(self, *lines):
        self.lines += ["  " + line for line in lines]

    def label(self, name):
        self.lines.append(name + ":")

    def comment(self, text):
        self.lines.append("  // " + text)

    def wait(self, address, parity):
        self.labels += 1
        self.label(f"WAIT{self.labels}")
        self.emit(f"mbarrier.try_wait.parity.shared::cta.b64 %done, [{address}], {parity};",
                  f"@!%done bra WAIT{self.labels};")

    def next_stage(self):
        self.emit("add.u32 %stage, %stage, 1;",
                  f"setp.eq.u32 %wrap, %stage, {self.stages};",
                  "selp.b32 %stage, 0, %stage, %wrap;",
                  "@%wrap xor.b32 %parity, %parity, 1;")

    def tensor_load(self, to, bar, tensor, column, row):
        self.emit("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                  f"[{to}], [{tensor}, {{{column}, {row}, %head}}], [{bar}];")

    def wgmma(self, accumulators, a, b, scale, transpose_b):
        regs = "{" + ", ".join(accumulators) + "}"
        tail = f", 1, 1, {transpose_b}" if a.startswith("{") else f", 1, 1, 0, {transpose_b}"
        self.emit(f"wgmma.mma_async.sync.aligned.m64n{2 * len(accumulators)}k16.f32.bf16.bf16 {regs}, {a}, {b}, "
                  f"{scale}{tail};")

    def release(self, kind, of=""):
        """One arrival for each warp: its wait has covered the whole warpgroup's reads."""
        self.emit(f"add.u32 %addr, %bars{of}, {self.bars(kind) - self.barriers};",
                  "@%first mbarrier.arrive.shared::cta.b64 _, [%addr];")

    def producer(self):
        self.comment("producer: one lane of one warp issues every copy")
        self.label("PRODUCER")
        self.emit(f"setmaxnreg.dec.sync.aligned.u32 {self.producer_registers};",
                  "setp.ne.u32 %skip, %warp, 0;", "@%skip bra END;",
                  "elect.sync _|%one, -1;", "@!%one bra END;")
        for group in range(self.groups):
            bar = f"%base+{self.bar_q(group)}"
            self.emit(f"add.u32 %addr, %base, {group * self.q_tile};",
                      f"mbarrier.arrive.expect_tx.shared::cta.b64 _, [{bar}], {self.q_tile};")
            for part in range(self.parts):
                self.emit(f"mov.u32 %column, {part * COLUMNS};")
                self.tensor_load(f"%addr+{part * self.q_bytes}", bar, "%mapq", "%column", "%row")
            self.emit(f"add.u32 %row, %row, {ROWS};")
        self.emit("mov.u32 %key, 0;", "mov.u32 %stage, 0;", "mov.u32 %parity, 1;")
        self.label("COPY")
        for kind, start, tensor in (("k", self.k_start, "%mapk"), ("v", self.v_start, "%mapv")):
            self.emit("shl.b32 %addr, %stage, 3;", "add.u32 %addr, %addr, %bars;",
                      f"add.u32 %full, %addr, {self.bars('full_' + kind) - self.barriers};",
                      f"add.u32 %addr, %addr, {self.bars('empty_' + kind) - self.barriers};")
            self.wait("%addr", "%parity")
            self.emit(f"mad.lo.u32 %addr, %stage, {self.k_tile}, %base;",
                      f"mbarrier.arrive.expect_tx.shared::cta.b64 _, [%full], {self.k_tile};")
            for part in range(self.parts):
                self.emit(f"mov.u32 %column, {part * COLUMNS};")
                self.tensor_load(f"%addr+{start + part * self.k_bytes}", "%full", tensor, "%column", "%key")
        self.next_stage()
        self.emit(f"add.u32 %key, %key, {self.keys};", "setp.lt.u32 %more, %key, %keys;", "@%more bra COPY;", "bra END;")

    def softmax(self):
        """Scores to probabilities; rows g and g + 8 of the warp's 16."""
        self.labels += 1
        unmasked = f"UNMASKED{self.labels}"
        s = [f"%s{i}" for i in range(self.keys // 2)]
        self.comment("keys behind the end are out of the running")
        self.emit(f"add.u32 %last, %key, {self.keys};", "setp.le.u32 %whole, %last, %keys;", f"@%whole bra {unmasked};",
                  "sub.u32 %left, %keys, %key;", "shl.b32 %t, %quad, 1;", "sub.s32 %left, %left, %t;")
        for i in range(0, len(s), 4):
            for j in range(2):
                self.emit(f"setp.gt.s32 %keep, %left, {8 * (i // 4) + j};",
                          f"selp.f32 {s[i + j]}, {s[i + j]}, 0fFF800000, %keep;",
                          f"selp.f32 {s[i + 2 + j]}, {s[i + 2 + j]}, 0fFF800000, %keep;")
        self.label(unmasked)
        for half in range(2):
            row = [s[i] for i in range(len(s)) if (i >> 1 & 1) == half]
            self.emit(f"max.f32 %m, {row[0]}, {row[1]};")
            for value in row[2:]:
                self.emit(f"max.f32 %m, %m, {value};")
            for distance in (1, 2):
                self.emit(f"shfl.sync.bfly.b32 %x, %m, {distance}, 31, -1;", "max.f32 %m, %m, %x;")
            self.emit(f"max.f32 %m, %m, %max{half};",
                      f"sub.f32 %x, %max{half}, %m;", "mul.f32 %x, %x, %scale;",
                      f"ex2.approx.ftz.f32 %alpha{half}, %x;",
                      f"mov.f32 %max{half}, %m;", "mul.f32 %m, %m, %scale;", "neg.f32 %m, %m;",
                      f"mul.f32 %sum{half}, %sum{half}, %alpha{half};")
            for value in row:
                self.emit(f"fma.rn.f32 {value}, {value}, %scale, %m;", f"ex2.approx.ftz.f32 {value}, {value};")
            for value in row:
                self.emit(f"add.f32 %sum{half}, %sum{half}, {value};")

    def pack(self):
        """Probabilities in pairs are the A operand as they lie."""
        for i in range(self.keys // 4):
            self.emit(f"cvt.rn.bf16x2.f32 %p{i}, %s{2 * i + 1}, %s{2 * i};")

    def rescale(self):
        for i in range(self.dim // 2):
            self.emit(f"mul.f32 %o{i}, %o{i}, %alpha{i >> 1 & 1};")

    def consumer(self):
        o = [f"%o{i}" for i in range(self.dim // 2)]
        self.comment("consumers")
        self.emit(f"setmaxnreg.inc.sync.aligned.u32 {self.consumer_registers};",
                  "sub.u32 %group, %group, 1;",
                  "and.b32 %lane, %thread, 31;", "and.b32 %quad, %thread, 3;", "setp.eq.u32 %first, %lane, 0;",
                  "mov.f32 %max0, 0fFF800000;", "mov.f32 %max1, 0fFF800000;",
                  "mov.f32 %sum0, 0f00000000;", "mov.f32 %sum1, 0f00000000;")
        self.emit(*[f"mov.f32 {value}, 0f00000000;" for value in o])
        self.comment("descriptors: start / 16, leading offset, stride of 8 rows = 1024 bytes, 128-byte swizzle")
        self.emit(f"mad.lo.u32 %tile, %group, {self.q_tile}, %base;",
                  "shr.u32 %t, %tile, 4;", "cvt.u64.u32 %descq, %t;",
                  "or.b64 %descq, %descq, 0x4000004000000000;",
                  f"add.u32 %t, %base, {self.k_start};", "shr.u32 %t, %t, 4;", "cvt.u64.u32 %desck, %t;",
                  "or.b64 %desck, %desck, 0x4000004000000000;",
                  f"add.u32 %t, %base, {self.v_start};", "shr.u32 %t, %t, 4;", "cvt.u64.u32 %descv, %t;",
                  f"or.b64 %descv, %descv, {0x4000004000000000 | (self.k_bytes >> 4) << 16:#x};",
                  "shl.b32 %t, %group, 3;", f"add.u32 %addr, %base, %t;")
        self.wait(f"%addr+{self.barriers}", "0")
        self.emit("mov.u32 %key, 0;", "mov.u32 %stage, 0;", "mov.u32 %parity, 0;", "mov.u32 %bars0, %bars;")
        if self.overlap:
            self.overlapped()
        else:
            self.one_after_the_other()
        self.epilogue()

    def enter_stage(self):
        """%bars and %off of the stage that comes next."""
        self.emit("shl.b32 %t, %stage, 3;", "add.u32 %bars, %bars0, %t;",
                  f"mul.lo.u32 %t, %stage, {self.k_tile >> 4};", "cvt.u64.u32 %off, %t;")

    def leave_stage(self):
        """The product with V of this stage is still to come: its barriers and offset end in `v`."""
        self.emit("mov.u32 %barsv, %bars;", "mov.b64 %offv, %off;")
        self.next_stage()

    def wait_full(self, kind):
        self.wait(f"%bars+{self.bars('full_' + kind) - self.barriers}", "%parity")

    def scores(self):
        s = [f"%s{i}" for i in range(self.keys // 2)]
        self.emit("add.u64 %b, %desck, %off;", "mov.b64 %a, %descq;")
        for k in range(self.dim // CHUNK):
            if k:
                # 32 bytes further within a subtile, or on to the next one
                jump = k * CHUNK % COLUMNS == 0
                self.emit(f"add.u64 %a, %a, {(self.q_bytes - 96) >> 4 if jump else 2};",
                          f"add.u64 %b, %b, {(self.k_bytes - 96) >> 4 if jump else 2};")
            self.wgmma(s, "%a", "%b", int(k > 0), 0)
        self.emit("wgmma.commit_group.sync.aligned;")

    def values(self, of=""):
        o = [f"%o{i}" for i in range(self.dim // 2)]
        self.emit(f"add.u64 %b, %descv, %off{of};")
        for k in range(self.keys // CHUNK):
            if k:
                self.emit(f"add.u64 %b, %b, {CHUNK * 128 >> 4};")
            self.wgmma(o, "{" + ", ".join(f"%p{4 * k + i}" for i in range(4)) + "}", "%b", 1, 1)
        self.emit("wgmma.commit_group.sync.aligned;")

    def products_done(self, left):
        self.emit(f"wgmma.wait_group.sync.aligned {left};")

    def one_after_the_other(self):
        self.label("TILE")
        self.enter_stage()
        self.wait_full("k")
        self.emit("wgmma.fence.sync.aligned;")
        self.scores()
        self.products_done(0)
        self.release("empty_k")
        self.softmax()
        self.pack()
        self.rescale()
        self.wait_full("v")
        self.emit("wgmma.fence.sync.aligned;")
        self.values()
        self.products_done(0)
        self.release("empty_v")
        self.next_stage()
        self.emit(f"add.u32 %key, %key, {self.keys};", "setp.lt.u32 %more, %key, %keys;", "@%more bra TILE;")

    def turn(self, mine):
        """Waits for its turn, or gives it to the other consumer warpgroup: named barriers 3 and 4."""
        if mine:
            self.emit("add.u32 %t, %group, 3;", "bar.sync %t, 256;")
        else:
            self.emit("sub.u32 %t, 4, %group;", "bar.arrive %t, 256;")

    def overlapped(self):
        """The product with V of a tile comes behind that with K of the next one, and runs under its softmax."""
        self.comment("the first warpgroup has the first turn")
        self.emit("setp.eq.u32 %skip, %group, 1;", "@%skip bar.arrive 3, 256;")
        self.enter_stage()
        self.wait_full("k")
        self.turn(True)
        self.emit("wgmma.fence.sync.aligned;")
        self.scores()
        self.turn(False)
        self.products_done(0)
        self.release("empty_k")
        self.softmax()
        self.wait_full("v")
        self.pack()
        self.leave_stage()
        self.emit(f"add.u32 %key, %key, {self.keys};", "setp.ge.u32 %more, %key, %keys;", "@%more bra LAST;")
        self.label("TILE")
        self.enter_stage()
        self.wait_full("k")
        self.turn(True)
        self.emit("wgmma.fence.sync.aligned;")
        self.scores()
        self.values("v")
        self.turn(False)
        self.products_done(1)
        self.release("empty_k")
        self.softmax()
        # For the next tile's product. The loop also keeps ptxas from moving the wait below it above the softmax.
        self.wait_full("v")
        self.products_done(0)
        self.release("empty_v", "v")
        self.pack()
        self.rescale()
        self.leave_stage()
        self.emit(f"add.u32 %key, %key, {self.keys};", "setp.lt.u32 %more, %key, %keys;", "@%more bra TILE;")
        self.label("LAST")
        self.emit("wgmma.fence.sync.aligned;")
        self.values("v")
        self.products_done(0)
        self.release("empty_v", "v")

    def epilogue(self):
        self.comment("normalise; log-sum-exp by the first lane of each quad")
        self.emit("and.b32 %warp, %warp, 3;", "shr.u32 %g, %lane, 2;",
                  f"mad.lo.u32 %row, %group, {ROWS}, %row;", "mad.lo.u32 %t, %warp, 16, %row;",
                  "add.u32 %t, %t, %g;")
        for half in range(2):
            for distance in (1, 2):
                self.emit(f"shfl.sync.bfly.b32 %x, %sum{half}, {distance}, 31, -1;",
                          f"add.f32 %sum{half}, %sum{half}, %x;")
            self.emit(f"rcp.approx.ftz.f32 %alpha{half}, %sum{half};",
                      f"lg2.approx.ftz.f32 %x, %sum{half};", f"fma.rn.f32 %x, %max{half}, %scale, %x;",
                      "mul.f32 %x, %x, 0f3F317218;",  # ln 2
                      f"add.u32 %left, %t, {8 * half};", "setp.lt.u32 %keep, %left, %queries;",
                      "setp.eq.and.u32 %keep, %quad, 0, %keep;",
                      "mad.lo.u32 %left, %head, %queries, %left;", "mul.wide.u32 %a, %left, 4;",
                      "add.u64 %a, %a, %lse;", "@%keep st.global.f32 [%a], %x;")
        self.comment("the tile of Q is free: its wgmma are over, and only this warpgroup reads it")
        # Lane l names row (l & 15) of chunk 2 * j + (l >> 4), swizzled.
        self.emit("and.b32 %g, %lane, 15;", "mad.lo.u32 %g, %warp, 16, %g;", "shl.b32 %addr, %g, 7;",
                  "add.u32 %addr, %addr, %tile;", "and.b32 %g, %g, 7;", "shr.u32 %x0, %lane, 4;")
        for block in range(self.dim // CHUNK):
            part, chunk = block * 2 // 8, block * 2 % 8
            regs = []
            for r in range(4):
                first = 8 * block + 4 * (r >> 1) + 2 * (r & 1)
                self.emit(f"mul.f32 %o{first}, %o{first}, %alpha{r & 1};",
                          f"mul.f32 %o{first + 1}, %o{first + 1}, %alpha{r & 1};",
                          f"cvt.rn.bf16x2.f32 %p{r}, %o{first + 1}, %o{first};")
                regs.append(f"%p{r}")
            self.emit(f"add.u32 %t, %x0, {chunk};", "xor.b32 %t, %t, %g;", "shl.b32 %t, %t, 4;",
                      "add.u32 %t, %t, %addr;",
                      f"stmatrix.sync.aligned.m8n8.x4.shared.b16 [%t+{part * self.q_bytes}], "
                      "{" + ", ".join(regs) + "};")
        self.emit("fence.proxy.async.shared::cta;", "add.u32 %t, %group, 1;", "bar.sync %t, 128;",
                  "and.b32 %t, %thread, 127;", "setp.ne.u32 %skip, %t, 0;", "@%skip bra END;",
                  "setp.ge.u32 %skip, %row, %queries;", "@%skip bra END;")
        for part in range(self.parts):
            self.emit(f"mov.u32 %column, {part * COLUMNS};",
                      "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group "
                      f"[%mapo, {{%column, %row, %head}}], [%tile+{part * self.q_bytes}];")
        self.emit("cp.async.bulk.commit_group;", "cp.async.bulk.wait_group 0;")

    def text(self):
        self.emit("mov.u32 %base, shared;", f"add.u32 %bars, %base, {self.barriers};",
                  "mov.u32 %thread, %tid.x;", "shr.u32 %warp, %thread, 5;", "shr.u32 %group, %thread, 7;",
                  "mov.u32 %row, %ctaid.x;", f"mul.lo.u32 %row, %row, {self.groups * ROWS};",
                  "mov.u32 %head, %ctaid.y;",
                  "ld.param.u64 %lse, [lse];", "ld.param.u32 %queries, [queries];", "ld.param.u32 %keys, [keys];",
                  "ld.param.f32 %scale, [scale];")
        for name in "qkvo":
            self.emit(f"mov.b64 %map{name}, map{name};", f"cvta.param.u64 %map{name}, %map{name};")
        self.comment("one thread makes the barriers")
        self.emit("setp.ne.u32 %skip, %thread, 0;", "@%skip bra READY;")
        for group in range(self.groups):
            self.emit(f"mbarrier.init.shared::cta.b64 [%base+{self.bar_q(group)}], 1;")
        for kind, count in (("full_k", 1), ("full_v", 1), ("empty_k", 4 * self.groups), ("empty_v", 4 * self.groups)):
            for stage in range(self.stages):
                self.emit(f"mbarrier.init.shared::cta.b64 [%base+{self.bars(kind) + 8 * stage}], {count};")
        self.emit("fence.mbarrier_init.release.cluster;")
        self.label("READY")
        self.emit("bar.sync 0;", "setp.eq.u32 %skip, %group, 0;", "@%skip bra PRODUCER;")
        self.consumer()
        self.emit("bra END;")
        self.producer()
        self.label("END")
        self.emit("ret;")
        words = "base bars bars0 thread warp group row head queries keys key stage parity full addr column t left last lane " \
                "quad g x0 tile barsv"
        longs = "lse mapq mapk mapv mapo descq desck descv off offv a b"
        floats = "scale m x max0 max1 sum0 sum1 alpha0 alpha1"
        preds = "skip done wrap one more whole keep first"
        declare = lambda type, names: f"  .reg .{type} " + ", ".join("%" + n for n in names.split()) + ";"
        return "\n".join([
            f"// Printed by forward90.py {self.dim}{' overlap' if self.overlap else ''}: dense attention, head dimension "
            f"{self.dim}.",
            "// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.",
            "// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception",
            f"// Dynamic shared memory: {self.shared_bytes()} bytes.",
            ".version 8.3", ".target sm_90a", ".address_size 64", "",
            ".extern .shared .align 1024 .b8 shared[];", "",
            ".visible .entry forward(",
            *[f"  .param .align 64 .b8 map{name}[128]," for name in "qkvo"],
            "  .param .u64 lse, .param .u32 queries, .param .u32 keys, .param .f32 scale)",
            f".reqntid {128 * (self.groups + 1)}, 1, 1", ".minnctapersm 1", "{",
            declare("pred", preds), declare("b32", words), declare("b64", longs), declare("f32", floats),
            f"  .reg .f32 %s<{self.keys // 2}>;", f"  .reg .f32 %o<{self.dim // 2}>;", f"  .reg .b32 %p<{self.keys // 4}>;", "",
            *self.lines, "}", ""])


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in ("64", "128") or sys.argv[2:] not in ([], ["overlap"]):
        sys.exit(__doc__)
    sys.stdout.write(Kernel(int(sys.argv[1]), len(sys.argv) == 3).text())
