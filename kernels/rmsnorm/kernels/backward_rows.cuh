// The gradients of RMSNorm in one pass over x and dy: blocks stay, and walk over rows; each thread keeps its columns' part
// of dw in registers from the first row to the last, and leaves it in `partial`. `backward_sum.cuh` adds those up.
//
// Macros: T, X, W are the dtypes of dy, x and w; RESIDUAL adds `dresidual_out`, WIDE stores the sum in f32 too, BIAS sums dy.
// A row goes to LANES threads in each of CLUSTER blocks, CHUNKS times VEC elements each; a block has ROWS rows at a time.
#pragma once
#include "elements.cuh"

#define WARPS ((LANES + 31) / 32)
#define STEP (LANES * VEC * CLUSTER)

// Where warps (and blocks of a cluster) leave their part of a row's sum. Two of them in turn: nobody can be two rows ahead
// of a thread that still reads, since there is a barrier in every row.
struct RowSums {
    float part[2][ROWS][CLUSTER][WARPS];
};

// The sum over all threads of the row, in every one of them, in the same order everywhere.
__device__ __forceinline__ float row_sum(float sum, RowSums& sums, unsigned turn, [[maybe_unused]] unsigned rank) {
#pragma unroll
    for (int offset = (LANES < 32 ? LANES : 32) / 2; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    }
#if LANES > 32 || CLUSTER > 1
    const unsigned warp = threadIdx.x / 32;
    float* mine = &sums.part[turn][threadIdx.y][rank][warp];
#if CLUSTER > 1
    // A lane for each block of the cluster; all read what came to them after the barrier.
    const unsigned lane = threadIdx.x % 32;
    if (lane < CLUSTER) {
        const unsigned here = static_cast<unsigned>(__cvta_generic_to_shared(mine));
        unsigned there;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(lane));
        asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(sum) : "memory");
    }
    cluster_barrier();
#else
    if (threadIdx.x % 32 == 0) {
        *mine = sum;
    }
    __syncthreads();
#endif
    const float* parts = &sums.part[turn][threadIdx.y][0][0];
    sum = 0.0f;
#pragma unroll
    for (int i = 0; i < CLUSTER * WARPS; ++i) {
        sum += parts[i];
    }
#endif
    return sum;
}

// What is read of a row.
struct Row {
    Vector<X> x[CHUNKS];
    Vector<T> dy[CHUNKS];
    float rstd;
};

__device__ __forceinline__ void read_row(Row& row, const X* x, const T* dy, const float* rstd, unsigned index, unsigned m,
                                         unsigned n, unsigned first) {
    row.rstd = index < m ? rstd[index] : 0.0f;
    const size_t base = static_cast<size_t>(index) * n;
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
        if (index < m && column < n) {
            row.x[i] = read_once(x + base + column);
            row.dy[i] = read_once(dy + base + column);
        } else {
            row.x[i] = {};
            row.dy[i] = {};
        }
    }
}

extern "C" __global__ void __launch_bounds__(LANES * ROWS)
rms_norm_backward_rows(const X* __restrict__ x, const W* __restrict__ w, const T* __restrict__ dy,
                       const float* __restrict__ rstd,
#if RESIDUAL
                       const X* __restrict__ dresidual_out,
#endif
                       T* __restrict__ dx,
#if WIDE
                       float* __restrict__ dresidual,
#endif
                       float* __restrict__ partial_w,
#if BIAS
                       float* __restrict__ partial_b,
#endif
                       float offset, unsigned m, unsigned n) {
    __shared__ RowSums sums;
#if ROWS > 1
    // The rows of a block add up what they have of dw: one after the other, so that the order is always the same.
    extern __shared__ float exchange[];
#endif
    const unsigned rank = blockIdx.x % CLUSTER, block = blockIdx.x / CLUSTER, blocks = gridDim.x / CLUSTER;
    const unsigned first = (rank * LANES + threadIdx.x) * VEC;
    const float length = static_cast<float>(n);
#if CLUSTER > 1
    // Nobody writes into a block that has not begun.
    cluster_barrier();
#endif
    float dw[CHUNKS][VEC] = {};
#if BIAS
    float db[CHUNKS][VEC] = {};
#endif
#if RESIDENT
    float weight[CHUNKS][VEC];
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
        const Vector<W> packed = column < n ? read_kept(w + column) : Vector<W>{};
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            weight[i][j] = widen(packed.v[j]) + offset;
        }
    }
