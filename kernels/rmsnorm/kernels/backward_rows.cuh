// The gradients of RMSNorm in one pass over x and dy: blocks stay, and walk over rows; each thread keeps its columns' part
// of dw in registers from the first row to the last, and leaves it in `partial`. `backward_sum.cuh` adds those up.
//
// Macros: T, X, W are the dtypes of dy, x and w; RESIDUAL adds `dresidual_out`, WIDE stores the sum in f32 too, BIAS sums dy.
// A row goes to LANES threads in each of CLUSTER blocks, CHUNKS times VEC elements each. These have DEEP rows at once, so that
// more is on its way and that they meet once for all of them; a block has ROWS times DEEP rows at a time.
// What is read next waits in registers where AHEAD is 1. Where it is more, rows come into so many slots of shared memory.
// Where LATE is 1, nobody waits for the sums of rows on their way: the next ones' are begun first, and what is written of a
// row is computed from its slot, which it keeps until then.
#pragma once
#include "elements.cuh"
#include "sums.cuh"

#define STEP (LANES * VEC * CLUSTER)
#define THREADS (LANES * ROWS)

// What is read of a row.
struct Row {
    Vector<X> x[CHUNKS];
    Vector<T> dy[CHUNKS];
#if RESIDUAL
    Vector<X> more[CHUNKS];
#endif
    float rstd;

    __device__ __forceinline__ void forget() {
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i) {
            x[i].forget();
            dy[i].forget();
        }
    }
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

// A thread's part of what is summed over rows.
struct Sums {
    float w[CHUNKS][VEC];
#if BIAS
    float b[CHUNKS][VEC];
#endif
};

#include "backward_slots.cuh"

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
            weight[i][j] = packed.at(j) + offset;
        }
    }
}

// Adds rows to the sums over rows, and gives this thread's part of each row's sum of g * h.
__device__ __forceinline__ void add_rows(Sums& sums, float (&dot)[DEEP], const Row (&row)[DEEP],
                                         const float (&weight)[CHUNKS][VEC]) {
    float part[DEEP][CHUNKS] = {};
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            float all_w = DEEP > 1 ? 0.0f : sums.w[i][j];
            [[maybe_unused]] float all_b = 0.0f;
#pragma unroll
            for (int k = 0; k < DEEP; ++k) {
                const float g = row[k].dy[i].at(j), h = row[k].x[i].at(j) * row[k].rstd;
                all_w = fmaf(g, h, all_w);
                all_b += g;
                part[k][i] = fmaf(g * weight[i][j], h, part[k][i]);
            }
            sums.w[i][j] = DEEP > 1 ? sums.w[i][j] + all_w : all_w;
#if BIAS
            sums.b[i][j] += all_b;
#endif
        }
    }
#pragma unroll
    for (int k = 0; k < DEEP; ++k) {
        dot[k] = tree<CHUNKS>([&](int i) { return part[k][i]; });
    }
}

// Writes the gradients of one row, whose sum of g * h is `dot`.
__device__ __forceinline__ void write_row(T* dx, [[maybe_unused]] float* dresidual, const Row& row, float dot,
                                          const float (&weight)[CHUNKS][VEC], const Rows& rows, unsigned index) {
    const float mean = dot / static_cast<float>(rows.n);
    const size_t base = static_cast<size_t>(index) * rows.n;
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const unsigned column = rows.first + i * STEP;
        if (index < rows.m && column < rows.n) {
            float d[VEC];
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const float g = row.dy[i].at(j) * weight[i][j], h = row.x[i].at(j) * row.rstd;
                d[j] = fmaf(-h, mean, g) * row.rstd;
#if RESIDUAL
                d[j] += row.more[i].at(j);
#endif
            }
            write(dx + base + column, d);
#if WIDE
            write(dresidual + base + column, d);
#endif
        }
    }
}

// As many blocks as a multiprocessor is to have fit, or registers are spilt.
extern "C" __global__ void __launch_bounds__(THREADS, (BLOCKS + 32) / 128)
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
    [[maybe_unused]] __shared__ RowSums dots[2];
