// Block reductions over shared memory and shuffles, f32, f64 and 64-bit integers.
extern "C" __global__ void sum_f32(const float *x, float *out, int n) {
    __shared__ float partial[32];
    float sum = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    for (int offset = 16; offset > 0; offset >>= 1) sum += __shfl_xor_sync(0xffffffff, sum, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < (blockDim.x + 31) / 32 ? partial[threadIdx.x] : 0.0f;
        for (int offset = 16; offset > 0; offset >>= 1) sum += __shfl_down_sync(0xffffffff, sum, offset);
        if (threadIdx.x == 0) atomicAdd(out, sum);
    }
}

extern "C" __global__ void max_f64(const double *__restrict__ x, double *__restrict__ out, long long n) {
    extern __shared__ double lanes[];
    double best = -1.0 / 0.0;
    for (long long i = threadIdx.x; i < n; i += blockDim.x) best = fmax(best, x[blockIdx.x * n + i]);
    lanes[threadIdx.x] = best;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) lanes[threadIdx.x] = fmax(lanes[threadIdx.x], lanes[threadIdx.x + half]);
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = lanes[0];
}

extern "C" __global__ void argmin_u64(const unsigned long long *x, unsigned *index, unsigned n) {
    unsigned long long best = ~0ull;
    unsigned at = 0;
    for (unsigned i = threadIdx.x; i < n; i += 32)
        if (x[i] < best) { best = x[i]; at = i; }
    for (int lane = 16; lane > 0; lane >>= 1) {
        unsigned long long other = __shfl_down_sync(0xffffffff, best, lane);
        unsigned other_at = __shfl_down_sync(0xffffffff, at, lane);
        if (other < best || (other == best && other_at < at)) { best = other; at = other_at; }
    }
    if (threadIdx.x == 0) *index = at;
}

extern "C" __global__ void redux(const int *x, int *out) {
    int v = x[threadIdx.x];
    out[0 * 32 + threadIdx.x] = __reduce_add_sync(0xffffffff, v);
    out[1 * 32 + threadIdx.x] = __reduce_max_sync(0xffffffff, v);
    out[2 * 32 + threadIdx.x] = __reduce_xor_sync(0xffffffff, (unsigned)v);
}
