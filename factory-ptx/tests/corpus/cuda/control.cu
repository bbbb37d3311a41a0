// Control flow and memory of a thread: switch tables, arrays indexed while running, constant memory, module variables, asserts that hold, loops with every exit.
// entry: machine
// run: block=64 in program:u8=random(640, 95, 0, 12) out y:s32[64]=recorded
// entry: tables
// run: grid=2 block=64 in x:u32=random(128, 96) out y:f32[128]=recorded inout z:u32=fill(1, 0) -> [128]
// entry: checked
// run: block=64 in x:s32=random(64, 97, 0, 50) out y:s32[64]=recorded
#include "hopper.cuh"
#include <assert.h>

__constant__ float weights[16] = {0.5f, -1.25f, 2.0f, 3.5f, -0.75f, 8.0f, 0.0625f, 1.0f, 9.0f, -2.5f, 0.1f, 0.2f, 0.3f, 0.4f, 0.7f, 1e-3f};
__device__ unsigned counter = 0;
__device__ const short steps[8] = {1, -3, 5, 7, -11, 13, -17, 19};

// A machine with a stack of its own in each thread.
KERNEL machine(const unsigned char *program, int *y) {
    int stack[8] = {1, 2, 3, 4, 5, 6, 7, 8}, top = 3;
    for (int at = 0; at < 10; at++) {
        unsigned op = program[threadIdx.x * 10 + at];
        switch (op) {
        case 0: stack[top & 7] += 3; break;
        case 1: stack[top & 7] *= 5; break;
        case 2: top++; break;
        case 3: top--; break;
        case 4: stack[(top + 1) & 7] = stack[top & 7]; top++; break;
        case 5: stack[top & 7] ^= stack[(top - 1) & 7] << 2; break;
        case 6: stack[top & 7] = -stack[top & 7]; break;
        case 7: stack[top & 7] >>= 1; break;
        case 8: if (stack[top & 7] & 1) at++; break;
        case 9: stack[stack[top & 7] & 7] = at; break;
        case 10: stack[top & 7] %= 1000; break;
        default: stack[top & 7] += stack[(top + 3) & 7]; break;
        }
    }
    int sum = 0;
    for (int i = 0; i < 8; i++) sum = sum * 7 + stack[i];
    y[threadIdx.x] = sum;
}

KERNEL tables(const unsigned *x, float *y, unsigned *z) {
    unsigned i = blockIdx.x * 64 + threadIdx.x, v = x[i];
    float sum = weights[v & 15] + weights[7];
    for (unsigned j = 0; j < (v >> 4 & 7); j++) sum = sum * weights[(v >> j) & 15] + steps[(v >> (2 * j)) & 7];
    y[i] = sum;
    // A counter of the module: what the last one takes goes to the caller.
    unsigned before = atomicAdd(&counter, 1);
    atomicMax(z, before % 128 + 1);
}

KERNEL checked(const int *x, int *y) {
    int v = x[threadIdx.x];
    assert(v >= 0 && v < 50);
    int count = 0, w = v;
    // 3n + 1: every thread leaves after another number of steps.
    do {
        if (w <= 1) break;
        w = w & 1 ? 3 * w + 1 : w / 2;
        if (++count == 90) goto enough;
    } while (true);
    if (v == 60) __trap();
enough:
    y[threadIdx.x] = count * 100 + w;
}
