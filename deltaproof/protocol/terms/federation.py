"""Federated tuning of a model that trainers must not hold (FedPEAT, arXiv 2310.17491; offsite-tuning, 2302.04870).

The owner keeps the full model. Trainers get an *emulator*: the embeddings, the first and last layers as they are, and a
compressed middle that stays frozen. What they tune has the same names and shapes in the full model, so an adapter plugs
in as it is. Replays run on the emulator; values are measured on the full model.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from deltaproof.protocol.rules import MAX_EMULATOR_BYTES
from deltaproof.protocol.terms.control import ControlSection, KnobChoice
from deltaproof.protocol.types import Address, AddressField, DigestField
from deltaproof.protocol.wire.documents import Record

__all__ = [
    "HUB_COMMIT",
    "MOVING_REFERENCE",
    "Assignment",
    "EmulatorSection",
    "FederationSection",
    "Fidelity",
    "ModelSource",
    "Recipe",
    "ServerSection",
]

HUB_COMMIT = re.compile("[0-9a-f]{40}")
"""A commit of a hub's repository, written in full."""
MOVING_REFERENCE = (
    "a branch, a tag or a short hash can come to mean other files, and then nobody could check the work: "
    "name the commit by its 40 hexadecimal digits"
)
"""Why a task names nothing else."""


def _at_a_commit(source: str) -> str:
    kind, _, where = source.partition(":")
    if kind == "hub" and not HUB_COMMIT.fullmatch(where.partition("@")[2]):
        raise ValueError(MOVING_REFERENCE)
    return source


ModelSource = Annotated[
    str,
    StringConstraints(
        pattern=r"^(package:[\w.\-]+(/[\w.\-]+)*|path:.+|hub:[\w.\-]+(/[\w.\-]+)?@[\w.\-/]+|emulator:[0-9a-f]{64})$"
    ),
    AfterValidator(_at_a_commit),
]
"""`package:<distribution>/<folder>`, `path:<folder>`, `hub:<org>/<name>@<commit>` with all 40 digits, or
`emulator:<sha256>`, one in the artifact store."""

_Name = Annotated[str, StringConstraints(pattern=r"^[\w\-]{1,40}$")]
_Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Recipe(Record):
    """How an emulator is made from the full model. In this order: drop, distil, prune, factorise, quantise."""

    ratio: _Share
    """Bytes of the middle that the emulator keeps, as a share of the full model's; decides how many layers stay."""
    select: Literal["uniform", "importance"] = "uniform"
    """Which layers stay: evenly spaced, or those that change their input most (block influence, arXiv 2403.03853)."""
    distill_steps: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Steps in which the kept middle learns the full middle's output on the public rows (offsite-tuning)."""
    distill_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-4
    """Learning rate of these steps."""
    distill_batch: Annotated[int, Field(ge=1, le=1024)] = 8
    """Public rows of each of these steps."""
    prune: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of each middle matrix that is set to zero, smallest magnitudes first."""
    rank_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Rank of each middle matrix's factors as a share of its smaller side; 0 keeps matrices whole."""
    bits: Literal[0, 4, 8, 16] = 0
    """Of a middle value: 4 and 8 in blocks with a scale, 16 is half precision, 0 leaves float32."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("distill_rate", "distill_batch"):
            if not self.distill_steps and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} applies with distill_steps only: leave it out, or say how many steps")
        if not (self.distill_steps or self.prune or self.rank_share or self.bits):
            raise ValueError("the kept layers of the middle would be shown as they are: distil or compress them")
        if self.prune and self.rank_share:
            raise ValueError("prune and rank_share exclude each other: a product of pruned factors is not sparse")
        return self


class Fidelity(Record):
    """How close an emulator is to the full model on the public rows."""

    hidden: Annotated[float, Field(ge=0.0)]
    """Relative L2 distance of what the last adapter layers receive, mean over rows."""
    output: Annotated[float, Field(ge=0.0)]
    """Kullback-Leibler divergence of predictions from the full model's, nats, mean over predictions."""


