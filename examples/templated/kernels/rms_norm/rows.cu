/*kernel_factory
# Each row of x goes to WARPS warps in each of CLUSTER blocks; a block has ROWS rows.
spec = "rms_norm"
fallback = true
alignment = 16
constraints = [
    "32 * WARPS * ROWS <= 1024",
    # A row that is kept in registers is read once: it must be there in one go.
    "not KEEP or n <= 32 * WARPS * VEC * UNROLL * CLUSTER",
]

[tunables]
VEC = [8, 4, 2]
WARPS = { powers = [1, 16], default = 4 }
ROWS = { powers = [1, 8] }
UNROLL = { powers = [1, 8], default = 4 }
CLUSTER = [1, 2, 4]
KEEP = false
CACHE = ["streaming", "normal"]

[[launch]]
entry = "rms_norm"
grid = ["ceil_div(m, ROWS) * CLUSTER"]
block = ["32 * WARPS", "ROWS"]
cluster = ["CLUSTER"]
params = ["x", "w", "y", "eps", { u32 = "m" }, { u32 = "n" }]
*/
#include <cuda_bf16.h>

// Bytes of VEC elements move as one; x is read around L1 when it is read once.
struct alignas(2 * VEC) Chunk {
    __nv_bfloat16 v[VEC];
};

__device__ __forceinline__ Chunk read(const __nv_bfloat16* from) {
    Chunk chunk;
#if CACHE_streaming && VEC == 8
    unsigned a, b, c, d;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "l"(from));
    *reinterpret_cast<uint4*>(&chunk) = make_uint4(a, b, c, d);
#elif CACHE_streaming && VEC == 4
    unsigned a, b;
    asm volatile("ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(a), "=r"(b) : "l"(from));
    *reinterpret_cast<uint2*>(&chunk) = make_uint2(a, b);
#else
    chunk = *reinterpret_cast<const Chunk*>(from);
#endif
    return chunk;
}

__device__ __forceinline__ float squares(const Chunk& chunk) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
        const float value = __bfloat162float(chunk.v[i]);
        sum = fmaf(value, value, sum);
    }
    return sum;
}

__device__ __forceinline__ void write(__nv_bfloat16* to, const Chunk& chunk, const float* w, float scale) {
    Chunk out;
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
        out.v[i] = __float2bfloat16(__bfloat162float(chunk.v[i]) * scale * w[i]);
    }
    *reinterpret_cast<Chunk*>(to) = out;
}

// The sum over all threads of the row, in every one of them.
__device__ __forceinline__ float row_sum(float sum) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    }
#if WARPS > 1 || CLUSTER > 1
    __shared__ float partial[ROWS][WARPS];
    if (threadIdx.x % 32 == 0) {
        partial[threadIdx.y][threadIdx.x / 32] = sum;
    }
#if CLUSTER > 1
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
    const unsigned mine = static_cast<unsigned>(__cvta_generic_to_shared(&partial[threadIdx.y][0]));
    sum = 0.0f;
#pragma unroll
    for (unsigned rank = 0; rank < CLUSTER; ++rank) {
        unsigned theirs;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(theirs) : "r"(mine), "r"(rank));
#pragma unroll
        for (int warp = 0; warp < WARPS; ++warp) {
            float value;
            asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(theirs + 4 * warp) : "memory");
            sum += value;
        }
    }
    // Nobody leaves, and takes its shared memory along, before all have read it.
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    __syncthreads();
    sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < WARPS; ++warp) {
        sum += partial[threadIdx.y][warp];
    }
#endif
#endif
    return sum;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS * ROWS)
rms_norm(const __nv_bfloat16* __restrict__ x, const float* __restrict__ w, __nv_bfloat16* __restrict__ y,
         float eps, unsigned m, unsigned n) {
    // The compiler does not expand macros in its pragmas.
    [[maybe_unused]] constexpr int unroll = UNROLL;
    const unsigned block = blockIdx.x / CLUSTER;
    const unsigned rank = blockIdx.x % CLUSTER;
    const unsigned row = block * ROWS + threadIdx.y;
    const bool inside = row < m;
    const size_t base = static_cast<size_t>(inside ? row : 0) * n;
    const unsigned first = (rank * 32 * WARPS + threadIdx.x) * VEC;
    constexpr unsigned step = 32 * WARPS * VEC * CLUSTER;
    const unsigned end = inside ? n : 0;
    float sum = 0.0f;
#if KEEP
    Chunk kept[UNROLL];
#pragma unroll
    for (int i = 0; i < UNROLL; ++i) {
        const unsigned column = first + i * step;
        if (column < end) {
            kept[i] = read(x + base + column);
            sum += squares(kept[i]);
        }
    }
#else
#pragma unroll unroll
    for (unsigned column = first; column < end; column += step) {
        sum += squares(read(x + base + column));
    }
#endif
    const float scale = rsqrtf(row_sum(sum) / static_cast<float>(n) + eps);
#if KEEP
#pragma unroll
    for (int i = 0; i < UNROLL; ++i) {
        const unsigned column = first + i * step;
        if (column < end) {
            write(y + base + column, kept[i], w + column, scale);
        }
    }
#else
#pragma unroll unroll
    for (unsigned column = first; column < end; column += step) {
        write(y + base + column, read(x + base + column), w + column, scale);
    }
#endif
}
