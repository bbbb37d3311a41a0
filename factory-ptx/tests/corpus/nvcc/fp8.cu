// 8-bit floats: packing, unpacking, scaling rows.
#include <cuda_fp8.h>
#include <cuda_fp16.h>

extern "C" __global__ void quantise(const float4 *x, __nv_fp8x4_e4m3 *out, const float *scale, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float4 v = x[i];
    float s = __frcp_rn(scale[0]);
    out[i] = __nv_fp8x4_e4m3(make_float4(v.x * s, v.y * s, v.z * s, v.w * s));
}

extern "C" __global__ void dequantise(const __nv_fp8_e5m2 *x, const __nv_fp8x2_e4m3 *y, float *out, float2 *out2, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    out[i] = float(x[i]) * 2.0f;
    out2[i] = float2(y[i]);
}
