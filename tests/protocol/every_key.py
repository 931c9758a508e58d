"""Where each key of a task spec is read: product code whose outcome changes with the key's value.

A row names a value other than the base's and an observer, which calls the product and returns what it does. `given`
are keys of the base that make the key matter, `also` keys that have to change with it. The base is a small task on a
minimal model. Rows of `unchecked` keys are compared without the rules across keys, which would refuse the change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deltaproof.chain.contracts.tasks import task_params
from deltaproof.chain.reading import invited
from deltaproof.cli.task import headline
from deltaproof.errors import DeltaproofError
from deltaproof.protocol.commit.sealing import ReadingKey
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.rows import Shard, canonical_row
from deltaproof.protocol.evidence.state import Layout, component_root
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, TaskId, address, hex_of
from deltaproof.replaying.comparison import compare_bounded
from deltaproof.replaying.drift import DriftSample, judge_drift
from deltaproof.replaying.judging import Submission, enrolment_problem
from deltaproof.sponsor.checking import check_draft
from deltaproof.sponsor.keeping import kept_validation
from deltaproof.store import open_store
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.base_models.loading import load_base, row_reader
from deltaproof.tuning.codecs import create_codec
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.training.optimizers import constants_table
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.speed import replays_of
from deltaproof.tuning.training.step import DrawnRound, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench
from incentives.scoring import counted_rows
from incentives.unions import Contribution, aggregate_contributions
from incentives.valuation import _estimate, value_round

__all__ = ["READERS", "Row", "Seen"]

Seen = Callable[[TaskSpec], object]
ROWS = tuple(canonical_row({"text": f"{'longer ' * (i % 4)}row {i}", "label": i % 2}) for i in range(12))
SEED = Digest32(bytes(range(32)))
TRAINER = address(bytes([1]) * 20)
OTHER = "0x" + "5b" * 32
PRIVATE = {"data.visibility": "verifiers", "adapter.visibility": "participants", "adapter.secret": OTHER}
LAYOUT = Layout.of({"a": (40, 8), "b": (8, 40), "norm": (7,)})


@dataclass(frozen=True)
class Row:
    """How to see that a key is read."""

    value: Any
    observe: Seen
    given: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)
    unchecked: bool = False


def told(action: Callable[[], object]) -> object:
    """What a call returns, or what it says when it refuses."""
    try:
        return action()
    except DeltaproofError as error:
        return f"{type(error).__name__}: {error}"


# Observers.


def sealing_of_weights(spec: TaskSpec) -> object:
    """With what a store seals the task's deltas and adapters."""
    private = open_store("memory://every-key").of_task(spec).private
    return private.commitment if private else None


def on_chain(spec: TaskSpec) -> object:
    """What the contract is told, apart from the spec's digest, which covers everything."""
    made = task_params(spec, token=TRAINER, parameters=1, constants_root=ZERO_DIGEST)
    return replace(made, spec_hash=ZERO_DIGEST)


def constants(spec: TaskSpec) -> object:
    return constants_table(spec.optimizer, spec.training.steps).tobytes()


def batch(spec: TaskSpec) -> object:
    """Tensors of a row as the model reads it."""
    row = canonical_row({"text": "a text that is longer than some limits"})
    label = canonical_row({"text": "a text that is longer than some limits", "label": 1})
    reader = row_reader(spec.model)
    rows = [row if spec.model.kind == "causal-lm" else label]
    made = make_batch(rows, spec.model, tokenizer=reader.tokenizer, config=reader.config, parts=1)
    return {name: tensor.tolist() for name, tensor in made.parts[0].items()}


def base_model(spec: TaskSpec) -> object:
    return told(lambda: len(list(load_base(spec.model, spec.method.seed, "float32").model.parameters())))


def start(spec: TaskSpec) -> object:
    bench = Workbench.from_spec(spec, precision="float32")
    return bench.layout.names, bench.layout.shapes, bench.start.tobytes()


def step(spec: TaskSpec) -> object:
    """The record of a training step from a start at which nothing vanishes, and the state after it."""
    bench = Workbench.from_spec(spec)
    draw = np.random.Generator(np.random.PCG64(0))
    theta = (bench.start + 0.1 * draw.standard_normal(bench.layout.size)).astype(np.float32)
    shard = Shard(ROWS, SEED)
    context = DrawnRound(1, 1, SEED, component_root(theta)).with_shard(bytes(20), shard)
    return run_step(bench, context, start_state(bench, theta), 0, batch_rows(bench, context, shard, 0)).record


def comparison(spec: TaskSpec) -> object:
    draw = np.random.Generator(np.random.PCG64(1))
    gradient = draw.standard_normal(LAYOUT.size)
    gradient[LAYOUT.slices["norm"]] *= 1e-5
    committed = (gradient * (1 + 1e-7)).astype(np.float32)
    committed[LAYOUT.slices["norm"]] += 1e-7
    return compare_bounded(committed, gradient, LAYOUT, spec.training)


