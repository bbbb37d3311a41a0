// Elements in f32, and vectors of VEC elements that move as one.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float widen(__half value) { return __half2float(value); }

template <class E>
__device__ __forceinline__ E narrow(float value);
template <>
__device__ __forceinline__ float narrow<float>(float value) { return value; }
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float value) { return __float2bfloat16(value); }
template <>
__device__ __forceinline__ __half narrow<__half>(float value) { return __float2half(value); }

// No vector is wider than 16 bytes to the memory system: longer ones are several accesses.
template <class E>
struct alignas(VEC * sizeof(E) < 16 ? VEC * sizeof(E) : 16) Vector {
    E v[VEC];
};

// Elements that nobody reads again soon.
template <class E>
__device__ __forceinline__ Vector<E> read_once(const E* from) {
#if CACHE_streaming
    if constexpr (VEC * sizeof(E) % 16 == 0) {
        Vector<E> vector;
#pragma unroll
        for (unsigned i = 0; i < VEC * sizeof(E) / 16; ++i) {
            unsigned a, b, c, d;
            asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(a), "=r"(b), "=r"(c), "=r"(d)
                         : "l"(reinterpret_cast<const char*>(from) + 16 * i));
            reinterpret_cast<uint4*>(&vector)[i] = make_uint4(a, b, c, d);
        }
        return vector;
    }
#endif
    return *reinterpret_cast<const Vector<E>*>(from);
}

// Elements that every row needs.
template <class E>
__device__ __forceinline__ Vector<E> read_kept(const E* from) {
    return *reinterpret_cast<const Vector<E>*>(from);
}

template <class E>
__device__ __forceinline__ void write(E* to, const float* values) {
    Vector<E> vector;
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
        vector.v[i] = narrow<E>(values[i]);
    }
    *reinterpret_cast<Vector<E>*>(to) = vector;
}

// 1 / sqrt(value) to the last bit but one: the instruction is off by two, and a step of Newton's method mends it. Where it gives
// zero or infinity that stays.
__device__ __forceinline__ float inverse_root(float value) {
    const float root = rsqrtf(value);
    const float mended = fmaf(0.5f * root, fmaf(-value * root, root, 1.0f), root);
    return value > 0.0f && value < __int_as_float(0x7f800000) ? mended : root;
}
