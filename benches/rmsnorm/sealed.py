"""Sealed kernels, found by their dtypes and launched through the driver's interface as their plans say.

This is a second reader of the format beside `factory-runtime`: nothing of the project has to be built on the machine that
measures, and launches land on PyTorch's current stream, where CUDA graphs are captured. It reads what the kernels here
use; a plan with tensor maps is refused.
"""

import ctypes
import functools
import hashlib
import json
from pathlib import Path

import sizes

KERNELS = Path(__file__).resolve().parents[2] / "kernels/rmsnorm/kernels"

# CU_FUNC_ATTRIBUTE_…, CU_LAUNCH_ATTRIBUTE_…, CU_JIT_…
SHARED_LIMIT, NON_PORTABLE_CLUSTER = 8, 14
CLUSTER_DIMENSION, PROGRAMMATIC = 4, 6
ERROR_LOG, ERROR_LOG_BYTES = 5, 6
PORTABLE_CLUSTER = 8
LOG_BYTES = 16 * 1024
# Errors after which the context, and with it the process, computes nothing any more.
STICKY = {700, 702, 710, 714, 715, 716, 717, 718, 719, 999}


class DriverError(RuntimeError):
    def __init__(self, what, code, text):
        super().__init__(f"{what}: {text} ({code})")
        self.lost = code in STICKY


class _Attribute(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_char * 4), ("value", ctypes.c_uint * 16)]


class _Config(ctypes.Structure):
    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("attribute_count", ctypes.c_uint),
    ]


@functools.cache
def _library():
    return ctypes.CDLL("libcuda.so.1")


def call(name, *arguments):
    """Calls the driver, and raises what it complains about."""
    if code := getattr(_library(), name)(*arguments):
        text = ctypes.c_char_p()
        _library().cuGetErrorString(code, ctypes.byref(text))
        raise DriverError(name, code, (text.value or b"?").decode())


class Module:
    """PTX or a cubin, compiled by the driver into PyTorch's context, which has to be current. It is never unloaded."""

    def __init__(self, image):
        self.handle, log = ctypes.c_void_p(), ctypes.create_string_buffer(LOG_BYTES)
        options = (ctypes.c_int * 2)(ERROR_LOG, ERROR_LOG_BYTES)
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), LOG_BYTES)
        if not image.endswith(b"\0"):
            image += b"\0"
        try:
            call("cuModuleLoadDataEx", ctypes.byref(self.handle), image, 2, options, values)
        except DriverError as error:
            raise RuntimeError(f"{error}: {log.value.decode(errors='replace').strip()[:500]}") from error
        self.functions = {}

    def function(self, entry, shared_bytes, cluster):
        """The function, allowed what this launch needs."""
        if entry not in self.functions:
            handle = ctypes.c_void_p()
            call("cuModuleGetFunction", ctypes.byref(handle), self.handle, entry.encode())
            self.functions[entry] = [handle, 0, PORTABLE_CLUSTER]
        known = self.functions[entry]
        if shared_bytes > known[1]:
            call("cuFuncSetAttribute", known[0], SHARED_LIMIT, shared_bytes)
            known[1] = shared_bytes
        if cluster > known[2]:
            call("cuFuncSetAttribute", known[0], NON_PORTABLE_CLUSTER, 1)
            known[2] = cluster
        return known[0]

    def launch(self, entry, grid, block, params, stream, *, cluster=(1, 1, 1), shared_bytes=0, programmatic=False):
        """Queues a launch; `params` are ctypes values, which the driver copies before this returns."""
        if 0 in grid:
            return
        blocks = cluster[0] * cluster[1] * cluster[2]
        function = self.function(entry, shared_bytes, blocks)
        attributes = (_Attribute * 2)()
        count = 0
        if blocks > 1:
            attributes[count].id = CLUSTER_DIMENSION
            attributes[count].value[0:3] = cluster
            count += 1
        if programmatic:
            attributes[count].id = PROGRAMMATIC
            attributes[count].value[0] = 1
            count += 1
        config = _Config((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), shared_bytes, stream, attributes, count)
        pointers = (ctypes.c_void_p * len(params))(*[ctypes.addressof(one) for one in params])
        call("cuLaunchKernelEx", ctypes.byref(config), function, pointers, None)


def find(spec, bindings, kernels=KERNELS):
    """The folder of the kernel that is sealed for these dtypes, `{"T": "bf16", "W": "f32"}`: by its certificate's bindings."""
    found = []
    for path in sorted((kernels / spec).glob("*/certificate.json")):
        if json.loads(path.read_text())["bindings"] == bindings:
            found.append(path.parent)
    if len(found) != 1:
        raise LookupError(f"{len(found)} kernels are sealed as {spec} for {bindings}, not one: {[one.name for one in found]}")
    return found[0]


class Sealed:
    """A sealed kernel: its plan for one architecture, and its PTX once it is launched."""

    def __init__(self, folder, arch="sm_90"):
        self.folder = folder
        self.certificate = json.loads((folder / "certificate.json").read_text())
        for name, digest in self.certificate["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise ValueError(f"`{folder / name}` was changed after it was sealed")
        plan = json.loads((folder / "plan.json").read_text())
        targets = [one for one in plan["targets"] if one["arch"] == arch]
        if plan["schema"] != 1 or len(targets) != 1:
            raise ValueError(f"`{folder}/plan.json` has no plan for {arch} that this reads")
        self.target = targets[0]
        self.name = f"{self.certificate['name']}/{folder.name}"

    def variant(self, values):
        """The first variant whose condition holds."""
        for variant in self.target["variants"]:
            if sizes.evaluate(variant["when"], values) != 0:
                return variant
        raise LookupError(f"no variant of {self.name} serves {values}")

    @functools.cached_property
    def module(self):
        return Module((self.folder / self.target["ptx"]).read_bytes())

    def __call__(self, tensors, scalars, values, torch):
        """Launches on PyTorch's current stream. `scalars` are all f32, as those of the specs here are."""
        variant = self.variant(values)
        for name, tensor in tensors.items():
            if tensor.data_ptr() % variant["alignment"] or not tensor.is_contiguous():
                raise ValueError(f"`{name}` is not aligned to {variant['alignment']} bytes, or has strides")
        scratch = {}
        for one in variant["scratch"]:
            make = torch.zeros if one.get("zero") else torch.empty
            scratch[one["name"]] = make(sizes.evaluate(one["bytes"], values), dtype=torch.uint8, device="cuda")
        stream = torch.cuda.current_stream().cuda_stream
        for launch in variant["launches"]:
            params = []
            for param in launch["params"]:
                ((kind, what),) = param.items()
                if kind == "pointer":
                    params.append(ctypes.c_void_p(tensors[what["arg"]].data_ptr()))
                elif kind == "scratch":
                    params.append(ctypes.c_void_p(scratch[what["name"]].data_ptr()))
                elif kind == "scalar":
                    params.append(ctypes.c_float(scalars[what["arg"]]))
                elif kind == "size":
                    integer = {4: ctypes.c_int32, 8: ctypes.c_int64}[what["bytes"]]
                    params.append(integer(sizes.evaluate(what["value"], values)))
                else:
                    raise ValueError(f"{self.name} passes a {kind}, which this does not read")
            self.module.launch(
                launch["entry"],
                [sizes.evaluate(one, values) for one in launch["grid"]],
                launch["block"],
                params,
                stream,
                cluster=launch["cluster"],
                shared_bytes=sizes.evaluate(launch["shared_bytes"], values),
                programmatic=launch.get("programmatic", False),
            )
