// Products without tensor cores: tiles in shared memory with vector loads, a tile per warp in registers, a matrix times a vector in bf16.
// entry: matmul_tiled
// run: grid=2,3 block=16,16 in a:f32=random(1632, 20) in b:f32=random(1088, 21) scalar m:u32=48 scalar n:u32=32 scalar k:u32=34 out c:f32[1536]=recorded
// entry: matmul_vector
// run: grid=2,1 block=64 in a:f32=random(2048, 22) in b:f32=random(1024, 23) out c:f32[2048]=recorded
// entry: gemv
// run: grid=8 block=64 in a:bf16=random(8192, 24) in x:bf16=random(512, 25) out y:f32[16]=recorded
#include "hopper.cuh"
#include <cuda_bf16.h>

KERNEL matmul_tiled(const float *a, const float *b, unsigned m, unsigned n, unsigned k, float *c) {
    __shared__ float ta[16][16], tb[16][16];
    unsigned row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
    float sum = 0;
    for (unsigned at = 0; at < k; at += 16) {
        ta[threadIdx.y][threadIdx.x] = row < m && at + threadIdx.x < k ? a[row * k + at + threadIdx.x] : 0.0f;
        tb[threadIdx.y][threadIdx.x] = column < n && at + threadIdx.y < k ? b[(at + threadIdx.y) * n + column] : 0.0f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 16; i++) sum += ta[threadIdx.y][i] * tb[i][threadIdx.x];
        __syncthreads();
    }
    if (row < m && column < n) c[row * n + column] = sum;
}

// 64 by 32 times 32 by 32, a block 32 rows; each thread 4 by 4 of them.
KERNEL matmul_vector(const float4 *a, const float4 *b, float4 *c) {
    __shared__ float ta[32][36];
    __shared__ float4 tb[32][8];
    unsigned t = threadIdx.x;
    for (int i = 0; i < 4; i++) {
        unsigned at = i * 64 + t, row = at / 8, column = at % 8;
        float4 v = __ldg(&a[(blockIdx.x * 32 + row) * 8 + column]);
        // Transposed, so that the loop below reads rows.
        ta[column * 4][row] = v.x, ta[column * 4 + 1][row] = v.y, ta[column * 4 + 2][row] = v.z, ta[column * 4 + 3][row] = v.w;
        tb[row][column] = b[at];
    }
    __syncthreads();
    float sum[4][4] = {};
    unsigned r = t / 8, q = t % 8;
#pragma unroll 8
    for (int k = 0; k < 32; k++) {
        float4 x = *(const float4 *)&ta[k][r * 4], y = tb[k][q];
        float u[4] = {x.x, x.y, x.z, x.w}, v[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) sum[i][j] = fmaf(u[i], v[j], sum[i][j]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) c[(blockIdx.x * 32 + r * 4 + i) * 8 + q] = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
}

KERNEL gemv(const uint4 *a, const uint4 *x, float *y) {
    unsigned row = blockIdx.x * 2 + threadIdx.x / 32, lane = threadIdx.x % 32;
    float sum = 0;
    for (unsigned i = lane; i < 64; i += 32) {
        uint4 u = a[row * 64 + i], v = x[i];
        const __nv_bfloat162 *p = (const __nv_bfloat162 *)&u, *q = (const __nv_bfloat162 *)&v;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float2 f = __bfloat1622float2(p[j]), g = __bfloat1622float2(q[j]);
            sum = fmaf(f.x, g.x, sum);
            sum = fmaf(f.y, g.y, sum);
        }
    }
    for (int step = 16; step; step /= 2) sum += __shfl_down_sync(~0u, sum, step);
    if (lane == 0) y[row] = sum;
}
