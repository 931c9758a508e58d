"""Judge one opened step: every check that a committed step must pass, cheap ones first, each with its own verdict.

Errors never accumulate, because a replay starts from the committed state. What fails is said in one line a trainer can
understand, and as data. Nothing in an opening is trusted; anything wrong with it is a verdict, never an exception.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord, parse_opening
from deltaproof.protocol.rules import LOSS_TOLERANCE, MIRROR_SHARE
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.wire import merkle
from deltaproof.replaying.comparison import Agreement, Wide, compare_bounded, compare_exact
from deltaproof.replaying.drift import DriftSample
from deltaproof.replaying.grouping import grouped_gradient, groups_of
from deltaproof.tuning.combining.deltas import CommittedDelta
from deltaproof.tuning.errors import RowError
from deltaproof.tuning.training.optimizers import State, clip_scale
from deltaproof.tuning.training.step import RoundContext, apply_update, state_root
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Check", "Judge", "ReplayContext", "StepVerdict", "judge_step"]

Check = Literal[
    "format", "record", "transcript", "state", "start", "delta", "gradient digest", "rows", "clipping", "optimizer",
    "gradient", "loss",
]  # fmt: skip


@dataclass(frozen=True)
class ReplayContext:
    """What a verifier knows from the chain about a trainer's round."""

    round: RoundContext
    transcript_root: bytes
    theta_digest: bytes | None = None
    """Component root of the adapter after the round, when the codec reveals it."""
    delta: CommittedDelta | None = None
    """The committed delta, when it is an encoding."""


@dataclass(frozen=True)
class StepVerdict:
    """Outcome of one replay. `failed` names the check that failed first; `magnitude` is measured against `bound`."""

    step: int
    accepted: bool
    failed: Check | None
    message: str
    magnitude: float = 0.0
    bound: float = 0.0
    near_ties: int = 0
    drift: DriftSample | None = field(default=None, repr=False, compare=False)
    """Bounded mode: what the drift test over all samples needs."""

    def as_dict(self) -> dict[str, object]:
        """The verdict as JSON values."""
        return {
            "step": self.step,
            "accepted": self.accepted,
            "failed": self.failed,
            "message": self.message,
            "magnitude": self.magnitude if math.isfinite(self.magnitude) else None,
            "bound": self.bound,
            "near_ties": self.near_ties,
        }


class _Refused(Exception):
    def __init__(self, check: Check, message: str, magnitude: float = 0.0, bound: float = 0.0) -> None:
        super().__init__(message)
        self.check, self.magnitude, self.bound = check, magnitude, bound


@dataclass(frozen=True)
class Judge:
    """What a verifier replays on: `reference` computes in float64 and decides every doubt.

    Exact mode needs no `mirror`. In bounded mode it computes in the trainer's precision and comes first: a gradient
    that agrees there within half the bounds is accepted at half the cost, and the drift test compares like with like.
    Batches are replayed in `groups` groups of rows of like length, which saves padding; a gradient that does not agree
    is computed once more in one piece, as the trainer did, so that no honest trainer pays for the saving.
    """

    reference: Workbench
    mirror: Workbench | None
    groups: int = 1

    @classmethod
    def from_spec(cls, spec: TaskSpec, device: str = "cpu") -> Judge:
        """Raises ModelError, MethodError or NarrowingError, like `Workbench.from_spec`."""
        mirror = Workbench.from_spec(spec, device) if spec.training.numeric == "bounded" else None
        reference = Workbench.from_spec(spec, device, precision="float64")
        return cls(reference, mirror, groups_of(reference))

    @property
    def spec(self) -> TaskSpec:
        return self.reference.spec

    def judge_bytes(self, data: bytes, step: int, context: ReplayContext, thorough: bool = True) -> StepVerdict:
        """Judge the untrusted file of an opening; see `judge_step`."""
        try:
            opening = parse_opening(data, context.round.opening_limits(self.spec, self.reference.layout.size))
        except EncodingError as error:
            return StepVerdict(step, False, "format", f"step {step}: the opening is malformed: {error}")
        return self.judge_step(opening, step, context, thorough)

    def judge_step(self, opening: StepOpening, step: int, context: ReplayContext, thorough: bool = True) -> StepVerdict:
        """Replay step `step` from its opening; anything wrong with it is a verdict, never an exception.

        `thorough` runs the float64 replay in bounded mode even without doubt, which also measures the noise that the
        drift test needs; do so for a few samples of each trainer.
        """
        bench = self.reference
        try:
            _check_records(opening, step, context, bench)
            state = _check_state(opening, step, context, bench)
            _check_rows(opening, step, context, bench)
            _check_update(opening, state, step, context, bench)
            agreement, drift = _check_gradient(opening, state, context.round, self, thorough)
        except _Refused as refused:
            message = f"step {step}: {refused}"
            return StepVerdict(step, False, refused.check, message, refused.magnitude, refused.bound)
        magnitude, bound, ties = agreement.magnitude, agreement.bound, agreement.near_ties
        return StepVerdict(step, True, None, f"step {step}: accepted", magnitude, bound, ties, drift)


