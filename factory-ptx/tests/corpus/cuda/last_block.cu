// The sum over a grid in one launch: every block leaves its part, the last one to finish (by a counter behind a fence) adds them up.
// entry: grid_sum
// run: grid=12 block=128 in x:f32=random(6000, 3) scalar n:u32=6000 inout parts:f32=fill(12, 0) inout done:u32=fill(1, 0) -> [0] out y:f32[1]=recorded
// entry: grid_sum_of_squares
// run: grid=7 block=64 in x:f64=random(1000, 4) scalar n:u32=1000 inout parts:f64=fill(7, 0) inout done:u32=fill(1, 0) -> [0] out y:f64[1]=recorded
#include "hopper.cuh"

template <typename T> DEVICE T block_sum(T sum) {
    __shared__ T parts[32];
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (unsigned w = 0; w < blockDim.x / 32; w++) sum += parts[w];
    return sum;
}

template <typename T> DEVICE void grid_reduce(T mine, volatile T *parts, unsigned *done, T *y) {
    __shared__ bool last;
    T sum = block_sum(mine);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
        __threadfence();
        last = atomicInc(done, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last) return;
    __threadfence();
    if (threadIdx.x == 0) {
        sum = 0;
        for (unsigned b = 0; b < gridDim.x; b++) sum += parts[b];
        *y = sum;
    }
}

KERNEL grid_sum(const float *x, unsigned n, float *parts, unsigned *done, float *y) {
    float sum = 0;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    grid_reduce<float>(sum, parts, done, y);
}

KERNEL grid_sum_of_squares(const double *x, unsigned n, double *parts, unsigned *done, double *y) {
    double sum = 0;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i] * x[i];
    grid_reduce<double>(sum, parts, done, y);
}
