//===- clean.cu - correct kernels for the simulator's tests ---------------------------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// clean.ptx and clean86.ptx are this file through: nvcc -ptx -arch=sm_80 (sm_86) -O3 clean.cu
// All kernels but the last few take (const int *a, const int *b, int *out, int n). CleanTest.cpp has the expected results.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#define KERNEL(name) extern "C" __global__ void name(const int *a, const int *b, int *out, int n)
#define INDEX (blockIdx.x * blockDim.x + threadIdx.x)

__constant__ int table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
__device__ unsigned int finished = 0;

KERNEL(addTail) {
  int i = INDEX;
  if (i < n)
    out[i] = a[i] + b[i];
}
KERNEL(gridStride) {
  for (int i = INDEX; i < n; i += gridDim.x * blockDim.x)
    out[i] = a[i] * 3 - b[n - 1 - i];
}
KERNEL(reverseBlock) {
  extern __shared__ int s[];
  int i = INDEX;
  s[threadIdx.x] = a[i];
  __syncthreads();
  out[i] = s[blockDim.x - 1 - threadIdx.x];
}
KERNEL(transpose32) {
  __shared__ int tile[32][33];
  for (int r = threadIdx.y; r < 32; r += blockDim.y)
    tile[r][threadIdx.x] = a[r * 32 + threadIdx.x];
  __syncthreads();
  for (int r = threadIdx.y; r < 32; r += blockDim.y)
    out[r * 32 + threadIdx.x] = tile[threadIdx.x][r];
}
KERNEL(blockSum) {
  __shared__ int s[256];
  int t = threadIdx.x;
  s[t] = a[INDEX];
  __syncthreads();
  for (int stride = blockDim.x / 2; stride > 0; stride /= 2) {
    if (t < stride)
      s[t] += s[t + stride];
    __syncthreads();
  }
  if (t == 0)
    out[blockIdx.x] = s[0];
}
KERNEL(warpSum) {
  int v = a[INDEX];
  for (int d = 16; d; d /= 2)
    v += __shfl_xor_sync(~0u, v, d);
  out[INDEX] = v;
}
KERNEL(warpScan) {
  int v = a[INDEX], lane = threadIdx.x & 31;
  for (int d = 1; d < 32; d *= 2) {
    int u = __shfl_up_sync(~0u, v, d);
    if (lane >= d)
      v += u;
  }
  out[INDEX] = v;
}
KERNEL(collatz) {
  unsigned x = a[INDEX] & 1023, steps = 0;
  while (x > 1) {
    x = x & 1 ? 3 * x + 1 : x / 2;
    ++steps;
  }
  out[INDEX] = steps;
}
KERNEL(divergentSearch) {
  int i = INDEX, found = -1;
  for (int j = 0; j < n; ++j) {
    if ((b[j] & 63) == (a[i] & 63)) {
      found = j;
      break;
    }
    if (j > 200)
      continue;
    found = found - 1;
  }
  int total = __reduce_add_sync(__activemask(), found);
  out[i] = found + (total & 1);
}
KERNEL(switchCase) {
  int i = INDEX, v = a[i];
  switch (v & 7) {
  case 0: v = v * 5; break;
  case 1: v = v / 3; break;
  case 2: v = v % 7; break;
  case 3: v = v >> 2; break;
  case 4: v = -v; break;
  case 5: v = __popc(v); break;
  case 6: v = __clz(v); break;
  default: v = __brev(v); break;
  }
  out[i] = v;
}
KERNEL(histogram) {
  __shared__ int bins[64];
  for (int i = threadIdx.x; i < 64; i += blockDim.x)
    bins[i] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    atomicAdd(&bins[a[i] & 63], 1);
  __syncthreads();
  for (int i = threadIdx.x; i < 64; i += blockDim.x)
    out[i] = bins[i];
}
KERNEL(globalAtomics) {
  int i = INDEX;
  atomicAdd(&out[0], a[i]);
  atomicMax(&out[1], a[i]);
  atomicMin(&out[2], a[i]);
  atomicXor(&out[3], a[i]);
  atomicCAS(&out[4], 0, 77);
}
KERNEL(lastBlockSum) {
  __shared__ bool last;
  int *partial = out + 1;
  int v = a[INDEX];
  for (int d = 16; d; d /= 2)
    v += __shfl_down_sync(~0u, v, d);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = v;
    __threadfence();
    last = atomicInc(&finished, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    int sum = 0;
    for (int i = 0; i < gridDim.x; ++i)
      sum += partial[i];
    out[0] = sum;
  }
}
KERNEL(ballots) {
  int i = INDEX, v = a[i];
  unsigned odd = __ballot_sync(~0u, v & 1);
  int all = __all_sync(~0u, v >= 0), any = __any_sync(~0u, v & 2);
  out[i] = __popc(odd) * 4 + all * 2 + any + __popc(__match_any_sync(~0u, v & 3)) * 1000;
}
KERNEL(votedBarriers) {
  int v = a[INDEX];
  int count = __syncthreads_count(v & 1), both = __syncthreads_and(v >= 0), either = __syncthreads_or(v & 4);
  out[INDEX] = count * 4 + (both != 0) * 2 + (either != 0);
}
KERNEL(localArray) {
  int values[16];
  int i = INDEX;
  for (int j = 0; j < 16; ++j)
    values[j] = a[i] + j * j;
  int sum = 0;
  for (int j = 0; j < 16; ++j)
    sum += values[(b[i] + j * 5) & 15] * (j + 1);
  out[i] = sum;
}
KERNEL(constantTable) { out[INDEX] = table[a[INDEX] & 7] + table[threadIdx.x & 7]; }
KERNEL(wideIntegers) {
  int i = INDEX;
  int64_t x = int64_t(a[i]) * b[i], y = (int64_t(a[i]) << 33) + b[i];
  uint64_t z = uint64_t(x) % (uint64_t(uint32_t(b[i])) + 3), w = __umul64hi(uint64_t(y), uint64_t(x));
  out[i] = int(x / 7) ^ int(y >> 31) ^ int(z) ^ int(w) ^ __mulhi(a[i], b[i]);
}
KERNEL(bytes) {
  int i = INDEX;
  const unsigned char *bytesA = reinterpret_cast<const unsigned char *>(a);
  signed char s = reinterpret_cast<const signed char *>(b)[i];
  out[i] = bytesA[i] * 3 + s + __dp4a(a[i], b[i], 5) + __byte_perm(a[i], b[i], 0x3715) + __funnelshift_l(a[i], b[i], 9);
}
KERNEL(syncwarpExchange) {
  __shared__ int s[128];
  int t = threadIdx.x, warp = t & ~31;
  s[t] = a[INDEX];
  __syncwarp();
  int left = s[warp | ((t + 1) & 31)];
  __syncwarp();
  s[t] = left * 2;
  __syncwarp();
  out[INDEX] = s[warp | ((t + 7) & 31)];
}
KERNEL(producerConsumer) {
  __shared__ int s[2][32];
  int t = threadIdx.x & 31;
  if (threadIdx.x < 32) {
    for (int i = 0; i < 8; ++i) {
      asm volatile("bar.sync %0, 64;" ::"r"(3 + (i & 1)) : "memory");
      s[i & 1][t] = a[i * 32 + t] + i;
      asm volatile("bar.arrive %0, 64;" ::"r"(1 + (i & 1)) : "memory");
    }
  } else {
    asm volatile("bar.arrive 3, 64;" ::: "memory");
    asm volatile("bar.arrive 4, 64;" ::: "memory");
    for (int i = 0; i < 8; ++i) {
      asm volatile("bar.sync %0, 64;" ::"r"(1 + (i & 1)) : "memory");
      out[i * 32 + t] = s[i & 1][31 - t];
      if (i < 6)
        asm volatile("bar.arrive %0, 64;" ::"r"(3 + (i & 1)) : "memory");
    }
  }
}
KERNEL(copyPipeline) {
  __shared__ __align__(16) int s[3][256];
  int t = threadIdx.x;
  uint32_t base = static_cast<uint32_t>(__cvta_generic_to_shared(&s[0][0]));
  for (int stage = 0; stage < 2; ++stage) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(base + stage * 1024 + t * 16), "l"(a + stage * 256 + t * 4)
                 : "memory");
    asm volatile("cp.async.commit_group;");
  }
  int sum = 0;
  for (int i = 0; i < 8; ++i) {
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
    if (i + 2 < 8)
      asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(base + (i + 2) % 3 * 1024 + t * 16),
                   "l"(a + (i + 2) * 256 + t * 4)
                   : "memory");
    asm volatile("cp.async.commit_group;");
    sum = sum * 3 + s[i % 3][255 - t] + s[i % 3][t * 2];
  }
  out[t] = sum;
}
KERNEL(copyZeroFill) {
  __shared__ __align__(16) int s[256];
  int t = threadIdx.x;
  uint32_t base = static_cast<uint32_t>(__cvta_generic_to_shared(s));
  int size = t * 4 + 4 <= n ? 16 : t * 4 < n ? (n - t * 4) * 4 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(base + t * 16), "l"(size ? a + t * 4 : a), "r"(size)
               : "memory");
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();
  for (int i = 0; i < 4; ++i)
    out[i * 64 + t] = s[i * 64 + t];
}

