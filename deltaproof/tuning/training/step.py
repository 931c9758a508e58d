"""The one training step, the same for trainer, verifier and auditor.

A step is the gradient, which differs in the last bits between machines, and the optimiser, which does not
(docs/protocol.md, section 2). Everything a step needs besides the state derives from the spec and the round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from deltaproof.protocol.draws.order import BatchOrder, order_key
from deltaproof.protocol.evidence.opened import CommittedSteps
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import StateRoots, Vector, component_root
from deltaproof.protocol.evidence.transcript import OpeningLimits, StepRecord
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, address, hex_of
from deltaproof.protocol.wire import merkle
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.tuning.errors import DivergenceError
from deltaproof.tuning.training.optimizers import State, clip_scale, constants_of, slots_of, update
from deltaproof.tuning.training.workbench import Workbench

__all__ = [
    "ComputedStep",
    "DrawnRound",
    "RoundContext",
    "StepResult",
    "apply_update",
    "compute_step",
    "final_record",
    "run_step",
    "start_state",
    "state_root",
]


@dataclass(frozen=True)
class DrawnRound:
    """A round whose order seed is drawn: what the chain fixes for everybody. Seed and digest have 32 bytes."""

    task_id: int
    round: int
    order_seed: bytes
    start_digest: bytes

    def of_trainer(self, trainer: bytes, data_root: bytes, rows: int, error_root: bytes = ZERO_DIGEST) -> RoundContext:
        """The round of one trainer (20 bytes), who enrolled `rows` rows under `data_root`."""
        return RoundContext(
            self.task_id, self.round, self.order_seed, self.start_digest, trainer, data_root, rows, error_root
        )

    def with_shard(self, trainer: bytes, shard: Shard, error_root: bytes = ZERO_DIGEST) -> RoundContext:
        """The round of one trainer, by those who hold its rows."""
        return self.of_trainer(trainer, shard.root, len(shard.rows), error_root)


@dataclass(frozen=True)
class RoundContext(DrawnRound):
    """One trainer's round, as the chain fixes it; `DrawnRound` makes it.

    `trainer` has 20 bytes, `rows` is the shard's size, `error_root` (32 bytes) names the memory of earlier deltas.
    """

    trainer: bytes
    data_root: bytes
    rows: int
    error_root: bytes = ZERO_DIGEST

    @cached_property
    def key(self) -> Digest32:
        return Digest32(order_key(self.order_seed, self.task_id, self.round, self.trainer))

    def batch(self, spec: TaskSpec, step: int) -> tuple[int, ...]:
        """Row indices of a step's batch."""
        return BatchOrder(self.key, self.rows, spec.training.batch_size).batch(step)

    def dropout_key(self, step: int) -> bytes:
        return sha256(b"deltaproof/dropout/v1\x00" + self.key + step.to_bytes(4, "big")).digest()

    def identity(self, spec: TaskSpec) -> Digest32:
        """Digest of everything that determines the round's transcript, the machine's rounding aside."""
        fields = [
            hex_of(value) for value in (spec.digest(), self.key, self.data_root, self.start_digest, self.error_root)
        ]
        return Digest32(sha256(canonical_json([*fields, self.rows])).digest())

    def opening_limits(self, spec: TaskSpec, values: int) -> OpeningLimits:
        """What openings of this round may hold, for P = `values`."""
        return spec.opening_limits(values, slots_of(spec.optimizer), spec.training.steps, self.rows)

    def committed_steps(self, spec: TaskSpec, values: int, transcript_root: bytes) -> CommittedSteps:
        """What openings of this round have to fit, whose trainer committed to this transcript, for P = `values`."""
        limits = self.opening_limits(spec, values)
        root, trainer = Digest32(transcript_root), address(self.trainer)
        return CommittedSteps(root, trainer, limits, Digest32(self.data_root), self.key)


@dataclass(frozen=True)
class StepResult:
    """Record of a step, its committed gradient (float32, shape (P,)) and the state after it."""

    record: StepRecord
    gradient: Vector = field(repr=False)
    next_state: State = field(repr=False)


def start_state(bench: Workbench, theta: Vector) -> State:
    """The state before step 0: the starting adapter, moments zero."""
    values = torch.from_numpy(theta.copy()).to(bench.device)
    return {slot: values if slot == "theta" else torch.zeros_like(values) for slot in bench.slots}


@dataclass(frozen=True)
class ComputedStep:
    """A step that is computed and not yet hashed: its committed gradient (float32, shape (P,)), and both states."""

    step: int
    state: State = field(repr=False)
    gradient: Vector = field(repr=False)
    next_state: State = field(repr=False)
    clip_scale: float
    loss: float

    def recorded(self, context: RoundContext, rows: Sequence[tuple[bytes, bytes]]) -> StepResult:
        """The step with its record: hashing only, which may be done while the next step is computed."""
        record = StepRecord(
            step=self.step,
            state_root=state_root(self.state, context.error_root),
            grad_root=component_root(self.gradient),
            rows_root=merkle.root([digest for digest, _ in rows]),
            clip_scale=self.clip_scale,
            loss=self.loss,
        )
        return StepResult(record, self.gradient, self.next_state)


def run_step(
    bench: Workbench,
    context: RoundContext,
    state: State,
    step: int,
    rows: Sequence[tuple[bytes, bytes]],
) -> StepResult:
    """Step `step` from `state` on its batch. `rows`: digest and canonical bytes of each row, in batch order.

    Raises DivergenceError if loss, gradient or next state is not finite.
    """
    return compute_step(bench, context, state, step, rows).recorded(context, rows)


def compute_step(
    bench: Workbench,
    context: RoundContext,
    state: State,
    step: int,
    rows: Sequence[tuple[bytes, bytes]],
) -> ComputedStep:
    """What `run_step` does on the device. Raises DivergenceError."""
    bench.load(state["theta"])
    wide, loss = bench.gradient([row for _, row in rows], context.dropout_key(step))
    gradient = bench.tuned(wide.to(torch.float32), context.key)
    host = _host(gradient)
    scale = clip_scale(host, bench.spec.optimizer.clip_norm)
    next_state = apply_update(bench, state, step, gradient, scale)
    loss = float(np.float32(loss))
    _check_finite(step, loss, gradient, next_state)
    return ComputedStep(step, state, host, next_state, scale, loss)


def apply_update(bench: Workbench, state: State, step: int, gradient: Tensor, scale: float) -> State:
    """The exact half of a step."""
    return update(bench.optimizer, constants_of(bench.constants, step), state, gradient, scale)


def final_record(steps: int, state: State, error_root: bytes = ZERO_DIGEST) -> StepRecord:
    """Record N: the final state, all else zero."""
    return StepRecord(steps, state_root(state, error_root))


def state_root(state: State, error_root: bytes = ZERO_DIGEST) -> Digest32:
    """Root over the state's components; `error_root` fills the slot of the error-feedback memory."""
    return StateRoots(**{slot: component_root(_host(values)) for slot, values in state.items()}, e=error_root).root()


def _host(values: Tensor) -> Vector:
    return values.detach().cpu().numpy()


def _check_finite(step: int, loss: float, gradient: Tensor, state: State) -> None:
    if not np.isfinite(loss):
        raise DivergenceError(f"step {step}: the loss is {loss}; lower the learning rate or clip gradients")
    for name, values in {"gradient": gradient, **state}.items():
        if not bool(torch.isfinite(values).all()):
            raise DivergenceError(f"step {step}: {name} is not finite; lower the learning rate or clip gradients")
