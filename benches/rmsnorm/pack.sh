#!/bin/sh
# Unpacks what fetch.sh brought into one tree as `pip install --target` would, packs it with xz and cuts it into
# .whl/part-1, .whl/part-2, …, each small enough to travel with the working tree in a transfer of 64 MiB. Takes four minutes.
set -eu
cd "$(dirname "$0")/../.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
python3 - "$site" .whl/wheels/*.whl <<'PYTHON'
import sys, zipfile

for wheel in sys.argv[2:]:
    zipfile.ZipFile(wheel).extractall(sys.argv[1])
PYTHON
# What no import reads: stubs to link for another system, and sources.
rm -rf "$site"/nvidia_cutlass_dsl/cu13/lib/stubs "$site"/tvm_ffi/3rdparty
rm -rf .whl/part-*
tar -C "$site" --sort=name --owner=0 --group=0 -c . | xz -6 -T2 > "$site.tar.xz"
sha256sum < "$site.tar.xz" > "$site.sum"
split -b 26000000 --numeric-suffixes=1 -a 1 "$site.tar.xz" "$site.part-"
for piece in "$site".part-*; do
    number=${piece##*-}
    mkdir -p ".whl/part-$number"
    mv "$piece" ".whl/part-$number/site.tar.xz.$number"
    cp "$site.sum" ".whl/part-$number/site.sha256"
done
rm -f "$site.tar.xz" "$site.sum"
du -b .whl/part-*/*
