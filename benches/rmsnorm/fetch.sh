#!/bin/sh
# Downloads the peers' wheels into .whl at the repository's root, for Python 3.12 on x86-64 Linux with CUDA 13: QuACK with
# CUTLASS's DSL, and Liger. PyTorch, Triton and CUDA's own wheels are what the GPU machine has. CUTLASS's wheel asks for the
# libraries of CUDA 12 too (nvidia-cutlass-dsl-libs-cu12); those of CUDA 13 take their place, so they are left out.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .whl/wheels
for wheel in quack-kernels==0.6.5 liger-kernel==0.8.5 nvidia-cutlass-dsl==4.8.1 nvidia-cutlass-dsl-libs-base==4.8.1 \
    nvidia-cutlass-dsl-libs-core==4.8.1 nvidia-cutlass-dsl-libs-cu13==4.8.1 'apache-tvm-ffi>=0.1.6,<0.2' torch-c-dlpack-ext einops; do
    python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_24_x86_64 \
        --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -d .whl/wheels "$wheel" ||
        echo "missing: $wheel" >&2
done
ls -l .whl/wheels
