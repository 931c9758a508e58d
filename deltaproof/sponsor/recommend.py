"""Which delta-tuning method suits a model and its data: what is measured on a sample, not what is usual."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.base_models.loading import load_base
from deltaproof.tuning.base_models.presets import complete_spec
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.errors import DivergenceError, MethodError
from deltaproof.tuning.methods._targets import linears
from deltaproof.tuning.methods.sparse import sensitivities
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import DrawnRound, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = [
    "CANDIDATES",
    "Diverged",
    "MethodSize",
    "Trial",
    "candidate_spec",
    "method_sizes",
    "sensitivity_by_kind",
    "trials",
]

CANDIDATES: Mapping[str, tuple[Mapping[str, Any], float]] = {
    "houlsby": ({"size": 8}, 4e-3),
    "pfeiffer": ({"size": 8}, 4e-3),
    "prefix": ({}, 1e-2),
    "prompt": ({}, 1e-2),
    "p_tuning": ({}, 4e-3),
    "ia3": ({}, 1e-2),
    "bitfit": ({}, 4e-3),
    "layer_norm": ({}, 4e-3),
    "last_layers": ({}, 5e-4),
    "diff_pruning": ({}, 1e-3),
    "sensitivity": ({"fraction": 0.02}, 4e-3),
    "shira": ({"fraction": 0.02}, 4e-3),
    "full": ({}, 2e-4),
    "lora": ({"r": 8, "lora_alpha": 16}, 4e-3),
    "rslora": ({"r": 8, "lora_alpha": 8}, 4e-3),
    "dora": ({"r": 8, "lora_alpha": 16}, 4e-3),
    "adalora": ({"lora_alpha": 32}, 1e-2),
    "vera": ({"r": 256}, 1e-2),
    "loha": ({"r": 8, "alpha": 8}, 4e-3),
    "lokr": ({}, 4e-3),
    "oft": ({"oft_block_size": 32}, 4e-3),
    "miss": ({"r": 16}, 1e-3),
}
"""Options and learning rate that each method is tried with. `sensitivity` also needs rows of the data. `fusion` is left
out: it attends over adapters of other tasks, which only the sponsor can choose."""
SENSITIVITY_ROWS = 16
"""Of the rows that are trained on, as many decide the mask of `sensitivity`."""


@dataclass(frozen=True, slots=True)
class MethodSize:
    """What a method trains in a model; bytes of a round's delta uncoded, and of state and gradient in training."""

    name: str
    values: int
    delta_bytes: int
    state_bytes: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """Held-out loss in nats, and accuracy, before and after a few steps."""

    size: MethodSize
    loss_before: float
    loss_after: float
    accuracy: float

    @property
    def gain(self) -> float:
        """Improvement of the held-out loss, nats."""
        return self.loss_before - self.loss_after


@dataclass(frozen=True, slots=True)
class Diverged:
    """A candidate whose training left the finite numbers at the rate that it was tried with, and where."""

    size: MethodSize
    learning_rate: float
    problem: str


def candidate_spec(
    name: str,
    source: str,
    kind: str,
    model: Mapping[str, Any],
    steps: int,
    batch: int,
    rows: Sequence[str] = (),
) -> TaskSpec:
    """A task around a candidate, in bounded mode. `rows`: canonical rows as text, for methods that measure on them."""
    options, rate = CANDIDATES[name]
    measured = {"rows": list(rows)} if name == "sensitivity" else {}
    sections = {
        "model": dict(model),
        "method": {"name": name, "options": {**options, **measured}},
        "optimizer": {"name": "adam", "learning_rate": rate, "weight_decay": 0.0, "schedule": "linear"},
        "training": {"steps": steps, "batch_size": batch, "numeric": "bounded"},
    }
    return complete_spec(source, kind, sections)


def method_sizes(source: str, kind: str, model: Mapping[str, Any]) -> Iterator[MethodSize]:
    """Every candidate attached to the model once."""
    for name in CANDIDATES:
        try:
            bench = Workbench.from_spec(candidate_spec(name, source, kind, model, 1, 1), precision="float32")
        except MethodError as error:
            yield MethodSize(name, 0, 0, 0, str(error))
            continue
        yield _size(bench)


def sensitivity_by_kind(spec: TaskSpec, rows: Sequence[bytes]) -> dict[str, float]:
    """Mean squared gradient of a weight's entry by the last name of its module, the largest first."""
    base = load_base(spec.model, spec.method.seed, "float64")
    names = [name for name, module in base.model.named_modules() if type(module).__name__ == "Linear"]
    found: dict[str, list[float]] = defaultdict(list)
    measured = sensitivities(base, spec.model, linears(base.model, names), list(rows), squared=True)
    for name, values in measured.items():
        found[".".join(name.split(".")[-2:])].append(float(values.mean()))
    means = {name: sum(values) / len(values) for name, values in found.items()}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def trials(
    source: str, kind: str, model: Mapping[str, Any], rows: Sequence[bytes], budget: int, steps: int, batch: int
) -> Iterator[Trial | Diverged]:
    """Train each candidate whose delta fits `budget` bytes on three quarters of the rows; evaluate on the rest.

    One whose training diverges is told as such, and the others are tried all the same.
    """
    order = sorted(rows, key=lambda row: sha256(b"recommend" + row).digest())
    held, shard = order[: len(order) // 4], Shard(tuple(order[len(order) // 4 :]), Digest32(bytes(32)))
    measured = [row.decode() for row in shard.rows[:SENSITIVITY_ROWS]]
    for name in CANDIDATES:
        spec = candidate_spec(name, source, kind, model, steps, batch, measured)
        try:
            bench = Workbench.from_spec(spec, precision="float32")
        except MethodError:
            continue  # `method_sizes` says why
        if _size(bench).delta_bytes > budget:
            continue
        start = bench.initial_state()
        context = DrawnRound(0, 1, bytes(32), component_root(start)).with_shard(bytes(20), shard)
        state = start_state(bench, start)
        try:
            for step in range(steps):
                state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
        except DivergenceError as error:
            yield Diverged(_size(bench), spec.optimizer.learning_rate, str(error))
            continue
        evaluator = Evaluator(bench, held)
        before, after = evaluator.evaluate(start), evaluator.evaluate(state["theta"].numpy())
        yield Trial(_size(bench), before.loss, after.loss, after.accuracy)


def _size(bench: Workbench) -> MethodSize:
    values = bench.layout.size
    return MethodSize(bench.spec.method.name, values, 4 * values, 4 * values * (len(bench.slots) + 1))
