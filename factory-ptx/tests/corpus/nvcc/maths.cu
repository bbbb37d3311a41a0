// f32 and f64 functions: fast and accurate forms, rounding modes, classification.
#include <math.h>
extern "C" __global__ void fast(const float *x, float *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = x[i];
    out[i] = __expf(v) + __logf(fabsf(v) + 1.0f) * __sinf(v) - __cosf(v) + __fdividef(v, 3.0f) + rsqrtf(v * v + 1.0f) + __powf(2.0f, v) + __tanf(v);
}

extern "C" __global__ void accurate(const float *x, float *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = x[i];
    out[i * 4 + 0] = expf(v) + logf(fabsf(v) + 1.0f) + tanhf(v) + erff(v);
    out[i * 4 + 1] = sinf(v) * sqrtf(fabsf(v)) / (v + 2.0f) + fmodf(v, 0.7f);
    out[i * 4 + 2] = floorf(v) + ceilf(v) * rintf(v) - truncf(v) + roundf(v) + copysignf(1.0f, v);
    out[i * 4 + 3] = isnan(v) ? 0.0f : __fadd_ru(v, 1e-9f) + __fmul_rz(v, v) + __fma_rd(v, v, v) + __fsqrt_rn(fabsf(v)) + __saturatef(v);
}

extern "C" __global__ void doubles(const double *x, double *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double v = x[i];
    out[i * 3 + 0] = exp(v) * sqrt(fabs(v)) + v / 3.0 + fma(v, v, 1.0) + rsqrt(v * v + 1.0);
    out[i * 3 + 1] = log(fabs(v) + 1e-3) + floor(v) - __dadd_rz(v, 0.1) + __dmul_ru(v, v);
    out[i * 3 + 2] = (double)(float)v + (double)(int)v + (double)(unsigned long long)fabs(v) + (isinf(v) ? 1.0 : 0.0);
}
