// Everything that has no effect on values: dependent launches, prefetches, cache policies and hints, nanosleep, fences of every scope and proxy, clocks.
// entry: hints
// run: grid=2 block=64 in x:f32=random(512, 240) out y:f32[512]=recorded out z:u32[128]=recorded
#include "hopper.cuh"

KERNEL hints(const float4 *x, float4 *y, uint32_t *z) {
    unsigned i = blockIdx.x * 64 + threadIdx.x;
    uint64_t first, last, ranged;
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 0.5;" : "=l"(first));
    asm volatile("createpolicy.fractional.L2::evict_last.L2::evict_unchanged.b64 %0;" : "=l"(last));
    asm volatile("createpolicy.range.global.L2::evict_last.L2::evict_first.b64 %0, [%1], %2, %3;" : "=l"(ranged) : "l"(global_address(x)), "r"(512), "r"(1024));
    asm volatile("prefetch.global.L2 [%0];\nprefetch.global.L1 [%0];\nprefetch.global.L2::evict_last [%0];" ::"l"(global_address(x + i)));
    asm volatile("applypriority.global.L2::evict_normal [%0], 128;" ::"l"(global_address(x)));
    float4 v, w;
    asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.f32 {%0, %1, %2, %3}, [%4], %5;" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(global_address(x + i)), "l"(first));
    asm volatile("ld.global.L1::evict_last.L2::256B.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(w.x), "=f"(w.y), "=f"(w.z), "=f"(w.w) : "l"(global_address(x + (i ^ 1))));
    uint64_t clock;
    unsigned lo, sm, warp, lanes;
    asm volatile("mov.u64 %0, %%clock64;\nmov.u32 %1, %%clock;\nmov.u32 %2, %%smid;\nmov.u32 %3, %%warpid;\nmov.u32 %4, %%lanemask_lt;" : "=l"(clock), "=r"(lo), "=r"(sm), "=r"(warp), "=r"(lanes));
    __nanosleep(100);
    asm volatile("fence.sc.gpu;\nfence.acq_rel.cta;\nfence.acq_rel.cluster;\nfence.acq_rel.sys;\nmembar.cta;\nmembar.gl;\nmembar.sys;\nfence.proxy.async;\nfence.proxy.async.global;\nfence.proxy.alias;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    v.x += w.y, v.w -= w.z;
    asm volatile("st.global.cs.L2::cache_hint.v4.f32 [%0], {%1, %2, %3, %4}, %5;" ::"l"(global_address(y + i)), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w), "l"(last) : "memory");
    asm volatile("st.global.wt.u32 [%0], %1;" ::"l"(global_address(z + i)), "r"((clock | lo | 1) != 0 && sm < 1000 ? lanes : 0) : "memory");
}
