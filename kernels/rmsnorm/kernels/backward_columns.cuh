// The gradients of RMSNorm for rows of any length: first the mean of each row by a block, then tiles of columns, which read
// x and dy again. `backward_sum.cuh` adds up what the tiles left of dw.
//
// Macros as in `backward_rows.cuh`, but VEC is 1: nothing is asked of the length or of addresses.
#pragma once
#include "elements.cuh"

extern "C" __global__ void __launch_bounds__(MEAN_THREADS)
rms_norm_backward_means(const X* __restrict__ x, const W* __restrict__ w, const T* __restrict__ dy,
                        const float* __restrict__ rstd, float* __restrict__ means, float offset, unsigned n) {
    __shared__ float sums[MEAN_THREADS / 32];
    const unsigned row = blockIdx.x;
    const size_t base = static_cast<size_t>(row) * n;
    const float scale = rstd[row];
    float sum = 0.0f;
    for (unsigned column = threadIdx.x; column < n; column += MEAN_THREADS) {
        const float g = widen(dy[base + column]) * (widen(w[column]) + offset);
        sum = fmaf(g, widen(x[base + column]) * scale, sum);
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    }
    if (threadIdx.x % 32 == 0) {
        sums[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        sum = 0.0f;
#pragma unroll
        for (int warp = 0; warp < MEAN_THREADS / 32; ++warp) {
            sum += sums[warp];
        }
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
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < TILE_ROWS; ++i) {
            sum += sums[0][i][threadIdx.x];
        }
        partial_w[static_cast<size_t>(blockIdx.y) * n + column] = sum;
#if BIAS
        sum = 0.0f;
#pragma unroll
        for (int i = 0; i < TILE_ROWS; ++i) {
            sum += sums[1][i][threadIdx.x];
        }
        partial_b[static_cast<size_t>(blockIdx.y) * n + column] = sum;
#endif
    }
}
