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

// The halves of a word in f32. A bf16 is the upper half of an f32: taken out of the word it is one instruction, where that of
// an element of its own is two or three.
template <class E>
__device__ __forceinline__ float low(unsigned word);
template <class E>
__device__ __forceinline__ float high(unsigned word);
template <>
__device__ __forceinline__ float low<__nv_bfloat16>(unsigned word) { return __uint_as_float(word << 16); }
template <>
__device__ __forceinline__ float high<__nv_bfloat16>(unsigned word) { return __uint_as_float(word & 0xffff0000u); }
template <>
__device__ __forceinline__ float low<__half>(unsigned word) { return __low2float(reinterpret_cast<const __half2&>(word)); }
template <>
__device__ __forceinline__ float high<__half>(unsigned word) { return __high2float(reinterpret_cast<const __half2&>(word)); }

template <class E>
__device__ __forceinline__ unsigned pack(float low, float high);
template <>
__device__ __forceinline__ unsigned pack<__nv_bfloat16>(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return reinterpret_cast<const unsigned&>(pair);
}
template <>
__device__ __forceinline__ unsigned pack<__half>(float low, float high) {
    const __half2 pair = __floats2half2_rn(low, high);
    return reinterpret_cast<const unsigned&>(pair);
}

// No vector is wider than 16 bytes to the memory system: longer ones are several accesses.
#define ALIGNED(E) alignas(VEC * sizeof(E) < 16 ? VEC * sizeof(E) : 16)

template <class E, bool PAIRS = sizeof(E) == 2 && VEC % 2 == 0>
struct ALIGNED(E) Vector {
    E elements[VEC];

    __device__ __forceinline__ float at(int i) const { return widen(elements[i]); }
    __device__ __forceinline__ void forget() {}
    __device__ __forceinline__ void set(const float* values) {
#pragma unroll
        for (int i = 0; i < VEC; ++i) {
            elements[i] = narrow<E>(values[i]);
        }
    }
};

#if VEC % 2 == 0
template <class E>
struct ALIGNED(E) Vector<E, true> {
    unsigned words[VEC / 2];

    __device__ __forceinline__ float at(int i) const { return i % 2 == 0 ? low<E>(words[i / 2]) : high<E>(words[i / 2]); }
    // What was computed of the elements so far is computed anew: registers for it cost more.
    __device__ __forceinline__ void forget() {
#pragma unroll
        for (int i = 0; i < VEC / 2; ++i) {
            asm volatile("" : "+r"(words[i]));
        }
    }
    __device__ __forceinline__ void set(const float* values) {
#pragma unroll
        for (int i = 0; i < VEC / 2; ++i) {
            words[i] = pack<E>(values[2 * i], values[2 * i + 1]);
        }
    }
};
#endif

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
    vector.set(values);
    *reinterpret_cast<Vector<E>*>(to) = vector;
}

// 1 / sqrt(value) to the last bit but one: the instruction is off by two, and a step of Newton's method mends it. Where it gives
// zero or infinity that stays.
__device__ __forceinline__ float inverse_root(float value) {
    const float root = rsqrtf(value);
    const float mended = fmaf(0.5f * root, fmaf(-value * root, root, 1.0f), root);
    return value > 0.0f && value < __int_as_float(0x7f800000) ? mended : root;
}
