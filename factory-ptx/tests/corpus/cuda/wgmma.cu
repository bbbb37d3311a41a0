// Products of warpgroups: operands in shared memory with every swizzle and with none, A in registers, transposed operands, negated ones, and all types.
// entry: swizzled_by_128
// run: block=128 in a:bf16=random(4096, 150) in b:bf16=random(2048, 151) out c:f32[2048]=recorded
// entry: swizzled_by_64
// run: block=128 in a:f16=random(2048, 152) in b:f16=random(1024, 153) out c:f32[2048]=recorded
// entry: swizzled_by_32
// run: block=128 in a:f16=random(1024, 154) in b:f16=random(512, 155) out c:f16[2048]=recorded
// entry: not_swizzled
// run: block=128 in a:bf16=random(1024, 156) in b:bf16=random(512, 157) out c:f32[2048]=recorded
// entry: from_registers
// run: block=128 in a:bf16=random(4096, 158) in b:bf16=random(4096, 159) out c:f32[4096]=recorded
// entry: bytes
// run: block=128 in a:u8=random(4096, 160) in b:u8=random(1024, 161) out c:s32[1024]=recorded
// entry: eighths
// run: block=128 in a:f32=random(4096, 162, -2, 2) in b:f32=random(1024, 163, -2, 2) out c:f32[1024]=recorded
// entry: tf32
// run: block=128 in a:f32=random(1024, 164) in b:f32=random(256, 165) out c:f32[1024]=recorded
#include "hopper.cuh"
#include <cuda_fp8.h>

#define WGMMA_N32(types, d, a, b, scale, more)                                                                                                  \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %18, 0;\n"                                                                                   \
                 "wgmma.mma_async.sync.aligned." types " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, %16, %17, p, " more ";\n}" \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]),       \
                   "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])                                                 \
                 : "l"(a), "l"(b), "r"(scale))

// Keeps the compiler from moving what belongs before a fence or behind a wait across it.
template <typename T, int N> DEVICE void hold(T (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++)
        if constexpr (T(1.5) == T(1)) asm volatile("" : "+r"(d[i])::"memory");
        else asm volatile("" : "+f"(d[i])::"memory");
}

// Row of d[i] of this thread, and its column.
DEVICE unsigned row_of(int i) { return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i % 4 / 2 * 8; }
DEVICE unsigned column_of(int i) { return i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2; }

// Rows of `pitch` bytes with 16-byte pieces exchanged as the swizzle of that many bytes does.
template <int Pitch> DEVICE unsigned swizzled(unsigned row, unsigned byte) {
    unsigned at = row * Pitch + byte;
    return at ^ ((at >> 7 & (Pitch / 16 - 1)) << 4);
}
template <int Pitch> DEVICE void fill(char *tile, const void *from, unsigned rows) {
    for (unsigned i = threadIdx.x; i < rows * (Pitch / 16); i += blockDim.x)
        *(uint4 *)(tile + swizzled<Pitch>(i / (Pitch / 16), i % (Pitch / 16) * 16)) = ((const uint4 *)from)[i];
    proxy_fence();
    __syncthreads();
}

// 64 by 64 times (32 by 64) transposed, in four steps; the last one subtracts, with A and B negated in turn.
KERNEL swizzled_by_128(const void *a, const void *b, float *c) {
    __shared__ alignas(1024) char ta[64 * 128], tb[32 * 128];
    fill<128>(ta, a, 64);
    fill<128>(tb, b, 32);
    float d[16] = {};
    for (int i = 0; i < 16; i++) d[i] = 1000.0f;
    hold(d);
    wgmma_fence();
    // The first one does not add to what is there.
    for (int k = 0; k < 3; k++)
        WGMMA_N32("m64n32k16.f32.bf16.bf16", d, descriptor(ta + k * 32, 16, 1024, 1), descriptor(tb + k * 32, 16, 1024, 1), k, "1, 1, 0, 0");
    WGMMA_N32("m64n32k16.f32.bf16.bf16", d, descriptor(ta + 96, 16, 1024, 1), descriptor(tb + 96, 16, 1024, 1), 1, "-1, 1, 0, 0");
    wgmma_commit();
    wgmma_wait<0>();
    hold(d);
    for (int i = 0; i < 16; i++) c[row_of(i) * 32 + column_of(i)] = d[i];
}

