/*===- attn.h - C API of the attn runtime -------------------------*- C -*-===*\
|* Part of the attn project, under the Apache License v2.0 with LLVM          *|
|* Exceptions.                                                                *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
\*===----------------------------------------------------------------------===*/
/* Loads bundles that the attn compiler made, and runs them on a GPU (through
 * the CUDA driver, opened when first asked for) or in the PTX simulator.
 * docs/CApi.md is a guide with examples.
 *
 * Errors. Every function that can fail returns an attn_status: ATTN_OK is 0.
 * After a failure attn_error_message() gives the text; it belongs to the
 * calling thread and is valid until that thread's next call that fails. On
 * failure outputs are set to NULL or left untouched, and nothing was launched.
 * A NULL where an object or an output is needed is an error, not a crash. No
 * C++ exception ever leaves the library.
 *
 * Ownership. What an `open` or `load` function returns belongs to the caller,
 * who ends it with the matching `close` or `destroy` (both accept NULL). A
 * program keeps its device alive, so the two may be ended in any order. Text
 * that is returned by `const char *` belongs to its object; text that is
 * returned through a `char **` is freed with attn_string_free.
 *
 * Threads. Devices and programs may be used from several threads at once; the
 * simulator runs one launch at a time. Ending an object while another thread
 * uses it is an error of the caller.
 */
#ifndef ATTN_RUNTIME_ATTN_H
#define ATTN_RUNTIME_ATTN_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define ATTN_API __declspec(dllexport)
#else
#define ATTN_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*===----------------------------------------------------------------------===*\
 * Version
\*===----------------------------------------------------------------------===*/

#define ATTN_VERSION_MAJOR 0
#define ATTN_VERSION_MINOR 1
#define ATTN_VERSION_PATCH 0

/* "attn" and the number of this binary interface. The number grows with every
 * change that an already compiled program would notice. */
#define ATTN_ABI_MAGIC UINT32_C(0x6E747461)
#define ATTN_ABI_VERSION UINT32_C(1)

typedef struct attn_version {
  uint32_t magic; /* ATTN_ABI_MAGIC */
  uint32_t abi;   /* ATTN_ABI_VERSION */
  uint32_t major;
  uint32_t minor;
  uint32_t patch;
  uint32_t bundle_format; /* the format of bundles that the library reads */
} attn_version;

/* Versions of the loaded library. */
ATTN_API attn_version attn_get_version(void);

/* Fails unless the library was built for the caller's header. Call it first,
 * through ATTN_CHECK_ABI(). */
ATTN_API int32_t attn_check_abi(uint32_t magic, uint32_t abi);
#define ATTN_CHECK_ABI() attn_check_abi(ATTN_ABI_MAGIC, ATTN_ABI_VERSION)

/*===----------------------------------------------------------------------===*\
 * Errors
\*===----------------------------------------------------------------------===*/

typedef int32_t attn_status;
enum {
  ATTN_OK = 0,
  ATTN_INVALID_ARGUMENT = 1, /* the caller passed something that does not fit */
  ATTN_INVALID_BUNDLE = 2,   /* the bundle breaks a rule of its format */
  ATTN_IO = 3,               /* a file could not be read or written */
  ATTN_UNSUPPORTED = 4,      /* this device or build cannot do it */
  ATTN_DEVICE = 5,           /* the device or its driver reported a failure */
  ATTN_OUT_OF_MEMORY = 6,    /* an allocation failed */
  ATTN_FINDING = 7,          /* the simulator found a defect in the kernel */
  ATTN_INTERNAL = 8          /* a defect of this library */
};

/* The calling thread's last error; "" if it had none. Never NULL. */
ATTN_API const char *attn_error_message(void);

/* "ok", "invalid argument", ... Never NULL. */
ATTN_API const char *attn_status_name(attn_status status);

/* Frees a text that a function returned through a `char **`. */
ATTN_API void attn_string_free(char *text);

/*===----------------------------------------------------------------------===*\
 * Tensors: DLPack's binary interface
\*===----------------------------------------------------------------------===*/

/* attn_tensor has the layout of DLPack's DLTensor (unchanged from 0.2 to 1.x),
 * so a `DLTensor *` may be passed after a cast. The tensors are views: the
 * library keeps no pointer to them, their shapes or their strides after the
 * call. */

enum {
  ATTN_DL_INT = 0,
  ATTN_DL_UINT = 1,
  ATTN_DL_FLOAT = 2,
  ATTN_DL_BFLOAT = 4,
  ATTN_DL_BOOL = 6
};
enum {
  ATTN_DL_CPU = 1,
  ATTN_DL_CUDA = 2,
  ATTN_DL_CUDA_HOST = 3,
  ATTN_DL_CUDA_MANAGED = 13
};

