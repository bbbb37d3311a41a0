// Histograms: in shared memory with atomics, in counters of each warp, and of each thread in packed bytes.
// entry: histogram
// run: grid=4 block=128 in x:u8=random(4096, 14) scalar n:u32=1024 inout bins:u32=fill(256, 0) -> recorded
// entry: histogram_of_warps
// run: block=128 in x:u8=random(2048, 15, 0, 16) out bins:u32[16]=recorded
// entry: histogram_in_bytes
// run: block=64 in x:u8=random(4096, 16, 0, 64) out bins:u32[4]=recorded
#include "hopper.cuh"

KERNEL histogram(const uchar4 *x, unsigned n, unsigned *bins) {
    __shared__ unsigned mine[256];
    for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) mine[i] = 0;
    __syncthreads();
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        uchar4 v = x[i];
        atomicAdd(&mine[v.x], 1);
        atomicAdd(&mine[v.y], 1);
        atomicAdd(&mine[v.z], 1);
        atomicAdd(&mine[v.w], 1);
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < 256; i += blockDim.x)
        if (mine[i]) atomicAdd(&bins[i], mine[i]);
}

// Lanes with the same value find each other; the lowest one adds for all.
KERNEL histogram_of_warps(const unsigned char *x, unsigned *bins) {
    __shared__ unsigned mine[4][16];
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane < 16) mine[warp][lane] = 0;
    __syncwarp();
    for (unsigned i = threadIdx.x; i < 2048; i += 128) {
        unsigned v = x[i], peers = __match_any_sync(~0u, v);
        if (__ffs(peers) - 1 == lane) mine[warp][v] += __popc(peers);
        __syncwarp();
    }
    __syncthreads();
    if (threadIdx.x < 16) {
        unsigned sum = 0;
        for (int w = 0; w < 4; w++) sum += mine[w][threadIdx.x];
        bins[threadIdx.x] = sum;
    }
}

// Counts of one thread in four bytes of a word, which cannot overflow before 255.
KERNEL histogram_in_bytes(const unsigned char *x, unsigned *bins) {
    __shared__ unsigned char counts[64][4];
    *(unsigned *)counts[threadIdx.x] = 0;
    for (unsigned i = 0; i < 64; i++) counts[threadIdx.x][x[i * 64 + threadIdx.x] >> 4]++;
    __syncthreads();
    if (threadIdx.x < 4) {
        unsigned sum = 0;
        for (int t = 0; t < 64; t++) sum += counts[t][threadIdx.x];
        bins[threadIdx.x] = sum;
    }
}