class EmulatorSection(Record):
    """One emulator, in the artifact store as `blob/<sha256>`."""

    name: _Name
    """What assignments call it: up to 40 letters, digits, `_` and `-`."""
    source: ModelSource
    """`emulator:` and the SHA-256 of its file."""
    weights_digest: DigestField
    """Of the model folder that the file expands to."""
    file_bytes: Annotated[int, Field(ge=1, le=MAX_EMULATOR_BYTES)]
    """What travels to a trainer, bytes."""
    layers: tuple[Annotated[int, Field(ge=0, lt=4096)], ...]
    """Of the full model, those that are in the emulator, ascending."""
    recipe: Recipe
    """How it is made from the full model."""
    fidelity: Fidelity
    """How close it is to the full model; computed when it is made."""


class Assignment(Record):
    """Which emulator a trainer works on."""

    trainer: AddressField
    """Account of the trainer."""
    emulator: _Name
    """Name of its emulator."""


class ServerSection(Record):
    """The owner of the model as a trainer: on an emulator like others, with its own data, verified and scored alike."""

    trainer: AddressField
    """Account of the model's owner as a trainer."""
    paid: bool = False
    """Without pay its discount is complete: it scores and takes part in the next adapter, and others share the pool."""


class FederationSection(Record):
    """The full model, who must hold it, and what others get instead."""

    source: ModelSource
    """The full model, where those who may hold it find it."""
    weights_digest: DigestField
    """SHA-256 over the full model's tensors, configuration and tokeniser."""
    depth: Annotated[int, Field(ge=1, le=4096)]
    """Layers of the full model."""
    first: Annotated[int, Field(ge=0, le=4096)] = 1
    """Adapter layers at the bottom: disclosed as they are, and with `last` the only ones where anything is tuned."""
    last: Annotated[int, Field(ge=0, le=4096)] = 1
    """Adapter layers at the top."""
    public_rows: DigestField
    """Rows that emulators are made and measured with, in the store as a blob of JSON lines."""
    emulators: Annotated[tuple[EmulatorSection, ...], Field(min_length=1, max_length=16)]
    """The first is the task's `model`; trainers who are not assigned another work on it."""
    assignments: Annotated[tuple[Assignment, ...], Field(max_length=4096)] = ()
    """If any are given, nobody else takes part, the server excepted."""
    server: ServerSection | None = None
    """The owner as a trainer, if it is one."""
    control: ControlSection | None = None
    """Who chose assignments, local steps, rank and codec of this task, and on what."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [emulator.name for emulator in self.emulators]
        if len(set(names)) != len(names):
            raise ValueError("emulators need different names")
        if self.first + self.last >= self.depth:
            raise ValueError(f"first + last = {self.first + self.last} leave no middle of {self.depth} layers")
        if unknown := sorted({a.emulator for a in self.assignments} - set(names)):
            raise ValueError(f"assignments name the emulator {unknown[0]!r}, which is not there")
        if len({a.trainer for a in self.assignments}) != len(self.assignments):
            raise ValueError("a trainer is assigned twice")
        for emulator in self.emulators:
            self._check_layers(emulator)
        if self.control is not None and self.assignments != self.assigned_by(self.control):
            raise ValueError("assignments are not what control.action says, in the order of its devices")
        return self

    def _check_layers(self, emulator: EmulatorSection) -> None:
        layers = emulator.layers
        if list(layers) != sorted(set(layers)) or not set(layers) <= set(range(self.depth)):
            raise ValueError(f"layers of emulator {emulator.name!r} must ascend and lie below depth {self.depth}")
        if missing := sorted(set(self.adapter_layers) - set(layers)):
            raise ValueError(f"emulator {emulator.name!r} lacks the adapter layer {missing[0]}")

    def assigned_by(self, control: ControlSection) -> tuple[Assignment, ...]:
        """Assignments that an action comes to, in the order of devices. Raises ValueError for one that does not fit."""
        choice: KnobChoice = control.choice(len(self.emulators))
        return tuple(
            Assignment(trainer=device, emulator=self.emulators[position].name)
            for device, position in zip(control.devices, choice.emulators, strict=True)
            if position is not None
        )

    @property
    def adapter_layers(self) -> tuple[int, ...]:
        """Of the full model."""
        return (*range(self.first), *range(self.depth - self.last, self.depth))

    def emulator_of(self, trainer: Address) -> EmulatorSection | None:
        """What a trainer works on; None if it has no part in this task."""
        if not self.assignments:
            return self.emulators[0]
        named = {assignment.trainer: assignment.emulator for assignment in self.assignments}
        if trainer not in named and self.server is not None and trainer == self.server.trainer:
            return self.emulators[0]
        return next((e for e in self.emulators if e.name == named.get(trainer)), None)
