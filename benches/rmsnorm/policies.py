#!/usr/bin/env python3
"""What cache policies of loads and of stores do to a kernel that reads and writes as much: a copy, and RMSNorm with a row a block.

Runs beside `compare.py` on one Hopper GPU, with PyTorch and nvcc. With `--emit FILE` it writes the CUDA source and ends. See
benches/results/l2-policies-h200.
"""

import argparse
import ctypes
import gc
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import jobs

# Names in results: `c_LOAD_STORE` is the copy, `k_DTYPE_THREADS_CHUNKS_LOAD_STORE` the norm. All accesses are of 16 bytes.
LOADS = ["plain", "L1::evict_last", "L2 last", "L1 and L2 last", "L1::no_allocate", "L1::no_allocate, L2 last", "L2 unchanged", "L2 first"]
STORES = ["plain", ".cs", "L2 first", "L1::no_allocate", "L2 unchanged", ".wt", "L2 last"]
SOME = [(0, 0), (2, 0), (3, 0), (5, 0), (0, 1), (0, 2), (2, 1), (2, 2), (5, 1), (5, 2), (1, 0), (4, 0), (4, 1), (6, 0), (0, 4), (7, 0)]
COPIES = [(0, 0), (2, 0), (3, 0), (5, 0), (0, 2), (0, 1), (2, 2), (5, 1), (2, 6), (0, 6)]
# Dtype, rows, columns, and (threads, vectors a thread) of a block; the first of a shape in `WHOLE` is tried with every pair.
SHAPES = [
    ("f32", 32768, 2048, [(128, 4), (256, 2), (512, 1)]),
    ("bf16", 32768, 8192, [(256, 4), (512, 2), (1024, 1)]),
    ("bf16", 32768, 512, [(64, 1), (32, 2)]),
    ("bf16", 32768, 4096, [(128, 4), (256, 2), (512, 1)]),
    ("bf16", 32768, 2048, [(128, 2), (256, 1)]),
    ("bf16", 32768, 1024, [(128, 1), (64, 2)]),
    ("bf16", 32768, 16384, [(512, 4), (1024, 2)]),
    ("f32", 32768, 8192, [(512, 4), (1024, 2)]),
    ("bf16", 32768, 32768, [(1024, 4)]),
    ("bf16", 32768, 256, [(32, 1)]),
]
WHOLE = {("f32", 128, 4), ("bf16", 256, 4), ("bf16", 128, 4)}
# Shapes that are measured over so many times as much memory too: what a cache keeps from one pass to the next would show.
LONGER = {("f32", 2048): 8, ("bf16", 8192): 8, ("bf16", 512): 6}

