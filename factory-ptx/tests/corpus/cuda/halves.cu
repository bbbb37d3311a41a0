// Arithmetic of f16x2 and bf16x2: fused with relu, saturation, least and greatest with both ways of NaN, comparisons, conversions.
// entry: halves
// run: block=128 in x:u32=bits(128, 40) in y:u32=bits(128, 41) in z:u32=bits(128, 42) out o:f16[5120]=recorded
// entry: brain_halves
// run: block=128 in x:u32=bits(128, 43) in y:u32=bits(128, 44) in z:u32=bits(128, 45) out o:bf16[3584]=recorded
// entry: halves_of_moderate_size
// run: block=64 in x:f16=random(128, 46, -4, 4) in y:f16=random(128, 47, 0.01, 3) out o:f16[768]=recorded absolute=0.004
#include "hopper.cuh"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <typename T> DEVICE T bits_of(uint32_t v) { return *(T *)&v; }

KERNEL halves(const uint32_t *xs, const uint32_t *ys, const uint32_t *zs, __half2 *out) {
    unsigned t = threadIdx.x;
    __half2 x = bits_of<__half2>(xs[t]), y = bits_of<__half2>(ys[t]), z = bits_of<__half2>(zs[t]);
    __half2 *o = out + t * 20;
    o[0] = __hadd2(x, y);
    o[1] = __hsub2(x, y);
    o[2] = __hmul2(x, y);
    o[3] = __hfma2(x, y, z);
    o[4] = __hfma2_relu(x, y, z);
    o[5] = __hfma2_sat(x, y, z);
    o[6] = __hadd2_sat(x, y);
    o[7] = __hmul2_sat(x, y);
    o[8] = __hmin2(x, y);
    o[9] = __hmax2_nan(x, y);
    o[10] = __hneg2(x);
    o[11] = __habs2(x);
    o[12] = __hlt2(x, y);
    o[13] = __hgeu2(x, y);
    o[14] = __halves2half2(__float2half_rz(__half2float(x.x) * 1.7f), __float2half_rn(__half2float(y.y) * 0.3f));
    o[15] = __halves2half2(__short2half_rn((short)xs[t]), __uint2half_rn(ys[t] >> 14));
    o[16] = __halves2half2(__ushort_as_half((unsigned short)__half2int_rn(x.x)), __ushort_as_half((unsigned short)__half2uint_rd(y.x)));
    o[17] = __halves2half2(h2trunc(x).x, h2ceil(y).y);
    o[18] = __halves2half2(hrint(x.x), hfloor(y.x));
    o[19] = __halves2half2(__hisnan(x.x) ? z.x : y.x, x.y);
}

KERNEL brain_halves(const uint32_t *xs, const uint32_t *ys, const uint32_t *zs, __nv_bfloat162 *out) {
    unsigned t = threadIdx.x;
    __nv_bfloat162 x = bits_of<__nv_bfloat162>(xs[t]), y = bits_of<__nv_bfloat162>(ys[t]), z = bits_of<__nv_bfloat162>(zs[t]);
    __nv_bfloat162 *o = out + t * 14;
    o[0] = __hadd2(x, y);
    o[1] = __hsub2(x, y);
    o[2] = __hmul2(x, y);
    o[3] = __hfma2(x, y, z);
    o[4] = __hfma2_relu(x, y, z);
    o[5] = __hfma2_sat(x, y, z);
    o[6] = __hadd2_sat(x, y);
    o[7] = __hmin2(x, y);
    o[8] = __hmax2_nan(x, y);
    o[9] = __hneg2(x);
    o[10] = __habs2(x);
    o[11] = __heq2(x, y);
    o[12] = __floats2bfloat162_rn(__bfloat162float(x.x) * 1.7f, __bfloat162float(y.y) * 0.3f);
    o[13] = __halves2bfloat162(__float2bfloat16_rz(__bfloat162float(z.x) * 1.1f), __float2bfloat16_ru(__bfloat162float(z.y) * 1.1f));
}

KERNEL halves_of_moderate_size(const __half2 *xs, const __half2 *ys, __half2 *out) {
    unsigned t = threadIdx.x;
    __half2 x = xs[t], y = ys[t], *o = out + t * 6;
    // Approximations of the hardware, which are not the same from one implementation to the next.
    o[0] = h2exp2(x);
    o[1] = h2rcp(y);
    o[2] = h2rsqrt(y);
    o[3] = h2sqrt(y);
    o[4] = h2tanh_approx(x);
    o[5] = h2log2(y);
}
