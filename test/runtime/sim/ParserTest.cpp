//===- ParserTest.cpp - bad PTX is refused where it is bad -----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"

using namespace attn::sim;

namespace {

/// A kernel with one line of interest, which is line 8.
std::string around(const std::string &line, const char *version = "7.0",
                   const char *target = "sm_80") {
  return std::string(".version ") + version + "\n.target " + target +
         "\n.address_size 64\n.visible .entry k(.param .u64 a)\n{\n.reg .pred "
         "%p<4>; .reg .b16 %h<4>; .reg .b32 %r<20>; "
         ".reg .b64 %d<4>;\n.shared .align 16 .b8 s[256]; .local .b8 l[4];\n" +
         line + "\nL: ret;\n}\n";
}

struct Bad {
  const char *line;
  unsigned column; ///< 0: do not care
  const char *message;
};

TEST(Parser, RefusesWhatItDoesNotKnow) {
  const Bad cases[] = {
      {"  frobnicate.b32 %r1, %r2;", 3, "unknown instruction 'frobnicate'"},
      {"  add.s32.wild %r1, %r2, %r3;", 3,
       "'add' does not take modifier '.wild' here"},
      {"  add.q32 %r1, %r2, %r3;", 3,
       "'add' does not take modifier '.q32' here"},
      {"  add %r1, %r2, %r3;", 3, "lacks a modifier"},
      {"  add.s32 %r1, %r2;", 3, "takes 3 operands, found 2"},
      {"  add.s32 %r1, %r2, [%d1];", 3,
       "operand 3 of 'add.s32' has the wrong kind"},
      {"  add.s32 %r1, %r2, %x9;", 21, "unknown register '%x9'"},
      {"  add.s32 %r1, %r2, %d1;", 21, "expects 32 bits, '%d1' has 64 bits"},
      {"  add.s32 %r1, %r2, 0f3F800000 0;", 32, "expected ';'"},
      {"  add.f32 %r1, %r2, 3;", 21, "expected a floating-point immediate"},
      {"  add.s32 %r1, %r2, %r3", 0, "expected ';'"},
      {"  ld.global.u32 %r1, [%r2];", 0,
       "a 32-bit register cannot hold a global address"},
      {"  ld.global.u32 %r1, [s];", 0,
       "'s' is in .shared, the instruction accesses .global"},
      {"  ld.shared.u32 %r1, [nothing];", 0, "unknown symbol 'nothing'"},
      {"  ld.shared.v4.u32 {%r1, %r2}, [s];", 0,
       "expected 4 registers, found 2"},
      {"  ld.shared.v4.u64 {%d0, %d1, %d2, %d3}, [s];", 0,
       "more than 16 bytes"},
      {"  bra nowhere;", 0, "unknown label 'nowhere'"},
      {"  @%r1 bra L;", 4, "expected a predicate register"},
      {"  call (%r1), helper, (%r2);", 0, "call is not supported"},
      {"  setp.lt.and.s32 %p1, %r1, %r2;", 0,
       "takes a predicate as its last operand"},
      {"  setp.num.s32 %p1, %r1, %r2;", 0, "'.num' does not fit the type"},
      {"  cvt.f16.f32 %h1, %r1;", 0, "needs a rounding such as '.rn'"},
      {"  cvt.s32.f32 %r2, %r1;", 0, "needs a rounding such as '.rzi'"},
      {"  mov.b64 %d1, {%r1, %r2, %r3};", 0, "cannot split 64 bits into 3"},
      {"  mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r0, %r1, %r2, "
       "%r3}, {%r4, %r5}, {%r8, %r9}, {%r0, %r1, "
       "%r2, %r3};",
       0, "expected 4 registers, found 2"},
      {"  mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32 {%r0, %r1, %r2, "
       "%r3}, {%r4, %r5, %r6, %r7}, {%r8, %r9}, "
       "{%r0, %r1, %r2, %r3};",
       0, "does not take modifier '.row' here"},
      {"  cp.async.cg.shared.global [%r1], [%d1], 8;", 0,
       "cp.async.cg copies 16 bytes"},
      {"  lop3.b32 %r1, %r2, %r3, %r4, 256;", 0, "truth table of 8 bits"},
      {"  mov.u32 %r1, %clock64;", 0, "'%clock64' has 64 bits"},
      {"  stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r1], {%r2};", 0,
       "needs PTX 7.8 and sm_90, this module is for PTX 7.0 and sm_80"},
      {"  elect.sync %r1|%p1, -1;", 0, "needs PTX 8.0 and sm_90"},
      {"  mov.u32 %r1, \"text;", 0, "string does not end"},
      {"  mov.u32 %r1, 0xzz;", 0, "malformed number"},
      {"  L: mov.u32 %r1, 0;", 0, "label 'L' is defined twice"},
      {"  .frob 3;", 0, "unknown directive '.frob'"},
      {"  .reg .b99 %z;", 0, "expected a register type"},
      {"  \x01", 0, "unexpected character"},
  };
  for (const Bad &bad : cases) {
    Result<Module> module = Module::parse(around(bad.line));
    ASSERT_FALSE(bool(module)) << bad.line;
    EXPECT_NE(module.error().message.find(bad.message), std::string::npos)
        << bad.line << "\n  said: " << module.error().message;
    // A missing semicolon is noticed on the next line, a second label at the
    // second place.
    unsigned line = module.error().line;
    EXPECT_TRUE(line == 8 || line == 9) << bad.line << " line " << line;
    if (bad.column)
      EXPECT_EQ(module.error().column, bad.column) << bad.line;
  }
}

/// What sm_90a has, what only it has, and what is not supported.
TEST(Parser, KnowsHopper) {
  auto parse = [](const std::string &instruction, const char *target) {
    Result<Module> module = Module::parse(
        std::string(".version 8.3\n.target ") + target +
        "\n.address_size 64\n.shared .align 1024 .b8 tile[1024];\n.visible "
        ".entry k(.param .align 64 .b8 map[128])\n{\n.reg .pred %p<2>; .reg "
        ".b32 %r<8>; .reg .b64 %d<8>; .reg .f32 %f<8>;\n" +
        instruction + "\nret;\n}\n");
    if (module)
      return std::string("fine");
    EXPECT_EQ(module.error().line, 8u) << instruction;
    return module.error().message;
  };
  const char *const load =
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_"
      "tx::bytes [tile], [%d0, {%r0, 5}], [%r2];";
  const char *const product =
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, "
      "%f3}, %d0, %d1, %p0, 1, -1, 0, 1;";
  EXPECT_EQ(parse(load, "sm_90a"), "fine");
  EXPECT_EQ(parse(product, "sm_90a"), "fine");
  const std::pair<std::string, const char *> cases[] = {
      {"wgmma.mma_async.sync.aligned.m64n12k16.f32.bf16.bf16 {%f0}, %d0, %d1, "
       "1, 1, 1, 0, 0;",
       "does not take modifier '.m64n12k16'"},
      {"wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%f0, %f1}, %d0, "
       "%d1, 1, 1, 1, 0, 0;",
       "expected 8 registers in braces, found 2"},
      {"wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.f16 {%f0, %f1, %f2, "
       "%f3}, %d0, %d1, 1, 1, 1, 0, 0;",
       "both factors must have one type"},
      {"wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f0, %f1, %f2, "
       "%f3}, %d0, %d1, 1, 1, 2, 0, 0;",
       "expected 1 or -1, found 2"},
      {"wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {%f0, %f1, %f2, "
       "%f3}, %d0, %d1, 1, 1, 1;",
       "does not take modifier '.m64n8k8'"},
      {"cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_"
       "tx::bytes.multicast::cluster [tile], [%d0, {%r0, %r1}], [%r2], %r3;",
       "does not take modifier '.multicast::cluster'"},
      {"cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_"
       "tx::bytes [tile], [%d0, {%r0, %r1}], [%r2];",
       "expected 3 coordinates, found 2"},
      {"cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_"
       "tx::bytes [tile], [%d0], [%r2];",
       "has the wrong kind"},
      {"cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_"
       "tx::bytes.L2::cache_hint [tile], [%d0, {%r0, %r1}], [%r2];",
       ".L2::cache_hint comes with a 64-bit policy"},
      {"ld.global.u32 %r0, [%d0, {%r1}];", "has the wrong kind"},
      {"ld.global.u32 %r0, [%d0, %r1];", "expected the coordinates"},
      {"mbarrier.arrive.relaxed.cta.shared.b64 _, [%r0];", "needs PTX 8.6"},
      {"setmaxnreg.inc.sync.aligned.u32 250;", "expected a multiple of 8"},
      {"barrier.cluster.arrive;", "does not take modifier '.cluster'"},
  };
  for (const auto &[instruction, message] : cases) {
    std::string said = parse(instruction, "sm_90a");
    EXPECT_NE(said.find(message), std::string::npos)
        << instruction << "\n  said: " << said;
  }
  EXPECT_NE(parse(product, "sm_90")
                .find("needs PTX 8.0 and sm_90a, this "
                      "module is for PTX 8.3 and sm_90"),
            std::string::npos);
  EXPECT_NE(parse(product, "sm_100a").find("and sm_90a"), std::string::npos);
  EXPECT_NE(parse(load, "sm_80").find("needs PTX 8.0 and sm_90,"),
            std::string::npos);
}

TEST(Parser, RefusesBrokenModules) {
  const std::pair<const char *, const char *> cases[] = {
      {"", "expected '.version'"},
      {".version 8.0\n", "expected '.target'"},
      {".version 8.0\n.target gfx90a\n", "expected a target such as sm_80"},
      {".version 8.0\n.target sm_80\n.address_size 32\n",
       "only 64-bit addresses"},
      {".version 8.0\n.target sm_80\n.visible .entry k() {",
       "the end of the text"},
      {".version 8.0\n.target sm_80\n.visible .entry k(.param .u64 a",
       "expected ')'"},
      {".version 8.0\n.target sm_80\n.visible .entry k();",
       "expected the body of 'k'"},
      {".version 8.0\n.target sm_80\n/* open", "comment does not end"},
      {".version 8.0\n.target sm_80\nadd.s32 %r1;", "expected a directive"},
  };
  for (const auto &[text, message] : cases) {
    Result<Module> module = Module::parse(text);
    ASSERT_FALSE(bool(module)) << text;
    EXPECT_NE(module.error().message.find(message), std::string::npos)
        << text << "\n  said: " << module.error().message;
  }
}

/// No prefix of a real module may crash the parser, nor any module with one
/// byte changed.
TEST(Parser, SurvivesDamage) {
  std::string text = readText(ATTN_SIM_TESTS "/broken/copy-without-wait.ptx");
  for (size_t length = 0; length < text.size(); length += 3)
    Module::parse(text.substr(0, length));
  std::mt19937 random(1);
  for (unsigned i = 0; i < 2000; ++i) {
    std::string damaged = text;
    damaged[random() % damaged.size()] = char(random() % 128);
    Module::parse(damaged);
  }
}

TEST(Parser, ReadsEveryKindOfDeclaration) {
  Result<Module> module = Module::parse(
      ".version 8.0\n.target sm_90a, debug\n.address_size 64\n.file 1 "
      "\"a.cu\"\n.extern .func (.param .b32 r) vprintf (.param "
      ".b64 a);\n.func helper() { ret; }\n.const .align 4 .f32 c[3] = {1.0, "
      "0f40000000, 3};\n.global .u32 g = 7;\n.extern .shared .align 16 .b8 "
      "dyn[];\n"
      ".visible .entry k(.param .u64 .ptr .global .align 16 a, .param .align 8 "
      ".b8 st[24], .param .f32 x)\n.reqntid 64, 2\n.minnctapersm "
      "1\n.maxnreg 128\n{\n.reg .b32 %r<4>; .reg .b64 %rd<3>; .reg .f32 %f1, "
      "%f2;\n.shared .b32 one;\n.pragma \"nounroll\";\n.loc 1 2 3\n"
      "{ .reg .b32 %r1; mov.b32 %r1, 5; }\nmov.u32 %r2, dyn+4; ld.param.u32 "
      "%r0, [st+20]; st.shared.u32 [one], %r0;\nld.const.f32 %f1, [c+8]; "
      "ld.global.u32 %r3, [g];\n"
      "ret;\n}\n.section .debug_str { .b8 1, 2 }\n");
  ASSERT_TRUE(bool(module)) << module.error().render("module");
  ASSERT_EQ(module->entries().size(), 1u);
  Entry entry = module->entries()[0];
  EXPECT_EQ(entry.name, "k");
  EXPECT_EQ(module->target(), "sm_90a");
  ASSERT_EQ(entry.parameters.size(), 3u);
  EXPECT_EQ(entry.parameters[1].offset, 8u);
  EXPECT_EQ(entry.parameters[1].size, 24u);
  EXPECT_EQ(entry.parameters[2].offset, 32u);
  EXPECT_EQ(entry.parameterBytes, 36u);
  EXPECT_EQ(entry.requiredThreads[0] * entry.requiredThreads[1] *
                entry.requiredThreads[2],
            128u);
  EXPECT_EQ(entry.staticShared, 16u);
}

TEST(Launch, RefusesWhatCannotStart) {
  Result<Module> module = Module::parse(around("mov.u32 %r1, 0;"));
  ASSERT_TRUE(bool(module));
  Memory memory;
  Arguments arguments;
  arguments.add(uint64_t(0));
  auto refusal = [&](const char *entry, Dim3 block, unsigned shared,
                     const Arguments &with) {
    LaunchReport report =
        launch(*module, entry, {}, block, shared, with, memory);
    EXPECT_FALSE(report.ok);
    EXPECT_EQ(report.findings.size(), 1u);
    EXPECT_EQ(report.findings[0].kind, FindingKind::BadLaunch);
    return report.findings[0].message;
  };
  EXPECT_EQ(refusal("x", {32, 1, 1}, 0, arguments), "no entry named 'x'");
  EXPECT_EQ(refusal("k", {2048, 1, 1}, 0, arguments),
            "a block has 1 to 1024 threads, found 2048");
  EXPECT_EQ(refusal("k", {32, 1, 1}, 0, {}),
            "the kernel takes 8 bytes of parameters, found 0");
  EXPECT_EQ(refusal("k", {32, 1, 1}, 200000, arguments),
            "200256 bytes of shared memory, sm_80 has 166912 for a block");
  EXPECT_TRUE(
      launch(*module, "k", {0, 1, 1}, {32, 1, 1}, 0, arguments, memory).ok);
}

} // namespace
