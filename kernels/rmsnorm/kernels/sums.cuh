// Sums that are trees: the error of a sum that is added one after the other grows with its length, that of a tree hardly.
//
// Macros: a row goes to LANES threads in each of CLUSTER blocks; a block has ROWS times DEEP rows at a time.
#pragma once

// The sum of at(0) to at(COUNT - 1).
template <int COUNT, int FIRST = 0, class At>
__device__ __forceinline__ float tree(const At& at) {
    if constexpr (COUNT == 1) {
        return at(FIRST);
    } else {
        return tree<COUNT / 2, FIRST>(at) + tree<COUNT - COUNT / 2, FIRST + COUNT / 2>(at);
    }
}

// The sum over WIDTH neighbouring lanes, a power of two, in every one of them.
template <int WIDTH>
__device__ __forceinline__ float lanes_sum(float sum) {
#pragma unroll
    for (int offset = WIDTH / 2; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    }
    return sum;
}

// The sum of COUNT floats of shared memory, in every thread of whole warps.
template <int COUNT>
__device__ __forceinline__ float parts_sum(const float* parts) {
    if constexpr (COUNT <= 8) {
        return tree<COUNT>([&](int i) { return parts[i]; });
    } else {
        constexpr int WIDTH = COUNT > 16 ? 32 : 16;
        const unsigned lane = threadIdx.x % WIDTH;
        const float sum = tree<(COUNT + WIDTH - 1) / WIDTH>([&](int i) {
            const unsigned at = i * WIDTH + lane;
            return at < COUNT ? parts[at] : 0.0f;
        });
        return lanes_sum<WIDTH>(sum);
    }
}

#ifdef LANES
#define WARPS ((LANES + 31) / 32)

// Where warps (and blocks of a cluster) leave their parts of the sums of rows.
struct RowSums {
    float part[ROWS][DEEP][CLUSTER * WARPS];
};

__device__ __forceinline__ void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ __forceinline__ void cluster_wait() {
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Leaves the parts of DEEP rows' sums that this thread's warp has where all threads of the row will read them.
__device__ __forceinline__ void leave_parts(const float (&part)[DEEP], RowSums& sums, [[maybe_unused]] unsigned rank) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#if CLUSTER > 1
    // Each lane serves one block of the cluster.
    if (lane < CLUSTER) {
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            float* mine = &sums.part[threadIdx.y][k][rank * WARPS + warp];
            const unsigned here = static_cast<unsigned>(__cvta_generic_to_shared(mine));
            unsigned there;
            asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(lane));
            asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(part[k]) : "memory");
        }
    }
#else
    if (lane == 0) {
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            sums.part[threadIdx.y][k][warp] = part[k];
        }
    }
#endif
}

// Adds up the parts that all have left.
__device__ __forceinline__ void take_sums(float (&sum)[DEEP], const RowSums& sums) {
#pragma unroll
    for (int k = 0; k < DEEP; ++k) {
        sum[k] = parts_sum<CLUSTER * WARPS>(sums.part[threadIdx.y][k]);
    }
}

// What each warp has of the sums of DEEP rows, in all of its lanes.
__device__ __forceinline__ void warp_sums(float (&sum)[DEEP]) {
#pragma unroll
    for (int k = 0; k < DEEP; ++k) {
        sum[k] = lanes_sum<(LANES < 32 ? LANES : 32)>(sum[k]);
    }
}

// The sums over all threads of DEEP rows, in every one of them, in the same order everywhere. In a cluster nobody may come
// here before all of its blocks have begun; when it is left nobody writes into another block any more.
__device__ __forceinline__ void row_sums(float (&sum)[DEEP], RowSums& sums, [[maybe_unused]] unsigned rank) {
    warp_sums(sum);
#if LANES > 32 || CLUSTER > 1
    leave_parts(sum, sums, rank);
#if CLUSTER > 1
    cluster_arrive();
    cluster_wait();
#else
    __syncthreads();
#endif
    take_sums(sum, sums);
#endif
}
#endif
