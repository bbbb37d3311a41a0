// Row-wise kernels of the kind that a fused operator needs: RMS norm and softmax in bf16 with 16-byte accesses.
#include <cuda_bf16.h>
template <typename F>
__device__ float block_reduce(float value, float neutral, F combine, float *lanes) {
    for (int offset = 16; offset > 0; offset >>= 1) value = combine(value, __shfl_xor_sync(0xffffffff, value, offset));
    if ((threadIdx.x & 31) == 0) lanes[threadIdx.x >> 5] = value;
    __syncthreads();
    value = threadIdx.x < blockDim.x / 32 ? lanes[threadIdx.x] : neutral;
    for (int offset = 16; offset > 0; offset >>= 1) value = combine(value, __shfl_xor_sync(0xffffffff, value, offset));
    if (threadIdx.x == 0) lanes[0] = value;
    __syncthreads();
    value = lanes[0];
    __syncthreads();
    return value;
}

extern "C" __global__ void __launch_bounds__(256)
    rmsnorm(const uint4 *__restrict__ x, const float *__restrict__ w, uint4 *__restrict__ y, int n, float eps) {
    __shared__ float lanes[32];
    const uint4 *row = x + (size_t)blockIdx.x * (n / 8);
    float sum = 0.0f;
    for (int i = threadIdx.x; i < n / 8; i += blockDim.x) {
        uint4 v = row[i];
        const __nv_bfloat162 *p = reinterpret_cast<const __nv_bfloat162 *>(&v);
        for (int j = 0; j < 4; j++) {
            float2 f = __bfloat1622float2(p[j]);
            sum += f.x * f.x + f.y * f.y;
        }
    }
    sum = block_reduce(sum, 0.0f, [](float a, float b) { return a + b; }, lanes);
    float factor = rsqrtf(sum / n + eps);
    for (int i = threadIdx.x; i < n / 8; i += blockDim.x) {
        uint4 v = row[i];
        __nv_bfloat162 *p = reinterpret_cast<__nv_bfloat162 *>(&v);
        for (int j = 0; j < 4; j++) {
            float2 f = __bfloat1622float2(p[j]);
            p[j] = __floats2bfloat162_rn(f.x * factor * w[i * 8 + j * 2], f.y * factor * w[i * 8 + j * 2 + 1]);
        }
        y[(size_t)blockIdx.x * (n / 8) + i] = v;
    }
}

extern "C" __global__ void softmax(const float *x, float *y, int n) {
    __shared__ float lanes[32];
    const float *row = x + (size_t)blockIdx.x * n;
    float top = -INFINITY, sum = 0.0f;
    for (int i = threadIdx.x; i < n; i += blockDim.x) top = fmaxf(top, row[i]);
    top = block_reduce(top, -INFINITY, [](float a, float b) { return fmaxf(a, b); }, lanes);
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += expf(row[i] - top);
    sum = block_reduce(sum, 0.0f, [](float a, float b) { return a + b; }, lanes);
    for (int i = threadIdx.x; i < n; i += blockDim.x) y[(size_t)blockIdx.x * n + i] = expf(row[i] - top) / sum;
}
