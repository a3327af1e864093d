/*===- consumer.c - Compile an attention and run it, in C -----------------===*\
|* Part of the attn project, under the Apache License v2.0 with LLVM          *|
|* Exceptions.                                                                *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
\*===----------------------------------------------------------------------===*/
/* Usage: consumer [DEVICE]
 *
 * Causal attention whose scores are all equal (q is 0) averages the values that
 * a query sees: with v[j] = j, query p gives p / 2. */

#include "attn/runtime/jit/attn_jit.h"

#include <math.h>
#include <stdio.h>

enum { KEYS = 33, SIZE = 16 };

/* The f16 of an integer from 0 to 2048. */
static uint16_t half_of(int n) {
  int exponent = 0;
  if (n == 0)
    return 0;
  while (n >> (exponent + 1))
    ++exponent;
  return (uint16_t)(((exponent + 15) << 10) |
                    (((n << 10) >> exponent) & 0x3ff));
}

static float value_of(uint16_t half) {
  int exponent = half >> 10 & 31;
  return exponent ? ldexpf((float)(1024 | (half & 0x3ff)), exponent - 25)
                  : ldexpf((float)(half & 0x3ff), -24);
}

static int fail(const char *what, attn_status status, const char *message) {
  fprintf(stderr, "%s: %s: %s\n", what, attn_status_name(status), message);
  return 1;
}

static attn_tensor tensor_of(void *data, int64_t *shape, int32_t ndim,
                             attn_dl_type type) {
  attn_tensor tensor = {0};
  tensor.data = data;
  tensor.device.device_type = ATTN_DL_CPU;
  tensor.ndim = ndim;
  tensor.dtype = type;
  tensor.shape = shape;
  return tensor;
}

static int run(attn_program *program) {
  static uint16_t q[KEYS][SIZE], k[KEYS][SIZE], v[KEYS][SIZE], o[KEYS][SIZE];
  static float lse[KEYS];
  int64_t shape[4] = {1, 1, KEYS, SIZE};
  attn_dl_type half = {ATTN_DL_FLOAT, 16, 1}, single = {ATTN_DL_FLOAT, 32, 1};
  attn_tensor tensors[5];
  const attn_tensor *arguments[3], *results[2];
  attn_status status;
  int i, j;
  for (i = 0; i < KEYS; ++i)
    for (j = 0; j < SIZE; ++j) {
      k[i][j] = half_of(i * j % 7);
      v[i][j] = half_of(i);
    }
  tensors[0] = tensor_of(q, shape, 4, half);
  tensors[1] = tensor_of(k, shape, 4, half);
  tensors[2] = tensor_of(v, shape, 4, half);
  tensors[3] = tensor_of(o, shape, 4, half);
  tensors[4] = tensor_of(lse, shape, 3, single);
  for (i = 0; i < 3; ++i)
    arguments[i] = &tensors[i];
  results[0] = &tensors[3];
  results[1] = &tensors[4];
  if ((status = attn_launch(program, arguments, 3, results, 2, NULL, 0, NULL)))
    return fail("launch", status, attn_error_message());
  for (i = 0; i < KEYS; ++i)
    if (fabsf(value_of(o[i][SIZE - 1]) - (float)i / 2) > 0.02f ||
        fabsf(lse[i] - logf((float)(i + 1))) > 1e-3f) {
      fprintf(stderr, "query %d: expected %g and %g, found %g and %g\n", i,
              i / 2.0, log(i + 1.0), (double)value_of(o[i][SIZE - 1]),
              (double)lse[i]);
      return 1;
    }
  puts("attention: ok");
  return 0;
}

int main(int argc, char **argv) {
  const char *mistake = "func.func @f() {\n  retrn\n}\n";
  attn_device *device = NULL;
  attn_jit *jit = NULL;
  attn_program *program = NULL, *again = NULL;
  attn_jit_statistics statistics;
  attn_spec spec;
  attn_status status;
  int code = 1;

  if ((status = ATTN_JIT_CHECK_ABI()))
    return fail("abi", status, attn_jit_error_message());
  if ((status = attn_device_open(argc > 1 ? argv[1] : "sim", NULL, &device)))
    return fail("open", status, attn_error_message());
  if ((status = attn_jit_create(device, NULL, &jit))) {
    attn_device_close(device);
    return fail("create", status, attn_jit_error_message());
  }

  attn_spec_init(&spec);
  spec.query_heads = spec.kv_heads = 1;
  spec.head_size = SIZE;
  spec.mask = "causal";
  spec.lse = 1;
  if ((status = attn_jit_compile_spec(jit, &spec, &program)) ||
      (status = attn_jit_compile_spec(jit, &spec, &again)) ||
      (status = attn_jit_get_statistics(jit, &statistics)))
    fail("compile", status, attn_jit_error_message());
  else if (program != again ||
           statistics.compilations + statistics.disk_hits != 1)
    fputs("the same spec was compiled twice\n", stderr);
  else
    code = run(program);

  /* An error says where. */
  status = attn_jit_compile(jit, mistake, 29, NULL, &program);
  printf("%s: %s\n", attn_status_name(status), attn_jit_error_message());

  attn_jit_destroy(jit);
  attn_device_close(device);
  return code;
}