SOURCE = r"""
#include <cuda_bf16.h>
#include <cstdint>
template <int P> __device__ __forceinline__ uint64_t policy() {
    uint64_t p = 0;
    if (P == 1) asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(p));
    if (P == 2) asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(p));
    if (P == 3) asm("createpolicy.fractional.L2::evict_unchanged.b64 %0, 1.0;" : "=l"(p));
    return p;
}
#define INTO "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
#define LOAD(T) asm volatile("ld.global" T ".v4.b32 {%0,%1,%2,%3}, [%4];" : INTO : "l"(a))
#define LOAD_BY(T, P) asm volatile("ld.global" T ".L2::cache_hint.v4.b32 {%0,%1,%2,%3}, [%4], %5;" : INTO : "l"(a), "l"(policy<P>()))
template <int L> __device__ __forceinline__ uint4 load(const void* a) {
    uint4 v;
    if (L == 0) LOAD("");
    if (L == 1) LOAD(".L1::evict_last");
    if (L == 2) LOAD_BY("", 1);
    if (L == 3) LOAD_BY(".L1::evict_last", 1);
    if (L == 4) LOAD(".L1::no_allocate");
    if (L == 5) LOAD_BY(".L1::no_allocate", 1);
    if (L == 6) LOAD_BY("", 3);
    if (L == 7) LOAD_BY("", 2);
    return v;
}
#define FROM "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
#define STORE(T) asm volatile("st.global" T ".v4.b32 [%4], {%0,%1,%2,%3};" :: FROM, "l"(a) : "memory")
#define STORE_BY(P) asm volatile("st.global.L2::cache_hint.v4.b32 [%4], {%0,%1,%2,%3}, %5;" :: FROM, "l"(a), "l"(policy<P>()) : "memory")
template <int S> __device__ __forceinline__ void store(void* a, uint4 v) {
    if (S == 0) STORE("");
    if (S == 1) STORE(".cs");
    if (S == 2) STORE_BY(2);
    if (S == 3) STORE(".L1::no_allocate");
    if (S == 4) STORE_BY(3);
    if (S == 5) STORE(".wt");
    if (S == 6) STORE_BY(1);
}
__device__ float word(uint4 v, int i) { return __uint_as_float(i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w); }
template <typename T> struct Vector;
template <> struct Vector<float> {
    static const int N = 4;
    static __device__ float at(uint4 v, int i) { return word(v, i); }
    static __device__ uint4 pack(const float* f) {
        return make_uint4(__float_as_uint(f[0]), __float_as_uint(f[1]), __float_as_uint(f[2]), __float_as_uint(f[3]));
    }
};
template <> struct Vector<__nv_bfloat16> {
    static const int N = 8;
    static __device__ float at(uint4 v, int i) {
        unsigned u = __float_as_uint(word(v, i / 2));
        return __uint_as_float(i % 2 ? u & 0xffff0000u : u << 16);
    }
    static __device__ unsigned two(float a, float b) {
        __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
        return reinterpret_cast<unsigned&>(pair);
    }
    static __device__ uint4 pack(const float* f) { return make_uint4(two(f[0], f[1]), two(f[2], f[3]), two(f[4], f[5]), two(f[6], f[7])); }
};
template <typename T, int THREADS, int CHUNKS, int L, int S> __device__ void norm(const T* x, const float* w, T* y, float eps) {
    const int N = Vector<T>::N, COLUMNS = THREADS * CHUNKS * N;
    __shared__ float sums[32];
    const size_t base = (size_t)blockIdx.x * COLUMNS;
    uint4 kept[CHUNKS];
    float sum = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) kept[c] = load<L>(x + base + (c * THREADS + threadIdx.x) * N);
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c)
#pragma unroll
        for (int i = 0; i < N; ++i) { float f = Vector<T>::at(kept[c], i); sum = fmaf(f, f, sum); }
    for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
    if (THREADS > 32) {
        if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
        __syncthreads();
        sum = 0;
#pragma unroll
        for (int i = 0; i < THREADS / 32; ++i) sum += sums[i];
    }
    const float scale = rsqrtf(sum / COLUMNS + eps);
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
        const int column = (c * THREADS + threadIdx.x) * N;
        float out[N];
#pragma unroll
        for (int i = 0; i < N; i += 4) {
            const float4 four = *(const float4*)(w + column + i);
            out[i] = Vector<T>::at(kept[c], i) * scale * four.x;
            out[i + 1] = Vector<T>::at(kept[c], i + 1) * scale * four.y;
            out[i + 2] = Vector<T>::at(kept[c], i + 2) * scale * four.z;
            out[i + 3] = Vector<T>::at(kept[c], i + 3) * scale * four.w;
        }
        store<S>(y + base + column, Vector<T>::pack(out));
    }
}
#define NORM(NAME, T, THREADS, CHUNKS, L, S) \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME(const T* x, const float* w, T* y, float eps) { \
        norm<T, THREADS, CHUNKS, L, S>(x, w, y, eps); \
    }
#define COPY(NAME, L, S) \
    extern "C" __global__ void NAME(const uint4* x, const float*, uint4* y, float) { \
        const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; \
        store<S>(y + i, load<L>(x + i)); \
    }
"""


def pairs(dtype, threads, chunks):
    if (dtype, threads, chunks) not in WHOLE:
        return SOME
    return [(load, store) for load in range(len(LOADS)) for store in range(len(STORES))]


