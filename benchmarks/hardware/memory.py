"""Peak host memory and seconds of one role on one model, in a process of its own.

    python -m benchmarks.hardware.memory ROLE MODEL FORM DEVICE FOLDER [--steps N]

ROLE is `exact` or `bounded` (a trainer), `judge-exact` or `judge-bounded` (a verifier). FORM is `model.frozen_dtype`.
Prints JSON. The peak is the kernel's: what is mapped from files counts as far as it was touched.
"""

from __future__ import annotations

import argparse
import inspect
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.hardware.models import spec_for, weight_bytes
from benchmarks.shared.places import ROOT
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.replaying.replay import Judge
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["measured"]

TOKENS, BATCH = 64, 4


def measured(role: str, model: str, form: str, device: str, folder: Path, steps: int = 2) -> dict[str, Any]:
    """What a fresh process found; `failed` holds its last words if it did not end well."""
    command = [sys.executable, "-m", "benchmarks.hardware.memory", role, model, form, device, str(folder)]
    done = subprocess.run([*command, "--steps", str(steps)], cwd=ROOT, capture_output=True, text=True, check=False)
    asked = {"role": role, "model": model, "form": form, "device": device}
    if done.returncode:
        return {**asked, "failed": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]}
    return {**asked, **json.loads(done.stdout.splitlines()[-1])}


def _measure(role: str, model: str, form: str, device: str, folder: Path, steps: int) -> dict[str, Any]:
    bare = _memory()["VmHWM"]
    numeric = role.rpartition("-")[2]
    spec = spec_for(model, folder, numeric=numeric, frozen_dtype=form, tokens=TOKENS, batch=BATCH)
    _forget_peak()
    before = _memory()["VmRSS"]
    began = time.perf_counter()
    if role.startswith("judge"):
        # Commits before judges could checkpoint do without.
        sparing = {"checkpointing": True} if "checkpointing" in inspect.signature(Judge.from_spec).parameters else {}
        judge = Judge.from_spec(spec, device, **sparing)
        benches = [bench for bench in (judge.mirror, judge.reference) if bench]
    else:
        benches = [Workbench.from_spec(spec, device, checkpointing=True)]
    loading = time.perf_counter() - began
    loaded = _memory()
    rows = [_row(spec.model.kind, number) for number in range(BATCH)]
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        for bench in benches:
            bench.load(bench.start)
            bench.gradient(rows, bytes(32))[0].cpu()
        seconds.append(time.perf_counter() - began)
    stored = weight_bytes(spec)
    found = {
        "weights_mib": stored / 2**20,
        "loading_mib": (loaded["VmHWM"] - before) / 1024,
        "held_mib": (loaded["VmRSS"] - before) / 1024,
        "private_mib": loaded["RssAnon"] / 1024,
        "peak_mib": (_memory()["VmHWM"] - before) / 1024,
        "bare_mib": bare / 1024,
        "loading_seconds": loading,
        "step_seconds": min(seconds, default=None),
    }
    if device != "cpu":
        found["device_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def _row(kind: str, number: int) -> bytes:
    fields: dict[str, object] = {"text": f"{'a film of many words ' * 14}{number}"}
    return canonical_row(fields if kind == "causal-lm" else {**fields, "label": number % 2})


def _memory() -> dict[str, int]:
    """Of this process, KiB."""
    lines = (line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(value.split()[0]) for name, value in lines if name.startswith(("Vm", "Rss"))}


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("role", "model", "form", "device"):
        parser.add_argument(name)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(_measure(**vars(options))))


if __name__ == "__main__":
    main()
