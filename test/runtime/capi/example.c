/*===- example.c - Run a bundle from C ------------------------------------===*\
|* Part of the attn project, under the Apache License v2.0 with LLVM          *|
|* Exceptions.                                                                *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
\*===----------------------------------------------------------------------===*/
/* Usage: attn-c-example BUNDLE [DEVICE]
 *
 * Runs a bundle with one f32 argument and one f32 result of shape n x 64 and
 * one scalar, and prints the first and the last element of the result. */

#include "attn/runtime/attn.h"

#include <stdio.h>

enum { ROWS = 3, COLUMNS = 64 };

static int fail(const char *what, attn_status status) {
  fprintf(stderr, "%s: %s: %s\n", what, attn_status_name(status),
          attn_error_message());
  return 1;
}

static int run(attn_device *device, attn_program *program) {
  static float x[ROWS][COLUMNS], y[ROWS][COLUMNS];
  int64_t shape[2] = {ROWS, COLUMNS};
  attn_tensor argument = {0}, result;
  const attn_tensor *arguments[1], *results[1];
  int64_t factor = 3;
  attn_device_info device_info;
  attn_program_info info;
  attn_tensor_info first;
  attn_status status;
  char *report = NULL;
  int i, j;

  if ((status = attn_device_get_info(device, &device_info)) ||
      (status = attn_program_get_info(program, &info)) ||
      (status = attn_program_argument(program, 0, &first)))
    return fail("describe", status);
  printf("%s on %s: %d argument, %d result, %d scalar; %s has rank %d\n",
         info.function, device_info.name, (int)info.num_arguments,
         (int)info.num_results, (int)info.num_scalars, first.name,
         (int)first.ndim);

  for (i = 0; i < ROWS; ++i)
    for (j = 0; j < COLUMNS; ++j)
      x[i][j] = (float)(100 * i + j) / 4;
  argument.data = x;
  argument.device = device_info.memory;
  argument.ndim = 2;
  argument.dtype = first.dtype;
  argument.shape = shape; /* strides stay NULL: row-major */
  result = argument;
  result.data = y;
  arguments[0] = &argument;
  results[0] = &result;
  status = attn_launch(program, arguments, 1, results, 1, &factor, 1, NULL);
  if (status)
    return fail("launch", status);
  if ((status = attn_stream_synchronize(device, NULL)))
    return fail("synchronize", status);
  printf("%g %g\n", y[0][0], y[ROWS - 1][COLUMNS - 1]);

  if ((status = attn_device_report(device, 1, &report)))
    return fail("report", status);
  printf("report: %s\n", report[0] == '{' ? "JSON" : "?");
  attn_string_free(report);
  return 0;
}

int main(int argc, char **argv) {
  attn_device *device = NULL;
  attn_program *program = NULL;
  attn_status status;
  int code;

  if (argc < 2) {
    fprintf(stderr, "usage: %s BUNDLE [DEVICE]\n", argv[0]);
    return 2;
  }
  if ((status = ATTN_CHECK_ABI()))
    return fail("version", status);
  if ((status = attn_device_open(argc > 2 ? argv[2] : "sim", NULL, &device)))
    return fail("device", status);
  if ((status = attn_program_load(device, argv[1], &program)))
    code = fail("load", status);
  else
    code = run(device, program);
  attn_program_destroy(program);
  attn_device_close(device);
  return code;
}
