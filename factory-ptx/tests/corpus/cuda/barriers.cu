// Barriers of a block: by name with a count, arrivals without waiting, reductions over a barrier, and the block's own with predicates.
// entry: hand_over
// run: block=128 in x:u32=random(512, 32) out y:u32[512]=recorded
// entry: voted
// run: block=128 in x:u32=random(128, 33, 0, 100) out y:u32[512]=recorded
#include "hopper.cuh"

// Two warps write a buffer, two read it; barrier 1 says full, barrier 2 says empty.
KERNEL hand_over(const uint32_t *x, uint32_t *y) {
    __shared__ uint32_t buffer[64];
    unsigned t = threadIdx.x % 64;
    if (threadIdx.x < 64) {
        for (int i = 0; i < 8; i++) {
            if (i) asm volatile("bar.sync 2, 128;" ::: "memory");
            buffer[t] = x[i * 64 + t] + i;
            asm volatile("bar.arrive 1, 128;" ::: "memory");
        }
    } else {
        for (int i = 0; i < 8; i++) {
            asm volatile("bar.sync 1, 128;" ::: "memory");
            y[i * 64 + t] = buffer[t ^ 33];
            if (i < 7) asm volatile("bar.arrive 2, 128;" ::: "memory");
        }
    }
}

KERNEL voted(const uint32_t *x, uint32_t *y) {
    uint32_t v = x[threadIdx.x], o[4];
    o[0] = __syncthreads_count(v > 40);
    o[1] = __syncthreads_and(v < 100) | __syncthreads_or(v == 101) << 1;
    // Halves of the block, each with a barrier of its own.
    uint32_t half = threadIdx.x / 64;
    asm volatile("{\n.reg .pred p, q;\nsetp.gt.u32 p, %1, 70;\nbarrier.red.popc.u32 %0, %2, 64, p;\n}" : "=r"(o[2]) : "r"(v), "r"(half + 3) : "memory");
    asm volatile("{\n.reg .pred p, q;\nsetp.gt.u32 p, %1, 98;\nbarrier.red.or.pred q, %2, 64, p;\nselp.u32 %0, 1, 0, q;\n}" : "=r"(o[3]) : "r"(v), "r"(half + 3) : "memory");
    for (int i = 0; i < 4; i++) y[threadIdx.x * 4 + i] = o[i];
}
