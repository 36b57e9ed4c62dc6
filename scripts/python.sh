#!/usr/bin/env bash
# Makes a Python environment in target/tools/python with what tests/export.rs, predict.rs and tensorboard.rs read wgseg's files by:
# onnxruntime, TensorBoard and highdicom from PyPI. PyTorch as well where it is asked for: scripts/python.sh torch safetensors
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v python3 >/dev/null || { echo "python: python3 not found; install Python 3.10 or newer" >&2; exit 1; }
python3 -m venv target/tools/python || { echo "python: no venv; on Debian and Ubuntu install python3-venv" >&2; exit 1; }
target/tools/python/bin/python -m pip install --quiet --disable-pip-version-check \
    numpy onnx==1.23.2 onnxruntime==1.32.0 tensorboard==2.21.0 highdicom==0.28.2 pydicom==3.0.2 "$@"
