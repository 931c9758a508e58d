"""What only a GPU can show, one check after the other: run by `benchmarks/gpu_checks.sh`.

    python -m benchmarks.hardware.gpu_checks FILE.json [--seconds N]

The file is written anew after each check, so that one that is killed leaves what it found. Checks that find no time any
more are named. Without a GPU all run on the CPU alone, and the file says that it is a rehearsal. Exit code 1 if a check
found something wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.hardware.memory import measured
from benchmarks.replay.gpu import DEVICES, OPTIMIZERS, across, dropout_masks, optimizer_bits
from benchmarks.shared.replay_tasks import MODELS, machine_facts, round_context
from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard, canonical_row
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.calibration import calibrate
from deltaproof.replaying.replay import Judge
from deltaproof.tuning.base_models.frozen import widened
from deltaproof.tuning.base_models.loading import is_here
from deltaproof.tuning.base_models.packed import PackedMatrix
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.training.recording import batch_rows, train_round
from deltaproof.tuning.training.step import compute_step, start_state
from deltaproof.tuning.training.workbench import Workbench

FORMS = ("stored", "bfloat16", "int8", "int4")
GPU = DEVICES[-1]
"""The CPU in a rehearsal."""
REHEARSAL = len(DEVICES) == 1
Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=330.0)
    options = parser.parse_args()
    if REHEARSAL:
        print("no GPU is here: the checks run on the CPU alone, to see that they run", file=sys.stderr)
    began = time.monotonic()
    facts: Found = {"rehearsal": REHEARSAL, "card": _card(), "machine": machine_facts(), "checks": {}, "not_run": []}
    with tempfile.TemporaryDirectory() as folder:
        for name, check in checks(Path(folder)):
            if time.monotonic() - began > options.seconds:
                facts["not_run"].append(name)
                _write(options.file, facts)
                continue
            started = time.monotonic()
            found = _guarded(check)
            facts["checks"][name] = {**found, "seconds": round(time.monotonic() - started, 2)}
            print(f"{'ok  ' if found['ok'] else 'FAIL'} {name}", file=sys.stderr)
            _write(options.file, facts)
    sys.exit(0 if all(check["ok"] for check in facts["checks"].values()) else 1)


def _write(path: Path, facts: Found) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")


def checks(folder: Path) -> Iterator[tuple[str, Callable[[], Found]]]:
    """Names and checks, the most telling first."""
    yield "optimiser steps, dropout masks and packed matrices have the same bits", _bits
    models = {"bert": minimal_model(folder / "bert", "bert"), "llama": minimal_model(folder / "llama", "llama")}
    for name, place in models.items():
        for numeric in ("exact", "bounded"):
            yield f"{name}, {numeric}: rounds across devices", lambda n=name, p=place, m=numeric: _rounds(n, p, m)
    for form in FORMS[1:]:
        for numeric in ("exact", "bounded"):
            yield (
                f"llama on a base in {form}, {numeric}: rounds across devices",
                lambda f=form, m=numeric: _rounds("llama", models["llama"], m, f),
            )
    yield "bounds of bounded mode, GPU against CPU", lambda: _bounds(models["llama"])
    large = "MiniLM-L6" if is_here(MODELS["MiniLM-L6"]["source"]) else None
    if large:
        for numeric in ("exact", "bounded"):
            yield f"{large}, {numeric}: seconds and hashing", lambda m=numeric: _throughput(large, m)
    if is_here(MODELS["SmolLM2-135M"]["source"]):
        for form in FORMS:
            yield f"memory of a verifier, base {form}", lambda f=form: _memory(f, folder)


def _bits() -> Found:
    equal: Found = {name: optimizer_bits(name) for name in OPTIMIZERS} if not REHEARSAL else {}
    if not REHEARSAL:
        equal["dropout"] = dropout_masks()
    values = torch.randn(130, 70, generator=torch.Generator().manual_seed(3)) * 1e-3
    for bits in (4, 8):
        packed = PackedMatrix.quantised(values, bits)  # type: ignore[arg-type]
        here, there = (widened(packed.to(device), torch.float64).cpu() for device in ("cpu", GPU))
        equal[f"int{bits}"] = torch.equal(here, there)
    return {"ok": all(equal.values()), "equal": equal}


def _rounds(name: str, place: Path, numeric: str, form: str = "stored") -> Found:
    pairs = across(name, _minimal(name, place, numeric, form), _rows(name == "llama"))
    wrong = [pair for pair in pairs if pair["false_alarms"] or (pair["drift"] and not pair["drift"]["accepted"])]
    return {"ok": not wrong, "pairs": pairs}


def _bounds(place: Path) -> Found:
    found = calibrate(_minimal("llama", place, "bounded", "stored"), _rows(True).rows, 6, GPU, "cpu")
    return {"ok": True, "trainer": GPU, "verifier": "cpu", "bound_total": found.bound_total,
            "bound_tensor": found.bound_tensor, "tie_margin": found.tie_margin}  # fmt: skip


def _throughput(model: str, numeric: str) -> Found:
    """Seconds of a step computed only, and of one that is hashed and written as well."""
    from benchmarks.shared.replay_tasks import sentiment_shard, task

    steps = 3 if REHEARSAL else 40
    spec = task(model, optimizer="adamw", numeric=numeric, steps=steps, batch=16, tokens=64, rank=8)
    bench, judge = Workbench.from_spec(spec, GPU), Judge.from_spec(spec, GPU)
    shard = sentiment_shard(spec.model.kind, rows=200)
    context = round_context(bench, shard)
    state = start_state(bench, bench.initial_state())

    def computed() -> None:
        now = state
        for step in range(steps):
            now = compute_step(bench, context, now, step, batch_rows(bench, context, shard, step)).next_state

    def recorded() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_round(bench, context, bench.initial_state(), shard, Path(folder))

    compute_step(bench, context, state, 0, batch_rows(bench, context, shard, 0))  # warm
    computing, recording = _seconds(computed) / steps, _seconds(recorded) / steps
    rows = [row for _, row in batch_rows(bench, context, shard, 0)]
    replay = _seconds(lambda: [judge.reference.gradient(rows, bytes(32))[0].cpu() for _ in range(3)]) / 3
    return {"ok": True, "seconds_computed": computing, "seconds_recorded": recording,
            "recording_share": recording / computing, "seconds_of_a_float64_replay": replay}  # fmt: skip


def _memory(form: str, folder: Path) -> Found:
    found = measured("judge-bounded", "SmolLM2-135M", form, GPU, folder, steps=1)
    return {"ok": "failed" not in found, **found}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if not REHEARSAL:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _minimal(name: str, place: Path, numeric: str, form: str) -> TaskSpec:
    sections: dict[str, Any] = {
        "model": {"frozen_dtype": form},
        "training": {"steps": 3 if REHEARSAL else 12, "batch_size": 4, "numeric": numeric},
    }
    if numeric == "bounded":
        sections["training"] |= {"bound_total": 1e-4, "bound_tensor": 1e-3}
    return complete_spec(f"path:{place}", "causal-lm" if name == "llama" else "sequence-classification", sections)


def _rows(language: bool) -> Shard:
    texts = ({"text": f"row {n} of a {'plain' if n % 2 else 'bright'} film"} for n in range(40))
    fields = (text if language else {**text, "label": n % 2} for n, text in enumerate(texts))
    return Shard(tuple(map(canonical_row, fields)), PUBLIC_SALTS)


def _guarded(check: Callable[[], Found]) -> Found:
    """A check that cannot run is a finding; the others go on."""
    try:
        return check()
    except Exception as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


def _card() -> str | None:
    return None if REHEARSAL else torch.cuda.get_device_name(0)


if __name__ == "__main__":
    main()
