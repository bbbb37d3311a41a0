// A reduction over a cluster through distributed shared memory, with the library's clusters and with atomics on a neighbour's memory.
// entry: cluster_sum
// run: grid=8 cluster=4 block=64 in x:f32=random(2048, 5) out y:f32[8]=recorded
// entry: cluster_histogram
// run: grid=4 cluster=2 block=128 in x:u8=random(4096, 6) out y:u32[512]=recorded
#include "hopper.cuh"
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;

KERNEL cluster_sum(const float *x, float *y) {
    __shared__ float part[2], whole;
    cg::cluster_group cluster = cg::this_cluster();
    auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += x[blockIdx.x * 256 + i * 64 + threadIdx.x];
    sum = cg::reduce(warp, sum, cg::plus<float>());
    if (warp.thread_rank() == 0) part[warp.meta_group_rank()] = sum;
    __syncthreads();
    if (threadIdx.x == 0) whole = part[0] + part[1];
    cluster.sync();
    if (threadIdx.x == 0) {
        float all = 0;
        for (unsigned rank = 0; rank < cluster.num_blocks(); rank++) all += *cluster.map_shared_rank(&whole, rank);
        y[blockIdx.x] = all * (cluster.block_rank() + 1);
    }
    cluster.sync();
}

// Each block of a cluster keeps half of the bins; everybody adds to the half that a value belongs to.
KERNEL cluster_histogram(const unsigned char *x, unsigned *y) {
    __shared__ unsigned bins[128];
    cg::cluster_group cluster = cg::this_cluster();
    bins[threadIdx.x] = 0;
    cluster.sync();
    for (int i = 0; i < 8; i++) {
        unsigned v = x[blockIdx.x * 1024 + i * 128 + threadIdx.x];
        atomicAdd(cluster.map_shared_rank(bins, v / 128) + v % 128, 1u);
    }
    cluster.sync();
    y[blockIdx.x * 128 + threadIdx.x] = bins[threadIdx.x];
}
