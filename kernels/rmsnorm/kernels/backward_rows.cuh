// The gradients of RMSNorm in one pass over x and dy: blocks stay, and walk over rows; each thread keeps its columns' part
// of dw in registers from the first row to the last, and leaves it in `partial`. `backward_sum.cuh` adds those up.
//
// Macros: T, X, W are the dtypes of dy, x and w; RESIDUAL adds `dresidual_out`, WIDE stores the sum in f32 too, BIAS sums dy.
// A row goes to LANES threads in each of CLUSTER blocks, CHUNKS times VEC elements each. These have DEEP rows at once, so that
// more is on its way and that they meet once for all of them; a block has ROWS times DEEP rows at a time.
// What is read next waits in registers where AHEAD is 1. Where it is more, rows come into so many slots of shared memory, of
// which each thread reads what it asked for itself.
#pragma once
#include "elements.cuh"
#include "sums.cuh"

#define STEP (LANES * VEC * CLUSTER)
#define THREADS (LANES * ROWS)

extern __shared__ __align__(16) unsigned char shared[];

// What is read of a row.
struct Row {
    Vector<X> x[CHUNKS];
    Vector<T> dy[CHUNKS];
#if RESIDUAL
    Vector<X> more[CHUNKS];
#endif
    float rstd;
};

// Where rows come from.
struct Rows {
    const X* x;
    const T* dy;
    const float* rstd;
#if RESIDUAL
    const X* more;
#endif
    unsigned m, n, first;
};

#if AHEAD > 1
// What a thread has of a row in shared memory.
#define ROW_BYTES (CHUNKS * ((1 + RESIDUAL) * sizeof(Vector<X>) + sizeof(Vector<T>)) + 4)

// Asks for BYTES, or for zeros.
template <int BYTES>
__device__ __forceinline__ void ask(unsigned to, const void* from, bool there) {
    if constexpr (BYTES % 16 == 0) {
#pragma unroll
        for (int i = 0; i < BYTES / 16; ++i) {
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to + 16 * i),
                         "l"(static_cast<const char*>(from) + 16 * i), "r"(there ? 16 : 0)
                         : "memory");
        }
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(BYTES), "r"(there ? BYTES : 0)
                     : "memory");
    }
}

// Vectors of all threads stand side by side, one after the other.
template <class E>
__device__ __forceinline__ unsigned char* place(unsigned char*& at) {
    unsigned char* here = at + (threadIdx.y * LANES + threadIdx.x) * sizeof(E);
    at += THREADS * sizeof(E);
    return here;
}

__device__ __forceinline__ unsigned address(const void* at) { return static_cast<unsigned>(__cvta_generic_to_shared(at)); }

__device__ __forceinline__ void ask_row(const Rows& rows, unsigned index, unsigned slot, int deep) {
    unsigned char* at = shared + (slot * DEEP + deep) * (THREADS * ROW_BYTES);
    const size_t base = static_cast<size_t>(index) * rows.n;
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = rows.first + i * STEP;
        const bool there = index < rows.m && column < rows.n;
        const size_t from = there ? base + column : 0;
        ask<sizeof(Vector<X>)>(address(place<Vector<X>>(at)), rows.x + from, there);
        ask<sizeof(Vector<T>)>(address(place<Vector<T>>(at)), rows.dy + from, there);
#if RESIDUAL
        ask<sizeof(Vector<X>)>(address(place<Vector<X>>(at)), rows.more + from, there);
#endif
    }
    const bool there = index < rows.m;
    ask<4>(address(place<float>(at)), rows.rstd + (there ? index : 0), there);
}

__device__ __forceinline__ void take_row(Row& row, unsigned slot, int deep) {
    unsigned char* at = shared + (slot * DEEP + deep) * (THREADS * ROW_BYTES);
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        row.x[i] = *reinterpret_cast<const Vector<X>*>(place<Vector<X>>(at));
        row.dy[i] = *reinterpret_cast<const Vector<T>*>(place<Vector<T>>(at));
#if RESIDUAL
        row.more[i] = *reinterpret_cast<const Vector<X>*>(place<Vector<X>>(at));
#endif
    }
    row.rstd = *reinterpret_cast<const float*>(place<float>(at));
}
#endif

__device__ __forceinline__ void read_row(Row& row, const Rows& rows, unsigned index) {
    row.rstd = index < rows.m ? rows.rstd[index] : 0.0f;
    const size_t base = static_cast<size_t>(index) * rows.n;
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = rows.first + i * STEP;
        if (index < rows.m && column < rows.n) {
            row.x[i] = read_once(rows.x + base + column);
            row.dy[i] = read_once(rows.dy + base + column);
#if RESIDUAL
            row.more[i] = read_once(rows.more + base + column);
#endif
        } else {
            row.x[i] = {};
            row.dy[i] = {};
#if RESIDUAL
            row.more[i] = {};
#endif
        }
    }
}

__device__ __forceinline__ void read_weights(float (&weight)[CHUNKS][VEC], const W* w, float offset, unsigned n,
                                             unsigned first) {
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = first + i * STEP;
        const Vector<W> packed = column < n ? read_kept(w + column) : Vector<W>{};
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            weight[i][j] = widen(packed.v[j]) + offset;
        }
    }
}

