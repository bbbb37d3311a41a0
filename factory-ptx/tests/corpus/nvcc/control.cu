// Switches, jump tables, nested loops, local arrays, early exits.
extern "C" __global__ void dispatch(const int *op, const int *x, int *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int v = x[i];
    switch (op[i]) {
        case 0: v += 1; break;
        case 1: v *= v; break;
        case 2: v = v / 7; break;
        case 3: v = v % 5; break;
        case 4: v = __popc(v); break;
        case 5: v = __clz(v); break;
        case 6: v = __brev(v); break;
        case 7: v = __ffs(v); break;
        case 8: v = -v; break;
        case 9: v ^= 0x55; break;
        default: v = 0;
    }
    out[i] = v;
}

extern "C" __global__ void local_array(const int *x, int *out, int n) {
    int stack[16];
    for (int i = 0; i < 16; i++) stack[i] = x[(threadIdx.x + i) % n];
    for (int i = 1; i < 16; i++) {
        int value = stack[i], j = i - 1;
        while (j >= 0 && stack[j] > value) { stack[j + 1] = stack[j]; j--; }
        stack[j + 1] = value;
    }
    for (int i = 0; i < 16; i++) out[threadIdx.x * 16 + i] = stack[(i + threadIdx.x) & 15];
}

extern "C" __global__ void collatz(const unsigned *x, unsigned *steps, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned v = x[i], count = 0;
    while (v > 1 && count < 1000) {
        v = v & 1 ? 3 * v + 1 : v >> 1;
        count++;
        if (v == 0xdead) continue;
        if (count == 999) break;
    }
    steps[i] = count;
}
