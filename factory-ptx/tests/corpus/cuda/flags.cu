// Blocks that talk to each other: messages by release and acquire, a turn that goes round, a barrier of the whole grid, and a lock.
// entry: messages
// run: grid=2 block=32 in x:u32=random(256, 200) inout box:u32=fill(32, 0) inout turn:u32=[0] out y:u32[256]=recorded
// entry: grid_barrier
// run: grid=4 block=64 in x:u32=random(256, 201, 0, 1000) inout work:u32=fill(256, 0) inout arrived:u32=[0] out y:u32[256]=recorded
// entry: locked
// run: grid=4 block=32 inout lock:u32=[0] -> [0] inout state:u32=[1, 0] -> recorded
// entry: passed_on
// run: grid=6 block=32 in x:u32=random(192, 202) inout tickets:u32=[0] -> [6] inout flag:u32=[0] inout sum:u32=fill(32, 0) -> recorded
#include "hopper.cuh"

DEVICE unsigned load_acquire(const unsigned *p) {
    unsigned v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(global_address(p)) : "memory");
    return v;
}
DEVICE void store_release(unsigned *p, unsigned v) { asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(global_address(p)), "r"(v) : "memory"); }

// Block 0 writes the box, block 1 reads it, eight times.
KERNEL messages(const unsigned *x, unsigned *box, unsigned *turn, unsigned *y) {
    unsigned t = threadIdx.x;
    for (unsigned i = 0; i < 8; i++) {
        if (t == 0)
            while (load_acquire(turn) != 2 * i + blockIdx.x) __nanosleep(20);
        __syncwarp();
        if (blockIdx.x == 0) box[t] = x[i * 32 + t] + i;
        else y[i * 32 + t] = box[t ^ 5];
        __syncwarp();
        if (t == 0) store_release(turn, 2 * i + blockIdx.x + 1);
    }
}

KERNEL grid_barrier(const unsigned *x, unsigned *work, unsigned *arrived, unsigned *y) {
    unsigned i = blockIdx.x * 64 + threadIdx.x;
    work[i] = x[i] * x[i];
    __syncthreads();
    if (threadIdx.x == 0) {
        // Behind the barrier: the fence is to cover what the whole block wrote.
        __threadfence();
        atomicAdd(arrived, 1);
        while (*(volatile unsigned *)arrived < gridDim.x) {}
        __threadfence();
    }
    __syncthreads();
    y[i] = work[255 - i] + work[(i * 7) % 256];
}

// Critical sections commute: a product and a count.
KERNEL locked(unsigned *lock, unsigned *state) {
    if (threadIdx.x == 0) {
        for (int i = 0; i < 5; i++) {
            unsigned before;
            do asm volatile("atom.acquire.gpu.global.cas.b32 %0, [%1], 0, 1;" : "=r"(before) : "l"(global_address(lock)) : "memory");
            while (before);
            state[0] = state[0] * (blockIdx.x * 2 + 3);
            state[1] = state[1] + 1;
            asm volatile("atom.release.gpu.global.exch.b32 %0, [%1], 0;" : "=r"(before) : "l"(global_address(lock)) : "memory");
        }
    }
}

// In the order of tickets each block adds to what the one before left.
KERNEL passed_on(const unsigned *x, unsigned *tickets, unsigned *flag, unsigned *sum) {
    __shared__ unsigned number;
    if (threadIdx.x == 0) {
        number = atomicAdd(tickets, 1);
        while (load_acquire(flag) != number) {}
    }
    __syncthreads();
    unsigned v = x[number * 32 + threadIdx.x];
    sum[threadIdx.x] = sum[threadIdx.x] * 3 + v;
    __syncthreads();
    __threadfence();
    if (threadIdx.x == 0) store_release(flag, number + 1);
}
