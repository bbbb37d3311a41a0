// RMSNorm of rows that are kept in registers from the reading to the writing, so that x is read once.
//
// Macros: T, W, R are the dtypes of x, the weight and the residual; WEIGHT, BIAS, RESIDUAL and RSTD say what there is.
// A row goes to LANES threads in each of CLUSTER blocks, CHUNKS times VEC elements each; a block has ROWS rows.
#pragma once
#include "elements.cuh"

#define WARPS ((LANES + 31) / 32)
#define STEP (LANES * VEC * CLUSTER)

// The sum over all threads of the row, in every one of them, in the same order everywhere.
__device__ __forceinline__ float row_sum(float sum, [[maybe_unused]] unsigned rank) {
#pragma unroll
    for (int offset = (LANES < 32 ? LANES : 32) / 2; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    }
#if LANES > 32 || CLUSTER > 1
    __shared__ float part[ROWS][CLUSTER][WARPS];
    const unsigned warp = threadIdx.x / 32;
    float* mine = &part[threadIdx.y][rank][warp];
#if CLUSTER > 1
    // Nobody writes into a block that has not begun; each lane serves one block of the cluster.
    cluster_barrier();
    const unsigned lane = threadIdx.x % 32;
    if (lane < CLUSTER) {
        const unsigned here = static_cast<unsigned>(__cvta_generic_to_shared(mine));
        unsigned there;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(lane));
        asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(sum) : "memory");
    }
    // What others wrote is there, and nobody writes any more: so a block may end without the others.
    cluster_barrier();
#else
    if (threadIdx.x % 32 == 0) {
        *mine = sum;
    }
    __syncthreads();
#endif
    const float* parts = &part[threadIdx.y][0][0];
    sum = 0.0f;
#pragma unroll
    for (int i = 0; i < CLUSTER * WARPS; ++i) {
        sum += parts[i];
    }
#endif
    return sum;
}

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
              unsigned m, unsigned n) {
    const unsigned rank = blockIdx.x % CLUSTER;
    const unsigned row = blockIdx.x / CLUSTER * ROWS + threadIdx.y;
    const unsigned first = (rank * LANES + threadIdx.x) * VEC;
    const size_t base = static_cast<size_t>(row) * n;
    // Rows and columns beyond the last read nothing and count as zeros.
    const unsigned end = row < m ? n : 0;
#if RESIDUAL
    // The sum of both in f32: what is stored of it is rounded, what is normalised is not.
    float kept[CHUNKS][VEC];
#else
    Vector<T> kept[CHUNKS];
#endif
#if WEIGHT && EARLY
    Vector<W> weight[CHUNKS];
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
        weight[i] = column < end ? read_kept(w + column) : Vector<W>{};
    }
#endif
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
#if RESIDUAL
        const Vector<T> here = column < end ? read_once(x + base + column) : Vector<T>{};
        const Vector<R> more = column < end ? read_once(residual + base + column) : Vector<R>{};
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            kept[i][j] = widen(here.v[j]) + widen(more.v[j]);
        }
#else
        kept[i] = column < end ? read_once(x + base + column) : Vector<T>{};
#endif
    }
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
#if RESIDUAL
        const unsigned column = first + i * STEP;
        if (column < end) {
            write(residual_out + base + column, kept[i]);
        }
#endif
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
#if RESIDUAL
            const float value = kept[i][j];
#else
            const float value = widen(kept[i].v[j]);
#endif
            sum = fmaf(value, value, sum);
        }
    }
    const float scale = rsqrtf(row_sum(sum, rank) / static_cast<float>(n) + eps);
#if RSTD
    if (rank == 0 && threadIdx.x == 0 && row < m) {
        rstd[row] = scale;
    }
#endif
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
        if (column < end) {
#if WEIGHT && !EARLY
            const Vector<W> weights = read_kept(w + column);
#elif WEIGHT
            const Vector<W> weights = weight[i];
#endif
#if BIAS
            const Vector<W> more = read_kept(b + column);
#endif
            float out[VEC];
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
#if RESIDUAL
                out[j] = kept[i][j] * scale;
#else
                out[j] = widen(kept[i].v[j]) * scale;
#endif
#if BIAS
                out[j] = fmaf(out[j], widen(weights.v[j]) + offset, widen(more.v[j]));
#elif WEIGHT
                out[j] *= widen(weights.v[j]) + offset;
#endif
            }
            write(y + base + column, out);
        }
    }
}
