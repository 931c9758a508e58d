"""Judge one opened step: every check that a committed step must pass, cheap ones first, each with its own verdict.

Errors never accumulate, because a replay starts from the committed state. What fails is said in one line a trainer can
understand, and as data. Nothing in an opening is trusted; anything wrong with it is a verdict, never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.opened import Misfit, check_opening
from deltaproof.protocol.evidence.rows import OpenedRow
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord, parse_opening
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import StepIndex
from deltaproof.replaying.drift import DriftSample
from deltaproof.replaying.gradient_check import Recomputation, check_gradient, stride_of
from deltaproof.replaying.grouping import groups_of
from deltaproof.replaying.refusal import Check, Refused
from deltaproof.tuning.combining.deltas import CommittedDelta
from deltaproof.tuning.methods import create_method
from deltaproof.tuning.training.optimizers import State, clip_scale
from deltaproof.tuning.training.step import RoundContext, apply_update, state_root
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Check", "Foresight", "Judge", "ReplayContext", "StepVerdict", "judge_step"]


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
    def from_spec(cls, spec: TaskSpec, device: str = "cpu", *, checkpointing: bool = False) -> Judge:
        """`checkpointing` where the method can: a judge takes any task that it enrols in.

        Raises ModelError, MethodError or NarrowingError, like `Workbench.from_spec`.
        """
        again = checkpointing and create_method(spec.method).reruns
        bounded = spec.training.numeric == "bounded"
        # The reference widens the mirror's matrices where both hold them as they are stored.
        mirror = Workbench.from_spec(spec, device, checkpointing=again, lends=True) if bounded else None
        reference = Workbench.from_spec(spec, device, precision="float64", checkpointing=again)
        return cls(reference, mirror, groups_of(reference))

    @property
    def spec(self) -> TaskSpec:
        """The task that is judged."""
        return self.reference.spec

    def on_device(self, state: Mapping[str, Vector]) -> State:
        """Float32 tensors of shape (P,) where the reference computes."""
        return {slot: torch.from_numpy(np.array(values)).to(self.reference.device) for slot, values in state.items()}

    def recomputation(self, opening: StepOpening, state: State, context: ReplayContext) -> Recomputation:
        """The gradient of an opening's rows at a state, to be computed when a verdict asks."""
        key, rows = context.round.dropout_key(opening.before.step), [row.row for row in opening.rows]
        return Recomputation(self.reference, self.mirror, state, rows, key, context.round.key, self.groups)

    def judge_bytes(self, data: bytes, step: int, context: ReplayContext, thorough: bool = True) -> StepVerdict:
        """Judge the untrusted file of an opening; see `judge_step`."""
        try:
            opening = parse_opening(data, context.round.opening_limits(self.spec, self.reference.layout.size))
        except EncodingError as error:
            return StepVerdict(step, False, "format", f"step {step}: the opening is malformed: {error}")
        return self.judge_step(opening, step, context, thorough)

    def judge_step(
        self,
        opening: StepOpening,
        step: int,
        context: ReplayContext,
        thorough: bool = True,
        foresight: Foresight | None = None,
    ) -> StepVerdict:
        """Replay step `step` from its opening; anything wrong with it is a verdict, never an exception.

        `thorough` runs the float64 replay in bounded mode even without doubt, which also measures the noise that the
        drift test needs; do so for a few samples of each trainer. `foresight` gives what it computed for this opening,
        and is told the state after the step.
        """
        bench = self.reference
        try:
            _check_fit(opening, step, context, bench)
            _check_state(opening, step, context, bench)
            state = self.on_device(opening.state)
            after = _check_update(opening, state, step, context, bench)
            if foresight is not None:
                foresight.foresee(step + 1, after)
            again = None if foresight is None else foresight.computed(opening)
            if again is None:
                again = self.recomputation(opening, state, context)
            stride = stride_of(bench, step, opening.before.clip_scale, after)
            agreement, drift = check_gradient(opening.gradient, opening.before.loss, again, stride, thorough)
        except Refused as refused:
            message = f"step {step}: {refused}"
            return StepVerdict(step, False, refused.check, message, refused.magnitude, refused.bound)
        magnitude, bound, ties = agreement.magnitude, agreement.bound, agreement.near_ties
        return StepVerdict(step, True, None, f"step {step}: accepted", magnitude, bound, ties, drift)


