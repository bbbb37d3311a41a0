"""Where calls are timed: on the first GPU, or nowhere at all for a dry run.

Both are given a job and make a bench, with `prepare` (a provider's calls as one CUDA graph), `time` (milliseconds of one of
them) and `errors` (how far its outputs of the last replay are from f64).
"""

import hashlib
import math
import subprocess
import time

import copies
import providers
from jobs import INPUTS, OUTPUTS, PROVIDERS, TOLERANCE, expected

# A graph holds so many calls, one a set of buffers, that it takes this long, and all sets are this many times the L2 cache.
GRAPH_SECONDS, WINDOW_SECONDS = 1.5e-3, 2e-3
CACHES = 5
MOST_CALLS = 512
# Only to choose the number of sets: bytes a second, and seconds that any launch takes.
RATE, LAUNCH = 4e12, 2e-6
REFERENCE_ELEMENTS = 1 << 25


class Lost(RuntimeError):
    """The context is gone: this process will measure nothing any more."""


def calls_for(job, l2, free):
    """How many sets of buffers, so many calls a graph; and whether they are more than the cache holds."""
    outputs = job.matrix_bytes * len(OUTPUTS[job.kind])
    inputs = job.moved_bytes - outputs
    count = math.ceil(GRAPH_SECONDS / (LAUNCH + job.moved_bytes / RATE))
    count = min(max(count, 2, math.ceil(CACHES * l2 / job.moved_bytes)), MOST_CALLS)
    # Every provider keeps all its outputs. A quarter is left for scratch memory, tuners and references.
    count = max(1, min(count, int(0.75 * free / (inputs + outputs * len(PROVIDERS[job.kind])))))
    return count, count * job.moved_bytes > 4 * l2


class Window:
    """A provider's calls."""

    def __init__(self, name, graph, outputs, detail):
        self.name, self.graph, self.outputs, self.detail = name, graph, outputs, detail
        self.repeats = 1


