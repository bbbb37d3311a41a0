// RMSNorm of rows of any length, at any address: a block of THREADS reads its row twice, element by element.
//
// Macros as in `forward_rows.cuh`.
#pragma once
#include "elements.cuh"

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
             unsigned n) {
    __shared__ float part[THREADS / 32];
    const size_t base = static_cast<size_t>(blockIdx.x) * n;
    float sum = 0.0f;
    for (unsigned column = threadIdx.x; column < n; column += THREADS) {
        float value = widen(x[base + column]);
#if RESIDUAL
        value += widen(residual[base + column]);
        residual_out[base + column] = narrow<R>(value);
#endif
        sum = fmaf(value, value, sum);
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    }
    if (threadIdx.x % 32 == 0) {
        part[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < THREADS / 32; ++warp) {
        sum += part[warp];
    }
    const float scale = rsqrtf(sum / static_cast<float>(n) + eps);
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
        y[base + column] = narrow<T>(value);
    }
}
