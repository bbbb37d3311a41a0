"""A GPU through the driver's interface, with PyTorch for data and references; and a stand-in for dry runs.

Both give a bench: buffers of one kernel at its sizes, rotated over so that no call finds its data in the L2 cache, and
`load`, `check`, `once`, `window` and `time` for configurations.
"""

import ctypes
import hashlib
import subprocess

STICKY = {700, 702, 710, 714, 715, 716, 717, 718, 719, 999}


class DriverError(Exception):
    def __init__(self, what, code, text):
        super().__init__(f"{what}: {text} ({code})")
        self.lost = code in STICKY


class _Config(ctypes.Structure):
    _fields_ = (
        [(name, ctypes.c_uint) for name in ("gx", "gy", "gz", "bx", "by", "bz", "shared")]
        + [("stream", ctypes.c_void_p), ("attributes", ctypes.c_void_p), ("count", ctypes.c_uint)]
    )


class _Attribute(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_char * 4), ("value", ctypes.c_uint * 16)]


CLUSTER = 4  # CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
REGISTERS, LOCAL_BYTES, SHARED_LIMIT = 4, 3, 8  # CU_FUNC_ATTRIBUTE_…


class Driver:
    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")

    def __call__(self, name, *arguments):
        if code := getattr(self.library, name)(*arguments):
            text = ctypes.c_char_p()
            self.library.cuGetErrorString(code, ctypes.byref(text))
            raise DriverError(name, code, (text.value or b"?").decode())


def state():
    """What nvidia-smi says of the card now."""
    fields = "name,driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,clocks_throttle_reasons.active"
    try:
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "--id=0"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}"


# References: from a set's inputs to the expected outputs in f32 or f64, and how far an output may be off.
def _rms_norm(torch, tensors, scalars):
    x = tensors["x"].float()
    scale = torch.rsqrt(x.square().mean(dim=1, dtype=torch.float64) + scalars["eps"]).float()
    return {"y": x * scale[:, None] * tensors["w"]}


def _row_sums(torch, tensors, scalars):
    return {"y": tensors["x"].sum(dim=1, dtype=torch.float64)}


def _matmul(torch, tensors, scalars):
    # Full f32: `allow_tf32` is off unless somebody turned it on.
    torch.backends.cuda.matmul.allow_tf32 = False
    return {"c": tensors["a"].float() @ tensors["b"].float()}


REFERENCES = {"rms_norm": _rms_norm, "row_sums": _row_sums, "matmul": _matmul}
# ‖out − ref‖ / ‖ref‖: a bf16 output is rounded to 8 bits, f32 ones are sums of many terms in another order.
ELEMENT = 0.02  # |out − ref| / (|ref| + the root mean square of ref)
TOLERANCE = {"rms_norm": 4e-3, "row_sums": 1e-4, "matmul": 3e-4}


class Gpu:
    """The first GPU."""

    def __init__(self):
        import torch

        self.torch = torch
        torch.cuda.init()
        torch.zeros(1, device="cuda")
        self.driver = Driver()
        self.properties = torch.cuda.get_device_properties(0)
        self.l2 = self.properties.L2_cache_size
        self.stream = torch.cuda.Stream()
        self.arch = f"sm_{self.properties.major}{self.properties.minor}"

    def describe(self):
        return {
            "device": self.properties.name,
            "multiprocessors": self.properties.multi_processor_count,
            "l2_bytes": self.l2,
            "torch": self.torch.__version__,
            "state": state(),
        }

    def bench(self, kernel, seed):
        return Bench(self, kernel, seed)


class Handle:
    """A configuration, compiled and loaded."""

    def __init__(self, configuration, module, calls, registers, local_bytes):
        self.configuration, self.module, self.calls = configuration, module, calls
        self.registers, self.local_bytes = registers, local_bytes
        self.next = 0