@dataclass
class Foresight:
    """What a judge knows of a trainer's next opening before it reads it: see `store.lean.Forecast`.

    The state before a step, where it has judged the step before: the optimiser is exact, and the update was checked.
    The gradient in exact mode, which has to be computed anyhow. Both are held against what is committed before they
    count.
    """

    judge: Judge
    context: ReplayContext
    _next: tuple[int, Mapping[str, Vector]] | None = None
    _computed: tuple[Mapping[str, Vector], Sequence[OpenedRow], Recomputation] | None = None

    def foresee(self, step: int, state: State) -> None:
        """The state before `step`."""
        self._next = step, {slot: values.cpu().numpy() for slot, values in state.items()}

    def state(self, step: StepIndex) -> Mapping[str, Vector] | None:
        """See `Forecast`."""
        return self._next[1] if self._next is not None and self._next[0] == step else None

    def gradient(self, opening: StepOpening) -> Vector | None:
        """See `Forecast`. Nothing that an opening holds makes this fail: judging it says what is wrong."""
        self._computed = None
        if self.judge.mirror is not None:
            return None
        again = self.judge.recomputation(opening, self.judge.on_device(opening.state), self.context)
        try:
            wide = again.reference.values
        except Refused:
            return None
        self._computed = opening.state, opening.rows, again
        with np.errstate(over="ignore"):  # a value that float32 does not hold fits no digest
            return wide.astype(np.float32)

    def computed(self, opening: StepOpening) -> Recomputation | None:
        """What was computed for just this state and these rows."""
        if self._computed is None or self._computed[0] is not opening.state or self._computed[1] is not opening.rows:
            return None
        return self._computed[2]


def judge_step(bench: Workbench, opening: StepOpening, step: int, context: ReplayContext) -> StepVerdict:
    """Replay a step on a single float64 workbench; in bounded mode this leaves out what the drift test needs."""
    return Judge(bench, None).judge_step(opening, step, context)


def _check_fit(opening: StepOpening, step: int, context: ReplayContext, bench: Workbench) -> None:
    """Only openings from a store were held against what is committed before."""
    size = bench.layout.size
    for name, values in {**opening.state, "gradient": opening.gradient}.items():
        if values.shape != (size,) or values.dtype != np.float32 or not np.isfinite(values).all():
            raise Refused("state", f"{name} must be {size} finite float32 values")
    try:
        check_opening(opening, context.round.committed_steps(bench.spec, size, context.transcript_root), step)
    except Misfit as misfit:
        raise Refused(misfit.part, str(misfit)) from misfit


def _check_state(opening: StepOpening, step: int, context: ReplayContext, bench: Workbench) -> None:
    steps = bench.spec.training.steps
    if step == steps - 1 and opening.after != StepRecord(steps, opening.after.state_root):
        raise Refused("record", "the final record must hold nothing but the final state")
    if opening.error_root != context.round.error_root:
        raise Refused("state", "the error-feedback memory is not the round's")
    if step == 0:
        if opening.roots.theta != context.round.start_digest:
            raise Refused("start", "the round does not start from its starting adapter")
        for slot in bench.slots[1:]:
            if np.any(opening.state[slot].view(np.uint32)):
                raise Refused("start", f"the component {slot} is not zero at the start of the round")


def _check_update(opening: StepOpening, state: State, step: int, context: ReplayContext, bench: Workbench) -> State:
    scale = clip_scale(opening.gradient, bench.spec.optimizer.clip_norm)
    if opening.before.clip_scale != scale:
        off = abs(opening.before.clip_scale - scale)
        raise Refused("clipping", f"clip scale {opening.before.clip_scale!r} where {scale!r} follows", off)
    gradient = torch.from_numpy(np.array(opening.gradient)).to(bench.device)
    next_state = apply_update(bench, state, step, gradient, scale)
    if state_root(next_state, opening.error_root) != opening.after.state_root:
        raise Refused("optimizer", "the next state does not follow from the committed state and gradient")
    if step == bench.spec.training.steps - 1 and context.theta_digest is not None:
        final = component_root(next_state["theta"].cpu().numpy())
        if final != context.theta_digest:
            raise Refused("delta", "the committed delta is not the adapter after the last step")
    if step == bench.spec.training.steps - 1 and context.delta is not None:
        trained = next_state["theta"].cpu().numpy()
        if problem := context.delta.problem(bench.codec, trained, context.round.key):
            raise Refused("delta", problem)
    return next_state
