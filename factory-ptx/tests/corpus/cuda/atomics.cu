// Atomics of every type and operation, on global and on shared memory, whose end does not depend on the order.
// entry: global_atomics
// run: grid=4 block=64 in x:u32=random(256, 7, 0, 1000) inout u:u32=[0, 0, 0xffffffff, 0xffffffff, 0, 0, 0, 900] -> recorded
//    inout s:s32=[0, -2000000, 2000000, 5] -> recorded inout l:u64=[0, 0, 18446744073709551615, 1, 0] -> recorded
//    inout f:f32=fill(2, 0) -> recorded inout d:f64=fill(1, 0.5) -> recorded inout h:f16=fill(4, 0) -> recorded inout b:bf16=fill(4, 0) -> recorded
// entry: shared_atomics
// run: grid=1 block=128 in x:u32=random(128, 8, 0, 64) out u:u32[8]=recorded out l:u64[4]=recorded out f:f32[2]=recorded
// entry: compare_and_swap
// run: grid=3 block=32 inout f:f32=[-100] -> recorded inout h:u16=[1, 2, 3, 4] -> recorded inout q:u64=[0, 0] -> [4656, 96]
#include "hopper.cuh"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

KERNEL global_atomics(const unsigned *x, unsigned *u, int *s, unsigned long long *l, float *f, double *d, __half *h, __nv_bfloat16 *b) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x, v = x[i];
    atomicAdd(u, v);
    atomicOr(u + 1, v);
    atomicAnd(u + 2, v | 0xff00);
    atomicMin(u + 3, v);
    atomicMax(u + 4, v);
    atomicXor(u + 5, v * 0x9e3779b9u);
    atomicInc(u + 6, 99);
    atomicDec(u + 7, 1000);
    atomicAdd(s, (int)v - 500);
    atomicMax(s + 1, (int)v - 900);
    atomicMin(s + 2, 100 - (int)v);
    atomicSub(s + 3, (int)v);
    atomicAdd(l, (unsigned long long)v << 30);
    atomicMax(l + 1, (unsigned long long)v << 40);
    atomicMin(l + 2, (unsigned long long)v * v + 5);
    atomicXor(l + 3, (unsigned long long)v << (i % 40));
    atomicMax((long long *)l + 4, (long long)v - 3);
    // Whole numbers, so that every order gives the same sum.
    atomicAdd(f, (float)v);
    atomicAdd(f + 1, -0.25f * (float)v);
    atomicAdd(d, (double)v * 0.125);
    atomicAdd((__half2 *)h, __floats2half2_rn((float)(v & 3), -(float)(v & 1)));
    atomicAdd(h + 2, __float2half((float)(v & 1)));
    atomicAdd(h + 3, __float2half(1.0f));
    atomicAdd((__nv_bfloat162 *)b, __floats2bfloat162_rn((float)(v & 1) * 0.5f, 1.0f));
    atomicAdd(b + 2, __float2bfloat16((float)(i & 1)));
    atomicAdd(b + 3, __float2bfloat16(-(float)(v & 1)));
}

KERNEL shared_atomics(const unsigned *x, unsigned *u, unsigned long long *l, float *f) {
    __shared__ unsigned su[8];
    __shared__ unsigned long long sl[4];
    __shared__ float sf[2];
    if (threadIdx.x < 8) su[threadIdx.x] = threadIdx.x == 3 ? 100 : 0;
    if (threadIdx.x < 4) sl[threadIdx.x] = 0;
    if (threadIdx.x < 2) sf[threadIdx.x] = 1;
    __syncthreads();
    unsigned v = x[threadIdx.x];
    atomicAdd(su, v);
    // What comes back from each is the number of those before it: all of them together are always the same.
    atomicAdd(su + 1, atomicAdd(su + 2, 1));
    atomicMin(su + 3, v);
    atomicMax((int *)su + 4, (int)v);
    atomicOr(su + 5, 1u << (v & 31));
    atomicXor(su + 6, v << 3);
    atomicInc(su + 7, 9);
    atomicAdd(sl, (unsigned long long)v << 33);
    atomicMax(sl + 1, (unsigned long long)v << 33 | 1);
    atomicOr(sl + 2, 1ull << (v & 63));
    atomicExch(sl + 3, 77ull);
    atomicAdd(sf, (float)v * 0.5f);
    atomicAdd(sf + 1, -1.0f);
    __syncthreads();
    if (threadIdx.x < 8) u[threadIdx.x] = su[threadIdx.x];
    if (threadIdx.x < 4) l[threadIdx.x] = sl[threadIdx.x];
    if (threadIdx.x < 2) f[threadIdx.x] = sf[threadIdx.x];
}

KERNEL compare_and_swap(float *f, unsigned short *h, unsigned long long *q) {
    unsigned i = blockIdx.x * 32 + threadIdx.x;
    // The greatest float by a loop of compare-and-swap.
    float mine = (float)((i * 37) % 96) - 40.0f;
    int old = *(volatile int *)f;
    while (__int_as_float(old) < mine) {
        int seen = atomicCAS((int *)f, old, __float_as_int(mine));
        if (seen == old) break;
        old = seen;
    }
    // A sum of 16 bits in one of four.
    unsigned short *to = h + i % 4, before = *(volatile unsigned short *)to;
    while (true) {
        unsigned short seen = atomicCAS(to, before, (unsigned short)(before + i));
        if (seen == before) break;
        before = seen;
    }
    // Sum and count together, in 128 bits.
    unsigned long long sum = 0, count = 0;
    while (true) {
        unsigned long long a, b;
        asm volatile("{\n.reg .b128 want, new, old;\nmov.b128 want, {%3, %4};\nmov.b128 new, {%5, %6};\natom.global.cas.b128 old, [%2], want, new;\nmov.b128 {%0, %1}, old;\n}"
                     : "=l"(a), "=l"(b)
                     : "l"(global_address(q)), "l"(sum), "l"(count), "l"(sum + i + 1), "l"(count + 1)
                     : "memory");
        if (a == sum && b == count) break;
        sum = a, count = b;
    }
}
