// Transposes: through a padded tile of shared memory, of 16-bit elements with a skewed tile, and of registers by shuffles.
// entry: transpose_padded
// run: grid=3,2 block=32,8 in x:f32=random(5000, 12) scalar rows:u32=50 scalar columns:u32=100 out y:f32[5000]=recorded
// entry: transpose_skewed
// run: block=32,4 in x:u16=random(4096, 13) out y:u16[4096]=recorded
// entry: transpose_in_registers
// run: block=32 in x:u32=iota(256) out y:u32[256]=recorded
#include "hopper.cuh"

KERNEL transpose_padded(const float *x, unsigned rows, unsigned columns, float *y) {
    __shared__ float tile[32][33];
    // A grid of tiles that does not cover the matrix: every block takes several.
    for (unsigned ty = blockIdx.y; ty * 32 < rows; ty += gridDim.y)
        for (unsigned tx = blockIdx.x; tx * 32 < columns; tx += gridDim.x) {
            for (unsigned j = threadIdx.y; j < 32; j += 8) {
                unsigned r = ty * 32 + j, c = tx * 32 + threadIdx.x;
                if (r < rows && c < columns) tile[j][threadIdx.x] = x[r * columns + c];
            }
            __syncthreads();
            for (unsigned j = threadIdx.y; j < 32; j += 8) {
                unsigned r = tx * 32 + j, c = ty * 32 + threadIdx.x;
                if (r < columns && c < rows) y[r * rows + c] = tile[threadIdx.x][j];
            }
            __syncthreads();
        }
}

// 64 by 64 elements in words of two; a word lies in a column that depends on its row.
KERNEL transpose_skewed(const uint32_t *x, uint32_t *y) {
    __shared__ uint32_t tile[64 * 32];
    unsigned c = threadIdx.x;
    for (unsigned r = threadIdx.y; r < 64; r += 4) tile[r * 32 + (c ^ (r >> 1))] = x[r * 32 + c];
    __syncthreads();
    for (unsigned r = threadIdx.y; r < 64; r += 4) {
        uint32_t a = tile[(2 * c) * 32 + ((r >> 1) ^ c)], b = tile[(2 * c + 1) * 32 + ((r >> 1) ^ c)];
        y[r * 32 + c] = __byte_perm(a, b, r & 1 ? 0x7632 : 0x5410);
    }
}

// Eight words of each lane; groups of eight lanes transpose eight by eight.
KERNEL transpose_in_registers(const uint32_t *x, uint32_t *y) {
    uint32_t v[8];
    for (int i = 0; i < 8; i++) v[i] = x[threadIdx.x * 8 + i];
#pragma unroll
    for (int step = 4; step; step /= 2)
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (!(i & step)) {
                bool high = threadIdx.x & step;
                uint32_t sent = high ? v[i] : v[i + step];
                uint32_t got = __shfl_xor_sync(~0u, sent, step);
                if (high) v[i] = got;
                else v[i + step] = got;
            }
    for (int i = 0; i < 8; i++) y[threadIdx.x * 8 + i] = v[i];
}