#endif
    Row row;
    unsigned index = block * ROWS + threadIdx.y;
    const unsigned stride = blocks * ROWS;
#if PREFETCH
    read_row(row, x, dy, rstd, index, m, n, first);
#endif
    unsigned turn = 0;
    // All rows of a block make as many turns, since there are barriers in them.
    for (unsigned group = block * ROWS; group < m; group += stride, index += stride, turn ^= 1) {
#if PREFETCH
        Row next;
        read_row(next, x, dy, rstd, index + stride < m ? index + stride : m, m, n, first);
#else
        read_row(row, x, dy, rstd, index, m, n, first);
#endif
#if !RESIDENT
        float weight[CHUNKS][VEC];
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i) {
            const unsigned column = first + i * STEP;
            const Vector<W> packed = column < n ? read_kept(w + column) : Vector<W>{};
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                weight[i][j] = widen(packed.v[j]) + offset;
            }
        }
#endif
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const float g = widen(row.dy[i].v[j]), h = widen(row.x[i].v[j]) * row.rstd;
                dw[i][j] = fmaf(g, h, dw[i][j]);
#if BIAS
                db[i][j] += g;
#endif
                sum = fmaf(g * weight[i][j], h, sum);
            }
        }
        const float mean = row_sum(sum, sums, turn, rank) / length;
        const size_t base = static_cast<size_t>(index) * n;
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i) {
            const unsigned column = first + i * STEP;
            if (index < m && column < n) {
#if RESIDUAL
                const Vector<X> more = read_once(dresidual_out + base + column);
#endif
                float d[VEC];
#pragma unroll
                for (int j = 0; j < VEC; ++j) {
                    const float g = widen(row.dy[i].v[j]) * weight[i][j], h = widen(row.x[i].v[j]) * row.rstd;
                    d[j] = fmaf(-h, mean, g) * row.rstd;
#if RESIDUAL
                    d[j] += widen(more.v[j]);
#endif
                }
                write(dx + base + column, d);
#if WIDE
                write(dresidual + base + column, d);
#endif
            }
        }
#if PREFETCH
        row = next;
#endif
    }
#if ROWS > 1
#pragma unroll 1
    for (unsigned giver = 1; giver < ROWS; ++giver) {
        __syncthreads();
        if (threadIdx.y == giver) {
#pragma unroll
            for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
                for (int j = 0; j < VEC; ++j) {
                    exchange[(i * VEC + j) * LANES + threadIdx.x] = dw[i][j];
#if BIAS
                    exchange[((CHUNKS + i) * VEC + j) * LANES + threadIdx.x] = db[i][j];
#endif
                }
            }
        }
        __syncthreads();
        if (threadIdx.y == 0) {
#pragma unroll
            for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
                for (int j = 0; j < VEC; ++j) {
                    dw[i][j] += exchange[(i * VEC + j) * LANES + threadIdx.x];
#if BIAS
                    db[i][j] += exchange[((CHUNKS + i) * VEC + j) * LANES + threadIdx.x];
#endif
                }
            }
        }
    }
    if (threadIdx.y > 0) {
        return;
    }
#endif
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
        if (column < n) {
            write(partial_w + static_cast<size_t>(block) * n + column, dw[i]);
#if BIAS
            write(partial_b + static_cast<size_t>(block) * n + column, db[i]);
#endif
        }
    }
}
