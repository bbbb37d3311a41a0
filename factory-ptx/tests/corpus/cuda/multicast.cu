// One tensor copy for several blocks of a cluster: each block loads its part of a tile for all, and one bulk copy goes to two of four.
// entry: shared_tile
// run: grid=4 cluster=4 block=64 in x:u32=random(1024, 180) tensor m=x dims=32,32 box=32,4 out y:u32[256]=recorded
// entry: some_of_them
// run: grid=4 cluster=4 block=32 in x:u32=random(128, 181) out y:u32[128]=recorded
#include "hopper.cuh"

// A tile of 16 rows: block r loads rows 4r to 4r+3 into everybody's memory; then sums of it.
KERNEL shared_tile(const uint32_t *x, const __grid_constant__ TensorMap m, uint32_t *y) {
    __shared__ alignas(128) uint32_t tile[16][32];
    __shared__ uint64_t full;
    unsigned t = threadIdx.x, rank = cluster_rank();
    if (t == 0) {
        barrier_init(&full, 1);
        barrier_init_fence();
        barrier_expect(&full, 2048);
    }
    cluster_sync();
    if (t == 0)
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(
                         shared_address(tile[rank * 4])),
                     "l"(&m), "r"(shared_address(&full)), "r"(0), "r"(rank * 8), "h"((unsigned short)15)
                     : "memory");
    barrier_wait_cluster(&full, 0);
    uint32_t sum = 0;
    for (int i = 0; i < 8; i++) sum = sum * 5 + tile[i * 2 + t / 32][(t + rank) % 32];
    y[blockIdx.x * 64 + t] = sum;
    cluster_sync();
}

KERNEL some_of_them(const uint32_t *x, uint32_t *y) {
    __shared__ alignas(128) uint32_t words[32];
    __shared__ uint64_t full;
    unsigned t = threadIdx.x, rank = cluster_rank();
    words[t] = 7;
    if (t == 0) {
        barrier_init(&full, 1);
        barrier_init_fence();
        // Blocks 1 and 3 get theirs from block 0.
        barrier_expect(&full, rank % 2 ? 128 : 0);
    }
    proxy_fence();
    cluster_sync();
    if (t == 0 && rank == 0)
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], 128, [%2], %3;" ::"r"(shared_address(words)),
                     "l"(global_address(x + 64)), "r"(shared_address(&full)), "h"((unsigned short)10)
                     : "memory");
    barrier_wait_cluster(&full, 0);
    y[blockIdx.x * 32 + t] = words[t] + rank;
    cluster_sync();
}
