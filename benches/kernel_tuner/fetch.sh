#!/bin/sh
# Downloads Kernel Tuner's wheels into .whl at the repository's root, for Python 3.12 on x86-64 Linux. What the GPU machine
# has (numpy, scipy, pandas, scikit-learn, attrs, typing-extensions, packaging, CuPy) is left out, and so is pymoo, which only
# Kernel Tuner's multi-objective strategies import.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .whl
for wheel in kernel-tuner==1.5.0 python-constraint2==2.9.0 xmltodict==1.0.4 jsonschema==4.26.0 \
    jsonschema-specifications==2025.9.1 referencing==0.37.0 rpds-py==2026.9.1; do
    python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -d .whl "$wheel"
done
du -ch .whl/*.whl
