#!/usr/bin/env bash
# Runs on a machine with a GPU, from the checkout's root: bash target/kit/run.sh RESULTS [SECONDS-FOR-THE-TABLE]
# Everything it measures lands in RESULTS. A part that fails is reported at the end and does not stop the others.
set -u
kit=$(cd "$(dirname "$0")" && pwd)
results=${1:?name a folder for the results}
seconds=${2:-300}
mkdir -p "$results"
export KERNEL_FACTORY_CACHE_DIR=/tmp/kernel-factory-cache RUST_BACKTRACE=1
failed=()

part() { # name, command …
    local name=$1; shift
    echo "=== $name: $*"
    if ! "$@" 2>&1 | tee "$results/$name.txt"; then failed+=("$name"); fi
}
set -o pipefail

{ nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw --format=csv; date -u; } | tee "$results/device.txt"
part doctor "$kit/cargo-factory" factory doctor
part example-rmsnorm "$kit/example-rmsnorm"
part example-fused "$kit/example-fused"
part verify "$kit/cargo-factory" factory verify --gpu --dir examples/rmsnorm
part launch "$kit/launch_overhead"
part test-runtime "$kit/test-factory-runtime" --test-threads 1
KERNEL_FACTORY_TEST_GPU=require part test-search-gpu "$kit/test-factory-search" gpu:: --test-threads 1 --nocapture
part rmsnorm-forward "$kit/gpu_check" --seconds "$seconds" --json "$results/rmsnorm-forward.json"
if [ ${#failed[@]} -gt 0 ]; then echo "failed: ${failed[*]}"; exit 1; fi
echo "everything passed"
