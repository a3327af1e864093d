//===- forward.cu - causal attention forward, D = 64, for the simulator's tests -----------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// forward.ptx is this file through: nvcc -ptx -arch=sm_80 -O3 forward.cu
// One block: 64 rows of q, 4 warps of 16 rows; tiles of 64 keys, two stages of cp.async, 128-byte swizzle, online softmax.
#include <cuda_fp16.h>
#include <stdint.h>

constexpr int D = 64, Rows = 64, Keys = 64;

__device__ __forceinline__ uint32_t swizzle(int row, int chunk) { return row * 128 + ((chunk ^ (row & 7)) << 4); }

__device__ __forceinline__ void copy16(uint32_t shared, const void *global, bool inside) {
  int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}
__device__ __forceinline__ void ldmatrix4(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix4t(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ float exp2Fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ uint32_t pack(float low, float high) {
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

__device__ __forceinline__ void loadTile(uint32_t shared, const __half *base, int first, int count) {
#pragma unroll
  for (int i = threadIdx.x; i < Rows * 8; i += 128) {
    int row = i >> 3, chunk = i & 7;
    bool inside = first + row < count;
    copy16(shared + swizzle(row, chunk), base + int64_t(inside ? first + row : 0) * D + chunk * 8, inside);
  }
}

extern "C" __global__ void __launch_bounds__(128) forward(const __half *q, const __half *k, const __half *v, __half *o,
                                                          int n, float scaleLog2) {
  extern __shared__ __align__(128) char smem[];
  const uint32_t shared = static_cast<uint32_t>(__cvta_generic_to_shared(smem));
  const uint32_t sq = shared, sk = shared + 8192, sv = shared + 8192 * 3;
  const int tile = blockIdx.x, head = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int64_t offset = int64_t(head) * n * D;
  q += offset, k += offset, v += offset, o += offset;

  loadTile(sq, q, tile * Rows, n);
  loadTile(sk, k, 0, n);
  loadTile(sv, v, 0, n);
  asm volatile("cp.async.commit_group;");

  uint32_t qf[4][4];
  float acc[8][4] = {}, m[2] = {-INFINITY, -INFINITY}, l[2] = {0, 0};
  const int g = lane >> 2, t = lane & 3, row0 = tile * Rows + warp * 16 + g;
  const int tiles = min(tile + 1, (n + Keys - 1) / Keys);

  for (int j = 0; j < tiles; ++j) {
    const int stage = j & 1;
    if (j + 1 < tiles) {
      loadTile(sk + (stage ^ 1) * 8192, k, (j + 1) * Keys, n);
      loadTile(sv + (stage ^ 1) * 8192, v, (j + 1) * Keys, n);
    }
    asm volatile("cp.async.commit_group;");
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
    if (j == 0)
#pragma unroll
      for (int kk = 0; kk < 4; ++kk)
        ldmatrix4(qf[kk], sq + swizzle(warp * 16 + (lane & 15), kk * 2 + (lane >> 4)));

    float s[8][4] = {};
#pragma unroll
    for (int kk = 0; kk < 4; ++kk)
#pragma unroll
      for (int nn = 0; nn < 8; nn += 2) {
        uint32_t b[4];
        int row = nn * 8 + (lane & 7) + ((lane >> 4) << 3);
        ldmatrix4(b, sk + stage * 8192 + swizzle(row, kk * 2 + ((lane >> 3) & 1)));
        mma(s[nn], qf[kk], b[0], b[1]);
        mma(s[nn + 1], qf[kk], b[2], b[3]);
      }
    if (j == tile || (j + 1) * Keys > n)
#pragma unroll
      for (int nn = 0; nn < 8; ++nn)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          int col = j * Keys + nn * 8 + t * 2 + (i & 1), row = row0 + (i >> 1) * 8;
          if (col > row || col >= n)
            s[nn][i] = -INFINITY;
        }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float top = m[h];
#pragma unroll
      for (int nn = 0; nn < 8; ++nn)
        top = fmaxf(top, fmaxf(s[nn][2 * h], s[nn][2 * h + 1]));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
      float base = top == -INFINITY ? 0.0f : top * scaleLog2;
      float shrink = exp2Fast(m[h] * scaleLog2 - base), sum = 0;
      m[h] = top;
#pragma unroll
      for (int nn = 0; nn < 8; ++nn)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          s[nn][2 * h + i] = exp2Fast(fmaf(s[nn][2 * h + i], scaleLog2, -base));
          sum += s[nn][2 * h + i];
          acc[nn][2 * h + i] *= shrink;
        }
      l[h] = l[h] * shrink + sum;
    }
#pragma unroll
    for (int kk = 0; kk < 4; ++kk) {
      uint32_t p[4] = {pack(s[2 * kk][0], s[2 * kk][1]), pack(s[2 * kk][2], s[2 * kk][3]),
                       pack(s[2 * kk + 1][0], s[2 * kk + 1][1]), pack(s[2 * kk + 1][2], s[2 * kk + 1][3])};
#pragma unroll
      for (int nn = 0; nn < 8; nn += 2) {
        uint32_t b[4];
        ldmatrix4t(b, sv + stage * 8192 + swizzle(kk * 16 + (lane & 15), nn + (lane >> 4)));
        mma(acc[nn], p, b[0], b[1]);
        mma(acc[nn + 1], p, b[2], b[3]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float sum = l[h];
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    float inverse = sum == 0 ? 0 : 1 / sum;
    int row = row0 + 8 * h;
    if (row < n)
#pragma unroll
      for (int nn = 0; nn < 8; ++nn)
        *reinterpret_cast<uint32_t *>(o + int64_t(row) * D + nn * 8 + t * 2) =
            pack(acc[nn][2 * h] * inverse, acc[nn][2 * h + 1] * inverse);
  }
}
