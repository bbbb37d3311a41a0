// Tensor copies: one to five dimensions, every swizzle, boxes that hang over each edge, stores, reductions, element steps, prefetch.
// entry: plane
// run: block=128 in x:f32=random(1280, 140) tensor m=x dims=40,32 box=16,8 out y:f32[768]=recorded
// entry: plane
// run: block=128 in x:f32=random(1280, 140) tensor m=x dims=40,32 box=16,8 swizzle=64 out y:f32[768]=recorded
// entry: plane
// run: block=128 in x:f32=random(1280, 140) tensor m=x dims=40,32 box=16,8 fill=nan out y:f32[768]=recorded
// entry: swizzled
// run: block=128 in x:u16=iota(4096) tensor m=x dims=64,64 box=64,16 swizzle=128 out y:u16[1024]=recorded scalar bytes:u32=2048 scalar tx:s32=0 scalar ty:s32=24
// entry: swizzled
// run: block=128 in x:u16=iota(4096) tensor m=x dims=64,64 box=32,16 swizzle=64 out y:u16[512]=recorded scalar bytes:u32=1024 scalar tx:s32=32 scalar ty:s32=8
// entry: swizzled
// run: block=128 in x:u16=iota(4096) tensor m=x dims=64,64 box=16,16 swizzle=32 out y:u16[256]=recorded scalar bytes:u32=512 scalar tx:s32=56 scalar ty:s32=56
// entry: swizzled
// run: block=128 in x:u8=random(2048, 141) tensor m=x dims=60,30 strides=64 box=48,10 steps=1,3 out y:u8[192]=recorded scalar bytes:u32=192 scalar tx:s32=-16 scalar ty:s32=3
// entry: line
// run: block=64 in x:u32=random(300, 142) tensor m=x dims=300 box=64 out y:u32[128]=recorded
// entry: solid
// run: block=64 in x:f16=random(3072, 143) tensor m=x dims=16,12,16 box=8,4,4 out y:f16[256]=recorded
// entry: four_dimensions
// run: block=64 in x:s32=random(2400, 144) tensor m=x dims=12,10,5,4 box=4,2,3,2 out y:s32[48]=recorded
// entry: five_dimensions
// run: block=64 in x:bf16=random(5760, 145) tensor m=x dims=8,6,5,4,6 box=8,2,2,3,2 out y:bf16[192]=recorded
// entry: written
// run: block=128 inout y:f32=fill(680, -1) -> recorded tensor m=y dims=36,17 strides=160 box=8,16
// entry: reduced
// run: block=128 inout y:u32=fill(512, 1000) -> recorded tensor m=y dims=16,32 box=16,8
#include "hopper.cuh"

// Waits for `bytes` and copies them out as they lie.
DEVICE void unload(const void *from, void *to, unsigned bytes) {
    for (unsigned i = threadIdx.x; i < bytes / 2; i += blockDim.x) ((uint16_t *)to)[i] = ((const uint16_t *)from)[i];
}
DEVICE void prepare(uint64_t *full) {
    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_init_fence();
    }
    __syncthreads();
}

// Six boxes: in the middle, over each edge, and outside altogether.
KERNEL plane(const float *x, const __grid_constant__ TensorMap m, float *y) {
    __shared__ alignas(1024) float tile[6][128];
    __shared__ uint64_t full;
    prepare(&full);
    if (threadIdx.x == 0) {
        asm volatile("prefetch.tensormap [%0];" ::"l"(&m) : "memory");
        asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(&m), "r"(8), "r"(8) : "memory");
        barrier_expect(&full, 6 * 512);
        const int at[6][2] = {{8, 8}, {-4, 3}, {28, 10}, {12, -6}, {20, 29}, {100, 100}};
        for (int i = 0; i < 6; i++) tensor_load_2d(tile[i], &m, &full, at[i][0], at[i][1]);
    }
    barrier_wait(&full, 0);
    for (unsigned i = threadIdx.x; i < 768; i += blockDim.x) y[i] = tile[0][i];
}