def source():
    lines = [SOURCE, *(f"COPY(c_{load}_{store}, {load}, {store})" for load, store in COPIES)]
    blocks = sorted({(dtype, *block) for dtype, _, _, blocks in SHAPES for block in blocks})
    for dtype, threads, chunks in blocks:
        element = {"f32": "float", "bf16": "__nv_bfloat16"}[dtype]
        for load, store in pairs(dtype, threads, chunks):
            name = f"k_{dtype}_{threads}_{chunks}_{load}_{store}"
            lines.append(f"NORM({name}, {element}, {threads}, {chunks}, {load}, {store})")
    return "\n".join(lines) + "\n"


def compiled(arch):
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    with tempfile.TemporaryDirectory() as folder:
        text, cubin = Path(folder, "policies.cu"), Path(folder, "policies.cubin")
        text.write_text(source())
        subprocess.run([nvcc, "-cubin", f"-arch={arch}", "-o", cubin, text], check=True)
        return cubin.read_bytes()


def measure(gpu, module, shape, times_as_much, rounds):
    import torch

    import lab

    dtype, m, n, blocks = shape
    job = jobs.Job("forward", "forward", dtype, m, n)
    usual = lab.GRAPH_SECONDS
    lab.GRAPH_SECONDS = usual * times_as_much
    bench = lab.Bench(gpu, job)
    lab.GRAPH_SECONDS = usual
    # All kernels write to the same memory, a matrix a call.
    sets = [(inputs, torch.empty_like(inputs["x"])) for inputs in bench.sets]
    windows = []

    def add(name, grid, block):
        def run(one):
            inputs, out = one
            pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (inputs["x"], inputs["w"], out)]
            stream = torch.cuda.current_stream().cuda_stream
            module.launch(name, (grid, 1, 1), (block, 1, 1), [*pointers, ctypes.c_float(jobs.EPS)], stream)
            return {"y": out}

        windows.append(bench._capture(name, run, sets))

    for load, store in COPIES:
        add(f"c_{load}_{store}", job.matrix_bytes // 16 // 256, 256)
    for threads, chunks in blocks:
        for load, store in pairs(dtype, threads, chunks) if times_as_much == 1 else SOME:
            add(f"k_{dtype}_{threads}_{chunks}_{load}_{store}", m, threads)
    windows[-1].graph.replay()
    inputs, out = sets[0]
    right = jobs.expected(torch, "forward", {"x": inputs["x"][:64], "w": inputs["w"]})["y"]
    error = ((out[:64].double() - right).norm() / right.norm()).item()
    times = {window.name: [] for window in windows}
    for turn in range(rounds):
        at = turn % len(windows)
        order = windows[at:] + windows[:at]
        for window in order[::-1] if turn % 2 else order:
            times[window.name].append(bench.time(window) * 1e3)
    found = {"dtype": dtype, "m": m, "n": n, "calls": bench.count, "error": error, "times": times}
    bench.close()
    del windows, sets, bench
    gc.collect()
    torch.cuda.empty_cache()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="results, as JSON: microseconds of a call by kernel, a number a round")
    parser.add_argument("--seconds", type=float, default=75.0, help="no shape is begun after so many")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--emit", type=Path, help="write the source, and end")
    options = parser.parse_args()
    if options.emit:
        options.emit.write_text(source())
        return
    if not options.out:
        parser.error("--out is missing")
    import lab
    import sealed

    started, results = time.time(), []
    gpu = lab.Gpu(1)
    module = sealed.Module(compiled("sm_90a"))
    print(json.dumps(gpu.describe()))
    for shape in SHAPES:
        for times_as_much in [1, *filter(None, [LONGER.get((shape[0], shape[2]))])]:
            if time.time() - started > options.seconds:
                return
            results.append(measure(gpu, module, shape, times_as_much, options.rounds))
            options.out.write_text(json.dumps(results) + "\n")
            middle = sorted((statistics.median(all_of), name) for name, all_of in results[-1]["times"].items())
            print(shape[:3], "calls", results[-1]["calls"], [(name, round(one, 2)) for one, name in middle[:8]], flush=True)


if __name__ == "__main__":
    main()
