// Adds up the parts of dw (and db) that blocks left, always in the same order.
//
// A block has SUM_COLUMNS columns, and SUM_ROWS threads for each, which take every SUM_ROWS-th part.
#pragma once
#include "elements.cuh"
#include "sums.cuh"

#define SUM_COLUMNS (512 / SUM_ROWS)

extern "C" __global__ void __launch_bounds__(512)
rms_norm_backward_sum(const float* __restrict__ partial_w, W* __restrict__ dw,
#if BIAS
                      const float* __restrict__ partial_b, W* __restrict__ db,
#endif
                      unsigned parts, unsigned n) {
    __shared__ float sums[SUM_ROWS][SUM_COLUMNS];
    const unsigned column = blockIdx.x * SUM_COLUMNS + threadIdx.x;
    const float* partial = partial_w;
    W* out = dw;
#if BIAS
    if (blockIdx.y == 1) {
        partial = partial_b;
        out = db;
    }
#endif
    // The launch before may still run.
    asm volatile("griddepcontrol.wait;" ::: "memory");
    float mine[4] = {};
    if (column < n) {
        for (unsigned start = threadIdx.y; start < parts; start += 4 * SUM_ROWS) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const unsigned part = start + i * SUM_ROWS;
                if (part < parts) {
                    mine[i] += partial[static_cast<size_t>(part) * n + column];
                }
            }
        }
    }
    sums[threadIdx.y][threadIdx.x] = tree<4>([&](int i) { return mine[i]; });
#pragma unroll
    for (unsigned half = SUM_ROWS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
            sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y + half][threadIdx.x];
        }
    }
    if (threadIdx.y == 0 && column < n) {
        out[column] = narrow<W>(sums[0][threadIdx.x]);
    }
}
