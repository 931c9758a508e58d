"""A task played in small before anybody is asked to: one step, one delta, one aggregate, one evaluation.

It runs what trainers and verifiers will run, on the sponsor's own rows, so that nothing fails for the first time after
people have trained. The times that it takes say whether the phases are long enough for the work.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import peft

from deltaproof.errors import DeltaproofError, Problem
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.outcome.reads import judging_seconds
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.reporting import counted
from deltaproof.sponsor.likeness import different_rows, honest_likeness, likeness_note, rows_note
from deltaproof.sponsor.made_up import made_up_round
from deltaproof.sponsor.stability import Stability, looked_at, stability_note
from deltaproof.tuning.base_models.batches import made_up_row
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.mixing import aggregate_thetas, masks_of
from deltaproof.tuning.combining.slopes import Slopes
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.speed import Speed
from deltaproof.tuning.training.step import run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Rehearsal", "rehearse"]

REPLAY_FACTOR = 2.0
"""A replay in float64 over a trainer's step: what exact mode takes (docs/results/replay_cost.md)."""
LONGEST_TEXT = 60_000
DISTURBED_NATS = 0.05
SAMPLE_ROWS = 16


class _Watch:
    """Time as this process alone would need it: on a machine that is busy with other things the wall clock runs on, on
    one with many cores the processor's clock counts each."""

    def __init__(self) -> None:
        self._wall, self._busy = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        return min(time.perf_counter() - self._wall, time.process_time() - self._busy)


@dataclass
class Rehearsal:
    """What went wrong, and how long things took on this machine, seconds."""

    problems: list[Problem] = field(default_factory=list)
    step_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    """Of one coalition on a whole validation set."""
    disturbed: tuple[float, float] | None = None
    """Loss of the rows without the method and with its starting adapter, nats, where that adapter changes the model."""
    alike: float | None = None
    """Similarity of two honest deltas of separate rows, where it could be measured."""
    stability: list[Stability] | None = None
    """What a rounding makes of a round, by learning rate, the task's own first; None if it was not asked for."""
    different: tuple[int, int] | None = None
    """How many of the sponsor's rows count as different, and how many were looked at, where distinct rows count."""

    def notes(self, spec: TaskSpec) -> list[str]:
        """What is no problem and yet worth knowing, for a person."""
        unstable = None if self.stability is None else stability_note(spec, self.stability)
        told = [note for note in (unstable, likeness_note(spec, self.alike), rows_note(self.different)) if note]
        if self.disturbed is None or self.disturbed[1] <= self.disturbed[0] + DISTURBED_NATS:
            return told
        bare, begun = self.disturbed
        return [
            *told,
            f"{spec.method.name} begins by disturbing this model: its loss on your rows goes from {bare:.2f} to "
            f"{begun:.2f} nats before the first step, and rounds have to win that back first. lora begins where "
            "the model is",
        ]

    @property
    def speed(self) -> Speed:
        """Of this machine."""
        return Speed(self.step_seconds, REPLAY_FACTOR * self.step_seconds, self.evaluation_seconds)


def rehearse(
    spec: TaskSpec,
    bench: Workbench,
    start: Vector,
    rows: Sequence[bytes],
    speed: float = 1.0,
    *,
    patience: float | None = None,
) -> Rehearsal:
    """Play a step of the task on `rows`, canonical rows of its kind.

    `start` is the starting adapter, shape (P,); `speed` is how many times faster the participants' machines are.
    `patience`: play a whole round twice within so many seconds, to see whether rounding decides how it ends; and where
    the task looks for copies, train two halves of the rows for some steps, to see how alike they become.
    """
    found = Rehearsal()
    found.problems += _longest_row(bench)
    found.disturbed = _disturbed(bench, start, rows)
    found.different = different_rows(bench, rows)
    theta = _step(bench, start, rows, found)
    if theta is not None:
        found.problems += _delta(bench, start, theta)
        _evaluation(bench, theta, rows, found)
        if patience is not None:
            looked_for = spec.scoring.similarity_threshold < 1.0
            found.alike = honest_likeness(bench, start, rows) if looked_for else None
            found.stability = looked_at(bench, start, rows, patience)
        found.problems += _phases(spec, found, speed)
    return found