typedef struct attn_dl_device {
  int32_t device_type; /* ATTN_DL_CPU, ATTN_DL_CUDA, ... */
  int32_t device_id;
} attn_dl_device;

typedef struct attn_dl_type {
  uint8_t code;   /* ATTN_DL_INT, ATTN_DL_FLOAT, ATTN_DL_BFLOAT */
  uint8_t bits;   /* of one element */
  uint16_t lanes; /* 1 */
} attn_dl_type;

typedef struct attn_tensor {
  void *data;
  attn_dl_device device;
  int32_t ndim;
  attn_dl_type dtype;
  int64_t *shape;       /* ndim sizes */
  int64_t *strides;     /* ndim strides in elements; NULL: row-major */
  uint64_t byte_offset; /* added to data */
} attn_tensor;

/*===----------------------------------------------------------------------===*\
 * Devices
\*===----------------------------------------------------------------------===*/

typedef struct attn_device attn_device;

/* Opens "cuda" (the first GPU), "cuda:<n>", "host" (the CPU) or "sim".
 * `options` is NULL, "", a JSON object, or `key=value` pairs separated by
 * commas:
 *
 *   sim   mode=eager|lazy|random   when asynchronous work completes (eager)
 *         seed=<n>                 for random (0)
 *         budget=<n>               warp instructions per launch before it is
 *                                  called a hang
 *         checks=on|off            look for races, uninitialised and
 *                                  out-of-bounds accesses ... (on)
 *         findings=error|report    whether a finding fails the launch (error)
 *         threads=<n>              host threads; 0 for all (0)
 *         multiprocessors=<n>      blocks of a kernel that shares its work
 *                                  items among as many as there are (2)
 *         target=sm_<n>            the GPU whose limits apply (sm_90a)
 *
 *   host  threads=<n>              how many work on a launch, at least 1 (one
 *                                  for each processor that the process may use)
 *         cpu=<instruction set>    use nothing beyond it
 *         poison=<byte>            what scratch memory holds before each work
 *                                  item, to see that no result depends on it
 *
 *   cuda  library=<path>           the driver library (libcuda.so.1, or the
 *                                  environment variable ATTN_LIBCUDA)
 *         cache=on|off             whether the machine code that the driver
 *                                  makes is kept on disk (on; ATTN_CACHE=0
 *                                  turns it off)
 *         cache_dir=<path>         where (ATTN_CACHE_DIR, or the user's cache
 *                                  folder)
 *
 * Tensors for "cuda" are ATTN_DL_CUDA or ATTN_DL_CUDA_MANAGED with this GPU's
 * device_id; tensors for "host" and "sim" are ATTN_DL_CPU or
 * ATTN_DL_CUDA_HOST. */
ATTN_API attn_status attn_device_open(const char *name, const char *options,
                                      attn_device **device);
ATTN_API void attn_device_close(attn_device *device);

typedef struct attn_device_info {
  const char *name;      /* "NVIDIA H100 PCIe" */
  const char *target;    /* "sm_90" */
  attn_dl_device memory; /* of tensors that the device can use */
  int64_t multiprocessors;
  int64_t shared_memory_per_block; /* bytes, the most a kernel can have */
} attn_device_info;

/* `info`'s texts belong to the device. */
ATTN_API attn_status attn_device_get_info(attn_device *device,
                                          attn_device_info *info);

/* What the simulator saw since the device was opened or the report was last
 * taken, as JSON text: per launch the instruction counts, bank conflicts,
 * sectors and findings. `clear` not 0: start a new report. ATTN_UNSUPPORTED on
 * a GPU. */
ATTN_API attn_status attn_device_report(attn_device *device, int32_t clear,
                                        char **json);

/* Device memory for callers without a framework; `address` is at least
 * 256-byte aligned. Zero bytes give address NULL. */
ATTN_API attn_status attn_memory_allocate(attn_device *device, size_t bytes,
                                          void **address);
ATTN_API attn_status attn_memory_free(attn_device *device, void *address);

/* Copies between host memory and device memory, after what `stream` already
 * holds; both wait until it is done. */
ATTN_API attn_status attn_memory_copy_in(attn_device *device, void *destination,
                                         const void *host, size_t bytes,
                                         void *stream);
ATTN_API attn_status attn_memory_copy_out(attn_device *device, void *host,
                                          const void *source, size_t bytes,
                                          void *stream);

/* Streams: a CUstream on "cuda", NULL on "host" and "sim". NULL is the default
 * stream; the streams of a framework may be passed to attn_launch as they are.
 */
