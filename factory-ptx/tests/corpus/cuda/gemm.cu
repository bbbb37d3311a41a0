// A product as Hopper wants it: a warpgroup that only loads (tensor copies into stages, swizzled) and one that only multiplies, mbarriers between them,
// registers moved from one to the other, the result through shared memory and a tensor store.
// entry: gemm
// run: grid=2,2 block=256 shared=66560 in a:bf16=random(32768, 170) in b:bf16=random(32768, 171) tensor ma=a dims=256,128 box=64,64 swizzle=128
//    tensor mb=b dims=256,128 box=64,64 swizzle=128 out c:bf16[16384]=recorded tensor mc=c dims=128,128 box=64,64 scalar tiles:u32=4
#include "hopper.cuh"
#include <cuda_bf16.h>

// Keeps the compiler from moving what belongs before a fence or behind a wait across it.
DEVICE void hold(float (&e)[32]) {
#pragma unroll
    for (int i = 0; i < 32; i++) asm volatile("" : "+f"(e[i])::"memory");
}

constexpr int STAGES = 3, TILE = 64 * 64 * 2;

KERNEL __launch_bounds__(256, 1) gemm(const void *a, const void *b, const __grid_constant__ TensorMap ma, const __grid_constant__ TensorMap mb, void *c,
                                      const __grid_constant__ TensorMap mc, unsigned tiles) {
    extern __shared__ char raw[];
    char *memory = (char *)(((uintptr_t)raw + 1023) & ~(uintptr_t)1023);
    char *ta = memory, *tb = memory + STAGES * TILE;
    __nv_bfloat16 *out = (__nv_bfloat16 *)(memory + 2 * STAGES * TILE);
    __shared__ uint64_t full[STAGES], empty[STAGES];
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            barrier_init(&full[s], 1);
            barrier_init(&empty[s], 1);
        }
        barrier_init_fence();
        asm volatile("prefetch.tensormap [%0];\nprefetch.tensormap [%1];" ::"l"(&ma), "l"(&mb) : "memory");
    }
    __syncthreads();
    if (threadIdx.x >= 128) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x / 32 == 4 && elected()) {
            for (unsigned i = 0; i < tiles; i++) {
                unsigned s = i % STAGES;
                barrier_wait(&empty[s], ((i / STAGES) & 1) ^ 1);
                barrier_expect(&full[s], 2 * TILE);
                tensor_load_2d(ta + s * TILE, &ma, &full[s], i * 64, blockIdx.y * 64);
                tensor_load_2d(tb + s * TILE, &mb, &full[s], i * 64, blockIdx.x * 64);
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        float e[32];
#pragma unroll
        for (int i = 0; i < 32; i++) e[i] = 0.0f;
        for (unsigned i = 0; i < tiles; i++) {
            unsigned s = i % STAGES;
            barrier_wait(&full[s], (i / STAGES) & 1);
            hold(e);
            wgmma_fence();
#pragma unroll
            for (int k = 0; k < 4; k++)
                asm volatile(
                    "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "
                    "%23, %24, %25, %26, %27, %28, %29, %30, %31}, %32, %33, 1, 1, 1, 0, 0;"
                    : "+f"(e[0]), "+f"(e[1]), "+f"(e[2]), "+f"(e[3]), "+f"(e[4]), "+f"(e[5]), "+f"(e[6]), "+f"(e[7]), "+f"(e[8]), "+f"(e[9]), "+f"(e[10]), "+f"(e[11]), "+f"(e[12]),
                      "+f"(e[13]), "+f"(e[14]), "+f"(e[15]), "+f"(e[16]), "+f"(e[17]), "+f"(e[18]), "+f"(e[19]), "+f"(e[20]), "+f"(e[21]), "+f"(e[22]), "+f"(e[23]), "+f"(e[24]),
                      "+f"(e[25]), "+f"(e[26]), "+f"(e[27]), "+f"(e[28]), "+f"(e[29]), "+f"(e[30]), "+f"(e[31])
                    : "l"(descriptor(ta + s * TILE + k * 32, 16, 1024, 1)), "l"(descriptor(tb + s * TILE + k * 32, 16, 1024, 1)));
            wgmma_commit();
            // The stage before this one is free once its products are done.
            wgmma_wait<1>();
            hold(e);
            if (i > 0 && threadIdx.x == 0) barrier_arrive(&empty[(i - 1) % STAGES]);
        }
        wgmma_wait<0>();
        hold(e);
        unsigned lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16;
#pragma unroll
        for (int n = 0; n < 4; n++) {
            uint32_t r[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                __nv_bfloat162 pair = __floats2bfloat162_rn(e[n * 8 + i * 2], e[n * 8 + i * 2 + 1]);
                r[i] = *(uint32_t *)&pair;
            }
            uint32_t to = shared_address(out + (row + lane % 16) * 64 + n * 16 + lane / 16 * 8);
            asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
        }
        proxy_fence();
        asm volatile("bar.sync 1, 128;" ::: "memory");
        if (threadIdx.x == 0) {
            tensor_store_2d(&mc, out, blockIdx.x * 64, blockIdx.y * 64);
            bulk_commit();
            bulk_wait();
        }
    }
}
