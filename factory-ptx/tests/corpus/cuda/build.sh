#!/bin/sh
# Compiles every program here (or those named) with nvcc 13.0: `NVCC=/path/to/nvcc ./build.sh [name…]`. The PTX is
# committed; the answers beside it were recorded from exactly this text.
set -eu
cd "$(dirname "$0")"
: "${NVCC:=nvcc}"
[ $# -gt 0 ] || set -- $(ls *.cu | sed 's/\.cu$//')
for name; do
    "$NVCC" -std=c++17 -O3 -ptx -arch=sm_90a "$name.cu" -o "$name.ptx"
    # Assemble it, where ptxas stands beside nvcc: a program that no GPU would take has no place here.
    ptxas=$(dirname "$NVCC")/ptxas
    [ ! -x "$ptxas" ] || "$ptxas" -arch=sm_90a "$name.ptx" -o /dev/null
done