def _disturbed(bench: Workbench, start: Vector, rows: Sequence[bytes]) -> tuple[float, float] | None:
    """Loss of a language model without and with the starting adapter. Heads of other models start at random anyway."""
    if bench.spec.model.kind != "causal-lm" or not isinstance(bench.model, peft.PeftModel):
        return None
    sample = rows[: min(len(rows), SAMPLE_ROWS)]
    try:
        begun = Evaluator(bench, sample).evaluate(start).loss
        with bench.model.disable_adapter():
            return Evaluator(bench, sample).evaluate(start).loss, begun
    except (RuntimeError, DeltaproofError):
        return None  # the evaluation below says what is wrong with the rows


def _longest_row(bench: Workbench) -> Iterator[Problem]:
    """A row of max_tokens tokens, which a trainer's data may hold even if the sponsor's does not."""
    section = bench.spec.model
    if section.kind == "image-classification":
        return
    row = made_up_row(section, None, ("a " * section.max_tokens)[:LONGEST_TEXT])
    try:
        bench.gradient([row], bytes(32), parts=1)
    except (IndexError, RuntimeError, ValueError, DeltaproofError) as error:  # whatever a model says to too long rows
        what = f"a row of {section.max_tokens} tokens cannot be computed with this method: {error}"
        yield Problem("model.max_tokens", what, "lower it; virtual tokens of the method count as well")


def _step(bench: Workbench, start: Vector, rows: Sequence[bytes], found: Rehearsal) -> Vector | None:
    """The adapter after one training step, shape (P,); None if there is none."""
    context, shard = made_up_round(bench, start, rows, b"deltaproof/rehearsal")
    try:
        batch = batch_rows(bench, context, shard, 0)
        watch = _Watch()
        result = run_step(bench, context, start_state(bench, start), 0, batch)
    except DeltaproofError as error:
        found.problems.append(Problem("training", f"the first step fails: {error}", "see what it says"))
        return None
    found.step_seconds = watch.seconds()
    return np.asarray(result.next_state["theta"].cpu().numpy())


def _delta(bench: Workbench, start: Vector, theta: Vector) -> Iterator[Problem]:
    """Encoding a delta, and making one adapter of several."""
    key = bytes(32)
    if not bench.codec.plain:
        try:
            theta = bench.codec.encode(start, theta, None, key).theta
        except DeltaproofError as error:
            yield Problem("codec", f"the first delta cannot travel: {error}", "choose another codec or options")
            return
    masks = masks_of([bench.codec.mask(key)] * 3)
    weights = [1, 2, 3] if bench.spec.aggregation.weights == "rows" else None
    try:
        aggregate_thetas(bench, [theta, start, theta], weights, masks)
    except (ValueError, DeltaproofError) as error:
        yield Problem("aggregation", f"three deltas cannot become one: {error}", "change aggregation.rank or the rule")


def _evaluation(bench: Workbench, theta: Vector, rows: Sequence[bytes], found: Rehearsal) -> None:
    spec = bench.spec
    sample = rows[: min(len(rows), spec.validation.rows, spec.scoring.batch_size)]
    try:
        evaluator = Evaluator(bench, sample)
        watch = _Watch()
        evaluator.evaluate(theta)
        seconds = watch.seconds()
        if spec.scoring.index == "aumann_shapley":
            Slopes(bench, sample, theta, [theta], groups=1)(np.array([0.5, 0.5]))
    except (RuntimeError, DeltaproofError) as error:  # torch's, where something in the model has no gradient
        found.problems.append(Problem("validation", f"the rows cannot be scored: {error}", "mend the file"))
        return
    found.evaluation_seconds = seconds * spec.validation.rows / len(sample)


def _phases(spec: TaskSpec, found: Rehearsal, speed: float) -> Iterator[Problem]:
    least, theirs = spec.verification.min_trainers, found.speed.times(speed)
    training, attesting = theirs.training(spec), theirs.verifying(spec, least)
    who = f"machines {speed:g} times as fast as this one" if speed != 1.0 else "this machine"
    remedy = "raise it, or say with --speed how many times faster the participants' machines are"
    if training > spec.phases.commit:
        what = (
            f"{spec.phases.commit} s; {counted(spec.training.steps, 'step takes', 'steps take')} {training:.0f} "
            f"s on {who}"
        )
        yield Problem("phases.commit", what, remedy)
    if attesting > (judging := judging_seconds(spec)):
        whom = "a trainer" if least == 1 else f"{least} trainers"
        what = (
            f"{spec.phases.attest_commit} s; verifying {whom} takes {attesting:.0f} s on {who}, and has to fit into "
            f"{judging} s of it: the last opening may come as late"
        )
        yield Problem("phases.attest_commit", what, remedy)
