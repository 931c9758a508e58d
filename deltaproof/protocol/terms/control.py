"""Adaptive control of a federation: what a policy saw before a task, what it chose, and what that means.

A controlled federation is a chain of tasks, one for each step of control, because a spec fixes emulators, steps, rank
and codec for all rounds of a task. Observation and action are part of the spec, so their digest is on chain before
anybody trains, and whoever reads the spec can compute both again (`deltaproof/tuning/control`).

Device states are simulated: they come from a seeded trace, not from measurements of the trainers' machines, which
nobody could verify.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from deltaproof.protocol.rules import MAX_DEVICES
from deltaproof.protocol.types import AddressField, DigestField
from deltaproof.protocol.wire.documents import Record

__all__ = [
    "Action",
    "ControlSection",
    "DeviceClass",
    "DeviceState",
    "KnobChoice",
    "KnobTable",
    "Observation",
]

DeviceClass = Literal["phone", "laptop", "workstation"]
"""Kinds of simulated devices."""
Action = tuple[int, ...]
"""A level for each branch: one branch per device (0: sits out, k: works on the k-th emulator), then local steps, rank,
codec."""

_Level = Annotated[int, Field(ge=0, le=255)]
_Steps = Annotated[int, Field(ge=1, le=2**20)]
_Rank = Annotated[int, Field(ge=1, le=4096)]
_Codec = Annotated[str, StringConstraints(pattern=r"^[\w|]{1,40}$")]
_Nanos = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
_Rate = Annotated[int, Field(ge=1, le=2**40)]


class DeviceState(Record):
    """One device before one step of control. Simulated."""

    speed_milli: Annotated[int, Field(ge=1, le=10**9)]
    """Training speed, thousandths of the reference machine's."""
    memory_bytes: Annotated[int, Field(ge=0, le=2**50)]
    """Free for training, bytes."""
    up_bytes_per_second: _Rate
    """To the artifact store."""
    down_bytes_per_second: _Rate
    """From the artifact store."""


class Observation(Record):
    """What a policy decides on."""

    step: Annotated[int, Field(ge=0, le=4096)]
    """Of control, from 0."""
    horizon: Annotated[int, Field(ge=1, le=4096)]
    """Steps that are planned."""
    gained_nanos: _Nanos
    """Improvement over all steps before, as settled on chain: held-out loss on the full model, nano-nats."""
    last_nanos: _Nanos
    """Of the step before alone."""
    devices: Annotated[tuple[DeviceState, ...], Field(min_length=1, max_length=MAX_DEVICES)]
    """State of each device, in the order of branches."""


@dataclass(frozen=True)
class KnobChoice:
    """An action in words."""

    emulators: tuple[int | None, ...]
    """Per device, position of its emulator in the task's list; None sits out."""
    steps: int
    rank: int
    codec: str


class KnobTable(Record):
    """What the levels of the shared branches stand for."""

    steps: Annotated[tuple[_Steps, ...], Field(min_length=1, max_length=16)]
    """Training steps of a round."""
    ranks: Annotated[tuple[_Rank, ...], Field(min_length=1, max_length=16)]
    """The method's option `r`."""
    alpha_per_rank: Annotated[float, Field(gt=0.0, le=1024.0)] = 2.0
    """`lora_alpha` over `r`, the same at every rank, so that an adapter keeps its meaning when the rank changes."""
    codecs: Annotated[tuple[_Codec, ...], Field(min_length=1, max_length=16)]
    """With their default options."""

    def sizes(self, devices: int, emulators: int) -> tuple[int, ...]:
        """Levels of each branch."""
        return (*[emulators + 1] * devices, len(self.steps), len(self.ranks), len(self.codecs))

    def read(self, action: Sequence[int], devices: int, emulators: int) -> KnobChoice:
        """What an action means. One that leaves everybody out means: everybody, on the first emulator.

        Raises ValueError for another number of branches or a level that a branch does not have.
        """
        sizes = self.sizes(devices, emulators)
        if len(action) != len(sizes):
            raise ValueError(f"an action for {devices} devices has {len(sizes)} branches, not {len(action)}")
        for branch, (level, size) in enumerate(zip(action, sizes, strict=True)):
            if not 0 <= level < size:
                raise ValueError(f"branch {branch} of an action has levels 0 to {size - 1}, not {level}")
        levels = action[:devices] if any(action[:devices]) else [1] * devices
        steps, rank, codec = action[devices:]
        assigned = tuple(level - 1 if level else None for level in levels)
        return KnobChoice(assigned, self.steps[steps], self.ranks[rank], self.codecs[codec])


class ControlSection(Record):
    """Who decides, on what, and what came of it."""

    policy_digest: DigestField | None = None
    """A learned policy: the store's blob with its weights."""
    policy_seed: DigestField | None = None
    """A random policy: where its draws come from."""
    fixed_action: Annotated[tuple[_Level, ...], Field(max_length=MAX_DEVICES + 3)] | None = None
    """A fixed policy: what it always does."""
    trace_seed: DigestField
    """Of the simulated device trace."""
    devices: Annotated[tuple[AddressField, ...], Field(min_length=1, max_length=MAX_DEVICES)]
    """Trainers in the order of branches."""
    classes: tuple[DeviceClass, ...]
    """Of each device."""
    knobs: KnobTable
    """What the levels of the shared branches stand for."""
    previous_task: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    """The step before, on the same contracts; None for the first step."""
    observation: Observation
    """What the policy saw."""
    action: Annotated[tuple[_Level, ...], Field(max_length=MAX_DEVICES + 3)]
    """What it chose: a level for each branch."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        policies = (self.policy_digest, self.policy_seed, self.fixed_action)
        if sum(policy is not None for policy in policies) != 1:
            raise ValueError("control needs exactly one of policy_digest, policy_seed and fixed_action")
        if len(set(self.devices)) != len(self.devices):
            raise ValueError("a device is listed twice")
        if not len(self.devices) == len(self.classes) == len(self.observation.devices):
            raise ValueError("devices, classes and observed devices differ in number")
        if self.observation.step >= self.observation.horizon:
            raise ValueError("the observed step is beyond the horizon")
        if (self.observation.step == 0) != (self.previous_task is None):
            raise ValueError("every step but the first names the task before it")
        if self.observation.step == 0 and (self.observation.gained_nanos or self.observation.last_nanos):
            raise ValueError("nothing is gained before the first step")
        return self

    def choice(self, emulators: int) -> KnobChoice:
        """What the action means for a task with so many emulators. Raises ValueError."""
        return self.knobs.read(self.action, len(self.devices), emulators)
