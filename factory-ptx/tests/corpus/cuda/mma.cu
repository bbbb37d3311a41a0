// Products of warps on tensor cores: mma.sync with every type, fragments by ldmatrix or by hand, results by stmatrix, a transpose by movmatrix.
// entry: mma_f16
// run: block=128 in a:f16=random(2048, 100) in b:f16=random(2048, 101) out c:f32[1024]=recorded
// entry: mma_f16_into_f16
// run: block=32 in a:f16=random(256, 102) in b:f16=random(128, 103) out c:f16[128]=recorded
// entry: mma_bf16
// run: block=32 in a:bf16=random(256, 104) in b:bf16=random(128, 105) in c:f32=random(128, 106) out d:f32[256]=recorded
// entry: mma_tf32
// run: block=32 in a:f32=random(256, 107) in b:f32=random(128, 108) out c:f32[256]=recorded
// entry: mma_f64
// run: block=32 in a:f64=random(256, 109) in b:f64=random(128, 110) out c:f64[192]=recorded
// entry: mma_bytes
// run: block=32 in a:u32=bits(128, 111) in b:u32=bits(64, 112) out c:s32[384]=recorded
// entry: mma_fp8
// run: block=32 in a:f32=random(512, 113, -3, 3) in b:f32=random(256, 114, -3, 3) out c:f32[384]=recorded
// entry: moved
// run: block=32 in x:u16=iota(512) out y:u16[1280]=recorded
#include "hopper.cuh"
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#define MMA4(shape, d, a, b)                                                                                                   \
    asm volatile("mma.sync.aligned." shape " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                  \
                 : "+f"((d)[0]), "+f"((d)[1]), "+f"((d)[2]), "+f"((d)[3])                                                      \
                 : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"((b)[0]), "r"((b)[1]))
#define MMA4I(shape, d, a, b)                                                                                                  \
    asm volatile("mma.sync.aligned." shape " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                  \
                 : "+r"((d)[0]), "+r"((d)[1]), "+r"((d)[2]), "+r"((d)[3])                                                      \
                 : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"((b)[0]), "r"((b)[1]))

// 32 by 64 times 64 by 32, both with rows one after the other; four warps, 16 by 16 each.
KERNEL mma_f16(const uint4 *a, const uint4 *b, float *c) {
    __shared__ alignas(128) __half ta[32][72], tb[64][40];
    unsigned t = threadIdx.x, lane = t % 32, warp = t / 32;
    for (unsigned i = t; i < 256; i += 128) *(uint4 *)&ta[i / 8][i % 8 * 8] = a[i];
    for (unsigned i = t; i < 256; i += 128) *(uint4 *)&tb[i / 4][i % 4 * 8] = b[i];
    __syncthreads();
    unsigned row = warp / 2 * 16, column = warp % 2 * 16;
    float d[2][4] = {};
#pragma unroll
    for (int k = 0; k < 64; k += 16) {
        uint32_t fa[4], fb[2];
        load_matrix_x4(fa, &ta[row + lane % 16][k + lane / 16 * 8]);
#pragma unroll
        for (int n = 0; n < 2; n++) {
            load_matrix_x2_transposed(fb, &tb[k + lane % 16][column + n * 8]);
            MMA4("m16n8k16.row.col.f32.f16.f16.f32", d[n], fa, fb);
        }
    }
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < 4; i++) c[(row + lane / 4 + i / 2 * 8) * 32 + column + n * 8 + lane % 4 * 2 + i % 2] = d[n][i];
}

KERNEL mma_f16_into_f16(const uint32_t *a, const __half *b, uint32_t *c) {
    unsigned g = threadIdx.x / 4, k = threadIdx.x % 4;
    uint32_t fa[4] = {a[g * 8 + k], a[(g + 8) * 8 + k], a[g * 8 + k + 4], a[(g + 8) * 8 + k + 4]}, d[2] = {0x3c003c00, 0};
    const uint32_t *w = (const uint32_t *)b;
    uint32_t fb[2] = {w[g * 8 + k], w[g * 8 + k + 4]};
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0, %1}, {%2, %3, %4, %5}, {%6, %7}, {%0, %1};"
                 : "+r"(d[0]), "+r"(d[1])
                 : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0, %1}, {%2, %3}, {%4}, {%0, %1};" : "+r"(d[0]), "+r"(d[1]) : "r"(fa[0]), "r"(fa[1]), "r"(fb[0]));
    c[g * 4 + k] = d[0], c[(g + 8) * 4 + k] = d[1];
}