KERNEL swizzled(const void *x, const __grid_constant__ TensorMap m, void *y, unsigned bytes, int tx, int ty) {
    __shared__ alignas(1024) char tile[4096];
    __shared__ uint64_t full;
    prepare(&full);
    if (threadIdx.x == 0) {
        barrier_expect(&full, bytes);
        tensor_load_2d(tile, &m, &full, tx, ty);
    }
    barrier_wait(&full, 0);
    unload(tile, y, bytes);
}

KERNEL line(const uint32_t *x, const __grid_constant__ TensorMap m, uint32_t *y) {
    __shared__ alignas(128) uint32_t tile[128];
    __shared__ uint64_t full;
    prepare(&full);
    if (threadIdx.x == 0) {
        barrier_expect(&full, 512);
        for (int i = 0; i < 2; i++)
            asm volatile("cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3}], [%2];" ::"r"(shared_address(tile + i * 64)),
                         "l"(&m), "r"(shared_address(&full)), "r"(i ? 272 : 36)
                         : "memory");
    }
    barrier_wait(&full, 0);
    unload(tile, y, 512);
}

KERNEL solid(const void *x, const __grid_constant__ TensorMap m, void *y) {
    __shared__ alignas(128) char tile[512];
    __shared__ uint64_t full;
    prepare(&full);
    if (threadIdx.x == 0) {
        // What is expected may be said in parts.
        barrier_expect(&full, 128);
        asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&full)), "r"(128) : "memory");
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(tile)),
                     "l"(&m), "r"(shared_address(&full)), "r"(0), "r"(0), "r"(0)
                     : "memory");
    }
    barrier_wait(&full, 0);
    unload(tile, y, 256);
    __syncthreads();
    if (threadIdx.x == 0) {
        proxy_fence();
        barrier_expect(&full, 256);
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(tile)),
                     "l"(&m), "r"(shared_address(&full)), "r"(-8), "r"(-1), "r"(14)
                     : "memory");
    }
    barrier_wait(&full, 1);
    unload(tile, (char *)y + 256, 256);
}

KERNEL four_dimensions(const void *x, const __grid_constant__ TensorMap m, void *y) {
    __shared__ alignas(128) char tile[192];
    __shared__ uint64_t full;
    prepare(&full);
    if (threadIdx.x == 0) {
        barrier_expect(&full, 192);
        asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(tile)),
                     "l"(&m), "r"(shared_address(&full)), "r"(4), "r"(9), "r"(3), "r"(1)
                     : "memory");
    }
    barrier_wait(&full, 0);
    unload(tile, y, 192);
}

KERNEL five_dimensions(const void *x, const __grid_constant__ TensorMap m, void *y) {
    __shared__ alignas(128) char tile[384];
    __shared__ uint64_t full;
    prepare(&full);
    if (threadIdx.x == 0) {
        barrier_expect(&full, 384);
        asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(shared_address(tile)),
                     "l"(&m), "r"(shared_address(&full)), "r"(0), "r"(5), "r"(2), "r"(-1), "r"(4)
                     : "memory");
    }
    barrier_wait(&full, 0);
    unload(tile, y, 384);
}

// 8 by 16 boxes, the last ones over the edges: what lies outside is not written.
KERNEL written(float *y, const __grid_constant__ TensorMap m) {
    __shared__ alignas(128) float tile[2][128];
    tile[0][threadIdx.x] = (float)threadIdx.x, tile[1][threadIdx.x] = (float)threadIdx.x * 0.5f;
    proxy_fence();
    __syncthreads();
    if (threadIdx.x == 0) {
        tensor_store_2d(&m, tile[0], 8, 0);
        tensor_store_2d(&m, tile[1], 32, 5);
        tensor_store_2d(&m, tile[0], 0, 9);
        bulk_commit();
        bulk_wait();
    }
}

KERNEL reduced(uint32_t *y, const __grid_constant__ TensorMap m) {
    __shared__ alignas(128) uint32_t tile[128];
    tile[threadIdx.x] = threadIdx.x * 11;
    proxy_fence();
    __syncthreads();
    if (threadIdx.x == 0) {
        asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&m), "r"(shared_address(tile)), "r"(0), "r"(4) : "memory");
        asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.max.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&m), "r"(shared_address(tile)), "r"(8), "r"(14) : "memory");
        asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.xor.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&m), "r"(shared_address(tile)), "r"(4), "r"(27) : "memory");
        bulk_commit();
        bulk_wait();
    }
}
