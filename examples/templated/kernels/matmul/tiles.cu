/*kernel_factory
# A block makes a tile of BM x BN of c, a warp one of WM x WN; tiles of a and b come through a ring of STAGES buffers by
# cp.async, and are multiplied by mma.sync. What lies beyond the matrices is filled with zeros.
spec = "matmul"
fallback = true
alignment = 16
constraints = [
    "BM % WM == 0 and BN % WN == 0",
    "BM / WM * (BN / WN) <= 16",
    "STAGES * (BM * (BK + PAD) + BK * (BN + PAD)) * 2 <= 227 * 1024",
    # Accumulators: more than half of the registers that a thread can have leave none to address with.
    "WM * WN / 32 <= 128",
]

[tunables]
BM = [128, 64, 32]
BN = [128, 64, 32, 256]
BK = [32, 64, 16]
WM = [64, 32, 16]
WN = [32, 64, 16]
STAGES = [3, 2, 4, 5]
PAD = [8, 0]
GROUP = [8, 1, 4]

[[launch]]
entry = "matmul"
grid = ["ceil_div(m, BM) * ceil_div(n, BN)"]
block = ["BM / WM * (BN / WN) * 32"]
shared = "STAGES * (BM * (BK + PAD) + BK * (BN + PAD)) * 2"
params = ["a", "b", "c", { u32 = "m" }, { u32 = "n" }, { u32 = "k" }]
*/
#include <cuda_bf16.h>

#define THREADS (BM / WM * (BN / WN) * 32)
#define A_STRIDE (BK + PAD)
#define B_STRIDE (BN + PAD)
#define STAGE (BM * A_STRIDE + BK * B_STRIDE)

using half_bits = unsigned short;

// 16 bytes from global to shared memory, or 16 zeros.
__device__ __forceinline__ void copy(unsigned to, const void* from, bool inside) {
    const unsigned bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

__device__ __forceinline__ void commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

__device__ __forceinline__ void load(unsigned shared, const half_bits* a, const half_bits* b, unsigned row0,
                                     unsigned column0, unsigned k0, unsigned m, unsigned n, unsigned k) {
#pragma unroll
    for (unsigned i = threadIdx.x; i < BM * BK / 8; i += THREADS) {
        const unsigned row = i / (BK / 8), column = i % (BK / 8) * 8;
        const bool inside = row0 + row < m && k0 + column < k;
        const size_t at = inside ? static_cast<size_t>(row0 + row) * k + k0 + column : 0;
        copy(shared + 2 * (row * A_STRIDE + column), a + at, inside);
    }
#pragma unroll
    for (unsigned i = threadIdx.x; i < BK * BN / 8; i += THREADS) {
        const unsigned row = i / (BN / 8), column = i % (BN / 8) * 8;
        const bool inside = k0 + row < k && column0 + column < n;
        const size_t at = inside ? static_cast<size_t>(k0 + row) * n + column0 + column : 0;
        copy(shared + 2 * (BM * A_STRIDE + row * B_STRIDE + column), b + at, inside);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
matmul(const half_bits* __restrict__ a, const half_bits* __restrict__ b, float* __restrict__ c, unsigned m,
       unsigned n, unsigned k) {
    extern __shared__ __align__(16) half_bits tiles[];
    const unsigned shared = static_cast<unsigned>(__cvta_generic_to_shared(tiles));

    // GROUP rows of tiles are walked together, column by column, so that tiles of b are still in L2 when they come again.
    const unsigned rows = (m + BM - 1) / BM, columns = (n + BN - 1) / BN;
    const unsigned group = blockIdx.x / (GROUP * columns), inside = blockIdx.x % (GROUP * columns);
    const unsigned height = min(rows - group * GROUP, static_cast<unsigned>(GROUP));
    const unsigned row0 = (group * GROUP + inside % height) * BM, column0 = inside / height * BN;

    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const unsigned warp_row = warp / (BN / WN) * WM, warp_column = warp % (BN / WN) * WN;
    float sums[WM / 16][WN / 8][4] = {};

    const unsigned steps = (k + BK - 1) / BK;
#pragma unroll
    for (unsigned stage = 0; stage + 1 < STAGES; ++stage) {
        if (stage < steps) {
            load(shared + 2 * stage * STAGE, a, b, row0, column0, stage * BK, m, n, k);
        }
        commit();
    }
    for (unsigned step = 0; step < steps; ++step) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
        // The tile is there for all, and nobody reads the buffer any more that the next one goes to.
        __syncthreads();
        const unsigned next = step + STAGES - 1;
        if (next < steps) {
            load(shared + 2 * (next % STAGES) * STAGE, a, b, row0, column0, next * BK, m, n, k);
        }
        commit();
        const unsigned here = shared + 2 * (step % STAGES) * STAGE;
#pragma unroll
        for (unsigned kk = 0; kk < BK; kk += 16) {
            unsigned left[WM / 16][4], right[WN / 8][2];
#pragma unroll
            for (int i = 0; i < WM / 16; ++i) {
                const unsigned at =
                    here + 2 * ((warp_row + 16 * i + lane % 16) * A_STRIDE + kk + lane / 16 * 8);
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                             : "=r"(left[i][0]), "=r"(left[i][1]), "=r"(left[i][2]), "=r"(left[i][3])
                             : "r"(at)
                             : "memory");
            }
#pragma unroll
            for (int j = 0; j < WN / 8; ++j) {
                const unsigned at =
                    here + 2 * (BM * A_STRIDE + (kk + lane % 16) * B_STRIDE + warp_column + 8 * j);
                asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                             : "=r"(right[j][0]), "=r"(right[j][1])
                             : "r"(at)
                             : "memory");
            }
#pragma unroll
            for (int i = 0; i < WM / 16; ++i) {
#pragma unroll
                for (int j = 0; j < WN / 8; ++j) {
                    asm volatile(
                        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                        "{%8, %9}, {%0, %1, %2, %3};"
                        : "+f"(sums[i][j][0]), "+f"(sums[i][j][1]), "+f"(sums[i][j][2]), "+f"(sums[i][j][3])
                        : "r"(left[i][0]), "r"(left[i][1]), "r"(left[i][2]), "r"(left[i][3]), "r"(right[j][0]),
                          "r"(right[j][1]));
                }
            }
        }
    }
    asm volatile("cp.async.wait_group 0;" ::: "memory");
#pragma unroll
    for (int i = 0; i < WM / 16; ++i) {
#pragma unroll
        for (int j = 0; j < WN / 8; ++j) {
            const unsigned row = row0 + warp_row + 16 * i + lane / 4;
            const unsigned column = column0 + warp_column + 8 * j + lane % 4 * 2;
            if (column < n && row < m) {
                *reinterpret_cast<float2*>(c + static_cast<size_t>(row) * n + column) =
                    make_float2(sums[i][j][0], sums[i][j][1]);
            }
            if (column < n && row + 8 < m) {
                *reinterpret_cast<float2*>(c + static_cast<size_t>(row + 8) * n + column) =
                    make_float2(sums[i][j][2], sums[i][j][3]);
            }
        }
    }
}