KERNEL mma_bf16(const uint32_t *a, const uint32_t *b, const float2 *c, float2 *d) {
    unsigned g = threadIdx.x / 4, k = threadIdx.x % 4;
    uint32_t fa[4] = {a[g * 8 + k], a[(g + 8) * 8 + k], a[g * 8 + k + 4], a[(g + 8) * 8 + k + 4]}, fb[2] = {b[g * 8 + k], b[g * 8 + k + 4]};
    float2 low = c[g * 4 + k], high = c[(g + 8) * 4 + k];
    float s[4] = {low.x, low.y, high.x, high.y}, r[4] = {high.x, low.y, low.x * 100.0f, high.y};
    MMA4("m16n8k16.row.col.f32.bf16.bf16.f32", s, fa, fb);
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(r[0]), "+f"(r[1]), "+f"(r[2]), "+f"(r[3])
                 : "r"(fa[0]), "r"(fa[1]), "r"(fb[0]));
    d[g * 4 + k] = make_float2(s[0], s[1]), d[(g + 8) * 4 + k] = make_float2(s[2], s[3]);
    d[64 + g * 4 + k] = make_float2(r[0], r[1]), d[64 + (g + 8) * 4 + k] = make_float2(r[2], r[3]);
}

KERNEL mma_tf32(const float *a, const float *b, float *c) {
    unsigned g = threadIdx.x / 4, k = threadIdx.x % 4;
    uint32_t fa[4], fb[2];
    float d[4] = {}, e[4] = {};
    for (int i = 0; i < 4; i++) {
        float v = a[(g + i % 2 * 8) * 8 + k + i / 2 * 4];
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(fa[i]) : "f"(v));
    }
    for (int i = 0; i < 2; i++) {
        float v = b[g * 8 + k + i * 4];
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(fb[i]) : "f"(v));
    }
    MMA4("m16n8k8.row.col.f32.tf32.tf32.f32", d, fa, fb);
    asm volatile("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(e[0]), "+f"(e[1]), "+f"(e[2]), "+f"(e[3])
                 : "r"(fa[0]), "r"(fa[1]), "r"(fb[0]));
    for (int i = 0; i < 4; i++) {
        c[(g + i / 2 * 8) * 8 + k * 2 + i % 2] = d[i];
        c[128 + (g + i / 2 * 8) * 8 + k * 2 + i % 2] = e[i];
    }
}

KERNEL mma_f64(const double *a, const double *b, double *c) {
    unsigned g = threadIdx.x / 4, k = threadIdx.x % 4;
    double x = 1.0, y = -1.0;
    // 8 by 16 times 16 by 8 in steps of four.
    for (int i = 0; i < 4; i++)
        asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};" : "+d"(x), "+d"(y) : "d"(a[g * 16 + i * 4 + k]), "d"(b[g * 16 + i * 4 + k]));
    c[g * 8 + k * 2] = x, c[g * 8 + k * 2 + 1] = y;
    // The same at once, for 16 rows.
    double fa[8], fb[4], d[4] = {};
    for (int i = 0; i < 8; i++) fa[i] = a[(g + i % 2 * 8) * 16 + k + i / 2 * 4];
    for (int i = 0; i < 4; i++) fb[i] = b[g * 16 + k + i * 4];
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7, %8, %9, %10, %11}, {%12, %13, %14, %15}, {%0, %1, %2, %3};"
                 : "+d"(d[0]), "+d"(d[1]), "+d"(d[2]), "+d"(d[3])
                 : "d"(fa[0]), "d"(fa[1]), "d"(fa[2]), "d"(fa[3]), "d"(fa[4]), "d"(fa[5]), "d"(fa[6]), "d"(fa[7]), "d"(fb[0]), "d"(fb[1]), "d"(fb[2]), "d"(fb[3]));
    for (int i = 0; i < 4; i++) c[64 + (g + i / 2 * 8) * 8 + k * 2 + i % 2] = d[i];
}

