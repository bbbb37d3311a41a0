// Whole rows: RMS norm in bf16, softmax once over and in one pass, layer norm over a cluster of blocks.
// entry: rms_norm
// run: grid=4 block=128 in x:bf16=random(4096, 210, -3, 3) in w:bf16=random(1024, 211) out y:bf16[4096]=recorded tolerance=0.008
// entry: softmax
// run: grid=6 block=32 in x:f32=random(1200, 212, -8, 8) scalar n:u32=200 out y:f32[1200]=recorded tolerance=1e-5
// entry: softmax_in_one_pass
// run: grid=3 block=64 in x:f32=random(900, 213, -8, 8) scalar n:u32=300 out y:f32[900]=recorded tolerance=1e-5
// entry: layer_norm
// run: grid=8 cluster=4 block=64 in x:f32=random(512, 214) out y:f32[512]=recorded tolerance=1e-5 absolute=1e-6
#include "hopper.cuh"
#include <cooperative_groups.h>
#include <cuda_bf16.h>
namespace cg = cooperative_groups;

KERNEL rms_norm(const uint4 *x, const uint4 *w, uint4 *y) {
    __shared__ float parts[4];
    unsigned t = threadIdx.x;
    uint4 v = x[blockIdx.x * 128 + t], g = w[t], o;
    const __nv_bfloat162 *p = (const __nv_bfloat162 *)&v, *q = (const __nv_bfloat162 *)&g;
    float sum = 0;
    float2 f[4];
    for (int i = 0; i < 4; i++) {
        f[i] = __bfloat1622float2(p[i]);
        sum = fmaf(f[i].x, f[i].x, fmaf(f[i].y, f[i].y, sum));
    }
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (t % 32 == 0) parts[t / 32] = sum;
    __syncthreads();
    float scale = rsqrtf((parts[0] + parts[1] + parts[2] + parts[3]) / 1024.0f + 1e-6f);
    __nv_bfloat162 *r = (__nv_bfloat162 *)&o;
    for (int i = 0; i < 4; i++) {
        float2 h = __bfloat1622float2(q[i]);
        r[i] = __floats2bfloat162_rn(f[i].x * scale * h.x, f[i].y * scale * h.y);
    }
    y[blockIdx.x * 128 + t] = o;
}

KERNEL softmax(const float *x, unsigned n, float *y) {
    const float *row = x + blockIdx.x * n;
    float most = -INFINITY, sum = 0;
    for (unsigned i = threadIdx.x; i < n; i += 32) most = fmaxf(most, row[i]);
    for (int step = 16; step; step /= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, step));
    for (unsigned i = threadIdx.x; i < n; i += 32) sum += __expf(row[i] - most);
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    for (unsigned i = threadIdx.x; i < n; i += 32) y[blockIdx.x * n + i] = __expf(row[i] - most) / sum;
}

KERNEL softmax_in_one_pass(const float *x, unsigned n, float *y) {
    __shared__ float2 parts[2];
    const float *row = x + blockIdx.x * n;
    float most = -INFINITY, sum = 0;
    auto merge = [&](float m, float s) {
        float greater = fmaxf(most, m);
        if (greater == -INFINITY) return;
        sum = sum * exp2f((most - greater) * 1.44269504f) + s * exp2f((m - greater) * 1.44269504f);
        most = greater;
    };
    for (unsigned i = threadIdx.x; i < n; i += 64) merge(row[i], 1.0f);
    for (int step = 16; step; step /= 2) {
        float m = __shfl_xor_sync(~0u, most, step), s = __shfl_xor_sync(~0u, sum, step);
        merge(m, s);
    }
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = make_float2(most, sum);
    __syncthreads();
    float2 other = parts[threadIdx.x / 32 ^ 1];
    merge(other.x, other.y);
    for (unsigned i = threadIdx.x; i < n; i += 64) y[blockIdx.x * n + i] = expf(row[i] - most) / sum;
}

KERNEL layer_norm(const float *x, float *y) {
    __shared__ float sums[2][2], whole[2];
    cg::cluster_group cluster = cg::this_cluster();
    float v = x[blockIdx.x * 64 + threadIdx.x], s = v, q = v * v;
    for (int step = 16; step; step /= 2) s += __shfl_xor_sync(~0u, s, step), q += __shfl_xor_sync(~0u, q, step);
    if (threadIdx.x % 32 == 0) sums[0][threadIdx.x / 32] = s, sums[1][threadIdx.x / 32] = q;
    __syncthreads();
    if (threadIdx.x < 2) whole[threadIdx.x] = sums[threadIdx.x][0] + sums[threadIdx.x][1];
    cluster.sync();
    s = q = 0;
    for (unsigned r = 0; r < 4; r++) {
        const float *w = cluster.map_shared_rank(whole, r);
        s += w[0], q += w[1];
    }
    float mean = s / 256.0f;
    y[blockIdx.x * 64 + threadIdx.x] = (v - mean) * rsqrtf(q / 256.0f - mean * mean + 1e-5f);
    cluster.sync();
}
