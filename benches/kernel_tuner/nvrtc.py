"""NVRTC through ctypes: from CUDA C++ to a cubin, in this process or in a pool of processes."""

import ctypes
import importlib.util
import multiprocessing
import os
import shutil
import time
from pathlib import Path

_library = None
_options = []


def roots(named=None):
    """Folders that may hold NVRTC and CUDA's headers, likeliest first."""
    found = [Path(named)] if named else []
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(variable):
            found.append(Path(os.environ[variable]))
    if nvcc := shutil.which("nvcc"):
        found.append(Path(nvcc).resolve().parents[1])
    found.append(Path("/usr/local/cuda"))
    wheels = importlib.util.find_spec("nvidia")
    for folder in wheels.submodule_search_locations if wheels else []:
        found.append(Path(folder) / "cu13")
    return [root for root in found if root.is_dir()]


def find(named=None):
    """The library's path and its toolkit's include folders."""
    for root in roots(named):
        libraries = [
            path
            for folder in ("lib64", "lib", "targets/x86_64-linux/lib")
            for path in sorted((root / folder).glob("libnvrtc.so*"), reverse=True)
            if ".alt." not in path.name
        ]
        includes = [
            folder
            for folder in (root / "include", root / "targets/x86_64-linux/include")
            if (folder / "cuda_bf16.h").is_file()
        ]
        if libraries and includes:
            cccl = includes[0] / "cccl"
            return libraries[0], [includes[0]] + ([cccl] if cccl.is_dir() else [])
    raise FileNotFoundError(f"no NVRTC with headers below {[str(root) for root in roots(named)]}")


def start(path, includes, arch):
    """Loads the library; for a process of the pool too."""
    global _library, _options
    for part in sorted(Path(path).parent.glob("libnvrtc-builtins.so*")):
        if ".alt." not in part.name:
            ctypes.CDLL(str(part), mode=ctypes.RTLD_GLOBAL)
            break
    _library = ctypes.CDLL(str(path))
    _options = [f"-arch={arch}", "-std=c++17"] + [f"-I{folder}" for folder in includes]


def version():
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def compile_text(text):
    """The cubin, or `None` and the compiler's words; and the seconds that it took."""
    begin = time.perf_counter()
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    if code := _library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"template.cu", 0, None, None):
        return None, f"nvrtcCreateProgram: {code}", time.perf_counter() - begin
    options = (ctypes.c_char_p * len(_options))(*[option.encode() for option in _options])
    code = _library.nvrtcCompileProgram(program, len(_options), options)
    cubin, log = None, ""
    if code:
        _library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value + 1)
        _library.nvrtcGetProgramLog(program, buffer)
        log = f"{code}: {buffer.value.decode(errors='replace')}"
    else:
        _library.nvrtcGetCUBINSize(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        _library.nvrtcGetCUBIN(program, buffer)
        cubin = buffer.raw
    _library.nvrtcDestroyProgram(ctypes.byref(program))
    return cubin, log, time.perf_counter() - begin


def _job(job):
    number, text = job
    return (number, *compile_text(text))


class Pool:
    """Compilers in processes of their own, started once and used for every kernel."""

    def __init__(self, path, includes, arch, processes):
        # `spawn`: a forked child of a process that has a GPU context must not use it.
        context = multiprocessing.get_context("spawn")
        self.pool = context.Pool(processes, start, (str(path), [str(one) for one in includes], arch))

    def compile(self, texts):
        """(number, cubin, log, seconds) of each text, as they come."""
        return self.pool.imap_unordered(_job, enumerate(texts), chunksize=4)

    def close(self):
        self.pool.terminate()
        self.pool.join()
