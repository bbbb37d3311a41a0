// Floats of eight bits: e4m3 and e5m2 from f32, f16 and back, with saturation; a scaled quantisation and its inverse.
// entry: narrowed
// run: block=128 in x:f32=bits(256, 50) in h:u32=bits(128, 51) out y:u16[896]=recorded
// entry: widened
// run: block=128 in x:u16=iota(128) out y:f16[1024]=recorded
// entry: quantised
// run: block=256 in x:f32=random(256, 52, -600, 600) out q:u8[512]=recorded out y:f32[512]=recorded
#include "hopper.cuh"
#include <cuda_fp16.h>
#include <cuda_fp8.h>

KERNEL narrowed(const float2 *x, const uint32_t *h, unsigned short *out) {
    unsigned t = threadIdx.x;
    float2 v = x[t];
    __half2_raw r = *(const __half2_raw *)&h[t];
    unsigned short *y = out + t * 7;
    y[0] = __nv_cvt_float2_to_fp8x2(v, __NV_SATFINITE, __NV_E4M3);
    y[1] = __nv_cvt_float2_to_fp8x2(v, __NV_SATFINITE, __NV_E5M2);
    y[2] = __nv_cvt_halfraw2_to_fp8x2(r, __NV_SATFINITE, __NV_E4M3);
    y[3] = __nv_cvt_halfraw2_to_fp8x2(r, __NV_SATFINITE, __NV_E5M2);
    asm("{\ncvt.rn.satfinite.relu.e4m3x2.f32 %0, %1, %2;\n}" : "=h"(y[4]) : "f"(v.x), "f"(v.y));
    asm("{\ncvt.rn.satfinite.relu.e5m2x2.f32 %0, %1, %2;\n}" : "=h"(y[5]) : "f"(v.x), "f"(v.y));
    y[6] = __nv_cvt_float_to_fp8(v.x * 1e-30f, __NV_SATFINITE, __NV_E4M3);
}

// All 256 values of both types, two at a time.
KERNEL widened(const unsigned short *x, __half2 *y) {
    unsigned t = threadIdx.x;
    unsigned short pair = (unsigned short)(x[t] | (x[t] + 128) << 8);
    __half2_raw a = __nv_cvt_fp8x2_to_halfraw2(pair, __NV_E4M3), b = __nv_cvt_fp8x2_to_halfraw2(pair, __NV_E5M2);
    y[t * 4] = a, y[t * 4 + 1] = b;
    uint32_t c;
    asm("cvt.rn.relu.f16x2.e4m3x2 %0, %1;" : "=r"(c) : "h"(pair));
    ((uint32_t *)y)[t * 4 + 2] = c;
    asm("cvt.rn.relu.f16x2.e5m2x2 %0, %1;" : "=r"(c) : "h"(pair));
    ((uint32_t *)y)[t * 4 + 3] = c;
}

KERNEL quantised(const float *x, unsigned char *q, float *y) {
    unsigned t = threadIdx.x;
    __nv_fp8_e4m3 a(x[t]);
    __nv_fp8_e5m2 b(x[t] * 0.01f);
    q[t] = a.__x, q[t + 256] = b.__x;
    y[t] = (float)a, y[t + 256] = (float)b;
}