class Gpu:
    def __init__(self, seed):
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError("PyTorch finds no GPU; --dry-run does without one")
        torch.set_grad_enabled(False)
        self.torch = torch
        self.properties = torch.cuda.get_device_properties(0)
        self.arch = f"sm_{self.properties.major}{self.properties.minor}"
        if self.arch != "sm_90":
            raise RuntimeError(f"the plans are read for sm_90, this is {self.arch}")
        self.l2 = self.properties.L2_cache_size
        self.generator = torch.Generator(device="cuda").manual_seed(seed)
        self.flush = torch.rand(CACHES * self.l2 // 4, device="cuda", generator=self.generator)

    def describe(self):
        return {
            "device": self.properties.name,
            "multiprocessors": self.properties.multi_processor_count,
            "l2_bytes": self.l2,
            "memory_bytes": self.properties.total_memory,
            "state": self.state(),
        }

    def state(self):
        """What nvidia-smi says of the card now."""
        fields = "driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,clocks_throttle_reasons.active"
        try:
            # This process may see one card of several, under another number.
            command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", f"--id=GPU-{self.properties.uuid}"]
            return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"unknown: {error}"

    def check_alive(self):
        try:
            self.torch.cuda.synchronize()
        except Exception as error:
            raise Lost(str(error)) from error

    def bench(self, job):
        return Bench(self, job)


class Bench:
    def __init__(self, gpu, job):
        torch, self.gpu, self.job, self.torch = gpu.torch, gpu, job, gpu.torch
        free, _ = torch.cuda.mem_get_info()
        self.count, self.cold = calls_for(job, gpu.l2, free)
        dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[job.dtype]
        w = torch.randn(job.n, device="cuda", generator=gpu.generator) * 0.5 + 1.0
        self.sets = []
        for _ in range(self.count):
            inputs = {"w": w}
            for name in INPUTS[job.kind]:
                inputs[name] = torch.empty(job.m, job.n, dtype=dtype, device="cuda").normal_(generator=gpu.generator)
            if job.kind == "backward":
                inputs["rstd"] = self._rstd(inputs["x"])
            self.sets.append(inputs)
        self.begin, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()

    def _chunks(self):
        rows = max(1, REFERENCE_ELEMENTS // self.job.n)
        return [slice(first, min(first + rows, self.job.m)) for first in range(0, self.job.m, rows)]

    def _rstd(self, x):
        squares = [x[rows].float().square().mean(dim=1) for rows in self._chunks()]
        return self.torch.rsqrt(self.torch.cat(squares) + 1e-6)

    def describe(self):
        return {"calls": self.count, "pool_bytes": self.count * self.job.moved_bytes, "beyond_cache": self.cold}

    def prepare(self, name):
        if name == "copy":
            return self._best_copy()
        window = self._capture(name, providers.MAKERS[name](self.torch, self.job), self.sets)
        if name == "sealed":
            kernel = providers.sealed_kernel(self.job)
            window.detail = f"{kernel.name} {kernel.variant({'m': self.job.m, 'n': self.job.n})['name']}"
        if name == "quack_tuned":
            from quack.rmsnorm import rmsnorm_fwd_tuned

            window.detail = str(getattr(rmsnorm_fwd_tuned, "best_config", None))
        return window

    def _capture(self, name, run, sets):
        torch = self.torch
        # Compilers, tuners and lazily loaded modules have their turn before the capture, on a stream that is not the default.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run(sets[0])
        torch.cuda.synchronize()
        graph, outputs = torch.cuda.CUDAGraph(), []
        # Outputs are kept, or one call would get the memory of the call before, still in the cache.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            for inputs in sets:
                outputs.append(run(inputs))
        graph.replay()
        torch.cuda.synchronize()
        window = Window(name, graph, outputs, None)
        if self.cold:
            window.repeats = max(1, math.ceil(WINDOW_SECONDS / (1e-3 * max(1e-3, self.time(window) * self.count))))
        return window

    def _best_copy(self):
        torch, job = self.torch, self.job
        # All variants write to the same memory, a matrix a call.
        outputs = [{name: torch.empty_like(inputs["x"]) for name in OUTPUTS[job.kind]} for inputs in self.sets]
        pairs = list(zip(self.sets, outputs))
        found = []
        for block, hint in copies.VARIANTS:

            def run(pair, block=block, hint=hint):
                read, written = [pair[0][name] for name in INPUTS[job.kind]], list(pair[1].values())
                copies.launch(self.gpu.arch, block, hint, read, written, torch.cuda.current_stream().cuda_stream)
                return pair[1]

            window = self._capture("copy", run, pairs)
            window.detail = f"{hint}, blocks of {block}"
            found.append((sorted(self.time(window) for _ in range(3))[1], len(found), window))
        # The choice is made here, the time that counts is measured with everyone else's.
        return min(found)[2]

    def time(self, window):
        if self.cold:
            # What the cache holds is what the provider's own last calls left there.
            window.graph.replay()
        else:
            # Buffers that all fit in the cache: it is filled with something else, by reading, which leaves nothing to write
            # back. The replay before gives the host the time to queue everything.
            window.graph.replay()
            self.gpu.flush.sum()
            self.gpu.flush.sum()
        self.begin.record()
        for _ in range(window.repeats):
            window.graph.replay()
        self.end.record()
        self.end.synchronize()
        return self.begin.elapsed_time(self.end) / (window.repeats * self.count)

    def _checked(self):
        return sorted({0, self.count - 1})

    def poison(self, windows):
        """Writes NaN over the outputs that will be checked, so that what is right was written by a replay after this."""
        for window in windows:
            for index in self._checked():
                for tensor in window.outputs[index].values():
                    tensor.fill_(float("nan"))

    def errors(self, windows):
        """‖out − ref‖ / ‖ref‖ and the largest |out − ref| / rms(ref) by provider and output, the worst of the sets checked."""
        torch, kind = self.torch, self.job.kind
        worst = {window.name: {} for window in windows}

        def note(window, name, relative, largest):
            before = worst[window.name].get(name, {"relative": 0.0, "largest": 0.0})
            # NaN is worse than every number.
            pick = lambda a, b: a if not a <= b else b
            worst[window.name][name] = {"relative": pick(relative, before["relative"]), "largest": pick(largest, before["largest"])}

        for index in self._checked():
            inputs = self.sets[index]
            sums, scale, dw = {}, {}, 0.0
            for rows in self._chunks():
                part = {name: tensor if name == "w" else tensor[rows] for name, tensor in inputs.items()}
                reference = expected(torch, kind, part)
                if "dw" in reference:
                    dw = dw + reference.pop("dw")
                for name, right in reference.items():
                    square, _ = scale.get(name, (0.0, 0))
                    scale[name] = (square + right.square().sum().item(), self.job.m * self.job.n)
                    for window in windows:
                        if window.name == "copy":
                            continue
                        off = (window.outputs[index][name][rows].double() - right).abs_()
                        square, largest = sums.get((window.name, name), (0.0, 0.0))
                        most = off.max().item()
                        sums[window.name, name] = (square + off.square_().sum().item(), most if not most <= largest else largest)
            for window in windows:
                for name, (square, count) in scale.items():
                    if (window.name, name) in sums:
                        off, largest = sums[window.name, name]
                        note(window, name, math.sqrt(off / square), largest / math.sqrt(square / count))
                if kind == "backward" and window.name != "copy":
                    off = (window.outputs[index]["dw"].double() - dw).abs_()
                    norm = dw.norm()
                    note(window, "dw", (off.norm() / norm).item(), (off.max() / (norm / dw.numel() ** 0.5)).item())
                if window.name == "copy":
                    note(window, "copy", *self._copy_error(inputs, window.outputs[index]))
        return worst

    def _copy_error(self, inputs, outputs):
        """0 where the copy is right to the bit."""
        torch = self.torch
        integers = torch.int16 if self.job.dtype != "f32" else torch.int32
        read = [inputs[name] for name in INPUTS[self.job.kind]]
        written = list(outputs.values())
        for rows in self._chunks():
            bits = [tensor[rows].view(integers) for tensor in read]
            right = [bits[0] if len(bits) == 1 else bits[0] ^ bits[1], bits[-1]]
            if not all(torch.equal(out[rows].view(integers), one) for out, one in zip(written, right)):
                return math.inf, math.inf
        return 0.0, 0.0

    def close(self):
        self.sets.clear()


class Dry:
    """No GPU: plans are read and variants chosen, times are made up, every output is right."""

    l2 = 60 << 20

    def __init__(self, seed):
        self.seed = seed

    def describe(self):
        return {"device": "none: a dry run", "l2_bytes": self.l2, "state": self.state()}

    def state(self):
        return "a dry run"

    def check_alive(self):
        pass

    def bench(self, job):
        return DryBench(job)


class DryBench:
    def __init__(self, job):
        self.job, self.calls = job, 0
        self.count, self.cold = calls_for(job, Dry.l2, 130 << 30)

    describe = Bench.describe

    def prepare(self, name):
        detail = None
        if name == "sealed":
            kernel = providers.sealed_kernel(self.job)
            detail = f"{kernel.name} {kernel.variant({'m': self.job.m, 'n': self.job.n})['name']}"
        elif name == "copy":
            detail = f"{copies.HINTS[0]}, blocks of {copies.BLOCKS[0]}"
        elif name == "quack_tuned" and self.job.n == 16384:
            time.sleep(3600)  # so that the limit is seen to end it
        elif name not in providers.MAKERS:
            raise KeyError(name)
        return Window(name, None, None, detail)

    def time(self, window):
        self.calls += 1
        share = hashlib.sha256(f"{window.name} {self.job}".encode()).digest()[0] / 256
        slower = 1.0 if window.name == "copy" else 1.02 + 0.2 * share
        noise = 1.0 + 0.001 * (self.calls * 7919 % 13 - 6)
        return 1e3 * (LAUNCH + self.job.moved_bytes / RATE) * slower * noise

    def poison(self, windows):
        pass

    def errors(self, windows):
        return {window.name: {"made up": {"relative": 0.0, "largest": 0.0}} for window in windows}

    def close(self):
        pass


def right(job, errors):
    """Whether no output is further off than rounding explains."""
    return all(one["relative"] <= TOLERANCE[job.dtype] for one in errors.values())
