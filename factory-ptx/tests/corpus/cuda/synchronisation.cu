// Everything that the CUDA library builds from atomics and fences: nothing here races, under any schedule.
// entry: last_block
// run: grid=8 block=256 in x:f32=fill(2048, 1) inout part:f32=fill(8, 0) -> ? inout count:u32=[0] -> [0] out y:f32=[2048]
// entry: last_block_by_reference
// run: grid=8 block=256 in x:f32=fill(2048, 1) out part:f32[8]=? inout count:u32=[0] -> [8] out y:f32=[2048]
// entry: spin_lock
// run: grid=8 block=64 inout lock:u32=[0] -> [0] inout y:u32=[0] -> [8]
// entry: spin_lock_with_fences
// run: grid=8 block=64 inout lock:u32=[0] -> [0] inout y:u32=[0] -> [8]
// entry: look_back
// run: grid=16 block=32 in x:u32=fill(512, 1) inout state:u64=fill(16, 0) -> ? out y:u32=iota(512)
// entry: library_barrier
// run: block=128 out y:u32=iota(128)
// entry: library_semaphore
// run: block=128 out y:u32=[4]
#include <cooperative_groups.h>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/semaphore>
namespace cg = cooperative_groups;
#define KERNEL extern "C" __global__ void

__device__ float block_sum(const float *x) {
    __shared__ float s[256];
    unsigned t = threadIdx.x;
    s[t] = x[blockIdx.x * 256 + t];
    __syncthreads();
    for (int k = 128; k > 0; k >>= 1) {
        if (t < k) s[t] += s[t + k];
        __syncthreads();
    }
    return s[0];
}

// The reduction of the programming guide: the last block to finish adds what the others left.
KERNEL last_block(const float *x, volatile float *part, unsigned *count, float *y) {
    __shared__ bool last;
    float sum = block_sum(x);
    if (threadIdx.x == 0) {
        part[blockIdx.x] = sum;
        __threadfence();
        last = atomicInc(count, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float all = 0;
        for (unsigned i = 0; i < gridDim.x; i++) all += part[i];
        y[0] = all;
    }
}

KERNEL last_block_by_reference(const float *x, float *part, unsigned *count, float *y) {
    __shared__ bool last;
    float sum = block_sum(x);
    if (threadIdx.x == 0) {
        part[blockIdx.x] = sum;
        cuda::atomic_ref<unsigned, cuda::thread_scope_device> done(*count);
        last = done.fetch_add(1, cuda::memory_order_acq_rel) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float all = 0;
        for (unsigned i = 0; i < gridDim.x; i++) all += part[i];
        y[0] = all;
    }
}

KERNEL spin_lock(unsigned *lock, unsigned *y) {
    if (threadIdx.x != 0) return;
    cuda::atomic_ref<unsigned, cuda::thread_scope_device> held(*lock);
    while (held.exchange(1, cuda::memory_order_acquire)) {
    }
    y[0] += 1;
    held.store(0, cuda::memory_order_release);
}

KERNEL spin_lock_with_fences(unsigned *lock, unsigned *y) {
    if (threadIdx.x != 0) return;
    while (atomicCAS(lock, 0, 1) != 0) {
    }
    __threadfence();
    y[0] += 1;
    __threadfence();
    atomicExch(lock, 0);
}

// A scan in which each block waits for the prefix of the one before it.
KERNEL look_back(const unsigned *x, unsigned long long *state, unsigned *y) {
    __shared__ unsigned base;
    unsigned t = threadIdx.x, v = x[blockIdx.x * 32 + t], sum = v;
    for (int k = 1; k < 32; k *= 2) {
        unsigned other = __shfl_up_sync(~0u, sum, k);
        if (t >= k) sum += other;
    }
    unsigned total = __shfl_sync(~0u, sum, 31);
    if (t == 0) {
        unsigned before = 0;
        if (blockIdx.x > 0) {
            cuda::atomic_ref<unsigned long long, cuda::thread_scope_device> theirs(state[blockIdx.x - 1]);
            unsigned long long found;
            do found = theirs.load(cuda::memory_order_acquire);
            while (!(found >> 32));
            before = (unsigned)found;
        }
        cuda::atomic_ref<unsigned long long, cuda::thread_scope_device> mine(state[blockIdx.x]);
        mine.store(1ull << 32 | (before + total), cuda::memory_order_release);
        base = before;
    }
    __syncthreads();
    y[blockIdx.x * 32 + t] = base + sum - v;
}

KERNEL library_barrier(unsigned *y) {
#pragma nv_diag_suppress static_var_with_dynamic_init
    __shared__ cuda::barrier<cuda::thread_scope_block> met;
    __shared__ unsigned s[128];
    auto block = cg::this_thread_block();
    if (block.thread_rank() == 0) init(&met, 128);
    block.sync();
    s[threadIdx.x] = 127 - threadIdx.x;
    met.arrive_and_wait();
    unsigned v = s[127 - threadIdx.x];
    met.wait(met.arrive());
    s[threadIdx.x] = 127 - v;
    met.arrive_and_wait();
    y[threadIdx.x] = s[127 - threadIdx.x];
}

KERNEL library_semaphore(unsigned *y) {
    __shared__ cuda::binary_semaphore<cuda::thread_scope_block> one;
    __shared__ unsigned count;
    if (threadIdx.x == 0) {
        new (&one) cuda::binary_semaphore<cuda::thread_scope_block>(1);
        count = 0;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        one.acquire();
        count += 1;
        one.release();
    }
    __syncthreads();
    if (threadIdx.x == 0) y[0] = count;
}
