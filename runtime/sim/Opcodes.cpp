//===- Opcodes.cpp - the table of instructions -----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Build.h"

#include <cstring>
#include <unordered_map>

namespace attn::sim {
namespace {

using B = BuilderId;

const std::pair<std::string_view, std::string_view> sets[] = {
    {"$int", "u16|s16|u32|s32|u64|s64"},
    {"$sint", "s16|s32|s64"},
    {"$bits", "b16|b32|b64"},
    {"$rnd", "rn|rz|rm|rp"},
    {"$half", "f16|f16x2|bf16|bf16x2"},
    {"$cmp", "eq|ne|lt|le|gt|ge|lo|ls|hi|hs|equ|neu|ltu|leu|gtu|geu|num|nan"},
    {"$bool", "and|or|xor"},
    {"$any", "b16|b32|b64|u16|s16|u32|s32|u64|s64|f32|f64|f16|bf16"},
    {"$mem", "b8|b16|b32|b64|u8|s8|u16|s16|u32|s32|u64|s64|f16|bf16|f32|f64|"
             "f16x2|bf16x2"},
    {"$space", "global|shared|shared::cta|shared::cluster|local|const|param|"
               "param::entry"},
    {"$window", "global|shared|shared::cta|shared::cluster|local|const|param|"
                "param::entry"},
    {"$order", "weak|volatile|relaxed|acquire|release|acq_rel|sc|mmio"},
    {"$scope", "cta|cluster|gpu|sys"},
    {"$cache", "ca|cg|cs|lu|cv|wb|wt"},
    {"$l1", "L1::evict_normal|L1::evict_unchanged|L1::evict_first|L1::evict_"
            "last|L1::no_allocate"},
    {"$l2e", "L2::evict_normal|L2::evict_first|L2::evict_last"},
    {"$l2", "L2::64B|L2::128B|L2::256B"},
    {"$cvt", "u8|s8|u16|s16|u32|s32|u64|s64|f16|bf16|f32|f64"},
    {"$cvtrnd", "rn|rz|rm|rp|rni|rzi|rmi|rpi"},
    {"$cta", "shared|shared::cta"},
    {"$dsmem", "shared|shared::cta|shared::cluster"},
    {"$dim", "1d|2d|3d|4d|5d"},
    {"$wgmma", "m64n8k16|m64n16k16|m64n24k16|m64n32k16|m64n40k16|m64n48k16|m"
               "64n56k16|m64n64k16|m64n72k16|m64n80k16|m64n88k16|m64n96k16|m"
               "64n104k16|m64n112k16|m64n120k16|m64n128k16|m64n136k16|m64n14"
               "4k16|m64n152k16|m64n160k16|m64n168k16|m64n176k16|m64n184k16|"
               "m64n192k16|m64n200k16|m64n208k16|m64n216k16|m64n224k16|m64n2"
               "32k16|m64n240k16|m64n248k16|m64n256k16"},
};

const Opcode table[] = {
    // Integer arithmetic.
    {"add", "$int", "dss", 10, 10, B::intBinary},
    {"add", "sat s32", "dss", 10, 10, B::intBinary},
    {"add", "u16x2|s16x2", "dss", 80, 90, B::intBinary},
    {"sub", "$int", "dss", 10, 10, B::intBinary},
    {"sub", "sat s32", "dss", 10, 10, B::intBinary},
    {"add", "cc u32|s32|u64|s64", "dss", 12, 10, B::addCarry},
    {"addc", "cc? u32|s32|u64|s64", "dss", 12, 10, B::addCarry},
    {"sub", "cc u32|s32|u64|s64", "dss", 12, 10, B::addCarry},
    {"subc", "cc? u32|s32|u64|s64", "dss", 12, 10, B::addCarry},
    {"mul", "hi|lo|wide $int", "dss", 10, 10, B::intMul},
    {"mul24", "hi|lo u32|s32", "dss", 10, 10, B::intMul},
    {"mad", "hi|lo|wide $int", "dsss", 10, 10, B::intMad},
    {"mad", "hi sat s32", "dsss", 10, 10, B::intMad},
    {"mad24", "hi|lo u32|s32", "dsss", 10, 10, B::intMad},
    {"div", "$int", "dss", 10, 10, B::intDivRem},
    {"rem", "$int", "dss", 10, 10, B::intDivRem},
    {"abs", "$sint", "ds", 10, 10, B::intUnary},
    {"neg", "$sint", "ds", 10, 10, B::intUnary},
    {"min", "$int", "dss", 10, 10, B::minMaxInt},
    {"max", "$int", "dss", 10, 10, B::minMaxInt},
    {"min", "u16x2|s16x2", "dss", 80, 90, B::minMaxInt},
    {"max", "u16x2|s16x2", "dss", 80, 90, B::minMaxInt},
    {"min", "relu s16x2|s32", "dss", 80, 90, B::minMaxInt},
    {"max", "relu s16x2|s32", "dss", 80, 90, B::minMaxInt},
    {"sad", "$int", "dsss", 10, 10, B::sad},
    {"dp4a", "u32|s32 u32|s32", "dsss", 50, 61, B::packedDot},
    {"dp2a", "lo|hi u32|s32 u32|s32", "dsss", 50, 61, B::packedDot},

    // Bits.
    {"and", "$bits", "dss", 10, 10, B::bitLogic},
    {"or", "$bits", "dss", 10, 10, B::bitLogic},
    {"xor", "$bits", "dss", 10, 10, B::bitLogic},
    {"not", "$bits", "ds", 10, 10, B::bitLogic},
    {"cnot", "$bits", "ds", 10, 10, B::bitLogic},
    {"and", "pred", "pqq", 10, 10, B::predicateLogic},
    {"or", "pred", "pqq", 10, 10, B::predicateLogic},
    {"xor", "pred", "pqq", 10, 10, B::predicateLogic},
    {"not", "pred", "pq", 10, 10, B::predicateLogic},
    {"lop3", "b32", "dsssi", 43, 50, B::lop3},
    {"shl", "$bits", "dss", 10, 10, B::shift},
    {"shr", "b16|b32|b64|u16|u32|u64|s16|s32|s64", "dss", 10, 10, B::shift},
    {"shf", "l|r clamp|wrap b32", "dsss", 31, 32, B::funnelShift},
    {"bfe", "u32|s32|u64|s64", "dsss", 20, 20, B::bitField},
    {"bfi", "b32|b64", "dssss", 20, 20, B::bitField},
    {"bmsk", "clamp|wrap b32", "dss", 76, 70, B::bitField},
    {"szext", "clamp|wrap u32|s32", "dss", 76, 70, B::bitField},
    {"bfind", "shiftamt? u32|s32|u64|s64", "ds", 20, 20, B::bitCount},
    {"brev", "b32|b64", "ds", 20, 20, B::bitCount},
    {"popc", "b32|b64", "ds", 20, 20, B::bitCount},
    {"clz", "b32|b64", "ds", 20, 20, B::bitCount},
    {"fns", "b32", "dsss", 60, 30, B::bitField},
    {"prmt", "b32 f4e|b4e|rc8|ecl|ecr|rc16?", "dsss", 20, 20, B::prmt},

    // Floating point.
    {"add", "$rnd? ftz? sat? f32", "dss", 10, 10, B::floatBinary},
    {"add", "$rnd? f64", "dss", 10, 13, B::floatBinary},
    {"add", "rn? ftz? sat? f16|f16x2", "dss", 42, 53, B::floatBinary},
    {"add", "rn? bf16|bf16x2", "dss", 78, 90, B::floatBinary},
    {"sub", "$rnd? ftz? sat? f32", "dss", 10, 10, B::floatBinary},
    {"sub", "$rnd? f64", "dss", 10, 13, B::floatBinary},
    {"sub", "rn? ftz? sat? f16|f16x2", "dss", 42, 53, B::floatBinary},
    {"sub", "rn? bf16|bf16x2", "dss", 78, 90, B::floatBinary},
    {"mul", "$rnd? ftz? sat? f32", "dss", 10, 10, B::floatBinary},
    {"mul", "$rnd? f64", "dss", 10, 13, B::floatBinary},
    {"mul", "rn? ftz? sat? f16|f16x2", "dss", 42, 53, B::floatBinary},
    {"mul", "rn? bf16|bf16x2", "dss", 78, 90, B::floatBinary},
    {"fma", "$rnd ftz? sat? f32", "dsss", 20, 20, B::floatFma},
    {"fma", "$rnd f64", "dsss", 10, 13, B::floatFma},
    {"fma", "rn ftz? sat? f16|f16x2", "dsss", 42, 53, B::floatFma},
    {"fma", "rn ftz? relu f16|f16x2", "dsss", 70, 80, B::floatFma},
    {"fma", "rn relu? bf16|bf16x2", "dsss", 70, 80, B::floatFma},
    {"mad", "$rnd ftz? sat? f32", "dsss", 10, 20, B::floatFma},
    {"mad", "$rnd f64", "dsss", 10, 13, B::floatFma},
    {"neg", "ftz? f32", "ds", 10, 10, B::floatUnary},
    {"neg", "f64", "ds", 10, 13, B::floatUnary},
    {"neg", "ftz? f16|f16x2", "ds", 60, 53, B::floatUnary},
    {"neg", "bf16|bf16x2", "ds", 70, 80, B::floatUnary},
    {"abs", "ftz? f32", "ds", 10, 10, B::floatUnary},
    {"abs", "f64", "ds", 10, 13, B::floatUnary},
    {"abs", "ftz? f16|f16x2", "ds", 65, 53, B::floatUnary},
    {"abs", "bf16|bf16x2", "ds", 70, 80, B::floatUnary},
    {"min", "ftz? NaN? xorsign? abs? f32", "dss", 10, 10, B::floatMinMax},
    {"min", "f64", "dss", 10, 13, B::floatMinMax},
    {"min", "ftz? NaN? xorsign? abs? f16|f16x2", "dss", 70, 80, B::floatMinMax},
    {"min", "NaN? xorsign? abs? bf16|bf16x2", "dss", 70, 80, B::floatMinMax},
    {"max", "ftz? NaN? xorsign? abs? f32", "dss", 10, 10, B::floatMinMax},
    {"max", "f64", "dss", 10, 13, B::floatMinMax},
    {"max", "ftz? NaN? xorsign? abs? f16|f16x2", "dss", 70, 80, B::floatMinMax},
    {"max", "NaN? xorsign? abs? bf16|bf16x2", "dss", 70, 80, B::floatMinMax},
    {"div", "approx|full ftz? f32", "dss", 10, 10, B::floatDivide},
    {"div", "$rnd ftz? f32", "dss", 14, 20, B::floatDivide},
    {"div", "$rnd f64", "dss", 14, 13, B::floatDivide},
    {"rcp", "approx ftz? f32", "ds", 10, 10, B::floatApprox},
    {"rcp", "$rnd ftz? f32", "ds", 14, 20, B::floatApprox},
    {"rcp", "$rnd f64", "ds", 14, 13, B::floatApprox},
    {"rcp", "approx ftz f64", "ds", 21, 20, B::floatApprox},
    {"sqrt", "approx ftz? f32", "ds", 10, 10, B::floatApprox},
    {"sqrt", "$rnd ftz? f32", "ds", 14, 20, B::floatApprox},
    {"sqrt", "$rnd f64", "ds", 14, 13, B::floatApprox},
    {"rsqrt", "approx ftz? f32", "ds", 10, 10, B::floatApprox},
    {"rsqrt", "approx ftz? f64", "ds", 10, 13, B::floatApprox},
    {"ex2", "approx ftz? f32", "ds", 10, 10, B::floatApprox},
    {"lg2", "approx ftz? f32", "ds", 10, 10, B::floatApprox},
    {"sin", "approx ftz? f32", "ds", 10, 10, B::floatApprox},
    {"cos", "approx ftz? f32", "ds", 10, 10, B::floatApprox},
    {"tanh", "approx f32", "ds", 70, 75, B::floatApprox},
    {"ex2", "approx f16|f16x2", "ds", 70, 75, B::halfApprox},
    {"ex2", "approx ftz bf16|bf16x2", "ds", 78, 90, B::halfApprox},
    {"tanh", "approx f16|f16x2", "ds", 70, 75, B::halfApprox},
    {"tanh", "approx bf16|bf16x2", "ds", 78, 90, B::halfApprox},
    {"testp", "finite|infinite|number|notanumber|normal|subnormal f32|f64",
     "ps", 20, 20, B::testp},
    {"copysign", "f32|f64", "dss", 20, 20, B::copysign},

    // Comparison and selection.
    {"setp", "$cmp $bool? ftz? $any", "pss?q", 10, 10, B::compare},
    {"setp", "$cmp $bool? ftz? f16x2|bf16x2", "pss?q", 42, 53, B::compare},
    {"set", "$cmp $bool? ftz? u32|s32|f32 $any", "dss?q", 10, 10, B::setValue},
    {"selp", "$any", "dssq", 10, 10, B::select},
    {"slct", "ftz? $any s32|f32", "dsss", 10, 10, B::slct},

    // Moves and conversions.
    {"mov", "$any", "vv", 10, 10, B::move},
    {"mov", "pred", "pq", 10, 10, B::predicateLogic},
    {"cvt", "$cvtrnd? ftz? sat? $cvt $cvt", "ds", 10, 10, B::convert},
    {"cvt", "rn|rz relu? satfinite? f16|bf16 f32", "ds", 70, 80, B::convert},
    {"cvt", "rn|rz relu? satfinite? f16x2|bf16x2 f32", "dss", 70, 80,
     B::convertPacked},
    {"cvt", "rna tf32 f32", "ds", 70, 80, B::convert},
    {"cvt", "rn|rz relu? tf32 f32", "ds", 78, 90, B::convert},
    {"cvt", "pack sat u16|s16|u8|s8 s32", "dss", 65, 72, B::convertPacked},
    {"cvt", "pack sat u8|s8 s32 b32", "dsss", 65, 72, B::convertPacked},
    {"cvta", "to $window u64", "ds", 20, 20, B::convertAddress},
    {"cvta", "$window u64", "ds", 20, 20, B::convertAddress},
    {"isspacep", "$window", "ps", 20, 20, B::isSpace},

    // Memory.
    {"ld", "$order? $scope? $space? nc? $cache? $l1? $l2e? $l2? v2|v4? $mem",
     "vm", 10, 10, B::load},
    {"ldu", "global? v2|v4? $mem", "vm", 20, 20, B::load},
    {"st", "$order? $scope? $space? $cache? $l1? $l2e? v2|v4? $mem", "mv", 10,
     10, B::store},
    {"ldmatrix", "sync aligned m8n8 x1|x2|x4 trans? shared|shared::cta? b16",
     "vm", 65, 75, B::loadMatrix},
    {"stmatrix", "sync aligned m8n8 x1|x2|x4 trans? shared|shared::cta? b16",
     "mv", 78, 90, B::storeMatrix},
    {"movmatrix", "sync aligned m8n8 trans b16", "ds", 78, 75, B::moveMatrix},
    {"cp", "async ca|cg shared|shared::cta global $l2?", "mmi?s", 70, 80,
     B::cpAsync},
    {"cp", "async commit_group", "", 70, 80, B::cpCommit},
    {"cp", "async wait_group", "i", 70, 80, B::cpWait},
    {"cp", "async wait_all", "", 70, 80, B::cpWait},
    {"atom", "$order? $scope? $space? and|or|xor|exch b32|b64", "dms", 11, 11,
     B::atomic},
    {"atom", "$order? $scope? $space? cas b16|b32|b64", "dmss", 11, 11,
     B::atomic},
    {"atom", "$order? $scope? $space? add u32|s32|u64|f32|f64", "dms", 11, 11,
     B::atomic},
    {"atom", "$order? $scope? $space? add noftz f16|f16x2|bf16|bf16x2", "dms",
     63, 70, B::atomic},
    {"atom", "$order? $scope? $space? min|max u32|s32|u64|s64", "dms", 11, 11,
     B::atomic},
    {"atom", "$order? $scope? $space? inc|dec u32", "dms", 11, 11, B::atomic},
    {"red", "$order? $scope? $space? and|or|xor b32|b64", "ms", 11, 11,
     B::atomic},
    {"red", "$order? $scope? $space? add u32|s32|u64|f32|f64", "ms", 11, 11,
     B::atomic},
    {"red", "$order? $scope? $space? add noftz f16|f16x2|bf16|bf16x2", "ms", 63,
     70, B::atomic},
    {"red", "$order? $scope? $space? min|max u32|s32|u64|s64", "ms", 11, 11,
     B::atomic},
    {"red", "$order? $scope? $space? inc|dec u32", "ms", 11, 11, B::atomic},
    {"prefetch", "global|local? L1|L2", "m", 20, 20, B::nothing},
    {"prefetch", "global L2::evict_last|L2::evict_normal", "m", 74, 80,
     B::nothing},
    {"prefetchu", "L1", "m", 20, 20, B::nothing},
    {"discard", "global? L2", "mi", 74, 80, B::nothing},
    {"applypriority", "global? L2::evict_normal", "mi", 74, 80, B::nothing},
    {"membar", "cta|gl|sys", "", 10, 10, B::fence},
    {"fence", "sc|acq_rel|acquire|release? cta|cluster|gpu|sys", "", 60, 70,
     B::fence},

    {"fence", "proxy alias", "", 75, 70, B::fence},
    {"fence", "proxy async", "", 80, 90, B::proxyFence},
    {"fence", "proxy async global|shared::cta|shared::cluster", "", 80, 90,
     B::proxyFence},
    {"fence", "mbarrier_init release cluster", "", 80, 90, B::fence},

    // Objects in shared memory that count arrivals and bytes.
    {"mbarrier", "init $cta? b64", "ms", 70, 80, B::mbarrierInit},
    {"mbarrier", "inval $cta? b64", "m", 70, 80, B::mbarrierInval},
    {"mbarrier", "expect_tx|complete_tx $dsmem? b64", "ms", 80, 90,
     B::mbarrierTx},
    {"mbarrier", "expect_tx|complete_tx relaxed cta|cluster $dsmem? b64", "ms",
     80, 90, B::mbarrierTx},
    {"mbarrier", "arrive|arrive_drop $cta? b64", "dm", 70, 80,
     B::mbarrierArrive},
    {"mbarrier", "arrive|arrive_drop $dsmem? b64", "dm?s", 80, 90,
     B::mbarrierArrive},
    {"mbarrier", "arrive|arrive_drop release cta|cluster $dsmem? b64", "dm?s",
     80, 90, B::mbarrierArrive},
    {"mbarrier", "arrive|arrive_drop relaxed cta|cluster $dsmem? b64", "dm?s",
     86, 90, B::mbarrierArrive},
    {"mbarrier", "arrive|arrive_drop noComplete $cta? b64", "dms", 70, 80,
     B::mbarrierArrive},
    {"mbarrier", "arrive|arrive_drop noComplete release cta $cta? b64", "dms",
     80, 80, B::mbarrierArrive},
    {"mbarrier", "arrive|arrive_drop expect_tx $dsmem? b64", "dms", 80, 90,
     B::mbarrierArrive},
    {"mbarrier", "arrive|arrive_drop expect_tx release cta|cluster $dsmem? b64",
     "dms", 80, 90, B::mbarrierArrive},
    {"mbarrier", "arrive|arrive_drop expect_tx relaxed cta|cluster $dsmem? b64",
     "dms", 86, 90, B::mbarrierArrive},
    {"mbarrier", "test_wait $cta? b64", "pms", 70, 80, B::mbarrierWait},
    {"mbarrier", "test_wait parity $cta? b64", "pms", 71, 80, B::mbarrierWait},
    {"mbarrier", "try_wait parity? $cta? b64", "pms?s", 78, 90,
     B::mbarrierWait},
    {"mbarrier", "test_wait parity? acquire cta|cluster $cta? b64", "pms", 80,
     90, B::mbarrierWait},
    {"mbarrier", "try_wait parity? acquire cta|cluster $cta? b64", "pms?s", 80,
     90, B::mbarrierWait},
    {"mbarrier", "test_wait parity? relaxed cta|cluster $cta? b64", "pms", 86,
     90, B::mbarrierWait},
    {"mbarrier", "try_wait parity? relaxed cta|cluster $cta? b64", "pms?s", 86,
     90, B::mbarrierWait},
    {"mbarrier", "pending_count b64", "ds", 70, 80, B::mbarrierPending},

    // Bulk and tensor copies.
    {"cp",
     "async bulk shared::cluster global mbarrier::complete_tx::bytes "
     "L2::cache_hint?",
     "mmsm?s", 80, 90, B::bulkLoad},
    {"cp",
     "async bulk shared::cta global mbarrier::complete_tx::bytes "
     "L2::cache_hint?",
     "mmsm?s", 86, 90, B::bulkLoad},
    {"cp", "async bulk global shared::cta bulk_group L2::cache_hint?", "mms?s",
     80, 90, B::bulkStore},
    {"cp",
     "async bulk tensor $dim shared::cluster global tile? "
     "mbarrier::complete_tx::bytes L2::cache_hint?",
     "mtm?s", 80, 90, B::tensorLoad},
    {"cp",
     "async bulk tensor $dim shared::cta global tile? "
     "mbarrier::complete_tx::bytes L2::cache_hint?",
     "mtm?s", 86, 90, B::tensorLoad},
    {"cp",
     "async bulk tensor $dim global shared::cta tile? bulk_group "
     "L2::cache_hint?",
     "tm?s", 80, 90, B::tensorStore},
    {"cp", "async bulk commit_group", "", 80, 90, B::bulkCommit},
    {"cp", "async bulk wait_group read?", "i", 80, 90, B::bulkWait},
    {"cp", "async bulk prefetch L2 global L2::cache_hint?", "ms?s", 80, 90,
     B::nothing},
    {"cp", "async bulk prefetch tensor $dim L2 global tile? L2::cache_hint?",
     "t?s", 80, 90, B::nothing},
    {"prefetch", "const|param? tensormap", "m", 80, 90, B::nothing},
    {"mapa", "shared::cluster? u32|u64", "dss", 78, 90, B::mapAddress},

    // Matrix products.
    {"mma", "sync aligned m16n8k8|m16n8k16 row col f32 f16|bf16 f16|bf16 f32",
     "vvvv", 70, 80, B::mma16},
    {"mma", "sync aligned m16n8k8|m16n8k16 row col f16 f16 f16 f16", "vvvv", 70,
     80, B::mma16},
    {"mma", "sync aligned m16n8k4|m16n8k8 row col f32 tf32 tf32 f32", "vvvv",
     70, 80, B::mmaTf32},
    {"wgmma", "mma_async sync aligned $wgmma f32 f16|bf16 f16|bf16", "vssqiiii",
     80, 1090, B::wgmma},
    {"wgmma", "mma_async sync aligned $wgmma f32 f16|bf16 f16|bf16", "vvsqiii",
     80, 1090, B::wgmma},
    {"wgmma", "fence sync aligned", "", 80, 1090, B::wgmmaFence},
    {"wgmma", "commit_group sync aligned", "", 80, 1090, B::wgmmaCommit},
    {"wgmma", "wait_group sync aligned", "i", 80, 1090, B::wgmmaWait},
    {"setmaxnreg", "inc|dec sync aligned u32", "i", 80, 1090, B::setRegisters},

    // Warp-wide and block-wide.
    {"shfl", "sync up|down|bfly|idx b32", "dssss", 60, 30, B::shuffle},
    {"vote", "sync all|any|uni pred", "pqs", 60, 30, B::vote},
    {"vote", "sync ballot b32", "dqs", 60, 30, B::vote},
    {"match", "any sync b32|b64", "dss", 60, 70, B::matchLanes},
    {"match", "all sync b32|b64", "dss", 60, 70, B::matchLanes},
    {"activemask", "b32", "d", 62, 30, B::activeMask},
    {"redux", "sync add|min|max u32|s32", "dss", 70, 80, B::reduceLanes},
    {"redux", "sync and|or|xor b32", "dss", 70, 80, B::reduceLanes},
    {"elect", "sync", "ds", 80, 90, B::electLane},
    {"bar", "warp sync", "s", 60, 30, B::warpBarrier},
    {"bar", "cta? sync", "s?s", 10, 10, B::barrier},
    {"bar", "cta? arrive", "ss", 20, 20, B::barrier},
    {"bar", "cta? red popc u32", "dssq", 20, 20, B::barrierReduce},
    {"bar", "cta? red popc u32", "dsq", 20, 20, B::barrierReduce},
    {"bar", "cta? red and|or pred", "pssq", 20, 20, B::barrierReduce},
    {"bar", "cta? red and|or pred", "psq", 20, 20, B::barrierReduce},
    {"barrier", "cta? sync aligned?", "s?s", 60, 30, B::barrier},
    {"barrier", "cta? arrive aligned?", "ss", 60, 30, B::barrier},
    {"barrier", "cta? red popc aligned? u32", "dssq", 60, 30, B::barrierReduce},
    {"barrier", "cta? red popc aligned? u32", "dsq", 60, 30, B::barrierReduce},
    {"barrier", "cta? red and|or aligned? pred", "pssq", 60, 30,
     B::barrierReduce},
    {"barrier", "cta? red and|or aligned? pred", "psq", 60, 30,
     B::barrierReduce},

    // Control.
    {"bra", "uni?", "l", 10, 10, B::branch},
    {"ret", "uni?", "", 10, 10, B::leave},
    {"exit", "", "", 10, 10, B::leave},
    {"trap", "", "", 10, 10, B::trap},
    {"brkpt", "", "", 11, 11, B::trap},
    {"nanosleep", "u32", "s", 63, 70, B::nothing},
    {"pmevent", "", "i", 14, 20, B::nothing},
    // The grid depends on none, and none on it.
    {"griddepcontrol", "launch_dependents|wait", "", 78, 90, B::nothing},
};

struct Slot {
  std::vector<std::string_view> alternatives;
  bool optional = false;
};

std::vector<Slot> parsePattern(std::string_view pattern) {
  std::vector<Slot> slots;
  while (!pattern.empty()) {
    size_t space = pattern.find(' ');
    std::string_view word = pattern.substr(0, space);
    pattern = space == std::string_view::npos ? "" : pattern.substr(space + 1);
    Slot slot;
    if (word.back() == '?') {
      slot.optional = true;
      word.remove_suffix(1);
    }
    if (word[0] == '$')
      for (const auto &set : sets)
        if (set.first == word) {
          word = set.second;
          break;
        }
    for (;;) {
      size_t bar = word.find('|');
      slot.alternatives.push_back(word.substr(0, bar));
      if (bar == std::string_view::npos)
        break;
      word.remove_prefix(bar + 1);
    }
    slots.push_back(std::move(slot));
  }
  return slots;
}

struct Row {
  const Opcode *opcode;
  std::vector<Slot> slots;
};

using Index = std::unordered_map<std::string_view, std::vector<Row>>;
const Index &index() {
  static const Index built = [] {
    Index result;
    for (const Opcode &opcode : table)
      result[opcode.name].push_back({&opcode, parsePattern(opcode.pattern)});
    return result;
  }();
  return built;
}

/// Matches modifiers from `at` on against slots from `slot` on; `farthest` is
/// the most modifiers that fitted.
bool matchSlots(const std::vector<Slot> &slots, size_t slot,
                const std::vector<std::string> &modifiers, size_t at,
                std::vector<std::string_view> &chosen, size_t &farthest) {
  farthest = std::max(farthest, at);
  if (slot == slots.size())
    return at == modifiers.size();
  if (at < modifiers.size())
    for (std::string_view alternative : slots[slot].alternatives)
      if (alternative == modifiers[at]) {
        chosen[slot] = alternative;
        if (matchSlots(slots, slot + 1, modifiers, at + 1, chosen, farthest))
          return true;
      }
  chosen[slot] = {};
  return slots[slot].optional &&
         matchSlots(slots, slot + 1, modifiers, at, chosen, farthest);
}

bool operandFits(char letter, const Operand &operand) {
  switch (letter) {
  case 'd':
    return operand.kind == Operand::Register || operand.kind == Operand::Sink;
  case 'p':
    return operand.kind == Operand::Register || operand.kind == Operand::Sink;
  case 's':
    return operand.kind == Operand::Register ||
           operand.kind == Operand::Integer || operand.kind == Operand::Float ||
           operand.kind == Operand::Symbol;
  case 'q':
    return operand.kind == Operand::Register ||
           operand.kind == Operand::Integer;
  case 'm':
    return operand.kind == Operand::Address && operand.elements.empty();
  case 't':
    return operand.kind == Operand::Address && !operand.elements.empty();
  case 'i':
    return operand.kind == Operand::Integer;
  case 'l':
    return operand.kind == Operand::Symbol;
  default:
    return operand.kind != Operand::Address;
  }
}

std::string operandProblem(const char *shape, const Instruction &instruction) {
  size_t least = 0, most = 0;
  bool optional = false;
  for (const char *c = shape; *c; ++c) {
    if (*c == '?')
      optional = true;
    else
      ++most, least += !optional;
  }
  size_t found = instruction.operands.size();
  if (found < least || found > most)
    return "'" + instruction.spelled() + "' takes " + std::to_string(least) +
           (most > least ? " to " + std::to_string(most) : "") +
           " operands, found " + std::to_string(found);
  size_t i = 0;
  for (const char *c = shape; *c && i < found; ++c) {
    if (*c == '?')
      continue;
    if (!operandFits(*c, instruction.operands[i]))
      return "operand " + std::to_string(i + 1) + " of '" +
             instruction.spelled() + "' has the wrong kind";
    ++i;
  }
  return "";
}

/// `sm_80`, or of a row's target that exists in one variant only, `sm_90a`.
std::string showTarget(unsigned sm) {
  return "sm_" + std::to_string(sm % 1000) + (sm >= 1000 ? "a" : "");
}

} // namespace

Match matchOpcode(const Instruction &instruction, unsigned version, unsigned sm,
                  char variant) {
  Match match;
  auto rows = index().find(instruction.opcode);
  if (rows == index().end()) {
    match.problem = "unknown instruction '" + instruction.opcode + "'";
    return match;
  }
  size_t farthest = 0;
  for (const Row &row : rows->second) {
    std::vector<std::string_view> chosen(row.slots.size());
    if (!matchSlots(row.slots, 0, instruction.modifiers, 0, chosen, farthest))
      continue;
    std::string problem = operandProblem(row.opcode->operands, instruction);
    const unsigned target = row.opcode->sm;
    const bool targetFits =
        target < 1000 ? sm >= target : sm + 1000 == target && variant == 'a';
    if (problem.empty() && (version < row.opcode->version || !targetFits))
      problem = "'" + instruction.spelled() + "' needs PTX " +
                std::to_string(row.opcode->version / 10) + "." +
                std::to_string(row.opcode->version % 10) + " and " +
                showTarget(target) + ", this module is for PTX " +
                std::to_string(version / 10) + "." +
                std::to_string(version % 10) + " and " +
                showTarget(sm + (variant == 'a' ? 1000 : 0));
    if (problem.empty()) {
      match.row = row.opcode;
      match.chosen = std::move(chosen);
      match.problem.clear();
      return match;
    }
    if (match.problem.empty())
      match.problem = problem;
  }
  if (match.problem.empty()) {
    if (farthest < instruction.modifiers.size())
      match.problem = "'" + instruction.opcode + "' does not take modifier '." +
                      instruction.modifiers[farthest] + "' here, in '" +
                      instruction.spelled() + "'";
    else
      match.problem = "'" + instruction.spelled() + "' lacks a modifier";
  }
  return match;
}

} // namespace attn::sim
