"""Which tasks `task list` shows, and what one would mean for this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from deltaproof.chain.abi.enums import Role
from deltaproof.chain.contracts.money import Amount, Money
from deltaproof.chain.offers import ROUND_GAS, Offer
from deltaproof.protocol.terms.spec import TaskSpec

if TYPE_CHECKING:
    from deltaproof.replaying.estimate import ModelSize

__all__ = ["ListedTask", "ModelSizes", "WantedTasks"]


class ModelSizes:
    """Sizes of models, each found once: many tasks tune one model, and a hub answers slowly."""

    def __init__(self) -> None:
        self._known: dict[str, ModelSize | None] = {}

    def of(self, source: str) -> ModelSize | None:
        """None if the model is neither here nor on a hub that answers."""
        from deltaproof.replaying.estimate import model_size

        if source not in self._known:
            self._known[source] = model_size(source)
        return self._known[source]

    def stored_bytes(self, spec: TaskSpec) -> int | None:
        """Of the weights that a trainer holds."""
        if spec.federation is not None:
            return spec.federation.emulators[0].file_bytes
        size = self.of(spec.model.source)
        return size.stored_bytes if size else None


@dataclass(frozen=True)
class WantedTasks:
    """What a person asks for; empty means anything."""

    role: Role
    every: bool
    kind: str
    method: str
    model: str
    max_size: float | None
    """Megabytes of weights."""
    token: str
    min_pay: Amount | None
    sizes: ModelSizes = field(default_factory=ModelSizes)

    def fits(self, task: Offer, money: Money) -> bool:
        """Whether a task is shown. Raises UsageError for an amount that its token cannot be paid in."""
        spec, token = task.spec, task.view.params.token
        if not (self.every or task.pays):
            return False
        if self.token and self.token.lower() not in (token.lower(), money.symbol.lower()):
            return False
        if self.min_pay is not None and task.pay_per_round(self.role) < self.min_pay.within(money):
            return False
        if not (self.kind or self.method or self.model or self.max_size is not None):
            return True
        return spec is not None and self._fits_model(spec)

    def _fits_model(self, spec: TaskSpec) -> bool:
        if (self.kind and spec.model.kind != self.kind) or (self.method and spec.method.name != self.method):
            return False
        if self.model and not fnmatchcase(spec.model.source, self.model):
            return False
        if self.max_size is None:
            return True
        stored = self.sizes.stored_bytes(spec)
        return stored is not None and stored <= self.max_size * 1e6


@dataclass(frozen=True)
class ListedTask:
    """A task with what it would take here, if that was asked for and can be known."""

    offer: Offer
    pay: int
    """Of a round, to one more participant; smallest units of the reward token."""
    role: Role
    stored_bytes: int | None = None
    seconds: float | None = None
    """Of a round's work."""

    @classmethod
    def of(cls, offer: Offer, role: Role, estimate: bool, sizes: ModelSizes) -> ListedTask:
        """`estimate`: whether to look at the model."""
        pay = offer.pay_per_round(role)
        if not estimate or offer.spec is None:
            return cls(offer, pay, role)
        from deltaproof.replaying.estimate import rough_speed

        size = sizes.of(offer.spec.model.source)
        if size is None:
            return cls(offer, pay, role, sizes.stored_bytes(offer.spec))
        speed = rough_speed(offer.spec, size)
        players = max(offer.trainers, offer.view.params.quorum.min_trainers, 1)
        seconds = speed.training(offer.spec) if role is Role.TRAINER else speed.verifying(offer.spec, players)
        return cls(offer, pay, role, size.stored_bytes, seconds)

    @property
    def gas(self) -> int:
        """Of a round, about."""
        return ROUND_GAS[self.role]

    @property
    def phase_seconds(self) -> int:
        """Of the phase that the work has to fit."""
        phases = self.offer.view.params.phases
        return phases.commit if self.role is Role.TRAINER else phases.attest_commit
