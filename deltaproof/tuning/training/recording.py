"""A trainer's round: train and record, then open the steps that were drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire import merkle
from deltaproof.tuning.errors import TranscriptError
from deltaproof.tuning.training.optimizers import State
from deltaproof.tuning.training.step import RoundContext, StepResult, compute_step, final_record, run_step, state_root
from deltaproof.tuning.training.transcript_writer import TranscriptFolder
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Progress", "TrainedRound", "batch_rows", "check_shard", "open_steps", "train_round", "transcript_folder"]

CHECKPOINT_EVERY = 10

Progress = Callable[[StepRecord], None]
"""Told the record of each step."""


@dataclass(frozen=True)
class TrainedRound:
    """What a trainer commits to. `theta` is the adapter after the round, float32, shape (P,)."""

    theta: Vector = field(repr=False)
    transcript_root: Digest32
    theta_digest: Digest32
    """Component root of `theta`; the delta digest under the codec `float32`."""
    losses: tuple[float, ...] = field(repr=False)


def train_round(
    bench: Workbench,
    context: RoundContext,
    start_theta: Vector,
    shard: Shard,
    folder: Path,
    *,
    keep_every: int | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    progress: Progress | None = None,
) -> TrainedRound:
    """Train all steps of a round into `folder`, resuming where a crash left off; the result is the same either way.

    Raises TranscriptError if the folder holds another round, EncodingError if start or shard are not the round's,
    DivergenceError if training leaves the finite numbers.
    """
    if component_root(start_theta) != context.start_digest:
        raise EncodingError("the starting adapter does not match the round's digest")
    check_shard(shard, context)
    writer = transcript_folder(bench, context, folder)
    writer.begin(start_theta, keep_every)
    if not writer.complete:
        _train(bench, context, shard, writer, checkpoint_every=checkpoint_every, progress=progress)
    theta = writer.final_theta()
    losses = tuple(record.loss for record in writer.records())[:-1]
    return TrainedRound(theta, writer.root(), component_root(theta), losses)


def open_steps(
    bench: Workbench, context: RoundContext, shard: Shard, folder: Path, steps: Iterable[int]
) -> Iterator[StepOpening]:
    """Openings of the given steps in ascending order, regenerating states that were not kept.

    Raises TranscriptError if the transcript is incomplete or this machine does not repeat it.
    """
    check_shard(shard, context)
    writer = transcript_folder(bench, context, folder)
    writer.open_existing()
    records = list(writer.records())
    tree = merkle.levels([record.digest for record in records])
    position, state = 0, _on(bench, writer.start_state())
    for step in sorted(set(steps)):
        if not 0 <= step < writer.steps:
            raise TranscriptError(f"step {step} is not among the round's {writer.steps}")
        kept = writer.kept_step(step)
        if kept is not None:
            before, gradient = kept
        else:
            if writer.nearest_kept(step) > position:
                position, state = writer.nearest_kept(step), _on(bench, writer.kept_state(step))
            before, gradient, state = _regenerated(bench, context, shard, records, state, range(position, step + 1))
            position = step + 1
        if (state_root(before, context.error_root), component_root(gradient)) != (
            records[step].state_root,
            records[step].grad_root,
        ):
            raise TranscriptError(f"{folder}: state or gradient of step {step} is not the one that was recorded")
        yield StepOpening(
            before=records[step],
            after=records[step + 1],
            before_proof=merkle.proof_from_levels(tree, step),
            after_proof=merkle.proof_from_levels(tree, step + 1),
            state={slot: values.detach().cpu().numpy() for slot, values in before.items()},
            gradient=gradient,
            rows=tuple(shard.open(index) for index in context.batch(bench.spec, step)),
            error_root=context.error_root,
        )


def _regenerated(
    bench: Workbench, context: RoundContext, shard: Shard, records: Sequence[StepRecord], state: State, steps: range
) -> tuple[State, Vector, State]:
    """Repeat steps from `state` on: the state before the last of them, its gradient, and the state after it.

    Raises TranscriptError if a step does not repeat what was recorded.
    """
    for t in steps:
        before = state
        result = run_step(bench, context, before, t, batch_rows(bench, context, shard, t))
        if result.record != records[t]:
            raise TranscriptError(
                f"step {t} does not repeat what was recorded: other machine, threads or library versions?"
            )
        state = result.next_state
    return before, result.gradient, state


def batch_rows(bench: Workbench, context: RoundContext, shard: Shard, step: int) -> list[tuple[bytes, bytes]]:
    """Digest and canonical bytes of each row of a step's batch."""
    return [(shard.digests[i], shard.rows[i]) for i in context.batch(bench.spec, step)]


def check_shard(shard: Shard, context: RoundContext) -> None:
    """Raises EncodingError if these are not the rows that the trainer enrolled."""
    if len(shard.rows) != context.rows or shard.root != context.data_root:
        raise EncodingError(f"the shard of {len(shard.rows)} rows does not match the enrolled data root")


def transcript_folder(bench: Workbench, context: RoundContext, folder: Path) -> TranscriptFolder:
    """The round's transcript on disk, not yet opened."""
    spec = bench.spec
    return TranscriptFolder(folder, context.identity(spec), spec.training.steps, bench.slots, bench.layout.size)


def _train(
    bench: Workbench,
    context: RoundContext,
    shard: Shard,
    writer: TranscriptFolder,
    *,
    checkpoint_every: int,
    progress: Progress | None,
) -> None:
    step, state = writer.resume()
    state = _on(bench, state)

    def keep(before: State, hashed: Future[StepResult]) -> None:
        result = hashed.result()
        t = result.record.step
        writer.append(result.record, before, result.gradient)
        if (t + 1) % checkpoint_every == 0 and t + 1 < writer.steps:
            writer.checkpoint(t + 1, result.next_state)
        if progress:
            progress(result.record)

    # One step is hashed beside the next one's gradient: a fast device need not wait for SHA-256.
    with ThreadPoolExecutor(1, "hashing") as hashing:
        waiting: tuple[State, Future[StepResult]] | None = None
        for t in range(step, writer.steps):
            rows = batch_rows(bench, context, shard, t)
            computed = compute_step(bench, context, state, t, rows)
            if waiting:
                keep(*waiting)
            waiting = state, hashing.submit(computed.recorded, context, rows)
            state = computed.next_state
        if waiting:
            keep(*waiting)
    writer.finish(final_record(writer.steps, state, context.error_root), state)


def _on(bench: Workbench, state: State) -> State:
    return {slot: values.to(bench.device) for slot, values in state.items()}
