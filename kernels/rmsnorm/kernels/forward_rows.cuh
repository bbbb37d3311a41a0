// RMSNorm of rows that are kept in registers from the reading to the writing, so that x is read from memory once. Where REREAD is
// 1, each thread reads its elements a second time to write, from a cache: that takes fewer registers, and rows can be longer.
//
// Macros: T, W, R are the dtypes of x, the weight and the residual; WEIGHT, BIAS, RESIDUAL and RSTD say what there is.
// STRIDED: rows of x lie x_stride elements apart, and those of y y_stride (without a residual); else all tensors are dense.
// A row goes to LANES threads in each of CLUSTER blocks, CHUNKS times VEC elements each. These have DEEP rows at once, so that
// more is on its way, and that weights are read and blocks meet once for all of them; a block has ROWS times DEEP rows.
#pragma once
#include "elements.cuh"
#include "sums.cuh"

#define STEP (LANES * VEC * CLUSTER)
// Vectors that a thread has of a row at once.
#if REREAD
#define GROUP (CHUNKS < 8 ? CHUNKS : 8)
#else
#define GROUP CHUNKS
#endif

// Elements of a row before they are normalised.
#if RESIDUAL
// The sum of both in f32: what is stored of it is rounded, what is normalised is not.
struct Elements {
    float sum[VEC];

    __device__ __forceinline__ float at(int i) const { return sum[i]; }
};
#else
using Elements = Vector<T>;
#endif

// Where a row's elements come from.
struct Inputs {
    const T* x;
#if RESIDUAL
    const R* residual;
#endif

    // Those of one vector; zeros where there is none.
    template <bool AGAIN>
    __device__ __forceinline__ Elements read(size_t at, bool here) const {
        Elements elements = {};
        if (here) {
#if RESIDUAL
            const Vector<T> one = AGAIN ? read_again_later(x + at) : read_once(x + at);
            const Vector<R> other = AGAIN ? read_again_later(residual + at) : read_once(residual + at);
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                elements.sum[j] = one.at(j) + other.at(j);
            }
#else
            elements = AGAIN ? read_again_later(x + at) : read_once(x + at);
#endif
        }
        return elements;
    }
};

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
#if RESIDUAL
    const Inputs inputs = {x, residual};
#else
    const Inputs inputs = {x};
#endif
#if WEIGHT && EARLY
    Vector<W> weight[CHUNKS];
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
        weight[i] = column < n ? read_kept(w + column) : Vector<W>{};
    }
#endif
    // Rows and columns beyond the last read nothing and count as zeros.
    Elements kept[DEEP][GROUP];
    float sum[DEEP] = {};
#pragma unroll 1
    for (int group = 0; group < CHUNKS; group += GROUP) {
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const unsigned column = first + (group + i) * STEP;
                kept[k][i] = inputs.read<REREAD>(base + k * below + column, row + k * ROWS < m && column < n);
            }
        }
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            float part[GROUP];
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
#if RESIDUAL
                const unsigned column = first + (group + i) * STEP;
                if (row + k * ROWS < m && column < n) {
                    write(residual_out + base + k * below + column, kept[k][i].sum);
                }
#endif
                part[i] = 0.0f;
#pragma unroll
                for (int j = 0; j < VEC; ++j) {
                    part[i] = fmaf(kept[k][i].at(j), kept[k][i].at(j), part[i]);
                }
            }
            const float all = tree<GROUP>([&](int i) { return part[i]; });
            sum[k] = REREAD ? sum[k] + all : all;
        }
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
#pragma unroll 1
    for (int group = 0; group < CHUNKS; group += GROUP) {
#if REREAD
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const unsigned column = first + (group + i) * STEP;
                kept[k][i] = inputs.read<false>(base + k * below + column, row + k * ROWS < m && column < n);
            }
        }
#endif
#pragma unroll
        for (int i = 0; i < GROUP; ++i) {
            const unsigned column = first + (group + i) * STEP;
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
                        out[j] = kept[k][i].at(j) * scale[k];
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
}
