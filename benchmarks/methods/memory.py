"""Peak memory of one method: a process of its own trains two steps and asks the kernel.

    python -m benchmarks.methods.memory KIND METHOD

`bare` is a process that imported the same modules and loaded nothing. The peak of loading and the peak of training are
told apart: after loading, the kernel's mark is set back (Linux, /proc/self/clear_refs).
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.methods.cells import METHODS, round_of, spec_of, task_data
from benchmarks.methods.rates import rate_of
from benchmarks.shared.places import ROOT
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["KINDS", "memory_cell"]

KINDS: dict[str, tuple[str, ...]] = {
    "text": METHODS,
    "digits": (),
    "language": ("lora", "pfeiffer", "ia3", "prompt"),
}
"""Methods by model; the vision transformer is too small to tell them apart."""
_TASKS = {"text": "tweets", "language": "movie language"}
_MIB = 2**20


def memory_cell(kind: str, method: str) -> dict[str, Any]:
    """Bytes resident at the peak of a fresh process that loads the model and trains two steps."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.methods.memory", kind, method],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _measure(kind: str, method: str) -> dict[str, Any]:
    if method == "bare":
        return {"peak_mib": _peak_mib()}
    data = task_data(_TASKS[kind])
    try:
        bench = Workbench.from_spec(spec_of(data, method, rate_of(kind, method), 0))
    except MethodError as error:
        return {"refused": str(error)}
    loading = _peak_mib()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    shard, context = round_of(bench, data, 0)
    state = start_state(bench, bench.initial_state())
    for step in range(2):
        state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
    training = _peak_mib()
    return {"peak_mib": max(loading, training), "training_mib": training}


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / _MIB


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], sys.argv[2])))
