"""Kernel Tuner on the same spaces: its random sampling for a number of seconds, with and without verification.

Runs in a process of its own (`compare.py` starts it), one search after the other, each with its own JSON file, so that a
lost GPU context costs one search. Kernel Tuner is used as it comes, but for one thing that it lacks: it never raises a
function's limit of dynamic shared memory, so that every configuration above 48 KiB would end the whole search.
"""

import json
import os
import random
import re
import time
import warnings

import numpy

from space import key

CLUSTERS = """#if CLUSTER > 1
#define KT_CLUSTER __cluster_dims__(CLUSTER, 1, 1)
#else
#define KT_CLUSTER
#endif
"""


def source_of(kernel):
    """The template; a launch through Kernel Tuner cannot say what a cluster is, so that the kernel itself does."""
    cluster = kernel.launch_texts[0].get("cluster")
    if not cluster:
        return kernel.source
    assert cluster == ["CLUSTER"], cluster
    begin = 'extern "C" __global__ void '
    assert kernel.source.count(begin) == 1
    return CLUSTERS + kernel.source.replace(begin, begin + "KT_CLUSTER ")


def restrictions_of(kernel):
    """The header's constraints as Kernel Tuner's: sizes put in, whole division written as Python writes it."""
    found = []
    for text in kernel.constraint_texts:
        for name, value in kernel.sizes.items():
            text = re.sub(rf"\b{name}\b", str(value), text)
        found.append(re.sub(r"/+", "//", text))
    return found


def setup(kernel):
    """`tune_kernel`'s description of the space and of the first launch.

    A block is a tunable there, so `block_size_x` becomes one whose value the others decide; that adds no configuration.
    """
    launch = kernel.launch_texts[0]
    tunables = {name: list(values) for name, values in kernel.tunables.items()}
    restrictions = restrictions_of(kernel)
    first = str(launch["block"][0])
    names = []
    for axis, text in zip("xyz", launch["block"]):
        if str(text) in tunables:
            names.append(str(text))
            continue
        name = f"block_size_{axis}"
        sizes = {kernel.launches(one)[0].block["xyz".index(axis)] for one in kernel.configurations()}
        tunables[name] = sorted(sizes)
        restrictions.append(f"{name} == " + re.sub(r"/+", "//", str(text)))
        names.append(name)
    assert first in names or "block_size_x" in names
    tunable = list(kernel.tunables)

    def own(params):
        return {name: params[name] for name in tunable}

    defines = {name: (lambda params, name=name: params[name]) for name in tunable}
    for name, values in kernel.tunables.items():
        if isinstance(values[0], str):
            for word in values:
                defines[f"{name}_{word}"] = lambda params, name=name, word=word: int(params[name] == word)
    options = {
        "kernel_name": launch["entry"],
        "kernel_source": source_of(kernel),
        "problem_size": lambda params: kernel.launches(own(params))[0].grid,
        "tune_params": tunables,
        "restrictions": restrictions,
        "grid_div_x": [],
        "grid_div_y": [],
        "grid_div_z": [],
        "block_size_names": names,
        "defines": defines,
    }
    if "shared" in launch:
        options["smem_args"] = {"size": lambda params: kernel.launches(own(params))[0].shared}
    return options, own


def narrow(values):
    """The upper half of f32 values: bf16, rounded to zero, as 16-bit numbers and as f32 again."""
    bits = values.view(numpy.uint32) >> numpy.uint32(16)
    return bits.astype(numpy.uint16), (bits << numpy.uint32(16)).view(numpy.float32)


