"""What a task came to: held-out quality of its adapters, and the final adapter as a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.admissions import task_view
from deltaproof.chain.participation import KnownTask, read_task, settled_leaves
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import ArtifactMissing, UsageError
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address_bytes
from deltaproof.sponsor.model_card import Provenance, Quality, write_card
from deltaproof.store import ArtifactStore
from deltaproof.tuning.combining.deltas import decode_delta
from deltaproof.tuning.combining.evaluation import Evaluation, Evaluator
from deltaproof.tuning.training.federation import scoring_bench
from deltaproof.tuning.training.step import DrawnRound, RoundContext
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["TaskResults", "export_adapter", "task_results"]


@dataclass(frozen=True, slots=True)
class TaskResults:
    """Held-out evaluations: of the start, of the final adapter, and of each trainer's last accepted delta alone."""

    start: Evaluation
    final: Evaluation
    alone: Mapping[Address, Evaluation]
    final_digest: Digest32


def task_results(
    gateway: Gateway, store: ArtifactStore, task_id: TaskId, out: Path | None, device: str = "cpu"
) -> TaskResults:
    """Evaluate on the task's held-out set, on `device`, and write the final adapter to `out`.

    Raises UsageError while the held-out set is not shown, which the sponsor does after the last round; ArtifactSealed
    without a reading key of a private task's participant.
    """
    terms = read_task(gateway, store, task_id)
    spec = terms.spec
    store = task_view(gateway, store, spec, task_id)
    try:
        rows, _ = store.get_validation(spec.validation.commitments[-1])
    except ArtifactMissing as error:
        raise UsageError(
            f"task {task_id} has no held-out set to evaluate on yet; its sponsor shows it after the last round"
        ) from error
    bench = scoring_bench(spec, device)
    size = bench.layout.size
    evaluator = Evaluator(bench, [row.encode() for row in rows.rows])
    final = store.get_tensors(terms.view.adapter_digest, size)
    deltas = {
        trainer: decode_delta(store, bench, context, digest)
        for trainer, (context, digest) in _last_accepted(gateway, store, task_id).items()
    }
    results = TaskResults(
        start=evaluator.evaluate(store.get_tensors(spec.start_digest, size)),
        final=evaluator.evaluate(final),
        alone={trainer: evaluator.evaluate(theta) for trainer, theta in deltas.items()},
        final_digest=terms.view.adapter_digest,
    )
    if out is not None:
        _export(gateway, task_id, terms, bench, final, out, {"start": results.start, "this adapter": results.final})
    return results


def export_adapter(gateway: Gateway, store: ArtifactStore, task_id: TaskId, out: Path) -> None:
    """Write the adapter that the next round starts from, with its card, into a folder; also while the task runs.

    Raises TaskRefused, ArtifactError, ModelError.
    """
    terms = read_task(gateway, store, task_id)
    store = task_view(gateway, store, terms.spec, task_id)
    bench = scoring_bench(terms.spec)
    theta = store.get_tensors(terms.view.adapter_digest, bench.layout.size)
    _export(gateway, task_id, terms, bench, theta, out, {})


def _export(
    gateway: Gateway,
    task_id: TaskId,
    terms: KnownTask,
    bench: Workbench,
    theta: Vector,
    out: Path,
    found: Mapping[str, Evaluation],
) -> None:
    bench.export(theta, out)
    ended = gateway.tasks.phase(task_id)
    origin = Provenance(
        gateway.connection.chain_id, gateway.deployment.modules.tasks, task_id,
        ended.round if ended.phase is Phase.IDLE else ended.round - 1, terms.view.adapter_digest,
    )  # fmt: skip
    write_card(out, terms.spec, origin, {name: Quality(e.loss, e.accuracy) for name, e in found.items()})


def _last_accepted(
    gateway: Gateway, store: ArtifactStore, task_id: TaskId
) -> dict[Address, tuple[RoundContext, Digest32]]:
    """Context and delta digest of each trainer's last accepted round."""
    log = TaskLog(gateway, [gateway.tasks.address, gateway.trainers.address], task_id)
    log.refresh(RoundIndex(1))
    found: dict[Address, tuple[RoundContext, Digest32]] = {}
    enrolments = gateway.trainers.enrolments(task_id)
    for number in range(1, gateway.tasks.phase(task_id).round + 1):
        round_ = RoundIndex(number)
        view = gateway.tasks.round(task_id, round_)
        if view.outcome != Outcome.SETTLED:
            continue
        proposal = settled_leaves(gateway, store, task_id, round_, view)
        reveals = log.reveals(round_)
        for leaf in proposal.leaves if proposal else ():
            if leaf.verdict == Verdict.ACCEPTED:
                enrolment = enrolments[leaf.trainer]
                drawn = DrawnRound(task_id, round_, view.order_seed, view.start_digest)
                context = drawn.of_trainer(address_bytes(leaf.trainer), enrolment.data_root, enrolment.data_rows)
                found[leaf.trainer] = context, reveals[leaf.trainer].delta_digest
    return found
