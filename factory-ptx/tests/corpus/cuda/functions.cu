// The library's functions: exact ones bit for bit, those over ex2, lg2, rcp of the hardware within a tolerance, angles large enough for the slow reduction.
// entry: exact_ones
// run: block=128 in x:f32=bits(128, 80) in y:f32=random(128, 81, -30, 30) out o:f32[2048]=recorded
// entry: floats
// run: block=128 in x:f32=random(128, 82, -20, 20) in y:f32=random(128, 83, 0.001, 9) out o:f32[2048]=recorded tolerance=1e-5 absolute=1e-6
// entry: large_angles
// run: block=64 in x:f32=random(64, 84, -1000000, 1000000) out o:f32[256]=recorded tolerance=1e-5 absolute=1e-6
// entry: doubles
// run: block=64 in x:f64=random(64, 85, -5, 5) in y:f64=random(64, 86, 0.1, 3) out o:f64[1024]=recorded tolerance=1e-13
#include "hopper.cuh"

KERNEL exact_ones(const float *xs, const float *ys, float *out) {
    unsigned t = threadIdx.x;
    float x = xs[t], y = ys[t], *o = out + t * 16;
    o[0] = x / y;
    o[1] = sqrtf(fabsf(x));
    o[2] = __frcp_rn(x);
    o[3] = fmaf(x, y, 1.0f);
    o[4] = __fadd_rd(x, y);
    o[5] = __fmul_ru(x, y);
    o[6] = __fdiv_rz(y, x);
    o[7] = __fsqrt_rd(fabsf(y));
    o[8] = rintf(y) + floorf(y) * 100 + truncf(y) * 10000;
    o[9] = fmodf(y * 1000.0f, 7.3f);
    o[10] = copysignf(y, x);
    o[11] = ldexpf(y, (int)(t % 60) - 30);
    int e;
    o[12] = frexpf(y, &e) + e;
    o[13] = roundf(y * 4) + ceilf(y) + fdimf(x, y);
    o[14] = remainderf(y * 50.0f, 3.7f);
    o[15] = nextafterf(y, x) + __saturatef(y) + scalbnf(y, -140);
}

KERNEL floats(const float *xs, const float *ys, float *out) {
    unsigned t = threadIdx.x;
    float x = xs[t], y = ys[t], *o = out + t * 16;
    o[0] = expf(x);
    o[1] = logf(y);
    o[2] = sinf(x);
    o[3] = cosf(x);
    o[4] = tanhf(x * 0.2f);
    o[5] = erff(x * 0.2f);
    o[6] = powf(y, x * 0.3f);
    o[7] = rsqrtf(y);
    o[8] = cbrtf(x);
    o[9] = atan2f(x, y);
    o[10] = __expf(x * 0.1f);
    o[11] = __logf(y + 1.5f);
    o[12] = log1pf(y) + expm1f(x * 0.1f);
    o[13] = asinf(x * 0.04f) + acosf(x * 0.03f);
    o[14] = erfcf(y * 0.5f) + lgammaf(y + 0.5f);
    o[15] = exp2f(x) + log10f(y) + sinhf(x * 0.1f) + hypotf(x, y);
}

KERNEL large_angles(const float *xs, float *out) {
    float x = xs[threadIdx.x], *o = out + threadIdx.x * 4, s, c;
    sincosf(x, &s, &c);
    o[0] = s, o[1] = c, o[2] = sinf(x * 1e20f), o[3] = sinpif(x * 0.001f);
}

KERNEL doubles(const double *xs, const double *ys, double *out) {
    unsigned t = threadIdx.x;
    double x = xs[t], y = ys[t], *o = out + t * 16;
    o[0] = pow(y, x);
    o[1] = exp(x);
    o[2] = log(y);
    o[3] = sin(x * 1e6);
    o[4] = x / y;
    o[5] = sqrt(y);
    o[6] = erf(x * 0.3);
    o[7] = tgamma(y + 1.0);
    o[8] = rsqrt(y);
    o[9] = fma(x, y, 0.1);
    o[10] = atan(x) + asinh(x);
    o[11] = cbrt(x) + tanh(x);
    o[12] = fmod(x * 1000.0, 0.7);
    o[13] = __dadd_rd(x, y * 1e-9) + __ddiv_ru(y, x);
    o[14] = (double)(float)x + (double)__double2int_rn(x * 100.0);
    o[15] = exp10(x * 0.3) + log2(y) + cospi(x);
}
