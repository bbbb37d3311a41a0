// Attention of one head, tile by tile with a running softmax: products by mma, K and V through cp.async in two stages.
// entry: attention
// run: grid=2 block=32 in q:bf16=random(2048, 230, -2, 2) in k:bf16=random(4096, 231) in v:bf16=random(4096, 232) out o:f32[2048]=recorded tolerance=0.001 absolute=0.0002
#include "hopper.cuh"
#include <cuda_bf16.h>

// 16 queries a warp, 64 keys in tiles of 16, 64 elements of a head.
KERNEL attention(const uint32_t *q, const uint4 *k, const uint4 *v, float *o) {
    __shared__ alignas(128) __nv_bfloat16 tk[2][16][72], tv[2][16][72];
    unsigned lane = threadIdx.x, g = lane / 4, c = lane % 4;
    uint32_t fq[4][4];
    for (int s = 0; s < 4; s++)
        for (int i = 0; i < 4; i++) fq[s][i] = q[(blockIdx.x * 16 + g + i % 2 * 8) * 32 + s * 8 + c + i / 2 * 4];
    auto fetch = [&](int tile) {
        for (unsigned i = lane; i < 128; i += 32) {
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(&tk[tile & 1][i / 8][i % 8 * 8])), "l"(global_address(k + tile * 128 + i)) : "memory");
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(&tv[tile & 1][i / 8][i % 8 * 8])), "l"(global_address(v + tile * 128 + i)) : "memory");
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    float out[8][4] = {}, most[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    fetch(0);
    for (int tile = 0; tile < 4; tile++) {
        if (tile < 3) {
            fetch(tile + 1);
            asm volatile("cp.async.wait_group 1;" ::: "memory");
        } else {
            asm volatile("cp.async.wait_group 0;" ::: "memory");
        }
        __syncwarp();
        float s[2][4] = {};
        for (int n = 0; n < 2; n++)
            for (int e = 0; e < 4; e++) {
                uint32_t fb[2];
                load_matrix_x2(fb, &tk[tile & 1][n * 8 + lane % 8][e * 16 + lane / 8 % 2 * 8]);
                asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                             : "+f"(s[n][0]), "+f"(s[n][1]), "+f"(s[n][2]), "+f"(s[n][3])
                             : "r"(fq[e][0]), "r"(fq[e][1]), "r"(fq[e][2]), "r"(fq[e][3]), "r"(fb[0]), "r"(fb[1]));
            }
        float p[2][4];
        for (int h = 0; h < 2; h++) {
            float greater = most[h];
            for (int n = 0; n < 2; n++) greater = fmaxf(greater, fmaxf(s[n][h * 2], s[n][h * 2 + 1]) * 0.125f);
            greater = fmaxf(greater, __shfl_xor_sync(~0u, greater, 1));
            greater = fmaxf(greater, __shfl_xor_sync(~0u, greater, 2));
            float scale = __expf(most[h] - greater), part = 0;
            for (int n = 0; n < 2; n++)
                for (int j = 0; j < 2; j++) part += p[n][h * 2 + j] = __expf(s[n][h * 2 + j] * 0.125f - greater);
            part += __shfl_xor_sync(~0u, part, 1);
            part += __shfl_xor_sync(~0u, part, 2);
            sum[h] = sum[h] * scale + part, most[h] = greater;
            for (int n = 0; n < 8; n++) out[n][h * 2] *= scale, out[n][h * 2 + 1] *= scale;
        }
        uint32_t fp[4];
        for (int i = 0; i < 4; i++) {
            __nv_bfloat162 pair = __floats2bfloat162_rn(p[i / 2][i % 2 * 2], p[i / 2][i % 2 * 2 + 1]);
            fp[i] = *(uint32_t *)&pair;
        }
        for (int n = 0; n < 8; n++) {
            uint32_t fb[2];
            load_matrix_x2_transposed(fb, &tv[tile & 1][lane % 16][n * 8]);
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                         : "+f"(out[n][0]), "+f"(out[n][1]), "+f"(out[n][2]), "+f"(out[n][3])
                         : "r"(fp[0]), "r"(fp[1]), "r"(fp[2]), "r"(fp[3]), "r"(fb[0]), "r"(fb[1]));
        }
        __syncwarp();
    }
    for (int n = 0; n < 8; n++)
        for (int i = 0; i < 4; i++) o[(blockIdx.x * 16 + g + i / 2 * 8) * 64 + n * 8 + c * 2 + i % 2] = out[n][i] / sum[i / 2];
}