// As many blocks as a multiprocessor is to have fit, or registers are spilt.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS / 132)
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
    // Two of them in turn: nobody can be two rows ahead of a thread that still reads, since there is a barrier in every row.
    [[maybe_unused]] __shared__ RowSums sums[2];
    const unsigned rank = blockIdx.x % CLUSTER, block = blockIdx.x / CLUSTER, blocks = gridDim.x / CLUSTER;
    const unsigned first = (rank * LANES + threadIdx.x) * VEC;
    const float length = static_cast<float>(n);
#if CLUSTER > 1
    // Nobody writes into a block that has not begun.
    cluster_arrive();
    cluster_wait();
#endif
#if RESIDUAL
    const Rows rows = {x, dy, rstd, dresidual_out, m, n, first};
#else
    const Rows rows = {x, dy, rstd, m, n, first};
#endif
    const unsigned stride = blocks * (ROWS * DEEP);
    unsigned index = block * (ROWS * DEEP) + threadIdx.y;
    Row row[DEEP];
#if AHEAD == 1
#pragma unroll
    for (int k = 0; k < DEEP; ++k) {
        read_row(row[k], rows, index + k * ROWS);
    }
#elif AHEAD > 1
    // The row of the group that is asked for next, and its slot.
    unsigned asked = index, free_slot = 0, slot = 0;
#pragma unroll
    for (int i = 0; i < AHEAD - 1; ++i) {
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            ask_row(rows, asked < m ? asked + k * ROWS : m, free_slot, k);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        asked = asked < m ? asked + stride : m;
        ++free_slot;
    }
#endif
    float dw[CHUNKS][VEC] = {};
#if BIAS
    float db[CHUNKS][VEC] = {};
#endif
#if RESIDENT
    float weight[CHUNKS][VEC];
    read_weights(weight, w, offset, n, first);
#endif
    unsigned turn = 0;
    // All rows of a block make as many turns, since there are barriers in them.
    for (unsigned group = block * (ROWS * DEEP); group < m; group += stride, index += stride, turn ^= 1) {
#if AHEAD == 0
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            read_row(row[k], rows, index + k * ROWS);
        }
#elif AHEAD == 1
        Row next[DEEP];
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            read_row(next[k], rows, index + stride < m ? index + stride + k * ROWS : m);
        }
#else
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            ask_row(rows, asked < m ? asked + k * ROWS : m, free_slot, k);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        asked = asked < m ? asked + stride : m;
        free_slot = free_slot + 1 < AHEAD ? free_slot + 1 : 0;
        asm volatile("cp.async.wait_group %0;" ::"n"(AHEAD - 1) : "memory");
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            take_row(row[k], slot, k);
        }
        slot = slot + 1 < AHEAD ? slot + 1 : 0;
#endif
#if !RESIDENT
        float weight[CHUNKS][VEC];
        read_weights(weight, w, offset, n, first);
#endif
        float part[DEEP][CHUNKS] = {};
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                float all_w = DEEP > 1 ? 0.0f : dw[i][j];
                [[maybe_unused]] float all_b = 0.0f;
#pragma unroll
                for (int k = 0; k < DEEP; ++k) {
                    const float g = widen(row[k].dy[i].v[j]), h = widen(row[k].x[i].v[j]) * row[k].rstd;
                    all_w = fmaf(g, h, all_w);
                    all_b += g;
                    part[k][i] = fmaf(g * weight[i][j], h, part[k][i]);
                }
                dw[i][j] = DEEP > 1 ? dw[i][j] + all_w : all_w;
#if BIAS
                db[i][j] += all_b;
#endif
            }
        }
        float mean[DEEP];
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            mean[k] = tree<CHUNKS>([&](int i) { return part[k][i]; });
        }
        row_sums(mean, sums[turn], rank);
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            mean[k] /= length;
            const unsigned at = index + k * ROWS;
            const size_t base = static_cast<size_t>(at) * n;
#pragma unroll
            for (int i = 0; i < CHUNKS; ++i) {
                const unsigned column = first + i * STEP;
                if (at < m && column < n) {
                    float d[VEC];
#pragma unroll
                    for (int j = 0; j < VEC; ++j) {
                        const float g = widen(row[k].dy[i].v[j]) * weight[i][j], h = widen(row[k].x[i].v[j]) * row[k].rstd;
                        d[j] = fmaf(-h, mean[k], g) * row[k].rstd;
#if RESIDUAL
                        d[j] += widen(row[k].more[i].v[j]);
#endif
                    }
                    write(dx + base + column, d);
#if WIDE
                    write(dresidual + base + column, d);
#endif
                }
            }
#if AHEAD == 1
            row[k] = next[k];
#endif
        }
    }
    // What adds up the parts may come to its start; there it waits for all of this.
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#if ROWS > 1
    // The rows of a block add up what they have of dw, in pairs.
#if AHEAD > 1
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
    float* exchange = reinterpret_cast<float*>(shared) + threadIdx.x;
#pragma unroll 1
    for (unsigned half = ROWS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y >= half && threadIdx.y < 2 * half) {
#pragma unroll
            for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
                for (int j = 0; j < VEC; ++j) {
                    float* to = exchange + ((i * VEC + j) * half + threadIdx.y - half) * LANES;
                    *to = dw[i][j];
#if BIAS
                    to[CHUNKS * VEC * half * LANES] = db[i][j];
#endif
                }
            }
        }
        __syncthreads();
        if (threadIdx.y < half) {
#pragma unroll
            for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
                for (int j = 0; j < VEC; ++j) {
                    const float* from = exchange + ((i * VEC + j) * half + threadIdx.y) * LANES;
                    dw[i][j] += *from;
#if BIAS
                    db[i][j] += from[CHUNKS * VEC * half * LANES];
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
