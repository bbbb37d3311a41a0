// Device functions that are called: structs by value, recursion, pointers to functions, early returns.
struct Vec3 { float x, y, z; };
struct Box { Vec3 low, high; int tag; double weight; };

__device__ __noinline__ float dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
__device__ __noinline__ Vec3 scale(Vec3 a, float s) { return {a.x * s, a.y * s, a.z * s}; }
__device__ __noinline__ bool inside(const Box &box, const Vec3 &p) {
    return p.x >= box.low.x && p.x <= box.high.x && p.y >= box.low.y && p.y <= box.high.y && p.z >= box.low.z && p.z <= box.high.z;
}
__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

typedef int (*Operation)(int, int);
__device__ __noinline__ int add(int a, int b) { return a + b; }
__device__ __noinline__ int multiply(int a, int b) { return a * b; }
__device__ Operation operations[2] = {add, multiply};

extern "C" __global__ void boxes(Box box, const Vec3 *points, float *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    Vec3 p = scale(points[i], 0.5f);
    out[i] = inside(box, p) ? dot(p, box.high) + (float)box.weight : (float)box.tag;
}

extern "C" __global__ void recursive(int *out) { out[threadIdx.x] = fibonacci(threadIdx.x % 12); }

extern "C" __global__ void indirect(const int *which, int *out) {
    int i = threadIdx.x;
    out[i] = operations[which[i] & 1](i, 3);
}
