# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Libraries that bring compilers of their own live in one process with ours, whoever comes first."""

import importlib.util
import itertools
import subprocess
import sys
import unittest

LIBRARIES = [name for name in ("torch", "triton", "jax") if importlib.util.find_spec(name)]

# Each library works before and after the other's code ran.
WORK = {
    "attn": "import numpy; q = numpy.ones((1, 1, 8, 16), numpy.float16); import attn; "
            "assert attn.attention(q, q, q, mask=attn.causal()).min() == 1",
    "torch": "import torch; assert torch.arange(4).sum() == 6",
    "triton": "import triton, triton.language; from triton._C.libtriton import ir; ir.context()",
    "jax": "import jax; assert jax.jit(lambda x: x + 1)(2) == 3",
}


class Imports(unittest.TestCase):
    def test_any_order(self):
        self.assertTrue(LIBRARIES)
        for library in LIBRARIES:
            for first, second in itertools.permutations(("attn", library)):
                code = "\n".join((WORK[first], WORK[second], WORK[first]))
                done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, f"{first}, then {second}: {done.stderr[-2000:]}")


if __name__ == "__main__":
    unittest.main()
