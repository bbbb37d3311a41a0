#!/bin/sh
# Compiles every program here with nvcc 13.0: `NVCC=/path/to/nvcc ./build.sh`. The PTX is committed.
set -eu
cd "$(dirname "$0")"
: "${NVCC:=nvcc}"
for source in *.cu; do
    name=${source%.cu}
    for arch in sm_90 sm_100; do
        "$NVCC" -std=c++17 -O3 -ptx -arch=$arch "$source" -o "$name.$arch.ptx"
    done
done
for name in reduce functions control; do
    "$NVCC" -std=c++17 -O3 -ptx -arch=sm_90 -lineinfo $name.cu -o $name.sm_90.lineinfo.ptx
    "$NVCC" -std=c++17 -ptx -arch=sm_90 -G $name.cu -o $name.sm_90.debug.ptx
done
"$NVCC" -std=c++17 -O3 -ptx -arch=sm_90a hopper.cu -o hopper.sm_90a.ptx
# Debug information names the folders of the machine that compiled it; the committed files should not.
sed -i -e "s#$PWD/##; s#\"[^\"]*/bin/\.\.//include/#\"cuda/include/#" ./*.lineinfo.ptx ./*.debug.ptx
