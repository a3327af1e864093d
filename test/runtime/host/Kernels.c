/*===- Kernels.c - object code for the tests of the device host ---*- C -*-===*\
|* Part of the attn project, under the Apache License v2.0 with LLVM          *|
|* Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception        *|
\*===----------------------------------------------------------------------===*/
/* Compiled to an object file of its own: what a compiled kernel looks like to
 * the loader, with constants, a table and a call in it. */

static const float factors[4] = {0.5f, 2.0f, -3.0f, 0.25f};

__attribute__((noinline)) static float scale(long long item, float x) {
  return factors[item & 3] * x;
}

/* params: input, output, number of items. */
void scale_items(const unsigned long long *params, long long item,
                 void *scratch) {
  const float *from = (const float *)params[0];
  float *to = (float *)params[1];
  float *mine = (float *)scratch;
  *mine = scale(item, from[item]);
  to[item] = *mine + (float)params[2];
}
