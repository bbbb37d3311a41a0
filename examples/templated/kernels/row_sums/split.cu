/*kernel_factory
# SPLIT blocks share a row and leave one partial sum each; a second launch adds those up. No atomics, so that the same input
# gives the same bits.
spec = "row_sums"
fallback = true
alignment = 16
constraints = ["SPLIT >= 4 or UNROLL >= 2"]

[tunables]
THREADS = { powers = [32, 1024], default = 256 }
VEC = [4, 2, 1]
SPLIT = { powers = [1, 256], default = 64 }
UNROLL = [4, 2, 1, 8]
BLOCK_SUM = ["shuffle", "shared"]
LAST_THREADS = { powers = [32, 256] }

[[scratch]]
name = "partial"
bytes = "4 * m * SPLIT"

[[launch]]
entry = "partial_sums"
grid = ["SPLIT", "m"]
block = ["THREADS"]
shared = "4 * THREADS"
params = ["x", "partial", { u32 = "n" }]

[[launch]]
entry = "last_sums"
grid = ["ceil_div(m, LAST_THREADS / 32)"]
block = ["LAST_THREADS"]
params = ["partial", "y", { u32 = "m" }]
*/

__device__ __forceinline__ float warp_sum(float sum) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    }
    return sum;
}

struct alignas(4 * VEC) Chunk {
    float v[VEC];
};

extern "C" __global__ void __launch_bounds__(THREADS)
partial_sums(const float* __restrict__ x, float* __restrict__ partial, unsigned n) {
    // The compiler does not expand macros in its pragmas.
    constexpr int unroll = UNROLL;
    extern __shared__ float shared[];
    const float* row = x + static_cast<size_t>(blockIdx.y) * n;
    constexpr unsigned step = THREADS * VEC * SPLIT;
    float sum[VEC] = {};
#pragma unroll unroll
    for (unsigned column = (blockIdx.x * THREADS + threadIdx.x) * VEC; column < n; column += step) {
        const Chunk chunk = *reinterpret_cast<const Chunk*>(row + column);
#pragma unroll
        for (int i = 0; i < VEC; ++i) {
            sum[i] += chunk.v[i];
        }
    }
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
        total += sum[i];
    }
#if BLOCK_SUM_shuffle
    total = warp_sum(total);
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = total;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        total = warp_sum(threadIdx.x < THREADS / 32 ? shared[threadIdx.x] : 0.0f);
    }
#else
    shared[threadIdx.x] = total;
    __syncthreads();
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            shared[threadIdx.x] += shared[threadIdx.x + half];
        }
        __syncthreads();
    }
    total = shared[0];
#endif
    if (threadIdx.x == 0) {
        partial[blockIdx.y * SPLIT + blockIdx.x] = total;
    }
}

// One warp a row.
extern "C" __global__ void __launch_bounds__(LAST_THREADS)
last_sums(const float* __restrict__ partial, float* __restrict__ y, unsigned m) {
    const unsigned row = blockIdx.x * (LAST_THREADS / 32) + threadIdx.x / 32;
    if (row >= m) {
        return;
    }
    float sum = 0.0f;
    for (unsigned i = threadIdx.x % 32; i < SPLIT; i += 32) {
        sum += partial[row * SPLIT + i];
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) {
        y[row] = sum;
    }
}
