"""What is measured: parts of shapes, what each reads and writes, and what is right."""

from dataclasses import dataclass

# The shapes of the peers' own benchmarks, 1 to 4 GiB a tensor at the end.
ROWS = [(32768, 1 << bits) for bits in range(8, 17)] + [(16384, 131072), (8192, 262144)]
# N outside, so that a peer that compiles for each N does it once.
MODELS = [(m, n) for n in (128, 2048, 4096, 5120, 6144, 7168, 8192) for m in (1, 16, 128, 2048, 16384)]
# Part: what is computed, the dtype of elements, and shapes. In the order of importance: time may run out.
PARTS = {
    "forward": ("forward", "bf16", ROWS),
    "backward": ("backward", "bf16", ROWS),
    "models": ("forward", "bf16", MODELS),
    "residual": ("residual", "bf16", ROWS),
    "f16": ("forward", "f16", ROWS),
    "f32": ("forward", "f32", ROWS),
}
BYTES = {"bf16": 2, "f16": 2, "f32": 4}
# Matrices that are read, and that are written.
INPUTS = {"forward": ["x"], "residual": ["x", "residual"], "backward": ["x", "dy"]}
OUTPUTS = {"forward": ["y"], "residual": ["y", "residual_out"], "backward": ["dx"]}
# The project's kernels.
SPECS = {"forward": "rms_norm", "residual": "rms_norm_residual", "backward": "rms_norm_backward"}
PROVIDERS = {
    "forward": ["sealed", "quack", "quack_tuned", "liger", "torch_compile", "copy"],
    "residual": ["sealed", "quack", "quack_tuned", "liger", "torch_compile", "copy"],
    "backward": ["sealed", "quack", "quack_tuned", "torch_compile", "copy"],
}
EPS = 1e-6
# ‖out − ref‖ / ‖ref‖ beyond which an output counts as wrong: Liger rounds twice, everyone once at least.
TOLERANCE = {"bf16": 4e-3, "f16": 1e-3, "f32": 1e-5}


@dataclass(frozen=True)
class Job:
    part: str
    kind: str
    dtype: str
    m: int
    n: int

    @property
    def matrix_bytes(self):
        return self.m * self.n * BYTES[self.dtype]

    @property
    def moved_bytes(self):
        """The matrices that are read and written once: what rates are given of. Weights and scales come on top."""
        return self.matrix_bytes * (len(INPUTS[self.kind]) + len(OUTPUTS[self.kind]))

    @property
    def bindings(self):
        """The dtypes by the specs' names: weights are f32 throughout."""
        return {"T": self.dtype, "W": "f32"} | ({"R": self.dtype} if self.kind == "residual" else {})

    def __str__(self):
        return f"{self.part} {self.m} x {self.n}"


def jobs(part):
    kind, dtype, shapes = PARTS[part]
    return [Job(part, kind, dtype, m, n) for m, n in shapes]


def expected(torch, kind, rows):
    """The outputs for some rows in f64; `dw` is these rows' share of the sum."""
    x, w = rows["x"].double(), rows["w"].double()
    if kind == "backward":
        h = x * rows["rstd"].double()[:, None]
        dy = rows["dy"].double()
        g = dy * w
        dx = (g - h * (g * h).mean(dim=1, keepdim=True)) * rows["rstd"].double()[:, None]
        return {"dx": dx, "dw": (dy * h).sum(dim=0)}
    if kind == "residual":
        x = x + rows["residual"].double()
    y = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPS) * w
    return {"y": y, "residual_out": x} if kind == "residual" else {"y": y}
