"""The ceiling: plain copy kernels that move the same matrices and compute nothing.

One 16-byte access a thread and a grid that covers the data once, which is what won among some hundred kernels on an H200.
Tried are four block sizes, plainly, with the hint that nothing is read or written again, and with reads that the L2 gives up last, after what was
written.
"""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import sealed

BLOCKS = [128, 192, 256, 512]
HINTS = ["plain", "streaming", "last"]
VARIANTS = [(block, hint) for hint in HINTS for block in BLOCKS]

# Two matrices are combined by an exclusive or, so that neither is left unread and the result can be checked to the bit.
SOURCE = """
__device__ uint4 both(uint4 a, uint4 b) { return make_uint4(a.x ^ b.x, a.y ^ b.y, a.z ^ b.z, a.w ^ b.w); }

#define COPIES(HINT, LOAD, STORE) \\
    extern "C" __global__ void copy_1_1_##HINT(const uint4* a, const uint4*, uint4* out, uint4*, unsigned long long count) { \\
        unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; \\
        if (i < count) STORE(out + i, LOAD(a + i)); \\
    } \\
    extern "C" __global__ void copy_2_1_##HINT(const uint4* a, const uint4* b, uint4* out, uint4*, unsigned long long count) { \\
        unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; \\
        if (i < count) STORE(out + i, both(LOAD(a + i), LOAD(b + i))); \\
    } \\
    extern "C" __global__ void copy_2_2_##HINT(const uint4* a, const uint4* b, uint4* out, uint4* also, unsigned long long count) { \\
        unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; \\
        if (i < count) { uint4 u = LOAD(a + i), v = LOAD(b + i); STORE(out + i, both(u, v)); STORE(also + i, v); } \\
    }

#define LOAD_PLAIN(at) (*(at))
#define STORE_PLAIN(at, value) (*(at) = (value))
COPIES(plain, LOAD_PLAIN, STORE_PLAIN)
COPIES(streaming, __ldcs, __stcs)

// Of what the L2 holds, what was written gives way before what was read.
__device__ uint4 load_last(const uint4* at) {
    unsigned long long policy;
    uint4 v;
    asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    asm volatile("ld.global.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at), "l"(policy));
    return v;
}
COPIES(last, load_last, STORE_PLAIN)
"""


def compiled(arch):
    """A cubin by nvcc, or PTX by the NVRTC that CuPy brings."""
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder, "copies.cu"), Path(folder, "copies.cubin")
        source.write_text(SOURCE)
        nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
        try:
            command = [nvcc, "-cubin", f"-arch={arch}", "-o", cubin, source]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
            return cubin.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "stderr", None) or str(error)
    try:
        from cupy.cuda.compiler import compile_using_nvrtc
    except ImportError as error:
        raise RuntimeError(f"neither nvcc ({why[:300]}) nor CuPy ({error}) compiles the copies") from error
    ptx = compile_using_nvrtc(SOURCE, arch=arch.removeprefix("sm_"))[0]
    return ptx if isinstance(ptx, bytes) else ptx.encode()


@functools.cache
def _module(arch):
    return sealed.Module(compiled(arch))


def launch(arch, block, hint, inputs, outputs, stream):
    """Queues one copy of whole matrices: `inputs` and `outputs` are one or two tensors of the same number of bytes."""
    size = inputs[0].numel() * inputs[0].element_size()
    if size % 16:
        raise ValueError(f"{size} bytes are no multiple of 16")
    pointers = [(tensors * 2)[which].data_ptr() for tensors in (inputs, outputs) for which in (0, 1)]
    params = [ctypes.c_void_p(one) for one in pointers] + [ctypes.c_uint64(size // 16)]
    name = f"copy_{len(inputs)}_{len(outputs)}_{hint}"
    _module(arch).launch(name, (-(-size // 16 // block), 1, 1), (block, 1, 1), params, stream)