def judge_step(bench: Workbench, opening: StepOpening, step: int, context: ReplayContext) -> StepVerdict:
    """Replay a step on a single float64 workbench; in bounded mode this leaves out what the drift test needs."""
    return Judge(bench, None).judge_step(opening, step, context)


def _check_records(opening: StepOpening, step: int, context: ReplayContext, bench: Workbench) -> None:
    steps = bench.spec.training.steps
    if not 0 <= step < steps:
        raise _Refused("record", f"a round has steps 0 to {steps - 1}")
    shown = (opening.before.step, opening.after.step)
    if shown != (step, step + 1):
        raise _Refused("record", f"shows records {shown[0]} and {shown[1]} instead of {step} and {step + 1}")
    pairs = ((opening.before, opening.before_proof), (opening.after, opening.after_proof))
    for record, proof in pairs:
        if not merkle.verify(context.transcript_root, record.digest, record.step, steps + 1, proof):
            raise _Refused("transcript", f"record {record.step} does not belong to the committed transcript")
    if step == steps - 1 and opening.after != StepRecord(steps, opening.after.state_root):
        raise _Refused("record", "the final record must hold nothing but the final state")


def _check_state(opening: StepOpening, step: int, context: ReplayContext, bench: Workbench) -> State:
    size = bench.layout.size
    if set(opening.state) != set(bench.slots):
        raise _Refused("state", f"shows the components {sorted(opening.state)} instead of {sorted(bench.slots)}")
    for name, values in {**opening.state, "gradient": opening.gradient}.items():
        if values.shape != (size,) or values.dtype != np.float32 or not np.isfinite(values).all():
            raise _Refused("state", f"{name} must be {size} finite float32 values")
    if opening.error_root != context.round.error_root:
        raise _Refused("state", "the error-feedback memory is not the round's")
    state = {slot: torch.from_numpy(np.array(values)).to(bench.device) for slot, values in opening.state.items()}
    if state_root(state, opening.error_root) != opening.before.state_root:
        raise _Refused("state", "the state shown is not the state that was committed")
    if step == 0:
        if component_root(opening.state["theta"]) != context.round.start_digest:
            raise _Refused("start", "the round does not start from its starting adapter")
        for slot in bench.slots[1:]:
            if np.any(opening.state[slot].view(np.uint32)):
                raise _Refused("start", f"the component {slot} is not zero at the start of the round")
    if component_root(opening.gradient) != opening.before.grad_root:
        raise _Refused("gradient digest", "the gradient shown is not the gradient that was committed")
    return state


def _check_rows(opening: StepOpening, step: int, context: ReplayContext, bench: Workbench) -> None:
    expected = context.round.batch(bench.spec, step)
    shown = tuple(row.index for row in opening.rows)
    if shown != expected:
        wrong = sum(a != b for a, b in zip(shown, expected, strict=False)) + abs(len(shown) - len(expected))
        raise _Refused("rows", f"{wrong} of {len(expected)} rows are not the ones the batch order gives", float(wrong))
    for row in opening.rows:
        if not row.verify(context.round.data_root, context.round.rows):
            raise _Refused("rows", f"row {row.index} does not belong to the enrolled data")
    if merkle.root([row.digest for row in opening.rows]) != opening.before.rows_root:
        raise _Refused("rows", "the rows shown are not the rows that were committed")


