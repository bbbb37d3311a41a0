// Warps and blocks: shuffles of every mode, votes, redux, match, activemask, and a sum of a block over them.
// entry: warp_values
// run: block=64 in x:u32=random(64, 1, 0, 9) out y:u32[768]=recorded
// entry: block_sums
// run: grid=3 block=256 in x:f32=random(3000, 2) scalar n:u32=3000 out y:f32[9]=recorded
#include "hopper.cuh"

KERNEL warp_values(const unsigned *x, unsigned *y) {
    unsigned t = threadIdx.x, v = x[t], lane = t & 31, all = 0xffffffffu;
    unsigned *o = y + t * 12;
    o[0] = __shfl_up_sync(all, v, 3);
    o[1] = __shfl_down_sync(all, v, 5, 16);
    o[2] = __shfl_xor_sync(all, v, 9);
    o[3] = __shfl_sync(all, v, lane * 7, 8);
    o[4] = __ballot_sync(all, v > 4);
    o[5] = __match_any_sync(all, v);
    int same;
    o[6] = __match_all_sync(all, v / 9, &same) + same;
    o[7] = __reduce_add_sync(all, v);
    o[8] = __reduce_max_sync(all, v) | __reduce_min_sync(all, (int)v - 4) << 8;
    o[9] = __reduce_xor_sync(all, v << lane) ^ __reduce_and_sync(all, v | 8) ^ __reduce_or_sync(all, v << 4);
    o[10] = __all_sync(all, v < 9) | __any_sync(all, v == 8) << 1;
    unsigned part = 0;
    if (lane & 1) part = __reduce_add_sync(0xaaaaaaaau, v) + __popc(__activemask());
    __syncwarp();
    o[11] = part;
}

// Sum, greatest and least of a row of 1000 floats: each block one.
KERNEL block_sums(const float *x, unsigned n, float *y) {
    __shared__ float parts[3][8];
    const float *row = x + blockIdx.x * (n / gridDim.x);
    float sum = 0.0f, most = -INFINITY, least = INFINITY;
    for (unsigned i = threadIdx.x; i < n / gridDim.x; i += blockDim.x) {
        sum += row[i];
        most = fmaxf(most, row[i]);
        least = fminf(least, row[i]);
    }
    for (int step = 16; step; step /= 2) {
        sum += __shfl_xor_sync(~0u, sum, step);
        most = fmaxf(most, __shfl_xor_sync(~0u, most, step));
        least = fminf(least, __shfl_xor_sync(~0u, least, step));
    }
    if (threadIdx.x % 32 == 0) {
        parts[0][threadIdx.x / 32] = sum;
        parts[1][threadIdx.x / 32] = most;
        parts[2][threadIdx.x / 32] = least;
    }
    __syncthreads();
    if (threadIdx.x < 8) {
        sum = parts[0][threadIdx.x], most = parts[1][threadIdx.x], least = parts[2][threadIdx.x];
        for (int step = 4; step; step /= 2) {
            sum += __shfl_down_sync(0xff, sum, step, 8);
            most = fmaxf(most, __shfl_down_sync(0xff, most, step, 8));
            least = fminf(least, __shfl_down_sync(0xff, least, step, 8));
        }
        if (threadIdx.x == 0) {
            y[blockIdx.x * 3] = sum;
            y[blockIdx.x * 3 + 1] = most;
            y[blockIdx.x * 3 + 2] = least;
        }
    }
}
