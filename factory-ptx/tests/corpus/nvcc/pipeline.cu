// Asynchronous copies by inline PTX, and by the library's pipeline.
#include <cuda_pipeline.h>
__device__ __forceinline__ void copy16(void *shared, const void *global, int bytes) {
    unsigned address = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes));
}

extern "C" __global__ void staged(const float4 *x, float4 *out, int n) {
    __shared__ float4 stage[2][128];
    int at = threadIdx.x;
    copy16(&stage[0][threadIdx.x], x + at, at < n ? 16 : 0);
    asm volatile("cp.async.commit_group;");
    int parity = 0;
    for (; at < n; at += 128) {
        int next = at + 128;
        copy16(&stage[parity ^ 1][threadIdx.x], next < n ? x + next : x, next < n ? 16 : 0);
        asm volatile("cp.async.commit_group;\ncp.async.wait_group 1;" ::: "memory");
        __syncthreads();
        float4 v = stage[parity][127 - threadIdx.x];
        out[at] = make_float4(v.w, v.z, v.y, v.x);
        __syncthreads();
        parity ^= 1;
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
}

extern "C" __global__ void primitives(const int *x, int *out) {
    __shared__ int buffer[256];
    __pipeline_memcpy_async(&buffer[threadIdx.x], &x[threadIdx.x], 4);
    __pipeline_commit();
    __pipeline_wait_prior(0);
    __syncthreads();
    out[threadIdx.x] = buffer[blockDim.x - 1 - threadIdx.x];
}
