// The gradients of RMSNorm for rows of any length: first the mean of each row by a block, then tiles of columns, which read
// x and dy again. `backward_sum.cuh` adds up what the tiles left of dw.
//
// Macros as in `backward_rows.cuh`, but VEC is 1: nothing is asked of the length or of addresses.
#pragma once
#include "elements.cuh"
#include "sums.cuh"

extern "C" __global__ void __launch_bounds__(MEAN_THREADS)
rms_norm_backward_means(const X* __restrict__ x, const W* __restrict__ w, const T* __restrict__ dy,
                        const float* __restrict__ rstd, float* __restrict__ means, float offset, unsigned n) {
    __shared__ float part[MEAN_THREADS / 32];
    const unsigned row = blockIdx.x;
    const size_t base = static_cast<size_t>(row) * n;
    const float scale = rstd[row];
    // Several sums a thread: shorter ones are more exact.
    float sums[8] = {};
    for (unsigned start = threadIdx.x; start < n; start += 8 * MEAN_THREADS) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const unsigned column = start + i * MEAN_THREADS;
            if (column < n) {
                const float g = widen(dy[base + column]) * (widen(w[column]) + offset);
                sums[i] = fmaf(g, widen(x[base + column]) * scale, sums[i]);
            }
        }
    }
    const float mine = lanes_sum<32>(tree<8>([&](int i) { return sums[i]; }));
    if (threadIdx.x % 32 == 0) {
        part[threadIdx.x / 32] = mine;
    }
    __syncthreads();
    const float sum = parts_sum<MEAN_THREADS / 32>(part);
    if (threadIdx.x == 0) {
        means[row] = sum / static_cast<float>(n);
    }
}

// A block has 32 columns and TILE_ROWS threads for each; blocks in y share the rows.
extern "C" __global__ void __launch_bounds__(32 * TILE_ROWS)
rms_norm_backward_columns(const X* __restrict__ x, const W* __restrict__ w, const T* __restrict__ dy,
                          const float* __restrict__ rstd,
#if RESIDUAL
                          const X* __restrict__ dresidual_out,
#endif
                          const float* __restrict__ means, T* __restrict__ dx,
#if WIDE
                          float* __restrict__ dresidual,
#endif
                          float* __restrict__ partial_w,
#if BIAS
                          float* __restrict__ partial_b,
#endif
                          float offset, unsigned m, unsigned n) {
    __shared__ float sums[BIAS + 1][TILE_ROWS][32];
    const unsigned column = blockIdx.x * 32 + threadIdx.x;
    float dw = 0.0f;
    [[maybe_unused]] float db = 0.0f;
    if (column < n) {
        const float weight = widen(w[column]) + offset;
        for (unsigned row = blockIdx.y * TILE_ROWS + threadIdx.y; row < m; row += gridDim.y * TILE_ROWS) {
            const size_t at = static_cast<size_t>(row) * n + column;
            const float scale = rstd[row], g = widen(dy[at]), h = widen(x[at]) * scale;
            float d = fmaf(-h, means[row], g * weight) * scale;
#if RESIDUAL
            d += widen(dresidual_out[at]);
#endif
            dx[at] = narrow<T>(d);
#if WIDE
            dresidual[at] = d;
#endif
            dw = fmaf(g, h, dw);
            db += g;
        }
    }
    sums[0][threadIdx.y][threadIdx.x] = dw;
#if BIAS
    sums[1][threadIdx.y][threadIdx.x] = db;
#endif
    __syncthreads();
    if (threadIdx.y == 0 && column < n) {
        const size_t at = static_cast<size_t>(blockIdx.y) * n + column;
        partial_w[at] = tree<TILE_ROWS>([&](int i) { return sums[0][i][threadIdx.x]; });
#if BIAS
        partial_b[at] = tree<TILE_ROWS>([&](int i) { return sums[1][i][threadIdx.x]; });
#endif
    }
}
