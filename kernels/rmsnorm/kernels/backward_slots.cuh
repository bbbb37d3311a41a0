// Slots of shared memory that rows come into while others are worked on. Each thread reads there what it asked for itself, so
// that nobody waits for anybody.
//
// Macros: as in `backward_rows.cuh`. A slot has a group of rows: DEEP of them for each thread.
#pragma once

// What a thread has of a row in shared memory.
#define ROW_BYTES (CHUNKS * ((1 + RESIDUAL) * sizeof(Vector<X>) + sizeof(Vector<T>)) + 4)

extern __shared__ __align__(16) unsigned char shared[];

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

// Groups of rows that come into AHEAD slots in turn.
struct Slots {
    // The first of the rows that are asked for next, and where they go.
    unsigned asked, free = 0;

    // Those beyond the last row come as zeros: as many groups are asked for as are waited for.
    __device__ __forceinline__ void ask_group(const Rows& rows, unsigned stride) {
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            ask_row(rows, asked < rows.m ? asked + k * ROWS : rows.m, free, k);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        asked = asked < rows.m ? asked + stride : rows.m;
        free = after(free);
    }

    static __device__ __forceinline__ unsigned after(unsigned slot) { return slot + 1 < AHEAD ? slot + 1 : 0; }

    // Returns when all groups but the LATEST have come.
    template <int LATEST>
    static __device__ __forceinline__ void wait() {
        asm volatile("cp.async.wait_group %0;" ::"n"(LATEST) : "memory");
    }

    static __device__ __forceinline__ void take(Row (&row)[DEEP], unsigned slot) {
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            unsigned char* at = shared + (slot * DEEP + k) * (THREADS * ROW_BYTES);
#pragma unroll
            for (int i = 0; i < CHUNKS; ++i) {
                row[k].x[i] = *reinterpret_cast<const Vector<X>*>(place<Vector<X>>(at));
                row[k].dy[i] = *reinterpret_cast<const Vector<T>*>(place<Vector<T>>(at));
#if RESIDUAL
                row[k].more[i] = *reinterpret_cast<const Vector<X>*>(place<Vector<X>>(at));
#endif
            }
            row[k].rstd = *reinterpret_cast<const float*>(place<float>(at));
        }
    }
};
