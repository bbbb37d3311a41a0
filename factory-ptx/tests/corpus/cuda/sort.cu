// Sorting: bitonic over shared memory (keys, and floats with their places), one pass of a radix sort by ranks of a warp.
// entry: sort_keys
// run: block=256 in x:u32=random(512, 17) out y:u32[512]=recorded
// entry: sort_pairs
// run: block=128 in x:f32=random(128, 18) out y:f32[128]=recorded out at:u32[128]=recorded
// entry: radix_pass
// run: block=128 in x:u32=random(512, 19) scalar shift:u32=5 out y:u32[512]=recorded
#include "hopper.cuh"

KERNEL sort_keys(const unsigned *x, unsigned *y) {
    __shared__ unsigned s[512];
    unsigned t = threadIdx.x;
    s[t] = x[t], s[t + 256] = x[t + 256];
    __syncthreads();
    for (unsigned size = 2; size <= 512; size *= 2)
        for (unsigned step = size / 2; step; step /= 2) {
            unsigned i = 2 * t - (t & (step - 1)), j = i + step;
            unsigned a = s[i], b = s[j];
            if ((a > b) == ((i & size) == 0)) s[i] = b, s[j] = a;
            __syncthreads();
        }
    y[t] = s[t], y[t + 256] = s[t + 256];
}

KERNEL sort_pairs(const float *x, float *y, unsigned *at) {
    __shared__ float keys[128];
    __shared__ unsigned places[128];
    unsigned t = threadIdx.x;
    keys[t] = x[t], places[t] = t;
    for (unsigned size = 2; size <= 128; size *= 2)
        for (unsigned step = size / 2; step; step /= 2) {
            __syncthreads();
            unsigned other = t ^ step;
            float a = keys[t], b = keys[other];
            unsigned q = places[other];
            bool ascending = (t & size) == 0, lower = t < other;
            bool swap = (lower == ascending) ? a > b : a < b;
            __syncthreads();
            if (swap) keys[t] = b, places[t] = q;
        }
    __syncthreads();
    y[t] = keys[t], at[t] = places[t];
}

// Four bits at `shift`: ranks by match.any inside a warp, counters of warps, then a stable scatter.
KERNEL radix_pass(const unsigned *x, unsigned shift, unsigned *y) {
    __shared__ unsigned counts[4][16], starts[4][16];
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, below = (1u << lane) - 1;
    if (threadIdx.x < 64) ((unsigned *)counts)[threadIdx.x] = 0;
    __syncthreads();
    unsigned key[4], rank[4];
    for (int i = 0; i < 4; i++) {
        key[i] = x[warp * 128 + i * 32 + lane];
        unsigned digit = key[i] >> shift & 15, peers = __match_any_sync(~0u, digit);
        unsigned seen = counts[warp][digit];
        rank[i] = seen + __popc(peers & below);
        __syncwarp();
        if ((peers & below) == 0) counts[warp][digit] = seen + __popc(peers);
        __syncwarp();
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        unsigned sum = 0;
        if (lane < 16)
            for (int w = 0; w < 4; w++) sum += counts[w][lane];
        unsigned up = sum;
        for (int step = 1; step < 16; step *= 2) {
            unsigned other = __shfl_up_sync(~0u, up, step);
            if (lane >= step) up += other;
        }
        unsigned start = up - sum;
        if (lane < 16)
            for (int w = 0; w < 4; w++) starts[w][lane] = start, start += counts[w][lane];
    }
    __syncthreads();
    for (int i = 0; i < 4; i++) y[starts[warp][key[i] >> shift & 15] + rank[i]] = key[i];
}