def whole_comparison(spec: TaskSpec) -> object:
    gradient = np.ones(LAYOUT.size)
    return compare_bounded((gradient * (1 + 1e-6)).astype(np.float32), gradient, LAYOUT, spec.training)


def drift(spec: TaskSpec) -> object:
    draw = np.random.Generator(np.random.PCG64(2))
    gradient = draw.standard_normal(LAYOUT.size)
    samples = [
        DriftSample.of((gradient + 1e-6 * draw.standard_normal(LAYOUT.size)).astype(np.float32), gradient,
                       1e-6 * draw.standard_normal(LAYOUT.size), LAYOUT)
        for _ in range(4)
    ]  # fmt: skip
    return judge_drift(samples, spec.training, LAYOUT)


def drawn(spec: TaskSpec) -> object:
    """Which steps a trainer has to open."""
    terms = spec.verification
    return draw_samples(SEED, 1, 1, TRAINER, steps=spec.training.steps, extra=terms.samples, run=terms.run)


def enrolment(rows: int) -> Seen:
    return lambda spec: enrolment_problem(spec, Submission(TRAINER, SEED, rows, SEED, SEED))


def opening(spec: TaskSpec) -> object:
    """What is read of an opened step before it is looked at."""
    return DrawnRound(1, 1, SEED, SEED).with_shard(bytes(20), Shard(ROWS, SEED)).opening_limits(spec, 7)


def delta(spec: TaskSpec) -> object:
    draw = np.random.Generator(np.random.PCG64(3))
    first = draw.standard_normal(LAYOUT.size).astype(np.float32)
    second = first + 0.01 * draw.standard_normal(LAYOUT.size).astype(np.float32)
    return told(lambda: create_codec(spec.codec, LAYOUT).encode(first, second, None, SEED).data)


def contributions(bench: Workbench, count: int) -> list[Contribution]:
    draw = np.random.Generator(np.random.PCG64(4))
    moved = [draw.standard_normal(bench.layout.size) * 0.05 * (1 + 4 * (i == 0)) for i in range(count)]
    return [
        Contribution((bench.start + move).astype(np.float32), rows=10 * (i + 1), order=i)
        for i, move in enumerate(moved)
    ]


def aggregate(spec: TaskSpec) -> object:
    bench = Workbench.from_spec(spec, precision="float32")
    return aggregate_contributions(bench, bench.start, contributions(bench, 5))[0].tobytes()


def round_value(spec: TaskSpec) -> object:
    """Who is a copy, and whose deltas make the next adapter."""
    bench = Workbench.from_spec(spec, precision="float32")
    made = contributions(bench, 2)
    near = made[1].theta + 0.01 * (made[0].theta - bench.start)
    valued = value_round(bench, bench.start, [*made, replace(made[1], theta=near, order=2)], ROWS[:4], SEED)
    return valued.included, [value.copy_of for value in valued.values]


def counted(spec: TaskSpec) -> object:
    """What weighs of two names on one shard, all of which both have shown."""
    names = (Contribution(np.zeros(1, np.float32), 6, i, opened=lambda: frozenset(ROWS), enrolled=i) for i in range(2))
    contributions, records = counted_rows(spec, dict(zip((TRAINER, address(bytes([2]) * 20)), names, strict=True)))
    return [c.rows for c in contributions.values()], records