KERNEL swizzled_by_64(const void *a, const void *b, float *c) {
    __shared__ alignas(1024) char ta[64 * 64], tb[32 * 64];
    fill<64>(ta, a, 64);
    fill<64>(tb, b, 32);
    float d[16] = {};
    hold(d);
    wgmma_fence();
    for (int k = 0; k < 2; k++)
        WGMMA_N32("m64n32k16.f32.f16.f16", d, descriptor(ta + k * 32, 16, 512, 2), descriptor(tb + k * 32, 16, 512, 2), k, "1, -1, 0, 0");
    wgmma_commit();
    wgmma_wait<0>();
    hold(d);
    for (int i = 0; i < 16; i++) c[row_of(i) * 32 + column_of(i)] = d[i];
}

KERNEL swizzled_by_32(const void *a, const void *b, uint32_t *c) {
    __shared__ alignas(1024) char ta[64 * 32], tb[32 * 32];
    fill<32>(ta, a, 64);
    fill<32>(tb, b, 32);
    uint32_t d[8] = {};
    hold(d);
    wgmma_fence();
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f16.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, 1, 1, 1, 0, 0;"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7])
                 : "l"(descriptor(ta, 16, 256, 3)), "l"(descriptor(tb, 16, 256, 3)));
    wgmma_commit();
    wgmma_wait<0>();
    hold(d);
    for (int i = 0; i < 8; i++) c[(row_of(i * 2) * 32 + column_of(i * 2)) / 2] = d[i];
}

// Pieces of eight rows by 16 bytes: those beside each other along K lie 128 bytes apart, those along M or N 256.
KERNEL not_swizzled(const uint4 *a, const uint4 *b, float *c) {
    __shared__ alignas(128) uint4 ta[128], tb[64];
    unsigned t = threadIdx.x;
    ta[(t / 16) * 16 + t % 2 * 8 + t / 2 % 8] = a[t];
    if (t < 64) tb[(t / 16) * 16 + t % 2 * 8 + t / 2 % 8] = b[t];
    proxy_fence();
    __syncthreads();
    float d[16] = {};
    hold(d);
    wgmma_fence();
    WGMMA_N32("m64n32k16.f32.bf16.bf16", d, descriptor(ta, 128, 256, 0), descriptor(tb, 128, 256, 0), 0, "1, 1, 0, 0");
    wgmma_commit();
    wgmma_wait<0>();
    hold(d);
    for (int i = 0; i < 16; i++) c[row_of(i) * 32 + column_of(i)] = d[i];
}

// A in registers; B with its columns one after the other (transposed), 64 of them; two groups under way at once.
KERNEL from_registers(const uint32_t *a, const void *b, float *c) {
    __shared__ alignas(1024) char tb[64 * 128];
    fill<128>(tb, b, 64);
    unsigned t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4, k = t % 4;
    uint32_t fa[4][4];
    for (int s = 0; s < 4; s++)
        for (int i = 0; i < 4; i++) fa[s][i] = a[(row + i % 2 * 8) * 32 + s * 8 + k + i / 2 * 4];
    float d[2][32] = {};
    hold(d[0]);
    hold(d[1]);
    for (int i = 0; i < 4; i++) hold(fa[i]);
    wgmma_fence();
#pragma unroll
    for (int s = 0; s < 4; s++) {
        float *e = d[s / 2];
        asm volatile(
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, "
            "%25, %26, %27, %28, %29, %30, %31}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
            : "+f"(e[0]), "+f"(e[1]), "+f"(e[2]), "+f"(e[3]), "+f"(e[4]), "+f"(e[5]), "+f"(e[6]), "+f"(e[7]), "+f"(e[8]), "+f"(e[9]), "+f"(e[10]), "+f"(e[11]), "+f"(e[12]), "+f"(e[13]),
              "+f"(e[14]), "+f"(e[15]), "+f"(e[16]), "+f"(e[17]), "+f"(e[18]), "+f"(e[19]), "+f"(e[20]), "+f"(e[21]), "+f"(e[22]), "+f"(e[23]), "+f"(e[24]), "+f"(e[25]), "+f"(e[26]),
              "+f"(e[27]), "+f"(e[28]), "+f"(e[29]), "+f"(e[30]), "+f"(e[31])
            : "r"(fa[s][0]), "r"(fa[s][1]), "r"(fa[s][2]), "r"(fa[s][3]), "l"(descriptor(tb + s * 16 * 128, 1024, 1024, 1)));
        if (s % 2) wgmma_commit();
    }
    wgmma_wait<1>();
    hold(d[0]);
    float first[32];
#pragma unroll
    for (int i = 0; i < 32; i++) first[i] = d[0][i];
    wgmma_wait<0>();
    hold(d[1]);
#pragma unroll
    for (int i = 0; i < 32; i++) c[row_of(i) * 64 + column_of(i)] = first[i] * 2.0f + d[1][i];
}

