// Distributed shared memory: values go round a ring of blocks, with split cluster barriers; then through remote mbarriers with st.async and red.async.
// entry: ring
// run: grid=8 cluster=8 block=32 in x:u32=random(256, 29) out y:u32[256]=recorded
// entry: pushed
// run: grid=4 cluster=4 block=64 in x:u32=random(256, 30) out y:u32[256]=recorded
// entry: added_afar
// run: grid=6 cluster=3 block=32 in x:u32=random(192, 31, 0, 1000) out y:u32[24]=recorded
#include "hopper.cuh"

KERNEL ring(const uint32_t *x, uint32_t *y) {
    __shared__ uint32_t slot[2][32];
    unsigned t = threadIdx.x, rank = cluster_rank(), size = cluster_size(), next = (rank + 1) % size;
    uint32_t v = x[blockIdx.x * 32 + t], sum = v;
    for (unsigned step = 1; step < size; step++) {
        uint32_t to = map_rank(shared_address(&slot[step & 1][t]), next);
        asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(to), "r"(v) : "memory");
        cluster_arrive();
        sum = sum * 31;
        cluster_wait();
        v = slot[step & 1][t];
        sum += v;
    }
    cluster_sync();
    y[blockIdx.x * 32 + t] = sum;
}

// Every thread sends its word, rotated, to the next block, whose mbarrier counts the bytes.
KERNEL pushed(const uint32_t *x, uint32_t *y) {
    __shared__ alignas(16) uint32_t inbox[64];
    __shared__ uint64_t arrived;
    unsigned t = threadIdx.x, next = (cluster_rank() + 1) % cluster_size();
    if (t == 0) {
        barrier_init(&arrived, 1);
        barrier_init_fence();
        barrier_expect(&arrived, 64 * 4);
    }
    cluster_sync();
    uint32_t to = map_rank(shared_address(&inbox[63 - t]), next), b = map_rank(shared_address(&arrived), next);
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];" ::"r"(to), "r"(x[blockIdx.x * 64 + t] * 3 + 1), "r"(b) : "memory");
    barrier_wait_cluster(&arrived, 0);
    y[blockIdx.x * 64 + t] = inbox[t];
    cluster_sync();
}

// Everybody adds to eight counters of the block with rank 0.
KERNEL added_afar(const uint32_t *x, uint32_t *y) {
    __shared__ alignas(16) uint32_t counter[8];
    __shared__ uint64_t arrived;
    unsigned t = threadIdx.x, rank = cluster_rank();
    if (t < 8) counter[t] = 0;
    if (t == 0) {
        barrier_init(&arrived, 1);
        barrier_init_fence();
        if (rank == 0) barrier_expect(&arrived, 3 * 32 * 4);
    }
    cluster_sync();
    uint32_t to = map_rank(shared_address(&counter[t % 8]), 0), b = map_rank(shared_address(&arrived), 0);
    asm volatile("red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%0], %1, [%2];" ::"r"(to), "r"(x[blockIdx.x * 32 + t]), "r"(b)
                 : "memory");
    if (rank == 0) barrier_wait_cluster(&arrived, 0);
    cluster_sync();
    if (t < 4) y[blockIdx.x * 4 + t] = rank == 0 ? counter[t] ^ counter[t + 4] << 8 : rank;
}
