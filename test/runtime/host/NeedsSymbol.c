/*===- NeedsSymbol.c - object code that the loader must refuse ---*- C -*-===*\
|* Part of the attn project, under the Apache License v2.0 with LLVM         *|
|* Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception       *|
\*===---------------------------------------------------------------------===*/

float from_outside(float);

void needs_symbol(const unsigned long long *params, long long item,
                  void *scratch) {
  *(float *)params[1] = from_outside((float)item);
}
