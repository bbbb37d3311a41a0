// Grids that share work out among themselves: a split product whose parts are added in order behind a semaphore, and blocks that take tiles from a counter.
// entry: split_product
// run: grid=2,1,4 block=32 in a:f16=random(2048, 220) in b:f16=random(2048, 221) inout turn:u32=[0, 0] -> [0, 0] inout c:f32=fill(256, 0) -> recorded
// entry: persistent
// run: grid=3 block=64 in x:f32=random(2304, 222) inout next:u32=[0] -> [12] out y:f32[2304]=recorded
#include "hopper.cuh"
#include <cuda_fp16.h>

// 16 by 128 times 128 by 16 (B by columns); block z takes a quarter of K, block x eight columns. Parts are added in the order of z.
KERNEL split_product(const uint32_t *a, const uint32_t *b, unsigned *turn, float *c) {
    unsigned lane = threadIdx.x, g = lane / 4, k = lane % 4, n = blockIdx.x;
    float d[4] = {};
    for (unsigned s = blockIdx.z * 2; s < blockIdx.z * 2 + 2; s++) {
        const uint32_t *p = a + g * 64 + s * 8 + k, *q = b + (n * 8 + g) * 64 + s * 8 + k;
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(p[0]), "r"(p[8 * 64]), "r"(p[4]), "r"(p[8 * 64 + 4]), "r"(q[0]), "r"(q[4]));
    }
    if (lane == 0) {
        unsigned now;
        do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(global_address(turn + n)) : "memory");
        while (now != blockIdx.z);
    }
    __syncwarp();
    for (int i = 0; i < 4; i++) c[(g + i / 2 * 8) * 16 + n * 8 + k * 2 + i % 2] += d[i];
    __syncwarp();
    if (lane == 0) asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(global_address(turn + n)), "r"((blockIdx.z + 1) % gridDim.z) : "memory");
}

// Nine tiles of 256 floats, each reversed and scaled by its number.
KERNEL persistent(const float *x, unsigned *next, float *y) {
    __shared__ unsigned tile;
    __shared__ float words[256];
    while (true) {
        __syncthreads();
        if (threadIdx.x == 0) tile = atomicAdd(next, 1);
        __syncthreads();
        if (tile >= 9) break;
        for (int i = 0; i < 4; i++) words[i * 64 + threadIdx.x] = x[tile * 256 + i * 64 + threadIdx.x];
        __syncthreads();
        for (int i = 0; i < 4; i++) y[tile * 256 + i * 64 + threadIdx.x] = words[255 - i * 64 - threadIdx.x] * (float)(tile + 1);
    }
}
