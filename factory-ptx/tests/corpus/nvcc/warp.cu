// Warp votes, matches, shuffles with widths, elections through cooperative groups.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;

extern "C" __global__ void votes(const int *x, unsigned *out) {
    int v = x[threadIdx.x];
    out[threadIdx.x * 6 + 0] = __ballot_sync(0xffffffff, v > 0);
    out[threadIdx.x * 6 + 1] = __any_sync(0xffffffff, v == 3) + 2 * __all_sync(0xffffffff, v > -100);
    out[threadIdx.x * 6 + 2] = __match_any_sync(0xffffffff, v);
    int same;
    out[threadIdx.x * 6 + 3] = __match_all_sync(0xffffffff, v, &same) + same;
    out[threadIdx.x * 6 + 4] = __activemask();
    if (v & 1) out[threadIdx.x * 6 + 5] = __shfl_up_sync(__activemask(), v, 1, 8);
    else out[threadIdx.x * 6 + 5] = __shfl_sync(__activemask(), v, 5, 16);
    __syncwarp();
}

extern "C" __global__ void groups(const int *x, int *out) {
    cg::thread_block block = cg::this_thread_block();
    auto tile = cg::tiled_partition<8>(block);
    int sum = cg::reduce(tile, x[block.thread_rank()], cg::plus<int>());
    if (tile.thread_rank() == 0) out[block.thread_rank() / 8] = sum;
    block.sync();
    auto active = cg::coalesced_threads();
    if (active.thread_rank() == 0) out[32] = active.size();
    out[64 + threadIdx.x] = __syncthreads_count(sum > 3) + __syncthreads_or(sum == 5) + __syncthreads_and(sum);
}

extern "C" __global__ void specials(unsigned *out) {
    unsigned lane, warp, mask;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
    asm volatile("mov.u32 %0, %%warpid;" : "=r"(warp));
    asm volatile("mov.u32 %0, %%lanemask_lt;" : "=r"(mask));
    out[threadIdx.x + threadIdx.y * blockDim.x + threadIdx.z] = lane + warp + mask + blockIdx.z * gridDim.y + (unsigned)clock64();
}
