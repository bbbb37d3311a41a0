"""Those who are measured, each as a function from one set of inputs to its outputs in memory of their own.

They are imported when they are first asked for, so that one which is not installed, or breaks, costs itself alone. What is
timed is what a caller would call: allocation, scratch memory and second launches included, the host's part of it excluded
by the CUDA graph around.
"""

import functools

import sealed
from jobs import EPS, SPECS


@functools.cache
def _sealed(spec, bindings):
    return sealed.Sealed(sealed.find(spec, dict(bindings)))


def sealed_kernel(job):
    return _sealed(SPECS[job.kind], tuple(sorted(job.bindings.items())))


def _project(torch, job):
    kernel, values = sealed_kernel(job), {"m": job.m, "n": job.n}

    def run(inputs):
        if job.kind == "backward":
            outputs = {"dx": torch.empty_like(inputs["x"]), "dw": torch.empty_like(inputs["w"])}
        else:
            outputs = {"y": torch.empty_like(inputs["x"])}
        if job.kind == "residual":
            outputs["residual_out"] = torch.empty_like(inputs["residual"])
        kernel(inputs | outputs, {"eps": EPS, "offset": 0.0}, values, torch)
        return outputs

    return run


def _quack(torch, job):
    from quack.rmsnorm import rmsnorm_bwd, rmsnorm_fwd

    def forward(inputs):
        return {"y": rmsnorm_fwd(inputs["x"], inputs["w"], eps=EPS)[0]}

    def residual(inputs):
        y, residual_out, _ = rmsnorm_fwd(inputs["x"], inputs["w"], residual=inputs["residual"], eps=EPS)
        return {"y": y, "residual_out": residual_out}

    def backward(inputs):
        dx, dw, _, _ = rmsnorm_bwd(inputs["x"], inputs["w"], inputs["dy"], inputs["rstd"])
        return {"dx": dx, "dw": dw}

    return {"forward": forward, "residual": residual, "backward": backward}[job.kind]


def _quack_tuned(torch, job):
    from quack.rmsnorm import get_sm_count, rmsnorm_bwd_tuned, rmsnorm_fwd_tuned

    # The first call tunes for this shape, later ones find the winner in the tuner's cache.
    def forward(inputs):
        outputs = {"y": torch.empty_like(inputs["x"])}
        extra = {}
        if job.kind == "residual":
            outputs["residual_out"] = torch.empty_like(inputs["residual"])
            extra = {"residual": inputs["residual"], "residual_out": outputs["residual_out"]}
        rmsnorm_fwd_tuned(inputs["x"], inputs["w"], outputs["y"], eps=EPS, **extra)
        return outputs

    # As `rmsnorm_bwd` does it: a part of dw for each block, added up by PyTorch.
    def backward(inputs):
        x, w = inputs["x"], inputs["w"]
        dx = torch.empty_like(x)
        parts = torch.empty((get_sm_count(job.n, x.device), job.n), device=x.device, dtype=torch.float32)
        rmsnorm_bwd_tuned(x, w, inputs["dy"], inputs["rstd"], dx, parts, has_dw_partial=True)
        return {"dx": dx, "dw": parts.sum(dim=0).to(w.dtype)}

    return backward if job.kind == "backward" else forward


def _liger(torch, job):
    from liger_kernel.ops.fused_add_rms_norm import fused_add_rms_norm_forward
    from liger_kernel.ops.rms_norm import rms_norm_forward

    # Its defaults: the casting mode of Llama, which rounds before it multiplies by the weight.
    def forward(inputs):
        return {"y": rms_norm_forward(inputs["x"], inputs["w"], EPS, 0.0, "llama", None)[0]}

    def residual(inputs):
        y, residual_out, *_ = fused_add_rms_norm_forward(inputs["x"], inputs["residual"], inputs["w"], EPS, 0.0, "llama")
        return {"y": y, "residual_out": residual_out}

    return {"forward": forward, "residual": residual}[job.kind]


def formulas(torch):
    """What PyTorch is asked to compile."""

    def normalised(h, w, dtype):
        return (h * torch.rsqrt(h.square().mean(dim=-1, keepdim=True) + EPS) * w).to(dtype)

    def forward(x, w):
        return normalised(x.float(), w, x.dtype)

    def residual(x, residual, w):
        h = x.float() + residual.float()
        return normalised(h, w, x.dtype), h.to(residual.dtype)

    def backward(x, w, dy, rstd):
        scale = rstd[:, None]
        h, dy = x.float() * scale, dy.float()
        g = dy * w
        dx = (g - h * (g * h).mean(dim=-1, keepdim=True)) * scale
        return dx.to(x.dtype), (dy * h).sum(dim=0).to(w.dtype)

    return {"forward": forward, "residual": residual, "backward": backward}


def _torch_compile(torch, job):
    import torch._dynamo

    # Every shape is compiled for itself, however many there are.
    for limit in ("recompile_limit", "cache_size_limit", "accumulated_recompile_limit", "accumulated_cache_size_limit"):
        if hasattr(torch._dynamo.config, limit):
            setattr(torch._dynamo.config, limit, 10_000)
    names = {"forward": ["x", "w"], "residual": ["x", "residual", "w"], "backward": ["x", "w", "dy", "rstd"]}[job.kind]
    outputs = {"forward": ["y"], "residual": ["y", "residual_out"], "backward": ["dx", "dw"]}[job.kind]
    compiled = torch.compile(formulas(torch)[job.kind], dynamic=False)

    def run(inputs):
        result = compiled(*[inputs[name] for name in names])
        return dict(zip(outputs, result if isinstance(result, tuple) else (result,)))

    return run


MAKERS = {
    "sealed": _project,
    "quack": _quack,
    "quack_tuned": _quack_tuned,
    "liger": _liger,
    "torch_compile": _torch_compile,
}


def refusal(name, job):
    """Why a provider is not tried at all, if it is not."""
    if name == "quack_tuned" and job.part == "models":
        return "not tried: a search for each of 35 shapes takes too long"
    if name == "quack_tuned" and job.kind == "backward" and job.n > 512:
        return "not tried: its search of a gradient was seen not to end within 45 s on 15 cores"
    if name == "quack_tuned" and job.n >= 32768:
        return "not tried: its search was seen to fail from N = 32768 on"
    return None
