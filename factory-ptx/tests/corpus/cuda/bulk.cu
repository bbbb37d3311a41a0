// Bulk copies of one dimension: in and out, between blocks of a cluster, added to global and to distributed shared memory, through prefetches and with cache hints.
// entry: there_and_back
// run: grid=3 block=128 in x:f32=random(1536, 130) out y:f32[1536]=recorded
// entry: added
// run: grid=4 block=64 in x:u32=random(512, 131, 0, 1000) inout sum:u32=fill(128, 0) -> recorded inout most:u64=fill(64, 0) -> recorded inout half:f16=fill(128, 0) -> recorded
// entry: between_blocks
// run: grid=4 cluster=4 block=64 in x:u32=random(256, 132) out y:u32[256]=recorded
// entry: added_between_blocks
// run: grid=2 cluster=2 block=32 in x:u32=random(128, 133, 0, 99) out y:u32[128]=recorded
#include "hopper.cuh"
#include <cuda_fp16.h>

KERNEL there_and_back(const float *x, float *y) {
    __shared__ alignas(128) float buffer[512];
    __shared__ uint64_t full;
    unsigned t = threadIdx.x, at = blockIdx.x * 512;
    if (t == 0) {
        barrier_init(&full, 1);
        barrier_init_fence();
    }
    __syncthreads();
    if (t == 0) {
        uint64_t policy;
        asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
        asm volatile("cp.async.bulk.prefetch.L2.global [%0], 2048;" ::"l"(global_address(x + at)));
        barrier_expect(&full, 2048);
        bulk_load(buffer, x + at, 1024, &full);
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(shared_address(buffer + 256)),
                     "l"(global_address(x + at + 256)), "r"(1024), "r"(shared_address(&full)), "l"(policy)
                     : "memory");
    }
    barrier_wait(&full, 0);
    for (int i = 0; i < 4; i++) buffer[i * 128 + t] = buffer[i * 128 + t] * 2.0f + 1.0f;
    proxy_fence();
    __syncthreads();
    if (t == 0) {
        bulk_store(y + at, buffer, 512);
        bulk_commit();
        bulk_store(y + at + 128, buffer + 128, 1536);
        bulk_commit();
        asm volatile("cp.async.bulk.wait_group.read 1;" ::: "memory");
        bulk_wait();
    }
}

KERNEL added(const uint32_t *x, uint32_t *sum, uint64_t *most, __half *halves) {
    __shared__ alignas(128) uint32_t words[128];
    __shared__ alignas(128) uint64_t wide[64];
    __shared__ alignas(128) __half half[128];
    unsigned t = threadIdx.x;
    words[t] = x[blockIdx.x * 128 + t];
    words[t + 64] = x[blockIdx.x * 128 + t + 64];
    wide[t] = (uint64_t)words[t] << 33 | t;
    half[t] = __float2half((float)(words[t] & 15)), half[t + 64] = __float2half(-1.0f);
    proxy_fence();
    __syncthreads();
    if (t == 0) {
        asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%0], [%1], 512;" ::"l"(global_address(sum)), "r"(shared_address(words)) : "memory");
        asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.max.u64 [%0], [%1], 512;" ::"l"(global_address(most)), "r"(shared_address(wide)) : "memory");
        asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.noftz.f16 [%0], [%1], 256;" ::"l"(global_address(halves)), "r"(shared_address(half)) : "memory");
        bulk_commit();
        bulk_wait();
    }
}

// Each block sends its words to the next one.
KERNEL between_blocks(const uint32_t *x, uint32_t *y) {
    __shared__ alignas(128) uint32_t outbox[64], inbox[64];
    __shared__ uint64_t arrived;
    unsigned t = threadIdx.x, next = (cluster_rank() + 1) % cluster_size();
    outbox[t] = x[blockIdx.x * 64 + t] + 1;
    if (t == 0) {
        barrier_init(&arrived, 1);
        barrier_init_fence();
        barrier_expect(&arrived, 256);
    }
    proxy_fence();
    cluster_sync();
    if (t == 0)
        asm volatile("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], 256, [%2];" ::"r"(map_rank(shared_address(inbox), next)),
                     "r"(shared_address(outbox)), "r"(map_rank(shared_address(&arrived), next))
                     : "memory");
    barrier_wait_cluster(&arrived, 0);
    y[blockIdx.x * 64 + t] = inbox[63 - t];
    cluster_sync();
}

// Both blocks add their words to those of both.
KERNEL added_between_blocks(const uint32_t *x, uint32_t *y) {
    __shared__ alignas(128) uint32_t mine[64], sum[64];
    __shared__ uint64_t arrived;
    unsigned t = threadIdx.x, rank = cluster_rank();
    for (int i = 0; i < 2; i++) mine[i * 32 + t] = x[blockIdx.x * 64 + i * 32 + t], sum[i * 32 + t] = 1000;
    if (t == 0) {
        barrier_init(&arrived, 1);
        barrier_init_fence();
        barrier_expect(&arrived, 512);
    }
    proxy_fence();
    cluster_sync();
    if (t < 2)
        asm volatile("cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32 [%0], [%1], 256, [%2];" ::"r"(map_rank(shared_address(sum), t)),
                     "r"(shared_address(mine)), "r"(map_rank(shared_address(&arrived), t))
                     : "memory");
    barrier_wait_cluster(&arrived, 0);
    for (int i = 0; i < 2; i++) y[blockIdx.x * 64 + i * 32 + t] = sum[i * 32 + t] + rank * 100000;
    cluster_sync();
}
