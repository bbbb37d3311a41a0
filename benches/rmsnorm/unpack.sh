#!/bin/sh
# On the machine with the GPU: `unpack.sh` keeps the parts that travelled with this call in /tmp/parts, and puts them together
# as /tmp/site once the last one is there. Then
#   export PYTHONPATH=/tmp/site:/tmp/site/nvidia_cutlass_dsl/dsl_packages
set -eu
cd "$(dirname "$0")/../.."
mkdir -p /tmp/parts
for part in .whl/part-*; do
    if [ -d "$part" ]; then cp "$part"/* /tmp/parts/; fi
done
if [ ! -e /tmp/parts/site.sha256 ]; then echo "unpack.sh: no parts in .whl" >&2; exit 1; fi
# A part that is missing, or of another pack, gives another digest.
if [ "$(cat /tmp/parts/site.tar.xz.* | sha256sum)" != "$(cat /tmp/parts/site.sha256)" ]; then
    echo "unpack.sh: not complete yet:" /tmp/parts/site.tar.xz.*
    exit 0
fi
rm -rf /tmp/site
mkdir -p /tmp/site
# xz's library is part of Python, should the program not be there.
cat /tmp/parts/site.tar.xz.* | python3 -c 'import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz").extractall("/tmp/site", filter="data")'
echo "unpack.sh: /tmp/site is complete"
PYTHONPATH=/tmp/site:/tmp/site/nvidia_cutlass_dsl/dsl_packages python3 - <<'PYTHON'
import importlib

for name in ["cuda.bindings.driver", "google.protobuf", "typing_extensions", "tvm_ffi", "cutlass", "quack.rmsnorm", "liger_kernel.ops.rms_norm"]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(f"unpack.sh: {name}: {type(error).__name__}: {error}"[:300])
    else:
        print(f"unpack.sh: {name} is there")
PYTHON
