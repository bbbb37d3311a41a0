// Hopper features through inline PTX and the library: clusters, mbarriers, bulk copies, tensor cores, warpgroup products.
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <stdint.h>
namespace cg = cooperative_groups;

__device__ __forceinline__ uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

extern "C" __global__ void __cluster_dims__(4, 1, 1) cluster_sum(const float *x, float *out) {
    __shared__ float mine;
    cg::cluster_group cluster = cg::this_cluster();
    if (threadIdx.x == 0) mine = x[blockIdx.x];
    cluster.sync();
    float sum = 0.0f;
    for (unsigned rank = 0; rank < cluster.num_blocks(); rank++) sum += *cluster.map_shared_rank(&mine, rank);
    cluster.sync();
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

extern "C" __global__ void bulk(const float *x, float *out) {
    __shared__ alignas(128) float buffer[256];
    __shared__ alignas(8) uint64_t barrier;
    uint32_t b = shared_address(&barrier), s = shared_address(buffer);
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(b));
        asm volatile("fence.mbarrier_init.release.cluster;");
        asm volatile("fence.proxy.async.shared::cta;");
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(1024));
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(s), "l"(x), "r"(1024), "r"(b) : "memory");
    }
    __syncthreads();
    asm volatile("{\n.reg .pred p;\nWAIT:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra DONE;\nbra WAIT;\nDONE:\n}" ::"r"(b), "r"(0) : "memory");
    buffer[threadIdx.x] *= 2.0f;
    asm volatile("fence.proxy.async.shared::cta;");
    __syncthreads();
    if (threadIdx.x == 0) {
        asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(out), "r"(s), "r"(1024) : "memory");
        asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;" ::: "memory");
    }
}

extern "C" __global__ void tensor_core(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *c) {
    __shared__ alignas(16) __nv_bfloat16 ta[16 * 16], tb[16 * 8];
    for (int i = threadIdx.x; i < 256; i += 32) ta[i] = a[i];
    for (int i = threadIdx.x; i < 128; i += 32) tb[i] = b[i];
    __syncwarp();
    uint32_t fa[4], fb[2];
    float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3]) : "r"(shared_address(&ta[(threadIdx.x % 16) * 16 + threadIdx.x / 16 * 8])));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(fb[0]), "=r"(fb[1]) : "r"(shared_address(&tb[(threadIdx.x % 16) * 8])));
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    for (int i = 0; i < 4; i++) c[threadIdx.x * 4 + i] = d[i];
}

#if __CUDA_ARCH_FEAT_SM90_ALL
extern "C" __global__ void __launch_bounds__(128) warpgroup(const uint64_t *descriptors, float *out) {
    float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\nwgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0,%1,%2,%3}, %4, %5, p, 1, 1, 0, 0;\n}" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(descriptors[0]), "l"(descriptors[1]), "r"(1));
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
    for (int i = 0; i < 4; i++) out[threadIdx.x * 4 + i] = d[i];
}
#endif
