"""What `python -m benchmarks.methods` measures: one method on one task with one seed."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.shared.places import BUILD
from benchmarks.shared.tuning_tasks import DEV, MINILM, SMOLLM2, TASKS, Data
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32, hex_of
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.sponsor.recommend import CANDIDATES, candidate_spec
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.mixing import aggregate_thetas
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods.deliverable import read_tensors, tensors_digest
from deltaproof.tuning.training.recording import batch_rows, open_steps, train_round
from deltaproof.tuning.training.step import DrawnRound, RoundContext, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = [
    "METHODS",
    "ON",
    "REPLAYED",
    "delivered",
    "dev_cell",
    "family",
    "measured_on",
    "our_cell",
    "spec_of",
    "task_data",
    "trained",
    "untouched_cell",
]

METHODS = (*CANDIDATES, "fusion")
STEPS = {"text": 120, "digits": 60, "language": 12}
BATCH = {"text": 8, "digits": 16, "language": 4}
TRAIN = 600
TEST = {"text": 200, "digits": 290, "language": 100}
SENSITIVITY_ROWS = {"text": 16, "digits": 64, "language": 4}
REPLAYED = ("tweets", "imdb")
"""Text tasks whose rounds are replayed."""
FUSED = {
    "text": ("products", "product strength"),
    "digits": ("mirrored digits", "rolled digits"),
    "language": ("product language", "news language"),
}
"""Tasks whose Pfeiffer adapters `fusion` attends over; none of them is reported on."""
LANGUAGE_BOUNDS = {"bound_total": 3e-4, "bound_tensor": 2e-3}
"""What calibration gives for SmolLM2, whose float32 rounding is fifty times MiniLM's."""
ADAPTERS = BUILD / "adapters"
ON = "device"
"""Key of the GPU that a cell was measured on."""


def family(source: str) -> str:
    """Of models: text, digits or language."""
    return {MINILM: "text", SMOLLM2: "language"}.get(source, "digits")


def task_data(task: str) -> Data:
    """Rows of a task; as many to test on as its model's kind is given."""
    make = {**TASKS, **DEV}[task]
    kind = "language" if task.endswith("language") else "digits" if task.endswith("digits") else "text"
    return make(task, TRAIN, TEST[kind])


def spec_of(data: Data, method: str, rate: float, seed: int) -> TaskSpec:
    """A round of one trainer."""
    kind = family(data.source)
    name = "pfeiffer" if method == "fusion" else method
    rows = [row.decode() for row in data.train[: SENSITIVITY_ROWS[kind]]]
    spec = candidate_spec(name, data.source, data.kind, data.model, STEPS[kind], BATCH[kind], rows=rows)
    section = spec.method.model_copy(update={"seed": bytes([seed]) * 32})
    if method == "fusion":
        section = section.model_copy(update={"name": "fusion", "options": _adapters(kind)})
    training = spec.training.model_copy(update=LANGUAGE_BOUNDS if kind == "language" else {})
    optimizer = spec.optimizer.model_copy(update={"learning_rate": rate})
    return spec.model_copy(update={"method": section, "optimizer": optimizer, "training": training})


def our_cell(data: Data, method: str, rate: float, seed: int, *, replay: bool, device: str = "cpu") -> dict[str, Any]:
    """Quality after a recorded round, sizes, CPU seconds, and the verdict of replaying its first and last step.

    Of a GPU the cell has the name in place of seconds: a GPU's are not compared with a CPU's.
    """
    try:
        bench = Workbench.from_spec(spec_of(data, method, rate, seed), device)
    except MethodError as error:
        return {"refused": str(error)}
    shard, context = round_of(bench, data, seed)
    start, steps = bench.initial_state(), bench.spec.training.steps
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        recorded = train_round(bench, context, start, shard, Path(folder) / "round", keep_every=steps)
        seconds = time.process_time() - began
        drawn = [0, steps - 1] if replay else []
        openings = list(open_steps(bench, context, shard, Path(folder) / "round", drawn))
    cell = {
        **delivered(bench, data, recorded.theta),
        "values": bench.layout.size,
        "bytes": 4 * bench.layout.size,
        **(measured_on(device) or {"train_seconds": seconds}),
        "rate": rate,
    }
    if replay:
        # What a verifier on this machine would load as its mirror is the trainer's bench.
        judge = replace(Judge(Workbench.from_spec(bench.spec, device, precision="float64"), bench))
        known = ReplayContext(context, recorded.transcript_root, recorded.theta_digest)
        verdicts = [judge.judge_step(opening, opening.before.step, known) for opening in openings]
        refused = [v.message for v in verdicts if not v.accepted]
        cell["replay"] = refused[0] if refused else "accepted"
    return cell


def measured_on(device: str) -> dict[str, str]:
    """What a cell says of where it was measured: a GPU's name, nothing of a CPU."""
    return {} if device == "cpu" else {ON: torch.cuda.get_device_name(device)}


def dev_cell(data: Data, method: str, rate: float) -> dict[str, Any]:
    """Quality after the same steps, without a record."""
    try:
        bench = Workbench.from_spec(spec_of(data, method, rate, 0))
    except MethodError as error:
        return {"refused": str(error)}
    return delivered(bench, data, trained(bench, data, 0))


def untouched_cell(data: Data, seed: int, device: str = "cpu") -> dict[str, Any]:
    """Quality before any step: of the language model as it is, elsewhere of a head that knows nothing."""
    bench = Workbench.from_spec(spec_of(data, "lora", 1e-3, seed), device)
    return _quality(bench, data, bench.initial_state())


def round_of(bench: Workbench, data: Data, seed: int) -> tuple[Shard, RoundContext]:
    """The shard, and the round whose key orders the batches."""
    shard = Shard(data.train, Digest32(bytes(32)))
    start = component_root(bench.initial_state())
    return shard, DrawnRound(0, 1, bytes([seed]) * 32, start).with_shard(bytes(20), shard)


def trained(bench: Workbench, data: Data, seed: int) -> np.ndarray:
    """Theta after the round's steps, without a record."""
    shard, context = round_of(bench, data, seed)
    state = start_state(bench, bench.initial_state())
    for step in range(bench.spec.training.steps):
        state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
    theta: np.ndarray = state["theta"].numpy()
    return theta


def delivered(bench: Workbench, data: Data, theta: np.ndarray) -> dict[str, Any]:
    """Quality of what a task of one trainer would deliver: the adapter as the method's form holds it."""
    aggregate, lost = aggregate_thetas(bench, [theta], None)
    return {**_quality(bench, data, aggregate), "lost": lost}


def _quality(bench: Workbench, data: Data, theta: np.ndarray) -> dict[str, Any]:
    found = Evaluator(bench, data.test).evaluate(theta)
    return {"accuracy": found.accuracy, "loss": found.loss}


def _adapters(kind: str) -> dict[str, tuple[str, ...]]:
    """Pfeiffer adapters of other tasks, trained on the spot once, and their digests."""
    folders = [ADAPTERS / kind / task.replace(" ", "-") for task in FUSED[kind]]
    for folder, task in zip(folders, FUSED[kind], strict=True):
        if not folder.is_dir():
            data = task_data(task)
            bench = Workbench.from_spec(spec_of(data, "pfeiffer", CANDIDATES["pfeiffer"][1], 0))
            bench.export(trained(bench, data, 0), folder)
    return {
        "adapters": tuple(str(folder) for folder in folders),
        "digests": tuple(hex_of(tensors_digest(read_tensors(folder))) for folder in folders),
    }


transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
