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

// How a line is used: as any other; once, so that the first level keeps nothing of it; once, and the second level shall give it
// up after all others.
enum class Use { Any, Once, Last };

// What makes the second level give lines up last (PTX ISA, `createpolicy`). Lines that were written are given up, and written
// to memory, before those that were read: on an H200 that takes up to 3.7 % less time where as much is written as read.
__device__ __forceinline__ unsigned long long goes_last() {
    unsigned long long policy;
    asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

// Loads that happen where they stand, and as often.
template <Use USE>
__device__ __forceinline__ uint4 load16(const void* from) {
    uint4 v;
    if constexpr (USE == Use::Any) {
        asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    } else if constexpr (USE == Use::Once) {
        asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                     : "l"(from));
    } else {
        asm volatile("ld.global.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                     : "l"(from), "l"(goes_last()));
    }
    return v;
}

template <Use USE>
__device__ __forceinline__ uint2 load8(const void* from) {
    uint2 v;
    if constexpr (USE == Use::Any) {
        asm volatile("ld.global.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
    } else if constexpr (USE == Use::Once) {
        asm volatile("ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
    } else {
        asm volatile("ld.global.L1::no_allocate.L2::cache_hint.v2.u32 {%0, %1}, [%2], %3;"
                     : "=r"(v.x), "=r"(v.y)
                     : "l"(from), "l"(goes_last()));
    }
    return v;
}

// Vectors of less than 8 bytes are read as any others.
template <Use USE, class E>
__device__ __forceinline__ Vector<E> load(const E* from) {
    if constexpr (VEC * sizeof(E) % 16 == 0) {
        Vector<E> vector;
#pragma unroll
        for (unsigned i = 0; i < VEC * sizeof(E) / 16; ++i) {
            reinterpret_cast<uint4*>(&vector)[i] = load16<USE>(reinterpret_cast<const uint4*>(from) + i);
        }
        return vector;
    } else if constexpr (VEC * sizeof(E) == 8) {
        Vector<E> vector;
        reinterpret_cast<uint2&>(vector) = load8<USE>(from);
        return vector;
    } else {
        return *reinterpret_cast<const Vector<E>*>(from);
    }
}

// Elements that nobody reads again soon. Where CACHE is `last`, what is written makes room for them all the same.
template <class E>
__device__ __forceinline__ Vector<E> read_once(const E* from) {
#if CACHE_streaming
    return load<Use::Once>(from);
#elif CACHE_last
    return load<Use::Last>(from);
#else
    return *reinterpret_cast<const Vector<E>*>(from);
#endif
}

// Elements that the same thread reads again: no compiler keeps what it has of them.
template <class E>
__device__ __forceinline__ Vector<E> read_again_later(const E* from) {
#if CACHE_last
    return load<Use::Last>(from);
#else
    return load<Use::Any>(from);
#endif
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
