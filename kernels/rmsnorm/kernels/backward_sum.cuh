// Adds up the parts of dw (and db) that blocks left, always in the same order.
//
// A block has 32 columns, and SUM_ROWS threads for each, which take every SUM_ROWS-th part.
#pragma once
#include "elements.cuh"

extern "C" __global__ void __launch_bounds__(32 * SUM_ROWS)
rms_norm_backward_sum(const float* __restrict__ partial_w, W* __restrict__ dw,
#if BIAS
                      const float* __restrict__ partial_b, W* __restrict__ db,
#endif
                      unsigned parts, unsigned n) {
    __shared__ float sums[SUM_ROWS][32];
    const unsigned column = blockIdx.x * 32 + threadIdx.x;
    const float* partial = partial_w;
    W* out = dw;
#if BIAS
    if (blockIdx.y == 1) {
        partial = partial_b;
        out = db;
    }
#endif
    float sum = 0.0f;
    if (column < n) {
#pragma unroll 4
        for (unsigned part = threadIdx.y; part < parts; part += SUM_ROWS) {
            sum += partial[static_cast<size_t>(part) * n + column];
        }
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < n) {
        sum = 0.0f;
#pragma unroll
        for (int i = 0; i < SUM_ROWS; ++i) {
            sum += sums[i][threadIdx.x];
        }
        out[column] = narrow<W>(sum);
    }
}