#if !WIDE
    float* dresidual = nullptr;
#endif
    const unsigned rank = blockIdx.x % CLUSTER, block = blockIdx.x / CLUSTER, blocks = gridDim.x / CLUSTER;
    const unsigned first = (rank * LANES + threadIdx.x) * VEC;
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
    // All rows of a block make as many turns, since there are barriers in them.
    unsigned group = block * (ROWS * DEEP);
    unsigned index = group + threadIdx.y;
    Row row[DEEP];
#if AHEAD == 1
#pragma unroll
    for (int k = 0; k < DEEP; ++k) {
        read_row(row[k], rows, index + k * ROWS);
    }
#else
    Slots slots = {index};
    unsigned slot = 0;
#pragma unroll
    for (int i = 0; i < AHEAD - 1 + LATE; ++i) {
        slots.ask_group(rows, stride);
    }
#endif
    Sums sums = {};
    float weight[CHUNKS][VEC];
#if RESIDENT
    read_weights(weight, w, offset, n, first);
#endif
    unsigned turn = 0;
#if LATE
    if (group < m) {
#if !RESIDENT
        read_weights(weight, w, offset, n, first);
#endif
        float next[DEEP];
        Slots::wait<AHEAD - 1>();
        Slots::take(row, slot);
        add_rows(sums, next, row, weight);
        warp_sums(next);
        leave_parts(next, dots[turn], rank);
        cluster_arrive();
        for (;; group += stride, index += stride, turn ^= 1) {
            const bool last = m - group <= stride;
#if !RESIDENT
            read_weights(weight, w, offset, n, first);
#endif
            if (!last) {
                Slots::wait<AHEAD - 2>();
                Slots::take(row, Slots::after(slot));
                add_rows(sums, next, row, weight);
                warp_sums(next);
            }
            cluster_wait();
            float dot[DEEP];
            take_sums(dot, dots[turn]);
            if (!last) {
                leave_parts(next, dots[turn ^ 1], rank);
                cluster_arrive();
            }
            Slots::take(row, slot);
#pragma unroll
            for (int k = 0; k < DEEP; ++k) {
                write_row(dx, dresidual, row[k], dot[k], weight, rows, index + k * ROWS);
            }
            if (last) {
                break;
            }
            slots.ask_group(rows, stride);
            slot = Slots::after(slot);
        }
    }
#else
    for (; group < m; group += stride, index += stride, turn ^= 1) {
#if AHEAD == 1
        Row next[DEEP];
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            read_row(next[k], rows, index + stride < m ? index + stride + k * ROWS : m);
        }
#else
        slots.ask_group(rows, stride);
        Slots::wait<AHEAD - 1>();
        Slots::take(row, slot);
        slot = Slots::after(slot);
#endif
#if !RESIDENT
        read_weights(weight, w, offset, n, first);
#endif
        float dot[DEEP];
        add_rows(sums, dot, row, weight);
        row_sums(dot, dots[turn], rank);
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            row[k].forget();
        }
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            write_row(dx, dresidual, row[k], dot[k], weight, rows, index + k * ROWS);
        }
#if AHEAD == 1
        // A loop of its own: in the one above, CUDA 13.0's compiler takes the sums of all rows but the first for undefined.
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            row[k] = next[k];
        }
#endif
    }
#endif
    // What adds up the parts may come to its start; there it waits for all of this.
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#if ROWS > 1
    // The rows of a block add up what they have of the sums, in pairs.
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
                    *to = sums.w[i][j];
#if BIAS
                    to[CHUNKS * VEC * half * LANES] = sums.b[i][j];
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
                    sums.w[i][j] += *from;
#if BIAS
                    sums.b[i][j] += from[CHUNKS * VEC * half * LANES];
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
            write(partial_w + static_cast<size_t>(block) * n + column, sums.w[i]);
#if BIAS
            write(partial_b + static_cast<size_t>(block) * n + column, sums.b[i]);
#endif
        }
    }
}