ATTN_API attn_status attn_stream_create(attn_device *device, void **stream);
ATTN_API attn_status attn_stream_destroy(attn_device *device, void *stream);
ATTN_API attn_status attn_stream_synchronize(attn_device *device, void *stream);

/*===----------------------------------------------------------------------===*\
 * Programs
\*===----------------------------------------------------------------------===*/

/* A bundle, loaded on a device. A bundle is code: load only what you would also
 * load as a shared library. */
typedef struct attn_program attn_program;

ATTN_API attn_status attn_program_load(attn_device *device, const char *folder,
                                       attn_program **program);
/* From the text of manifest.json and the bytes of the code file; the program
 * keeps neither. */
ATTN_API attn_status attn_program_load_memory(
    attn_device *device, const char *manifest, size_t manifest_size,
    const char *code, size_t code_size, attn_program **program);
ATTN_API void attn_program_destroy(attn_program *program);

typedef struct attn_program_info {
  const char *function;
  const char *target;
  int32_t num_arguments; /* tensors */
  int32_t num_results;   /* tensors */
  int32_t num_scalars;
  int32_t num_launches;
} attn_program_info;

ATTN_API attn_status attn_program_get_info(attn_program *program,
                                           attn_program_info *info);

typedef struct attn_tensor_info {
  const char *name;
  attn_dl_type dtype;
  int32_t ndim;
  const int64_t *shape; /* -1: dynamic */
  int64_t alignment;    /* bytes, of the first element's address */
  int32_t position;     /* among the function's arguments, or its results */
} attn_tensor_info;

/* Tensor arguments, results and scalars are each numbered from 0 in the order
 * of the function's signature: this is the order that attn_launch wants. The
 * texts and shapes belong to the program. */
ATTN_API attn_status attn_program_argument(attn_program *program, int32_t index,
                                           attn_tensor_info *info);
ATTN_API attn_status attn_program_result(attn_program *program, int32_t index,
                                         attn_tensor_info *info);

typedef struct attn_scalar_info {
  const char *name;
  const char *type; /* "i32", "i64" or "index" */
  int32_t position; /* among the function's arguments */
} attn_scalar_info;

ATTN_API attn_status attn_program_scalar(attn_program *program, int32_t index,
                                         attn_scalar_info *info);

/* Checks every tensor (device, type, rank, sizes, strides, alignment, names
 * that occur twice) and scalar, and then puts the program's launches on
 * `stream`. On a GPU it returns without waiting for them, but waits for the
 * stream before if elements of integer arguments are to be checked (lengths,
 * ids, tables; not with ATTN_CHECK_DATA=0 in the environment); the tensors'
 * memory must stay until the stream has passed. Results must not overlap
 * themselves, each other or an argument. Arrays of length 0 may be NULL. */
ATTN_API attn_status attn_launch(attn_program *program,
                                 const attn_tensor *const *arguments,
                                 int32_t num_arguments,
                                 const attn_tensor *const *results,
                                 int32_t num_results, const int64_t *scalars,
                                 int32_t num_scalars, void *stream);

#ifdef __cplusplus
} /* extern "C" */
#endif

/* The layouts above are the binary interface. */
#if defined(__cplusplus)
#define ATTN_STATIC_ASSERT(condition, text) static_assert(condition, text)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define ATTN_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif
#if defined(ATTN_STATIC_ASSERT) && UINTPTR_MAX == UINT64_MAX
ATTN_STATIC_ASSERT(sizeof(attn_version) == 24, "attn_version");
ATTN_STATIC_ASSERT(sizeof(attn_dl_device) == 8, "attn_dl_device");
ATTN_STATIC_ASSERT(sizeof(attn_dl_type) == 4, "attn_dl_type");
ATTN_STATIC_ASSERT(sizeof(attn_tensor) == 48, "attn_tensor");
ATTN_STATIC_ASSERT(offsetof(attn_tensor, ndim) == 16, "attn_tensor");
ATTN_STATIC_ASSERT(offsetof(attn_tensor, shape) == 24, "attn_tensor");
ATTN_STATIC_ASSERT(offsetof(attn_tensor, byte_offset) == 40, "attn_tensor");
ATTN_STATIC_ASSERT(sizeof(attn_device_info) == 40, "attn_device_info");
ATTN_STATIC_ASSERT(sizeof(attn_program_info) == 32, "attn_program_info");
ATTN_STATIC_ASSERT(sizeof(attn_tensor_info) == 40, "attn_tensor_info");
ATTN_STATIC_ASSERT(sizeof(attn_scalar_info) == 24, "attn_scalar_info");
#endif

#endif /* ATTN_RUNTIME_ATTN_H */
