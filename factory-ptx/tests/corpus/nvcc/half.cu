// f16 and bf16 arithmetic, scalar and packed, with conversions.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void half_ops(const __half *a, const __half *b, __half *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    __half x = a[i], y = b[i];
    __half z = __hfma(x, y, __hmul(x, __float2half(0.5f)));
    z = __hmax(z, __hneg(y));
    if (__hgt(x, y)) z = hexp2(__hsub(x, y));
    out[i] = __hadd_sat(z, __hdiv(x, __hadd(y, __half(1.0f))));
}

extern "C" __global__ void half2_ops(const __half2 *a, const __half2 *b, __half2 *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    __half2 z = __hfma2_relu(a[i], b[i], __floats2half2_rn(1.0f, -2.0f));
    z = __hmin2(z, __hadd2(a[i], b[i]));
    if (__hbeq2(a[i], b[i])) z = h2rsqrt(a[i]);
    out[i] = __lowhigh2highlow(h2tanh_approx(z));
}

extern "C" __global__ void bf16_ops(const __nv_bfloat162 *a, const float2 *b, __nv_bfloat162 *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float2 f = __bfloat1622float2(a[i]);
    f.x = f.x * b[i].x + 1.0f;
    f.y = fmaxf(f.y, b[i].y);
    __nv_bfloat162 packed = __float22bfloat162_rn(f);
    packed = __hfma2(packed, a[i], __hmul2(a[i], packed));
    packed = __hmax2_nan(packed, __hneg2(a[i]));
    out[i] = __habs2(__hsub2(packed, __float2bfloat162_rn(0.25f)));
}

extern "C" __global__ void convert(const float *x, __half *h, __nv_bfloat16 *b, int *s, unsigned char *u, long long *l) {
    int i = threadIdx.x;
    h[i] = __float2half_rz(x[i]);
    b[i] = __float2bfloat16_rn(x[i]);
    s[i] = __float2int_ru(x[i]) + __half2int_rd(h[i]);
    u[i] = (unsigned char)x[i];
    l[i] = __float2ll_rz(x[i]) + (long long)__double2ll_rn((double)x[i] * 3.0);
}
