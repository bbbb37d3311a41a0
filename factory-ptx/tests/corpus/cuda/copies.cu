// cp.async: a pipeline with groups, one whose copies arrive at mbarriers, sizes of 4 to 16 bytes, and a source shorter than its copy.
// entry: staged_by_groups
// run: block=64 in x:f32=random(2048, 26) out y:f32[64]=recorded
// entry: staged_by_barriers
// run: block=96 in x:f32=random(2048, 27) out y:f32[64]=recorded
// entry: short_sources
// run: block=32 in x:u32=random(256, 28) out y:u32[224]=recorded
#include "hopper.cuh"

DEVICE void copy16(void *to, const void *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(global_address(from)) : "memory");
}

// Eight tiles of 256 floats through three stages; thread t sums four columns of all.
KERNEL staged_by_groups(const float4 *x, float *y) {
    __shared__ float4 stage[3][64];
    unsigned t = threadIdx.x;
    for (int i = 0; i < 2; i++) {
        copy16(&stage[i][t], &x[i * 64 + t]);
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    float sum = 0;
    for (int i = 0; i < 8; i++) {
        asm volatile("cp.async.wait_group 1;" ::: "memory");
        __syncthreads();
        if (i + 2 < 8) copy16(&stage[(i + 2) % 3][t], &x[(i + 2) * 64 + t]);
        asm volatile("cp.async.commit_group;" ::: "memory");
        // A neighbour's words, so that the barrier matters.
        float4 v = stage[i % 3][(t + 17) % 64];
        sum = sum * 0.5f + (v.x + v.y) * (v.z - v.w);
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
    y[t] = sum;
}

// One warp copies, two compute; full and empty barriers of two stages.
KERNEL staged_by_barriers(const float4 *x, float *y) {
    __shared__ float4 stage[2][64];
    __shared__ uint64_t full[2], empty[2];
    unsigned t = threadIdx.x;
    if (t < 2) {
        barrier_init(&full[t], 32);
        barrier_init(&empty[t], 64);
    }
    __syncthreads();
    if (t >= 64) {
        for (int i = 0; i < 8; i++) {
            int s = i % 2;
            if (i >= 2) barrier_wait(&empty[s], (i / 2 - 1) & 1);
            copy16(&stage[s][t - 64], &x[i * 64 + t - 64]);
            copy16(&stage[s][t - 32], &x[i * 64 + t - 32]);
            asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(&full[s])) : "memory");
        }
    } else {
        float sum = 0;
        for (int i = 0; i < 8; i++) {
            int s = i % 2;
            barrier_wait(&full[s], (i / 2) & 1);
            float4 v = stage[s][63 - t];
            sum += v.x * v.y + v.z * v.w;
            barrier_arrive(&empty[s]);
        }
        y[t] = sum;
    }
}

KERNEL short_sources(const uint32_t *x, uint32_t *y) {
    __shared__ alignas(16) uint32_t four[32], eight[64], sixteen[128];
    unsigned t = threadIdx.x;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(&four[t])), "l"(global_address(x + t)), "r"(t % 5) : "memory");
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared_address(&eight[t * 2])), "l"(global_address(x + 32 + t * 2)), "r"(t % 9) : "memory");
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(&sixteen[t * 4])), "l"(global_address(x + 96 + t * 4)), "r"(t % 17)
                 : "memory");
    asm volatile("cp.async.commit_group;\ncp.async.wait_group 0;" ::: "memory");
    y[t] = four[t];
    for (int i = 0; i < 2; i++) y[32 + t * 2 + i] = eight[t * 2 + i];
    for (int i = 0; i < 4; i++) y[96 + t * 4 + i] = sixteen[t * 4 + i];
}