def scores(spec: TaskSpec) -> object:
    def game(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(np.sin(coalitions @ np.arange(1.0, 7.0)) * coalitions.any(axis=1))

    return _estimate(game, 6, spec.scoring, SEED, None, None).values.tobytes()


def passes(spec: TaskSpec) -> object:
    return len(Evaluator(Workbench.from_spec(spec, precision="float32"), ROWS)._chunks)


def kept_set(spec: TaskSpec) -> object:
    with tempfile.TemporaryDirectory() as home:
        said = told(lambda: kept_validation(Path(home), spec, 1))
    return str(said).replace(home, "HOME")


def draft(spec: TaskSpec) -> object:
    """What `task check` says of a draft with this spec's keys and few rows to cut into sets."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rows.jsonl").write_bytes(b"\n".join(ROWS))
        path = Path(folder) / "draft.toml"
        path.write_text(
            f"[rewards]\nrounds = {spec.rewards.rounds}\n[validation]\nrows = {spec.validation.rows}\n"
            '[sponsor]\nvalidation = "rows.jsonl"\ntest = "rows.jsonl"\n'
        )
        return [str(p) for p in check_draft(path).problems if p.key == "sponsor.validation"]


def shown(spec: TaskSpec) -> object:
    return headline(TaskId(1), spec)


# Rows.

BOUNDED = {"training.numeric": "bounded"}
ADAM = {"optimizer.name": "adam"}
CHAIN = {
    "start_digest": OTHER, "training.steps": 7, "scoring.tolerance_nanos": 555_555, "rewards.budget_per_round": "77",
    "rewards.verifier_fee_bps": 77, "rewards.target_nanos": 77, "rewards.floor_bps": 77, "rewards.cap_bps": 77,
    "rewards.base_bps": 2_100, "verification.absence_bps": 2, "phases.activation": 61,
    "verification.samples": 1, "verification.quorum_bps": 7_000, "verification.commit_bond": "7",
    "verification.slash_bps": 177, "verification.prover_bps": 77, "verification.min_trainer_stake": "177",
    "verification.min_verifier_stake": "177", "verification.min_trainers": 3, "verification.max_trainers": 63,
    "verification.min_verifiers": 3,
    "phases.commit": 61, "phases.reveal": 61, "phases.opening": 61, "phases.attest_commit": 61,
    "phases.attest_reveal": 61, "phases.settle": 61, "phases.window": 61, "phases.slash": 59, "phases.claim": 62,
}  # fmt: skip
READERS: Mapping[str, Row] = {
    **{key: Row(value, on_chain) for key, value in CHAIN.items()},
    "verification.committee": Row(3, lambda spec: replays_of(spec, 10), {"verification.min_verifiers": 9}),
    "verification.run": Row(2, drawn, {"verification.samples": 4, "training.steps": 40}),
    "rewards.rounds": Row(2, on_chain, also={"validation.commitments": [OTHER] * 3}),
    "task.name": Row("another", shown),
    "task.description": Row("what it is about", shown),
    "model.kind": Row("causal-lm", batch, unchecked=True),
    "model.source": Row("path:nowhere", base_model),
    "model.weights_digest": Row(OTHER, base_model),
    "model.num_labels": Row(3, start),
    "model.max_tokens": Row(5, batch),
    "model.frozen_dtype": Row("int4", step),
    "method.name": Row("rslora", step),
    "method.seed": Row(OTHER, start),
    "method.options": Row({"r": 2, "lora_alpha": 8}, start),
    "optimizer.name": Row("sgd", constants),
    "optimizer.learning_rate": Row(2e-3, constants),
    "optimizer.beta1": Row(0.8, constants, ADAM),
    "optimizer.beta2": Row(0.99, constants, ADAM),
    "optimizer.eps": Row(1e-6, constants, ADAM),
    "optimizer.weight_decay": Row(0.02, constants),
    "optimizer.momentum": Row(0.8, constants, {"optimizer.name": "momentum"}),
    "optimizer.schedule": Row("cosine", constants),
    "optimizer.warmup_steps": Row(3, constants),
    "optimizer.clip_norm": Row(1e-3, step),
    "training.batch_size": Row(2, step),
    "training.accumulation": Row(2, step, BOUNDED),
    "training.numeric": Row("bounded", step),
    "training.dropout": Row(True, step),
    "training.bound_tensor": Row(1e-4, comparison, BOUNDED),
    "training.bound_total": Row(2e-6, whole_comparison, BOUNDED),
    "training.bound_floor": Row(1e-4, comparison, BOUNDED),
    "training.drift_sigmas": Row(12.0, drift, BOUNDED),
    "data.visibility": Row("verifiers", opening),
    "data.auditors": Row([hex_of(ReadingKey(SEED).public)], invited, {"data.visibility": "verifiers"}),
    "data.roots": Row([OTHER], enrolment(8)),
    "adapter.visibility": Row(
        "participants", sealing_of_weights, {"data.visibility": "verifiers"}, {"adapter.secret": OTHER}
    ),
    "adapter.secret": Row(hex_of(Digest32(SEED)), sealing_of_weights, PRIVATE),
    "data.min_rows": Row(9, enrolment(8)),
    "data.max_rows": Row(7, enrolment(8)),
    "data.max_row_bytes": Row(100, opening),
    "codec.name": Row("int8", delta),
    "codec.options": Row({"block": 8}, delta, {"codec.name": "int8"}),
    "codec.byte_limit": Row(100, delta, {"codec.name": "int8"}),
    "aggregation.rule": Row("median", aggregate),
    "aggregation.include": Row("accepted", round_value),
    "aggregation.weights": Row("rows", aggregate),
    "aggregation.rank": Row(1, aggregate),
    "aggregation.trim_fraction": Row(0.3, aggregate, {"aggregation.rule": "trimmed_mean"}),
    "aggregation.byzantine": Row(1, aggregate, {"aggregation.rule": "multi_krum"}),
    "scoring.index": Row("banzhaf", scores),
    "scoring.rows": Row("distinct", counted, {"scoring.index": "aumann_shapley", "aggregation.weights": "rows"}),
    "scoring.method": Row("permutation", scores, {"scoring.budget": 40}),
    "scoring.budget": Row(30, scores, {"scoring.budget": 40}),
    "scoring.beta_a": Row(4, scores, {"scoring.index": "beta_shapley"}),
    "scoring.beta_b": Row(4, scores, {"scoring.index": "beta_shapley"}),
    "scoring.similarity_threshold": Row(1.0, round_value, {"scoring.similarity_threshold": 0.9}),
    "scoring.batch_size": Row(3, passes),
    "validation.commitments": Row([OTHER, OTHER], kept_set),
    "validation.rows": Row(400, draft),
}
torch.set_num_threads(1)