class Bench:
    def __init__(self, gpu, kernel, seed):
        torch, self.gpu, self.kernel = gpu.torch, gpu, kernel
        self.driver, self.torch, self.stream = gpu.driver, torch, gpu.stream
        # All sets together are more than four times the L2 cache.
        self.count = max(2, 4 * gpu.l2 // kernel.set_bytes + 1)
        scratch = {}
        for configuration in kernel.configurations():
            for name, size in kernel.scratch_bytes(configuration).items():
                scratch[name] = max(size, scratch.get(name, 0))
        generator = torch.Generator(device="cuda").manual_seed(seed)
        dtypes = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
        self.scalars = {one.name: one.values[0] for one in kernel.arguments if one.scalar}
        self.sets, self.expected = [], []
        with torch.cuda.stream(self.stream):
            for _ in range(self.count):
                tensors = {}
                for one in kernel.arguments:
                    if not one.scalar:
                        tensor = torch.empty(one.shape, dtype=dtypes[one.dtype], device="cuda")
                        tensors[one.name] = tensor if one.written else tensor.normal_(generator=generator)
                self.expected.append(REFERENCES[kernel.name](torch, tensors, self.scalars))
                for name, size in scratch.items():
                    tensors[name] = torch.empty(size // 4, dtype=torch.float32, device="cuda")
                self.sets.append(tensors)
        self.written = [one.name for one in kernel.arguments if one.written]
        self.scratch = list(scratch)
        self.begin, self.end = ctypes.c_void_p(), ctypes.c_void_p()
        for event in (self.begin, self.end):
            self.driver("cuEventCreate", ctypes.byref(event), 0)
        self.raw_stream = ctypes.c_void_p(self.stream.cuda_stream)
        self.synchronize()

    def describe(self):
        return {"sets": self.count, "set_bytes": self.kernel.set_bytes, "l2_bytes": self.gpu.l2}

    def synchronize(self):
        self.driver("cuStreamSynchronize", self.raw_stream)

    def load(self, configuration, cubin):
        module = ctypes.c_void_p()
        self.driver("cuModuleLoadData", ctypes.byref(module), cubin)
        calls, most, local = [], 0, 0
        launches = []
        for launch in self.kernel.launches(configuration):
            function, value = ctypes.c_void_p(), ctypes.c_int()
            self.driver("cuModuleGetFunction", ctypes.byref(function), module, launch.entry.encode())
            if launch.shared > 48 * 1024:
                self.driver("cuFuncSetAttribute", function, SHARED_LIMIT, launch.shared)
            self.driver("cuFuncGetAttribute", ctypes.byref(value), REGISTERS, function)
            most = max(most, value.value)
            self.driver("cuFuncGetAttribute", ctypes.byref(value), LOCAL_BYTES, function)
            local = max(local, value.value)
            launches.append((function, launch))
        for tensors in self.sets:
            calls.append([self._call(function, launch, tensors) for function, launch in launches])
        return Handle(configuration, module, calls, most, local)

    def _call(self, function, launch, tensors):
        values = []
        for kind, value in launch.params:
            if kind in ("u32", "u64"):
                values.append({"u32": ctypes.c_uint32, "u64": ctypes.c_uint64}[kind](value))
            elif value in self.scalars:
                values.append(ctypes.c_float(self.scalars[value]))
            else:
                values.append(ctypes.c_void_p(tensors[value].data_ptr()))
        params = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        config = _Config(*launch.grid, *launch.block, launch.shared, self.raw_stream.value, None, 0)
        attribute = None
        if launch.cluster != (1, 1, 1):
            attribute = _Attribute(id=CLUSTER)
            attribute.value[0:3] = launch.cluster
            config.attributes, config.count = ctypes.addressof(attribute), 1
        # Everything that the pointers point to is kept with the call.
        return function, config, params, (values, attribute)

    def launch(self, handle, number):
        for function, config, params, _ in handle.calls[number % self.count]:
            self.driver("cuLaunchKernelEx", ctypes.byref(config), function, params, None)

    def _elapsed(self):
        self.driver("cuEventSynchronize", self.end)
        milliseconds = ctypes.c_float()
        self.driver("cuEventElapsedTime", ctypes.byref(milliseconds), self.begin, self.end)
        return milliseconds.value

    def once(self, handle):
        """Milliseconds of one call between two events, on the set that was not used for the longest time."""
        handle.next += 1
        self.driver("cuEventRecord", self.begin, self.raw_stream)
        self.launch(handle, handle.next)
        self.driver("cuEventRecord", self.end, self.raw_stream)
        return self._elapsed()

    def check(self, handle, number=0):
        """Whether the outputs of one call are right, and how far off they are. Outputs and scratch hold NaN before."""
        torch, tensors = self.torch, self.sets[number]
        with torch.cuda.stream(self.stream):
            for name in self.written + self.scratch:
                tensors[name].fill_(float("nan"))
            self.launch(handle, number)
            worst = 0.0
            for name in self.written:
                expected = self.expected[number][name]
                difference = tensors[name].to(expected.dtype) - expected
                norm = expected.norm()
                error = (difference.norm() / norm).item()
                # No single element is far off either.
                usual = norm / expected.numel() ** 0.5
                single = (difference.abs_() / (expected.abs() + usual)).max().item()
                if not (error == error and single <= ELEMENT):
                    error = float("inf")
                worst = max(worst, error)
        return worst <= TOLERANCE[self.kernel.name], worst

    def window(self, handle, calls):
        """So many calls, one after the other over all sets, as one graph."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self.driver("cuStreamBeginCapture_v2", self.raw_stream, 2)  # relaxed
        try:
            for number in range(calls):
                self.launch(handle, number)
        finally:
            self.driver("cuStreamEndCapture", self.raw_stream, ctypes.byref(graph))
        self.driver("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        self.driver("cuGraphDestroy", graph)
        return executable, calls

    def time(self, window):
        """Milliseconds of one call, averaged over the window."""
        executable, calls = window
        self.driver("cuEventRecord", self.begin, self.raw_stream)
        self.driver("cuGraphLaunch", executable, self.raw_stream)
        self.driver("cuEventRecord", self.end, self.raw_stream)
        return self._elapsed() / calls

    def drop(self, window):
        self.driver("cuGraphExecDestroy", window[0])

    def unload(self, handle):
        self.driver("cuModuleUnload", handle.module)

    def close(self):
        self.synchronize()
        self.sets.clear()
        self.expected.clear()
        self.torch.cuda.empty_cache()


def fake_time(kernel, configuration):
    """A time in milliseconds that depends on the configuration alone, for dry runs."""
    text = kernel.name + str(sorted(configuration.items()))
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
    return 0.05 * (1.0 + 4.0 * share)


class FakeGpu:
    """No GPU: times come out of `fake_time`, every output is right."""

    arch, l2 = "sm_90", 50 << 20

    def describe(self):
        return {"device": "none: a dry run", "l2_bytes": self.l2}

    def bench(self, kernel, seed):
        return FakeBench(kernel)


class FakeBench:
    def __init__(self, kernel):
        self.kernel, self.count, self.calls = kernel, max(2, 4 * FakeGpu.l2 // kernel.set_bytes + 1), 0

    def describe(self):
        return {"sets": self.count, "set_bytes": self.kernel.set_bytes, "l2_bytes": FakeGpu.l2}

    def load(self, configuration, cubin):
        for launch in self.kernel.launches(configuration):
            assert launch.block[0] * launch.block[1] * launch.block[2] <= 1024 and launch.shared <= 227 * 1024, launch
        return Handle(configuration, None, [], 0, 0)

    def _noisy(self, handle):
        self.calls += 1
        return fake_time(self.kernel, handle.configuration) * (1.0 + 0.001 * (self.calls * 7919 % 13 - 6) / 6)

    def once(self, handle):
        return self._noisy(handle)

    def check(self, handle, number=0):
        return True, 0.0

    def window(self, handle, calls):
        return handle, calls

    def time(self, window):
        return self._noisy(window[0])

    def drop(self, window):
        pass

    def unload(self, handle):
        pass

    def close(self):
        pass
