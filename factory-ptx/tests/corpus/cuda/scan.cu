// Prefix sums: of a block by shuffles, of a grid by decoupled look-back with tickets and flags, and stream compaction by ballots.
// entry: block_scan
// run: block=256 in x:s32=random(256, 9, -50, 50) out y:s32[256]=recorded
// entry: look_back_scan
// run: grid=10 block=128 in x:u32=random(1280, 10, 0, 100) inout flags:u64=fill(10, 0) inout ticket:u32=[0] -> [10] out y:u32[1280]=recorded
// entry: compact
// run: block=96 in x:s32=random(96, 11, -9, 10) out y:s32[96]=recorded out count:u32[1]=recorded
#include "hopper.cuh"

template <typename T> DEVICE T warp_scan(T v) {
    for (int step = 1; step < 32; step *= 2) {
        T other = __shfl_up_sync(~0u, v, step);
        if ((threadIdx.x & 31) >= step) v += other;
    }
    return v;
}

template <typename T> DEVICE T scan_of_block(T v) {
    __shared__ T sums[32];
    v = warp_scan(v);
    if (threadIdx.x % 32 == 31) sums[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x < 32) {
        T part = threadIdx.x < blockDim.x / 32 ? sums[threadIdx.x] : 0;
        sums[threadIdx.x] = warp_scan(part);
    }
    __syncthreads();
    return threadIdx.x < 32 ? v : v + sums[threadIdx.x / 32 - 1];
}

KERNEL block_scan(const int *x, int *y) { y[threadIdx.x] = scan_of_block(x[threadIdx.x]); }

// A flag is the state (1: the block's own sum, 2: everything up to it) over a sum of 32 bits.
KERNEL look_back_scan(const unsigned *x, unsigned long long *flags, unsigned *ticket, unsigned *y) {
    __shared__ unsigned number, before;
    if (threadIdx.x == 0) number = atomicAdd(ticket, 1);
    __syncthreads();
    unsigned b = number;
    unsigned v = scan_of_block(x[b * 128 + threadIdx.x]);
    if (threadIdx.x == 127) {
        unsigned long long own = (b == 0 ? 2ull : 1ull) << 32 | v;
        asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(flags + b), "l"(own) : "memory");
        unsigned sum = 0;
        for (int at = (int)b - 1; at >= 0; at--) {
            unsigned long long flag;
            do {
                asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(flag) : "l"(flags + at) : "memory");
            } while (flag >> 32 == 0);
            sum += (unsigned)flag;
            if (flag >> 32 == 2) break;
        }
        before = sum;
        if (b) asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(flags + b), "l"(2ull << 32 | (sum + v)) : "memory");
    }
    __syncthreads();
    y[b * 128 + threadIdx.x] = v + before;
}

// Positive values to the front, in their order; the rest is zero.
KERNEL compact(const int *x, int *y, unsigned *count) {
    __shared__ unsigned counts[3];
    unsigned lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    int v = x[threadIdx.x];
    unsigned mask = __ballot_sync(~0u, v > 0);
    if (lane == 0) counts[warp] = __popc(mask);
    __syncthreads();
    unsigned at = __popc(mask & ((1u << lane) - 1)), all = counts[0] + counts[1] + counts[2];
    for (unsigned w = 0; w < warp; w++) at += counts[w];
    if (v > 0) y[at] = v;
    if (threadIdx.x >= all) y[threadIdx.x] = 0;
    if (threadIdx.x == 0) *count = all;
}
