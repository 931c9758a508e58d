"""Judge one opened step: every check that a committed step must pass, cheap ones first, each with its own verdict.

Errors never accumulate, because a replay starts from the committed state. What fails is said in one line a trainer can
understand, and as data. Nothing in an opening is trusted; anything wrong with it is a verdict, never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from protocol import merkle
from protocol.errors import EncodingError
from protocol.state import component_root
from protocol.transcript import Record, StepOpening, parse_opening
from tuning.comparison import Agreement, Wide, compare_gradients
from tuning.errors import RowError
from tuning.optimizers import State, clip_scale
from tuning.step import RoundContext, apply_update, state_root
from tuning.workbench import Workbench

__all__ = ["Check", "ReplayContext", "StepVerdict", "judge_bytes", "judge_step"]

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
    difference: Wide | None = field(default=None, repr=False, compare=False)
    """Bounded mode: committed minus recomputed gradient over the gradient's norm, shape (P,), for the drift test."""
    direction: Wide | None = field(default=None, repr=False, compare=False)
    """Bounded mode: recomputed gradient over its norm, shape (P,)."""

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


def judge_bytes(
    bench: Workbench, data: bytes, step: int, context: ReplayContext, screen: Workbench | None = None
) -> StepVerdict:
    """Judge the untrusted file of an opening; see `judge_step`."""
    try:
        opening = parse_opening(data, context.round.opening_limits(bench.spec, bench.layout.size))
    except EncodingError as error:
        return StepVerdict(step, False, "format", f"step {step}: the opening is malformed: {error}")
    return judge_step(bench, opening, step, context, screen)


def judge_step(
    bench: Workbench, opening: StepOpening, step: int, context: ReplayContext, screen: Workbench | None = None
) -> StepVerdict:
    """Replay step `step` from its opening. `bench` computes in float64.

    With `screen`, a workbench of the trainer's precision, a gradient that agrees within half the bounds there is
    accepted without the float64 replay (bounded mode only): it costs half, and float64 still decides every doubt.
    """
    try:
        _check_records(opening, step, context, bench)
        state = _check_state(opening, step, context, bench)
        _check_rows(opening, step, context, bench)
        _check_update(opening, state, step, context, bench)
        benches = (bench,) if screen is None or bench.spec.training.numeric == "exact" else (screen, bench)
        agreement, difference, direction = _check_gradient(opening, state, context.round, benches)
    except _Refused as refused:
        message = f"step {step}: {refused}"
        return StepVerdict(step, False, refused.check, message, refused.magnitude, refused.bound)
    return StepVerdict(
        step, True, None, f"step {step}: accepted", agreement.magnitude, agreement.bound, agreement.near_ties,
        difference, direction,
    )  # fmt: skip


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
    if step == steps - 1 and opening.after != Record(steps, opening.after.state_root):
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


def _check_gradient(
    opening: StepOpening, state: State, round_: RoundContext, benches: tuple[Workbench, ...]
) -> tuple[Agreement, Wide | None, Wide | None]:
    """The last of `benches` decides; one before it may accept what is well within the bounds."""
    training = benches[-1].spec.training
    for bench in benches:
        bench.load(state["theta"])
        with _row_errors():
            recomputed, loss = bench.gradient(
                [row.row for row in opening.rows], round_.dropout_key(opening.before.step)
            )
        reference = recomputed.to(device="cpu", dtype=torch.float64).numpy()
        agreement = compare_gradients(opening.gradient, reference, bench.layout, training)
        if agreement.magnitude <= agreement.bound / 2:
            break
    if not agreement.agrees:
        raise _Refused("gradient", _gradient_message(agreement, training.numeric), agreement.magnitude, agreement.bound)
    _check_loss(opening.before.loss, loss, training.bound_tensor if training.numeric == "bounded" else 0.0)
    if training.numeric == "exact":
        return agreement, None, None
    norm = float(np.linalg.norm(reference)) or 1.0
    return agreement, (opening.gradient - reference) / norm, reference / norm


@contextmanager
def _row_errors() -> Iterator[None]:
    try:
        yield
    except (RowError, EncodingError) as error:
        raise _Refused("rows", str(error)) from error


def _gradient_message(agreement: Agreement, numeric: str) -> str:
    if numeric == "exact":
        return (
            "the gradient is not the one this batch gives: off by "
            f"{agreement.magnitude:.3g} times what rounding explains in {agreement.tensor} (relative difference {agreement.relative:.3g})"
        )
    return (
        f"the gradient is not the one this batch gives: relative difference {agreement.magnitude:.3g} in "
        f"{agreement.tensor}, at most {agreement.bound:.3g} is rounding"
    )


def _check_loss(committed: float, recomputed: float, bound: float) -> None:
    """The loss is rounded to float32 and counts for nothing but information; still it must be true."""
    step = float(np.spacing(np.float32(abs(recomputed))))
    tolerance = step + 4 * bound * (1.0 + abs(recomputed))
    off = abs(committed - recomputed)
    if not off <= tolerance:
        raise _Refused("loss", f"loss {committed:.9g} where the batch gives {recomputed:.9g}", off, tolerance)
