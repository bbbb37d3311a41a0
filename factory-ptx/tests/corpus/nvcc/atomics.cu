// Atomics of every kind that CUDA C++ offers, fences, and the last-block pattern.
#include <cuda/atomic>
__device__ unsigned finished;
__constant__ int bias[4] = {1, 2, 3, 4};

extern "C" __global__ void histogram(const unsigned char *x, unsigned *bins, int n) {
    __shared__ unsigned local[256];
    for (int i = threadIdx.x; i < 256; i += blockDim.x) local[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[x[i]], 1u);
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += blockDim.x) atomicAdd(&bins[i], local[i]);
}

extern "C" __global__ void kinds(int *i32, unsigned *u32, unsigned long long *u64, float *f32, double *f64, unsigned short *u16) {
    int t = threadIdx.x;
    i32[32 + t] = atomicMin(&i32[0], t - bias[t & 3]);
    atomicMax(&i32[1], t);
    atomicAnd(&u32[0], ~(1u << (t & 31)));
    atomicOr(&u32[1], 1u << (t & 31));
    u32[32 + t] = atomicXor(&u32[2], t);
    u32[64 + t] = atomicInc(&u32[3], 7);
    atomicDec(&u32[4], 9);
    u64[1 + t] = atomicExch(&u64[0], (unsigned long long)t);
    atomicAdd(f64, 0.5 * t);
    f32[1 + t] = atomicAdd_block(f32, 1.0f);
    unsigned old = u32[5];
    while (true) {
        unsigned seen = atomicCAS(&u32[5], old, old * 3 + 1);
        if (seen == old) break;
        old = seen;
    }
    u16[1 + t] = atomicCAS(&u16[0], (unsigned short)0, (unsigned short)t);
    u64[64 + t] = atomicCAS_system(&u64[63], 0ull, 5ull);
}

extern "C" __global__ void last_block(const float *partial, float *out) {
    __shared__ bool last;
    __threadfence();
    if (threadIdx.x == 0) last = atomicInc(&finished, gridDim.x - 1) == gridDim.x - 1;
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float sum = 0.0f;
        for (unsigned b = 0; b < gridDim.x; b++) sum += ((volatile const float *)partial)[b];
        *out = sum;
    }
}

extern "C" __global__ void ordered(int *flag, int *data) {
    cuda::atomic_ref<int, cuda::thread_scope_device> ready(*flag);
    if (threadIdx.x == 0) {
        data[0] = 42;
        ready.store(1, cuda::std::memory_order_release);
    } else if (ready.load(cuda::std::memory_order_acquire) == 1) {
        data[threadIdx.x] = data[0] + ready.fetch_add(2, cuda::std::memory_order_acq_rel);
    }
    __threadfence_block();
    __threadfence_system();
}