#define FLOATS(name) extern "C" __global__ void name(const float *a, const float *b, float *out, int n)
FLOATS(arithmetic) {
  int i = INDEX;
  float x = a[i], y = b[i];
  out[i] = fmaf(x, y, 1.5f) / (fabsf(y) + 1.0f) + sqrtf(fabsf(x)) - fminf(x, y) * fmaxf(x, -y) + floorf(x) + truncf(y) +
           rintf(x * 3) + copysignf(x, y);
}
FLOATS(functions) {
  int i = INDEX;
  float x = a[i], y = b[i];
  out[i] = exp2f(x) + __expf(y) + __logf(fabsf(x) + 1) + __sinf(y) + __cosf(x) + rsqrtf(fabsf(y) + 0.5f) + tanhf(x);
}
FLOATS(doubles) {
  int i = INDEX;
  double x = a[i], y = b[i];
  out[i] = float(fma(x, y, 0.25) / (y * y + 1.0) + sqrt(x * x + 3.0) + double(int(x * 100)) + double(long(y * 1e6)));
}
FLOATS(halves) {
  int i = INDEX;
  __half2 x = __floats2half2_rn(a[i], b[i]), y = __floats2half2_rn(b[i], a[i] * 0.5f);
  __half2 z = __hfma2(x, y, __hadd2(x, __hmul2(y, y)));
  z = __hmax2(z, __hneg2(x));
  __nv_bfloat162 u = __floats2bfloat162_rn(a[i], b[i]);
  u = __hfma2(u, u, u);
  out[i] = __low2float(z) * 2 + __high2float(z) + __low2float(u) - __high2float(u);
}
/// c = a b for 16-bit integers held in floats: m = n = 64, depth n, one warp for each 16 rows.
extern "C" __global__ void product(const __half *a, const __half *b, float *c, int n) {
  __shared__ __align__(128) __half sa[64][40], sb[32][72];
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
  float acc[8][4] = {};
  for (int k = 0; k < n; k += 32) {
    for (int i = threadIdx.x; i < 256; i += 128) {
      *reinterpret_cast<uint4 *>(&sa[i >> 2][(i & 3) * 8]) = *reinterpret_cast<const uint4 *>(a + (i >> 2) * n + k + (i & 3) * 8);
      *reinterpret_cast<uint4 *>(&sb[i >> 3][(i & 7) * 8]) = *reinterpret_cast<const uint4 *>(b + (k + (i >> 3)) * 64 + (i & 7) * 8);
    }
    __syncthreads();
    for (int kk = 0; kk < 2; ++kk) {
      uint32_t fa[4], fb[2];
      uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(&sa[warp * 16 + (lane & 15)][kk * 16 + (lane >> 4) * 8]));
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3]) : "r"(address));
      for (int j = 0; j < 8; ++j) {
        uint32_t from = static_cast<uint32_t>(__cvta_generic_to_shared(&sb[kk * 16 + (lane & 15)][j * 8]));
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(fb[0]), "=r"(fb[1]) : "r"(from));
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(acc[j][0]), "+f"(acc[j][1]), "+f"(acc[j][2]), "+f"(acc[j][3])
                     : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
      }
    }
    __syncthreads();
  }
  for (int j = 0; j < 8; ++j)
    for (int i = 0; i < 4; ++i)
      c[(warp * 16 + g + (i >> 1) * 8) * 64 + j * 8 + t * 2 + (i & 1)] = acc[j][i];
}
/// Two rows very far apart: every address needs 64 bits.
extern "C" __global__ void farRows(const int *a, int *out, int64_t stride) {
  out[threadIdx.x] = a[threadIdx.x] + a[stride + threadIdx.x];
}
