// Calls: functions that are not inlined, recursion, pointers to functions, structures by value and by reference, virtual functions.
// entry: calls
// run: block=64 in x:s32=random(64, 90, 0, 12) out y:s32[320]=recorded
// entry: expressions
// run: block=32 in x:f32=random(32, 91) out y:f32[32]=recorded
#include "hopper.cuh"

struct Pair {
    int a, b;
    long long c;
};

__device__ __noinline__ Pair swapped(Pair p, int k) { return Pair{p.b + k, p.a - k, p.c * k}; }
__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
__device__ __noinline__ int ackermann(int m, int n) { return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1)); }
__device__ __noinline__ void rotate(int *v, int n) {
    int first = v[0];
    for (int i = 0; i + 1 < n; i++) v[i] = v[i + 1];
    v[n - 1] = first;
}
__device__ __noinline__ int twice(int x) { return x * 2; }
__device__ __noinline__ int square(int x) { return x * x; }
__device__ __noinline__ int negative(int x) { return -x; }
__device__ int (*const operations[3])(int) = {twice, square, negative};
// How often, and with what: so that the array below is not folded away.
__device__ __noinline__ int apply(int (*f)(int), int x, int n) {
    for (int i = 0; i < n; i++) x = f(x) & 0xffff;
    return x;
}

KERNEL calls(const int *x, int *y) {
    int v = x[threadIdx.x], *o = y + threadIdx.x * 5;
    Pair p = swapped(Pair{v, 3, 1ll << 33}, v + 1);
    o[0] = p.a * 1000 + p.b + (int)(p.c >> 30);
    o[1] = fibonacci(v);
    o[2] = ackermann(1 + v % 2, v % 5);
    int items[6];
    for (int i = 0; i < 6; i++) items[i] = v * i;
    for (int i = 0; i <= v % 4; i++) rotate(items, 6);
    o[3] = items[0] + items[3] * 100;
    o[4] = apply(operations[v % 3], v + 2, 3);
}

struct Shape {
    float size;
    __device__ Shape(float size) : size(size) {}
    __device__ virtual float area() const = 0;
    __device__ virtual float edge() const { return size; }
};
struct Square : Shape {
    __device__ Square(float size) : Shape(size) {}
    __device__ float area() const override { return size * size; }
};
struct Circle : Shape {
    __device__ Circle(float size) : Shape(size) {}
    __device__ float area() const override { return size * size * 3.0f; }
    __device__ float edge() const override { return size * 6.0f; }
};
__device__ __noinline__ float measure(const Shape &shape) { return shape.area() * 10.0f + shape.edge(); }

KERNEL expressions(const float *x, float *y) {
    float v = x[threadIdx.x];
    Square s(v);
    Circle c(v + 1.0f);
    y[threadIdx.x] = measure(threadIdx.x % 3 ? (const Shape &)s : (const Shape &)c);
}