KERNEL mma_bytes(const uint32_t *a, const uint32_t *b, int *c) {
    unsigned g = threadIdx.x / 4, k = threadIdx.x % 4;
    uint32_t fa[4] = {a[g * 8 + k], a[(g + 8) * 8 + k], a[g * 8 + k + 4], a[(g + 8) * 8 + k + 4]}, fb[2] = {b[g * 8 + k], b[g * 8 + k + 4]};
    int d[3][4] = {{1, 2, 3, 4}, {0x7fffff00, (int)0x80000010, 0, -7}, {}};
    MMA4I("m16n8k32.row.col.s32.s8.s8.s32", d[0], fa, fb);
    MMA4I("m16n8k32.row.col.satfinite.s32.u8.s8.s32", d[1], fa, fb);
    asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.u8.u8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+r"(d[2][0]), "+r"(d[2][1]), "+r"(d[2][2]), "+r"(d[2][3])
                 : "r"(fa[0]), "r"(fa[1]), "r"(fb[0]));
    for (int j = 0; j < 3; j++)
        for (int i = 0; i < 4; i++) c[j * 128 + (g + i / 2 * 8) * 8 + k * 2 + i % 2] = d[j][i];
}

DEVICE uint32_t four(const float *x, __nv_fp8_interpretation_t kind) {
    uint32_t low = __nv_cvt_float2_to_fp8x2(make_float2(x[0], x[1]), __NV_SATFINITE, kind);
    return low | (uint32_t)__nv_cvt_float2_to_fp8x2(make_float2(x[2], x[3]), __NV_SATFINITE, kind) << 16;
}

KERNEL mma_fp8(const float *a, const float *b, float *c) {
    unsigned g = threadIdx.x / 4, k = threadIdx.x % 4;
    uint32_t fa[4], ga[4], fb[2], gb[2];
    for (int i = 0; i < 4; i++) {
        const float *p = &a[(g + i % 2 * 8) * 32 + i / 2 * 16 + k * 4];
        fa[i] = four(p, __NV_E4M3), ga[i] = four(p, __NV_E5M2);
    }
    for (int i = 0; i < 2; i++) {
        const float *p = &b[g * 32 + i * 16 + k * 4];
        fb[i] = four(p, __NV_E4M3), gb[i] = four(p, __NV_E5M2);
    }
    float d[3][4] = {{}, {1, 1, 1, 1}, {}};
    MMA4("m16n8k32.row.col.f32.e4m3.e4m3.f32", d[0], fa, fb);
    MMA4("m16n8k32.row.col.f32.e5m2.e4m3.f32", d[1], ga, fb);
    MMA4("m16n8k32.row.col.f32.e5m2.e5m2.f32", d[2], ga, gb);
    for (int j = 0; j < 3; j++)
        for (int i = 0; i < 4; i++) c[j * 128 + (g + i / 2 * 8) * 8 + k * 2 + i % 2] = d[j][i];
}

// ldmatrix and stmatrix of every count, transposed and not; movmatrix.
KERNEL moved(const uint32_t *x, uint32_t *y) {
    __shared__ alignas(16) uint32_t in[256], out[640];
    unsigned t = threadIdx.x;
    for (int i = 0; i < 8; i++) in[i * 32 + t] = x[i * 32 + t];
    for (int i = 0; i < 20; i++) out[i * 32 + t] = 0;
    __syncwarp();
    uint32_t r[4], q[2], p, m;
    load_matrix_x4(r, &in[(t * 5 % 32) * 4]);
    load_matrix_x2_transposed(q, &in[(16 + t % 16) * 4]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(p) : "r"(shared_address(&in[(t % 8 + 32) * 4])) : "memory");
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(m) : "r"(r[1]));
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(&out[t * 4])), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(&out[128 + (31 - t) * 4])), "r"(r[0]), "r"(r[1]), "r"(m), "r"(p)
                 : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(&out[256 + t % 16 * 4])), "r"(q[0]), "r"(q[1]) : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(shared_address(&out[320 + t % 8 * 4])), "r"(p) : "memory");
    __syncwarp();
    out[384 + t * 8] = r[0], out[385 + t * 8] = r[1], out[386 + t * 8] = r[2], out[387 + t * 8] = r[3];
    out[388 + t * 8] = q[0], out[389 + t * 8] = q[1], out[390 + t * 8] = p, out[391 + t * 8] = m;
    __syncwarp();
    for (int i = 0; i < 20; i++) y[i * 32 + t] = out[i * 32 + t];
}