// Rows of 64 bytes, swizzled: 64 by 64 times (16 by 64) transposed.
KERNEL bytes(const void *a, const void *b, int *c) {
    __shared__ alignas(1024) char ta[64 * 64], tb[16 * 64];
    fill<64>(ta, a, 64);
    fill<64>(tb, b, 16);
    int d[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    hold(d);
    wgmma_fence();
    asm volatile("wgmma.mma_async.sync.aligned.m64n16k32.s32.s8.s8 {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, 1;"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7])
                 : "l"(descriptor(ta, 16, 512, 2)), "l"(descriptor(tb, 16, 512, 2)));
    asm volatile("wgmma.mma_async.sync.aligned.m64n16k32.s32.u8.s8.satfinite {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, 1;"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7])
                 : "l"(descriptor(ta + 32, 16, 512, 2)), "l"(descriptor(tb + 32, 16, 512, 2)));
    wgmma_commit();
    wgmma_wait<0>();
    hold(d);
    for (int i = 0; i < 8; i++) c[row_of(i) * 16 + column_of(i)] = d[i];
}

KERNEL eighths(const float2 *a, const float2 *b, float *c) {
    __shared__ alignas(1024) char ta[64 * 64], tb[16 * 64];
    for (unsigned i = threadIdx.x; i < 64 * 32; i += 128)
        *(uint16_t *)(ta + swizzled<64>(i / 32, i % 32 * 2)) = __nv_cvt_float2_to_fp8x2(a[i], __NV_SATFINITE, __NV_E4M3);
    for (unsigned i = threadIdx.x; i < 16 * 32; i += 128)
        *(uint16_t *)(tb + swizzled<64>(i / 32, i % 32 * 2)) = __nv_cvt_float2_to_fp8x2(b[i], __NV_SATFINITE, __NV_E5M2);
    proxy_fence();
    __syncthreads();
    float d[8] = {};
    hold(d);
    wgmma_fence();
    for (int k = 0; k < 2; k++)
        asm volatile("wgmma.mma_async.sync.aligned.m64n16k32.f32.e4m3.e5m2 {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, 1, 1, 1;"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
                     : "l"(descriptor(ta + k * 32, 16, 512, 2)), "l"(descriptor(tb + k * 32, 16, 512, 2)));
    wgmma_commit();
    wgmma_wait<0>();
    hold(d);
    for (int i = 0; i < 8; i++) c[row_of(i) * 16 + column_of(i)] = d[i];
}

// Floats as they are: the tensor core takes their upper 19 bits.
KERNEL tf32(const void *a, const void *b, float *c) {
    __shared__ alignas(1024) char ta[64 * 64], tb[16 * 64];
    fill<64>(ta, a, 64);
    fill<64>(tb, b, 16);
    float d[8] = {};
    hold(d);
    wgmma_fence();
    for (int k = 0; k < 2; k++)
        asm volatile("wgmma.mma_async.sync.aligned.m64n16k8.f32.tf32.tf32 {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, 1, 1, 1;"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
                     : "l"(descriptor(ta + k * 32, 16, 512, 2)), "l"(descriptor(tb + k * 32, 16, 512, 2)));
    wgmma_commit();
    wgmma_wait<0>();
    hold(d);
    for (int i = 0; i < 8; i++) c[row_of(i) * 16 + column_of(i)] = d[i];
}
