#!/bin/sh
# Install PyTorch into a virtual environment: the small CPU build where there is no NVIDIA driver, the default build
# where there is one. Usage: install_torch.sh PYTHON INDEX_OF_CPU_WHEELS
set -eu
python=$1
index=$2
pin=$(grep '^torch==' constraints.txt)

if "$python" -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '${pin#torch==}')" 2>/dev/null; then
    exit 0
fi
if [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null 2>&1; then
    echo "== installing $pin with CUDA (an NVIDIA driver is here)"
    exec "$python" -m pip install --quiet "$pin"
fi
echo "== installing $pin for the CPU from $index"
if "$python" -m pip install --quiet --no-deps --retries 0 --timeout 20 --index-url "$index" "$pin" 2>/dev/null; then
    exit 0
fi
echo "== that index did not answer; trying the configured one (TORCH_INDEX=... overrides)"
exec "$python" -m pip install --quiet --no-deps "$pin"
