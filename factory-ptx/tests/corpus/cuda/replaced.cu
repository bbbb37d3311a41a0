// A tensor map changed on the device: its address, a dimension, its stride and box, in shared memory, then published for the tensor proxy.
// entry: replaced
// run: grid=2 block=32 in x:f32=random(1024, 190) tensor m=x dims=16,16 box=16,4 inout maps:u64=fill(64, 0) out y:f32[128]=recorded
#include "hopper.cuh"

KERNEL replaced(const float *x, const __grid_constant__ TensorMap m, void *maps, float *y) {
    __shared__ alignas(128) TensorMap mine;
    __shared__ alignas(128) float tile[64];
    __shared__ uint64_t full;
    unsigned t = threadIdx.x;
    char *own = (char *)maps + blockIdx.x * 128;
    ((uint32_t *)&mine)[t] = ((const uint32_t *)&m)[t];
    if (t == 0) {
        barrier_init(&full, 1);
        barrier_init_fence();
    }
    __syncwarp();
    if (t == 0) {
        uint32_t s = shared_address(&mine);
        // Block 0 looks at rows of 16 floats from the second half on, block 1 at rows of 32 of which eight count.
        asm volatile("tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%0], %1;" ::"r"(s), "l"(global_address(x + 512)) : "memory");
        if (blockIdx.x == 1) {
            asm volatile("tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%0], 0, %1;" ::"r"(s), "r"(8) : "memory");
            asm volatile("tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%0], 0, %1;" ::"r"(s), "l"(128ull) : "memory");
        }
        asm volatile("tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%0], 1, %1;" ::"r"(s), "r"(9) : "memory");
    }
    __syncwarp();
    asm volatile("tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%0], [%1], 128;" ::"l"(global_address(own)), "r"(shared_address(&mine))
                 : "memory");
    asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(own) : "memory");
    if (t == 0) {
        barrier_expect(&full, 256);
        tensor_load_2d(tile, (void *)global_address(own), &full, 4, 7);
    }
    barrier_wait(&full, 0);
    for (int i = 0; i < 2; i++) y[blockIdx.x * 64 + i * 32 + t] = tile[i * 32 + t];
}
