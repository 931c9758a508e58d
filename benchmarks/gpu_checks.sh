#!/bin/bash
# Every check that needs a GPU, in at most six minutes: `benchmarks/gpu_checks.sh [FILE.json]`. It can be repeated, and
# names the card. It needs Python 3.11 with torch; what else is missing is installed beside it, if pip can reach its
# index. On a machine without a GPU it says so and runs the same checks on the CPU alone, as a rehearsal.
set -eu
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-docs/results/data/gpu_checks.json}")
python=${PYTHON:-python3}
[ -x .venv/bin/python ] && python=.venv/bin/python
if ! "$python" -c 'import torch' 2>/dev/null; then
    echo "gpu_checks: $python has no torch; say PYTHON=/path/to/python" >&2
    exit 1
fi
if ! "$python" -c 'import numpy, peft, pydantic, safetensors, transformers' 2>/dev/null; then
    place=build/gpu_checks
    [ -x $place/bin/python ] || "$python" -m venv --system-site-packages $place # torch stays the machine's own
    needs=$("$python" -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))')
    grep -viE '^torch\b' <<<"$needs" > $place/needs.txt
    $place/bin/python -m pip install --quiet -r $place/needs.txt -c <(grep -viE '^(torch|triton|nvidia|cuda)' requirements.lock)
    python=$place/bin/python
fi
export CUBLAS_WORKSPACE_CONFIG=:4096:8 PYTHONPATH=$PWD
exec timeout $((360 - SECONDS)) "$python" -m benchmarks.hardware.gpu_checks "$out" --seconds $((330 - SECONDS))
