# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which kernels the kit holds, and on which problems they are measured."""

from .masks import MASKS

TARGETS = ["sm_90a", "sm_90", "sm_80"]  # best first
CUBIN = "sm_90a-cubin"  # the first of them, assembled when the kit was packed and not by the driver
# Other schedules for sm_90a, of the dense and the causal kernel of these head sizes, to be measured beside the default: a
# target `sm_90a-<name>` each.
_TWO = ("q_tile = 128, kv_tile = {}, warps = 8, stages = 2, q_in_registers = false, producer_registers = 24, "
        "consumer_registers = 240")
_THREE = ("q_tile = 192, kv_tile = 128, warps = 12, stages = {}, q_in_registers = false, producer_registers = 32, "
          "consumer_registers = 160")
VARIANTS = {
    128: {"two": _TWO.format(128), "two-overlap": _TWO.format(128) + ", overlap = true",
          "two-overlap-176": _TWO.format(176) + ", overlap = true",
          "two-turns": _TWO.format(128) + ", overlap = true, turns = true",
          "two-shared": _TWO.format(128) + ", weights_in_shared = true", "three": _THREE.format(2)},
    64: {"three": _THREE.format(4), "three-overlap": _THREE.format(4) + ", overlap = true",
         "three-turns": _THREE.format(4) + ", overlap = true, turns = true",
         "two-turns": _TWO.format(128) + ", overlap = true, turns = true"},
    256: {"two": _TWO.format(80), "two-overlap": _TWO.format(80) + ", overlap = true"},
}
LENGTHS = [512, 1024, 2048, 4096, 8192, 16384, 32768]
TOKENS = 16384  # of a batch, at least one sequence
DECODED = 64  # sequences that are decoded together


def kernel(name, element, head_size, heads, kv_heads, mask, queries=None):
    """`queries`: how many, if that is known when the kernel is compiled."""
    return {"name": name, "element": element, "head_size": head_size, "heads": heads, "kv_heads": kv_heads, "mask": mask,
            "queries": queries}


def variants_of(kernel):
    """Names and schedules."""
    size = kernel["head_size"]
    return VARIANTS.get(size, {}) if kernel["name"] in (f"d{size}-all", f"d{size}-causal") else {}


def kernels():
    """Small ones of each mask for the checks, then those to measure: 2048 columns of heads, or 64 heads on 8."""
    result = [kernel(f"small-{mask}", "bf16", 64, 2, 1, mask) for mask in MASKS]
    result += [kernel("small-f32", "f32", 64, 2, 1, "causal"), kernel("small-d96", "f16", 96, 2, 2, "causal"),
               kernel("small-d192", "bf16", 192, 2, 1, "causal"), kernel("small-decode", "f16", 64, 6, 2, "window", 2)]
    for head_size, masks in ((128, MASKS), (64, MASKS), (256, ["all", "causal", "window"])):
        heads = 2048 // head_size
        result += [kernel(f"d{head_size}-{mask}", "bf16", head_size, heads, heads, mask) for mask in masks]
    result += [kernel(f"d128-{mask}-gqa", "bf16", 128, 64, 8, mask) for mask in ("all", "causal")]
    result += [kernel("d64-window-gqa", "bf16", 64, 64, 8, "window")]
    result += [kernel(f"d128-{mask}-f16", "f16", 128, 16, 16, mask) for mask in ("all", "causal")]
    result += [kernel("d128-decode-gqa", "bf16", 128, 64, 8, "all", 1)]
    return result


def problems():
    """Pairs of kernel and length, the most important ones first."""
    def add(names, lengths):
        for length in lengths:
            for name in names:
                if (name, length) not in result:
                    result.append((name, length))
    result = []
    add(["d128-all", "d128-causal"], [8192, 4096, 16384])
    add(["d64-window-gqa"], [8192])
    add(["d128-all-gqa", "d128-causal-gqa", "d64-all", "d64-causal", "d256-all", "d256-causal"], [8192])
    add([f"d128-{mask}" for mask in MASKS], [16384])
    add(["d128-all", "d128-causal"], LENGTHS)
    add(["d64-window-gqa"], [2048, 4096, 16384, 32768])
    add([f"d64-{mask}" for mask in MASKS], [16384])
    add(["d128-all-gqa", "d128-causal-gqa"], [2048, 4096, 16384, 32768])
    add(["d64-all", "d64-causal", "d256-all", "d256-causal"], LENGTHS)
    add([f"d128-{mask}" for mask in MASKS], [4096])
    add(["d256-window", "d128-all-f16", "d128-causal-f16", "d128-decode-gqa"], [8192])
    add([f"d64-{mask}" for mask in MASKS], [4096, 8192])
    return result


def batch_of(kernel, length):
    return DECODED if kernel["queries"] else max(1, TOKENS // length)


# Problems on which compiled FlexAttention is measured: its compiler takes many seconds for each.
FLEX = [("d128-causal", 8192), ("d128-window", 16384), ("d128-documents", 16384), ("d128-all", 8192),
        ("d128-dilated", 16384), ("d128-strided", 16384), ("d128-fixed", 16384), ("d128-longformer", 16384),
        ("d64-window-gqa", 8192), ("d64-causal", 8192), ("d64-window", 16384), ("d64-documents", 16384),
        ("d64-dilated", 16384), ("d64-strided", 16384), ("d64-fixed", 16384), ("d64-longformer", 16384)]
