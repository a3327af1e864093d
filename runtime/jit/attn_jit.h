/*===- attn_jit.h - C API of the compiler in a process ------------*- C -*-===*\
|* Part of the attn project, under the Apache License v2.0 with LLVM          *|
|* Exceptions.                                                                *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
\*===----------------------------------------------------------------------===*/
/* Compiles attention to programs of attn.h. This library (libattn_jit.so) links
 * LLVM; libattn.so, which loads and runs programs, does not.
 *
 * Statuses and ownership are as in attn.h. The text of an error of this
 * library is attn_jit_error_message(), which belongs to the calling thread;
 * what the compiler says about a source has lines and columns. All functions
 * may be called from several threads at once: what two of them want is compiled
 * once, and nobody waits for the compilation of something else. */
#ifndef ATTN_RUNTIME_JIT_ATTN_JIT_H
#define ATTN_RUNTIME_JIT_ATTN_JIT_H

#include "attn/runtime/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fails unless the library was built for the caller's header. */
#define ATTN_JIT_ABI_VERSION UINT32_C(2)
ATTN_API attn_status attn_jit_check_abi(uint32_t abi);
#define ATTN_JIT_CHECK_ABI() attn_jit_check_abi(ATTN_JIT_ABI_VERSION)

/* The calling thread's last error in this library; "" if it had none. */
ATTN_API const char *attn_jit_error_message(void);

/* A compiler for one device, and the programs that it made. */
typedef struct attn_jit attn_jit;

/* `options` is NULL or written like those of attn_device_open:
 *
 *   cache=on|off         whether compiled code is kept on disk (on)
 *   cache_dir=<path>     where (ATTN_CACHE_DIR, or the user's cache folder)
 *   cache_bytes=<n>      how much; the least recently used goes first (256 MiB)
 *
 * A folder that others could write to is not used; ATTN_CACHE=0 turns the disk
 * cache off. What a GPU's driver makes of the code is kept by the device, which
 * has options of its own. The device must stay until attn_jit_destroy. */
ATTN_API attn_status attn_jit_create(attn_device *device, const char *options,
                                     attn_jit **jit);
/* Ends its programs too. */
ATTN_API void attn_jit_destroy(attn_jit *jit);

/* One attention; attn_spec_init() fills in the defaults. */
enum {
  ATTN_ALIGN_END = 0,    /* the last query sees the last key */
  ATTN_ALIGN_START = 1,  /* the first query has the first key's place */
  ATTN_ALIGN_OFFSET = 2, /* a scalar argument says */
  ATTN_ALIGN_OFFSET_PER_BATCH = 3 /* an argument of i64, one for each batch */
};

/* A tensor beside q, k and v, which the mask or a change of the scores reads.
 */
typedef struct attn_spec_tensor {
  const char *name; /* as %name in the mask */
  attn_dl_type dtype;
  int32_t ndim;
  const int64_t *shape; /* -1: known at launch only; 1: broadcast */
} attn_spec_tensor;

typedef struct attn_spec {
  size_t size;        /* sizeof(attn_spec) of the caller */
  attn_dl_type dtype; /* of q, k, v and o: f16, bf16 or f32 (default f16) */
  int32_t alignment;  /* ATTN_ALIGN_... */
  int64_t batch;      /* sizes: -1 (default) is known at launch only */
  int64_t query_heads;
  int64_t kv_heads;
  int64_t queries;
  int64_t keys;
  int64_t head_size;       /* must be given */
  int64_t value_head_size; /* 0 (default): head_size */
  const char *mask;        /* "causal & window<%w, 0>"; NULL (default): all */
  const char *const *symbols; /* the names of its %symbols */
  int32_t num_symbols;
  int32_t lse;  /* not 0: a second result, B x Hq x Nq of f32 */
  double scale; /* NaN (default): 1 / sqrt(head_size) */

  const attn_spec_tensor *tensors; /* NULL (default): none */
  int32_t num_tensors;
  /* Changes of the scores (docs/Spec.md, Scores). The names are those of
   * tensors; NULL (default) and 0 stand for no change. */
  int32_t num_score_inputs;
  double softcap;
  const char *bias;
  const char *alibi;
  const char *sinks;
  /* The body of a score region: MLIR ops on %s, the score, %b, %h, %i and %j,
   * the indices, and an element of each of `score_inputs`, which are names of
   * tensors or symbols; it ends with attn.yield. NULL (default): none. */
  const char *score;
  const char *const *score_inputs;
} attn_spec;

ATTN_API void attn_spec_init(attn_spec *spec);

/* The program for `spec`: its arguments are q, k, v (the offsets, one for each
 * batch) and the tensors, its scalars the symbols (and the offset), its results
 * o and lse.
 * The program belongs to `jit`: the same spec gives the same program again,
 * and it lives until attn_jit_destroy. */
ATTN_API attn_status attn_jit_compile_spec(attn_jit *jit, const attn_spec *spec,
                                           attn_program **program);

/* The same for MLIR text of `size` bytes. `function` may be NULL when there is
 * only one. */
ATTN_API attn_status attn_jit_compile(attn_jit *jit, const char *source,
                                      size_t size, const char *function,
                                      attn_program **program);

/* The MLIR text of `spec`, to look at or to change; attn_jit_string_free. */
ATTN_API attn_status attn_spec_to_mlir(const attn_spec *spec, char **source);

/* Only compiles, for `target` (sm_80, ...) or, if that is NULL, the device: the
 * bundle's manifest and code as text (attn_jit_string_free), to be stored and
 * loaded with attn_program_load_memory. */
ATTN_API attn_status attn_jit_emit(attn_jit *jit, const char *source,
                                   size_t size, const char *function,
                                   const char *target, char **manifest,
                                   char **code, size_t *code_size);

ATTN_API void attn_jit_string_free(char *text);

typedef struct attn_jit_statistics {
  uint64_t memory_hits;
  uint64_t disk_hits;
  uint64_t compilations;
} attn_jit_statistics;

ATTN_API attn_status attn_jit_get_statistics(attn_jit *jit,
                                             attn_jit_statistics *statistics);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ATTN_RUNTIME_JIT_ATTN_JIT_H */
