// RMSNorm of rows that are kept in registers from the reading to the writing, so that x is read once.
//
// Macros: T, W, R are the dtypes of x, the weight and the residual; WEIGHT, BIAS, RESIDUAL and RSTD say what there is.
// STRIDED: rows of x lie x_stride elements apart, and those of y y_stride (without a residual); else all tensors are dense.
// A row goes to LANES threads in each of CLUSTER blocks, CHUNKS times VEC elements each. These have DEEP rows at once, so that
// more is on its way, and that weights are read and blocks meet once for all of them; a block has ROWS times DEEP rows.
#pragma once
#include "elements.cuh"
#include "sums.cuh"

#define STEP (LANES * VEC * CLUSTER)

extern "C" __global__ void __launch_bounds__(LANES * ROWS)
rms_norm_rows(const T* __restrict__ x,
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
              unsigned m, unsigned n) {
    [[maybe_unused]] __shared__ RowSums sums;
#if CLUSTER > 1
    // Nobody writes into a block that has not begun.
    cluster_arrive();
#endif
    const unsigned rank = blockIdx.x % CLUSTER;
    const unsigned row = blockIdx.x / CLUSTER * (ROWS * DEEP) + threadIdx.y;
    const unsigned first = (rank * LANES + threadIdx.x) * VEC;
#if STRIDED
    const size_t base = static_cast<size_t>(row) * x_stride, below = static_cast<size_t>(ROWS) * x_stride;
    const size_t base_out = static_cast<size_t>(row) * y_stride, below_out = static_cast<size_t>(ROWS) * y_stride;
#else
    const size_t base = static_cast<size_t>(row) * n, below = static_cast<size_t>(ROWS) * n;
    const size_t base_out = base, below_out = below;
#endif
    // Rows and columns beyond the last read nothing and count as zeros.
#if RESIDUAL
    // The sum of both in f32: what is stored of it is rounded, what is normalised is not.
    float kept[DEEP][CHUNKS][VEC];
#else
    Vector<T> kept[DEEP][CHUNKS];
#endif
#if WEIGHT && EARLY
    Vector<W> weight[CHUNKS];
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
        weight[i] = column < n ? read_kept(w + column) : Vector<W>{};
    }
#endif
#pragma unroll
    for (int k = 0; k < DEEP; ++k) {
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i) {
            const unsigned column = first + i * STEP;
            const bool here = row + k * ROWS < m && column < n;
            const size_t at = base + k * below + column;
#if RESIDUAL
            const Vector<T> one = here ? read_once(x + at) : Vector<T>{};
            const Vector<R> other = here ? read_once(residual + at) : Vector<R>{};
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                kept[k][i][j] = one.at(j) + other.at(j);
            }
#else
            kept[k][i] = here ? read_once(x + at) : Vector<T>{};
#endif
        }
    }
    float sum[DEEP];
#pragma unroll
    for (int k = 0; k < DEEP; ++k) {
        float part[CHUNKS];
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i) {
#if RESIDUAL
            const unsigned column = first + i * STEP;
            if (row + k * ROWS < m && column < n) {
                write(residual_out + base + k * below + column, kept[k][i]);
            }
#endif
            part[i] = 0.0f;
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
#if RESIDUAL
                const float value = kept[k][i][j];
#else
                const float value = kept[k][i].at(j);
#endif
                part[i] = fmaf(value, value, part[i]);
            }
        }
        sum[k] = tree<CHUNKS>([&](int i) { return part[i]; });
    }
#if CLUSTER > 1
    cluster_wait();
#endif
    row_sums(sum, sums, rank);
    float scale[DEEP];
#pragma unroll
    for (int k = 0; k < DEEP; ++k) {
        scale[k] = inverse_root(sum[k] / static_cast<float>(n) + eps);
#if RSTD
        if (rank == 0 && threadIdx.x == 0 && row + k * ROWS < m) {
            rstd[row + k * ROWS] = scale[k];
        }
#endif
    }
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
        if (column < n) {
#if WEIGHT && !EARLY
            const Vector<W> weights = read_kept(w + column);
#elif WEIGHT
            const Vector<W> weights = weight[i];
#endif
#if BIAS
            const Vector<W> more = read_kept(b + column);
#endif
#pragma unroll
            for (int k = 0; k < DEEP; ++k) {
                if (row + k * ROWS >= m) {
                    break;
                }
                float out[VEC];
#pragma unroll
                for (int j = 0; j < VEC; ++j) {
#if RESIDUAL
                    out[j] = kept[k][i][j] * scale[k];
#else
                    out[j] = kept[k][i].at(j) * scale[k];
#endif
#if BIAS
                    out[j] = fmaf(out[j], weights.at(j) + offset, more.at(j));
#elif WEIGHT
                    out[j] *= weights.at(j) + offset;
#endif
                }
                write(y + base_out + k * below_out + column, out);
            }
        }
    }
}
