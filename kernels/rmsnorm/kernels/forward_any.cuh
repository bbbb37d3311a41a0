// RMSNorm of rows of any length, at any address: a block of THREADS reads its row twice, element by element.
//
// Macros as in `forward_rows.cuh`.
#pragma once
#include "elements.cuh"
#include "sums.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
rms_norm_any(const T* __restrict__ x,
#if RESIDUAL
             const R* __restrict__ residual,
#endif
#if WEIGHT
             const W* __restrict__ w,
#endif
#if BIAS
             const W* __restrict__ b,
#endif
             T* __restrict__ y,
#if RESIDUAL
             R* __restrict__ residual_out,
#endif
#if RSTD
             float* __restrict__ rstd,
#endif
             float eps,
#if WEIGHT
             float offset,
#endif
#if STRIDED
             unsigned x_stride, unsigned y_stride,
#endif
             unsigned n) {
    __shared__ float part[THREADS / 32];
#if STRIDED
    const size_t base = static_cast<size_t>(blockIdx.x) * x_stride;
    const size_t base_out = static_cast<size_t>(blockIdx.x) * y_stride;
#else
    const size_t base = static_cast<size_t>(blockIdx.x) * n;
    const size_t base_out = base;
#endif
    // Several sums a thread: shorter ones are more exact.
    float sums[8] = {};
    for (unsigned start = threadIdx.x; start < n; start += 8 * THREADS) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const unsigned column = start + i * THREADS;
            if (column < n) {
                float value = widen(x[base + column]);
#if RESIDUAL
                value += widen(residual[base + column]);
                residual_out[base + column] = narrow<R>(value);
#endif
                sums[i] = fmaf(value, value, sums[i]);
            }
        }
    }
    const float mine = lanes_sum<32>(tree<8>([&](int i) { return sums[i]; }));
    if (threadIdx.x % 32 == 0) {
        part[threadIdx.x / 32] = mine;
    }
    __syncthreads();
    const float scale = inverse_root(parts_sum<THREADS / 32>(part) / static_cast<float>(n) + eps);
#if RSTD
    if (threadIdx.x == 0) {
        rstd[blockIdx.x] = scale;
    }
#endif
    for (unsigned column = threadIdx.x; column < n; column += THREADS) {
        float value = widen(x[base + column]);
#if RESIDUAL
        value += widen(residual[base + column]);
#endif
        value *= scale;
#if BIAS
        value = fmaf(value, widen(w[column]) + offset, widen(b[column]));
#elif WEIGHT
        value *= widen(w[column]) + offset;
#endif
        y[base_out + column] = narrow<T>(value);
    }
}