def _check_update(opening: StepOpening, state: State, step: int, context: ReplayContext, bench: Workbench) -> None:
    scale = clip_scale(opening.gradient, bench.spec.optimizer.clip_norm)
    if opening.before.clip_scale != scale:
        off = abs(opening.before.clip_scale - scale)
        raise _Refused("clipping", f"clip scale {opening.before.clip_scale!r} where {scale!r} follows", off)
    gradient = torch.from_numpy(np.array(opening.gradient)).to(bench.device)
    next_state = apply_update(bench, state, step, gradient, scale)
    if state_root(next_state, opening.error_root) != opening.after.state_root:
        raise _Refused("optimizer", "the next state does not follow from the committed state and gradient")
    if step == bench.spec.training.steps - 1 and context.theta_digest is not None:
        final = component_root(next_state["theta"].cpu().numpy())
        if final != context.theta_digest:
            raise _Refused("delta", "the committed delta is not the adapter after the last step")
    if step == bench.spec.training.steps - 1 and context.delta is not None:
        trained = next_state["theta"].cpu().numpy()
        if problem := context.delta.problem(bench.codec, trained, context.round.key):
            raise _Refused("delta", problem)


def _check_gradient(
    opening: StepOpening, state: State, round_: RoundContext, judge: Judge, thorough: bool
) -> tuple[Agreement, DriftSample | None]:
    """Recompute the gradient from the committed state on the committed rows."""
    rows, key = [row.row for row in opening.rows], round_.dropout_key(opening.before.step)
    training, layout = judge.spec.training, judge.reference.layout
    attempts = (judge.groups, 1) if judge.groups > 1 else (1,)
    if training.numeric == "exact":
        for groups in attempts:
            exact = _recompute(judge.reference, round_, state, rows, key, groups)
            agreement = compare_exact(opening.gradient, exact.gradient, layout)
            if agreement.agrees:
                break
        _require(agreement, "times what rounding explains")
        _check_loss(opening.before.loss, exact.loss, 0.0)
        return agreement, None
    for groups in attempts:
        mirrored = _recompute(judge.mirror or judge.reference, round_, state, rows, key, groups)
        agreement = compare_bounded(opening.gradient, mirrored.gradient, layout, training)
        if agreement.magnitude <= MIRROR_SHARE * agreement.bound:
            break
    noise = None
    if thorough or agreement.magnitude > MIRROR_SHARE * agreement.bound:
        reference = _recompute(judge.reference, round_, state, rows, key, groups) if judge.mirror else mirrored
        noise = mirrored.gradient - reference.gradient if judge.mirror else None
        agreement = compare_bounded(opening.gradient, reference.gradient, layout, training)
        if not agreement.agrees:
            norms = judge.reference.row_norms(rows)
            agreement = compare_bounded(opening.gradient, reference.gradient, layout, training, norms)
    _require(agreement, "relative to its norm")
    _check_loss(opening.before.loss, mirrored.loss, training.bound_tensor)
    return agreement, DriftSample.of(opening.gradient, mirrored.gradient, noise, layout)


@dataclass(frozen=True)
class _Recomputed:
    gradient: Wide
    loss: float


def _recompute(
    bench: Workbench, round_: RoundContext, state: State, rows: list[bytes], key: bytes, groups: int
) -> _Recomputed:
    bench.load(state["theta"])
    try:
        gradient, loss = grouped_gradient(bench, rows, key, groups)
    except (RowError, EncodingError) as error:
        raise _Refused("rows", str(error)) from error
    wide = bench.tuned(gradient, round_.key).to(device="cpu", dtype=torch.float64).numpy()
    if not np.isfinite(wide).all():
        raise _Refused("gradient", "the gradient of this batch at the committed state is not finite", math.inf)
    return _Recomputed(wide, loss)


def _require(agreement: Agreement, unit: str) -> None:
    if not agreement.agrees:
        raise _Refused(
            "gradient",
            f"the gradient is not the one this batch gives: off by {agreement.magnitude:.3g} {unit} in "
            f"{agreement.tensor}; allowed {agreement.bound:.3g}",
            agreement.magnitude,
            agreement.bound,
        )


def _check_loss(committed: float, recomputed: float, bound: float) -> None:
    """The loss is rounded to float32 and counts for nothing but information; still it must be true."""
    step = float(np.spacing(np.float32(abs(recomputed))))
    tolerance = step + LOSS_TOLERANCE * bound * (1.0 + abs(recomputed))
    off = abs(committed - recomputed)
    if not off <= tolerance:
        raise _Refused("loss", f"loss {committed:.9g} where the batch gives {recomputed:.9g}", off, tolerance)