def data(kernel, lib, seed):
    """Arguments of the first launch as numpy arrays, and a function that says how far off an output is.

    `lib` is cupy, or numpy where there is no GPU. Outputs are compared on the GPU: Kernel Tuner's own check, numpy's
    `allclose` on one core, would take a multiple of the time.
    """
    lib.random.seed(seed)
    host = lib.asnumpy if hasattr(lib, "asnumpy") else (lambda values: values)
    sizes = kernel.sizes

    def normal(*shape):
        return lib.random.standard_normal(shape).astype(lib.float32)

    def wide(array):
        return (lib.asarray(array).astype(lib.uint32) << lib.uint32(16)).view(lib.float32)

    if kernel.name == "rms_norm":
        m, n = sizes["m"], sizes["n"]
        bits, x = narrow(normal(m, n))
        w = normal(n)
        eps = next(one.values[0] for one in kernel.arguments if one.name == "eps")
        expected = x / lib.sqrt((x * x).mean(axis=1, dtype=lib.float32, keepdims=True) + lib.float32(eps)) * w
        arguments = [host(bits), host(w), numpy.zeros((m, n), numpy.uint16), numpy.float32(eps)]
        arguments += [numpy.uint32(m), numpy.uint32(n)]
        return arguments, 2, lambda out: _off(lib, wide(out), expected), 4e-3
    if kernel.name == "row_sums":
        m, n = sizes["m"], sizes["n"]
        x = normal(m, n)
        expected = x.sum(axis=1, dtype=lib.float64)
        most = max(kernel.scratch_bytes(one)["partial"] for one in kernel.configurations()) // 4

        def off(out):
            # A partial sum of random data is not 0, so that their number says how the rows were split.
            out = lib.asarray(out)
            count = int(lib.count_nonzero(out))
            if count == 0 or count % m:
                return float("inf")
            return _off(lib, out[:count].reshape(m, count // m).sum(axis=1, dtype=lib.float64), expected)

        return [host(x), numpy.zeros(most, numpy.float32), numpy.uint32(n)], 1, off, 1e-4
    if kernel.name == "matmul":
        m, n, k = sizes["m"], sizes["n"], sizes["k"]
        (a_bits, a), (b_bits, b) = narrow(normal(m, k)), narrow(normal(k, n))
        expected = a @ b
        arguments = [host(a_bits), host(b_bits), numpy.zeros((m, n), numpy.float32)]
        arguments += [numpy.uint32(m), numpy.uint32(n), numpy.uint32(k)]
        return arguments, 2, lambda out: _off(lib, lib.asarray(out), expected), 3e-4
    raise ValueError(kernel.name)


def _off(lib, out, expected):
    """‖out − expected‖ / ‖expected‖; infinite when a single element is far off, as in `device.py`."""
    difference, norm = abs(out - expected), lib.linalg.norm(expected.ravel())
    error = float(lib.linalg.norm(difference.ravel()) / norm)
    single = float((difference / (abs(expected) + norm / expected.size**0.5)).max())
    return error if error == error and single <= 0.02 else float("inf")


def raise_shared_limit():
    """What Kernel Tuner's backends lack."""
    from kernel_tuner.backends.cupy import CupyFunctions

    before = CupyFunctions.copy_shared_memory_args

    def copy(self, smem_args):
        before(self, smem_args)
        if smem_args["size"] > 48 * 1024:
            self.func.max_dynamic_shared_size_bytes = smem_args["size"]

    CupyFunctions.copy_shared_memory_args = copy

    try:
        from kernel_tuner.backends.nvcuda import CudaFunctions, cuda_error_check, driver
    except ImportError:
        return
    attribute = "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"
    before_too = CudaFunctions.copy_shared_memory_args

    def copy_too(self, smem_args):
        before_too(self, smem_args)
        if smem_args["size"] > 48 * 1024:
            wanted = getattr(driver.CUfunction_attribute, attribute)
            cuda_error_check(driver.cuFuncSetAttribute(self.func, wanted, smem_args["size"]))

    CudaFunctions.copy_shared_memory_args = copy_too


def install_fake(includes):
    """Takes CuPy's place in a dry run: sources are compiled by NVRTC if there is one, and nothing is launched."""
    import kernel_tuner.backends.cupy as module
    from kernel_tuner.backends.backend import GPUBackend
    from kernel_tuner.observers.observer import BenchmarkObserver

    import nvrtc

    class FakeObserver(BenchmarkObserver):
        def get_results(self):
            times = [1.0 + 0.01 * (len(self.dev.text) % 7)] * self.dev.iterations
            return {"time": times[0], "times": times}

    class FakeFunctions(GPUBackend):
        units = {"time": "ms"}

        def __init__(self, device=0, iterations=7, compiler_options=None, observers=None):
            self.iterations, self.max_threads, self.name, self.smem_size = iterations, 1024, "none", 0
            self.compiler_options, self.env, self.text = compiler_options, {}, ""
            self.observers = (observers or []) + [FakeObserver()]
            for one in self.observers:
                one.register_device(self)

        def compile(self, kernel_instance):
            self.text = kernel_instance.kernel_string
            if nvrtc._library is not None:
                cubin, log, _ = nvrtc.compile_text(self.text)
                if cubin is None:
                    raise RuntimeError(log)
            self.instance = kernel_instance
            return self

        def run_kernel(self, func, gpu_args, threads, grid, stream=None):
            assert threads[0] * threads[1] * threads[2] <= 1024 and min(grid) >= 1, (threads, grid)

        def ready_argument_list(self, arguments):
            return list(arguments)

        def copy_shared_memory_args(self, smem_args):
            self.smem_size = smem_args["size"]

        def memcpy_dtoh(self, dest, src):
            numpy.copyto(dest, src)

        def kernel_finished(self):
            return True

        def _nothing(self, *_):
            pass

        start_event = stop_event = synchronize = copy_constant_memory_args = copy_texture_memory_args = _nothing
        memset = memcpy_htod = _nothing

    module.CupyFunctions = FakeFunctions


def search(kernel, seconds, verified, seed, includes, fake):
    """One search. Returns everything that Kernel Tuner measured."""
    import kernel_tuner
    from kernel_tuner.observers.observer import BenchmarkObserver

    if fake:
        lib = numpy
    else:
        import cupy

        lib = cupy
        # It remembers what it compiled in this process too.
        cupy.clear_memo()
    options, own = setup(kernel)
    arguments, output, off, tolerance = data(kernel, lib, seed)
    # CuPy compiles what `off` needs when it is first called; that is none of Kernel Tuner's time.
    off(numpy.ones_like(arguments[output]))
    wrong = []

    class Seen(BenchmarkObserver):
        """Keeps what was measured, should Kernel Tuner end with an exception, which loses its results."""

        def __init__(self):
            self.rows = []

        def register_configuration(self, params):
            self.rows.append((time.monotonic(), key(own(params))))

        def get_results(self):
            return {}

    def verify(answer, result, atol=None):
        error = off(result[output])
        if not error <= tolerance and not fake:
            wrong.append(error)
            return False
        return True

    # A value of one element: it only says which argument is to be refreshed and brought back.
    answer = [numpy.zeros(1, numpy.float32) if number == output else None for number in range(len(arguments))]
    checked = {"answer": answer, "verify": verify} if verified else {}
    seen, results, errors, environment = Seen(), [], [], {}
    begin = time.monotonic()
    attempt, language = 0, "CUPY"
    while (left := seconds - (time.monotonic() - begin)) > 1.0 and attempt < 5:
        random.seed(seed + attempt)
        numpy.random.seed(seed + attempt)
        try:
            found, environment = kernel_tuner.tune_kernel(
                arguments=arguments,
                lang=language,
                iterations=7,
                compiler_options=["--std=c++17"] + [f"-I{folder}" for folder in includes],
                strategy="random_sample",
                strategy_options={"fraction": 1.0, "time_limit": left},
                observers=[seen],
                quiet=True,
                **options,
                **checked,
            )
            results += found
            break
        except Exception as error:  # noqa: BLE001: whatever ends a search is written down
            errors.append(f"{language}: {type(error).__name__}: {error}"[:2000])
        attempt += 1
        if not seen.rows and not fake:
            # CuPy's backend does not work here at all; the other one comes with cuda-python.
            language = "NVCUDA"
    wall = time.monotonic() - begin
    rows = []
    for one in results:
        row = {name: value for name, value in one.items() if name not in options["tune_params"]}
        row = {name: value if isinstance(value, (int, float, list)) else str(value) for name, value in row.items()}
        rows.append({"key": key(own(one)), "configuration": own(one), **row})
    good = [row for row in rows if "__error__" not in row]
    measured = len(seen.rows)
    # The first configuration is measured twice, the first time as a warm-up; seen once more for each new attempt.
    configurations = len({one for _, one in seen.rows})
    totals = {name: sum(row.get(name, 0) for row in rows) / 1000 for name in (
        "compile_time", "verification_time", "benchmark_time", "framework_time", "strategy_time")}
    return {
        "kernel": kernel.name,
        "backend": language,
        "verified": verified,
        "asked_seconds": seconds,
        "wall_seconds": wall,
        "measurements": measured,
        "configurations": configurations,
        "configurations_a_minute": 60 * configurations / wall,
        # Without what comes before the first configuration: building the space, copying data.
        "steady_a_minute": 60 * (measured - 1) / (begin + wall - seen.rows[0][0]) if measured > 1 else None,
        "seconds_by_stage": totals,
        "best": min(good, key=lambda row: row["time"], default=None),
        "failed": len(rows) - len(good),
        "wrong": wrong,
        "exceptions": errors,
        "kernel_tuner": _version("kernel-tuner"),
        "cupy": None if fake else f"{lib.__version__}, NVRTC {lib.cuda.nvrtc.getVersion()}",
        "launch_measured": options["kernel_name"],
        "rows": rows,
        "seen": [[round(at - begin, 4), one] for at, one in seen.rows],
        "environment": {name: str(value) for name, value in environment.items() if name != "best_config"},
    }


def _version(package):
    from importlib.metadata import version

    return version(package)


def count(kernel):
    """How many configurations Kernel Tuner sees in the space."""
    from kernel_tuner.searchspace import Searchspace

    options, _ = setup(kernel)
    return Searchspace(options["tune_params"], options["restrictions"], 1024).size


def main(kernels, jobs, includes, folder, fake):
    """Runs jobs (kernel, verified, seconds, seed, file) that have no file yet."""
    warnings.simplefilter("ignore")
    # CuPy keeps what it compiled on disk, so that a second search would compile nothing. This keeps it from the disk, which
    # also saves Kernel Tuner the writing. Temporary sources of failures go to the working folder.
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    if fake:
        install_fake(includes)
    else:
        raise_shared_limit()
    for name, verified, seconds, seed, file in jobs:
        if os.path.exists(file):
            continue
        with open(file, "w") as out:
            json.dump({"kernel": name, "verified": verified, "exceptions": ["the process ended before the search did"]}, out)
        kernel = kernels[name]
        try:
            result = {"space": count(kernel), **search(kernel, seconds, verified, seed, includes, fake)}
        except Exception as error:  # noqa: BLE001
            result = {"kernel": name, "verified": verified, "exceptions": [f"{type(error).__name__}: {error}"[:2000]]}
        with open(file + ".tmp", "w") as out:
            json.dump(result, out)
        os.replace(file + ".tmp", file)
