"""What a played task cost honest people: read from the chain's events and states, not from what roles say."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from deltaproof.chain.abi.enums import Outcome, Role
from deltaproof.chain.events.base import ContractEvent
from deltaproof.chain.events.participants import (
    AbsenceCharged,
    BondForfeited,
    FeesClaimed,
    StakeDeposited,
    StakeSlashed,
    TrainerSlashed,
    VerifierSlashed,
)
from deltaproof.chain.events.rounds import Claimed, RoundEnded
from deltaproof.chain.free_share import FREE_SHARE, beside
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, RoundIndex
from tests.chaos.chaos_world import ChaosWorld

__all__ = ["Losses", "losses_of"]

NEVER_OPENED = "never opened"
"""Rounds for which the cell's patience did not last."""


@dataclasses.dataclass(frozen=True)
class Losses:
    """Amounts in smallest units of the stake token; the rest are counts."""

    slashes: int
    """Honest trainers and verifiers who lost stake."""
    stake: int
    bonds: int
    """Bonds that honest trainers lost."""
    absences: int
    """Rounds in which an honest verifier was charged for not attesting."""
    double_payments: int
    """Claims or fees paid twice, and stake deposited beyond what was needed."""
    settled: int
    lost: dict[str, int]
    """Rounds that ended without a settlement, by outcome; those that never ended as `running`."""
    unpaid: dict[str, int]
    """Rounds of honest trainers without an accepted verdict, by what was found instead."""


def losses_of(world: ChaosWorld, rounds: int) -> Losses:
    """Of everybody honest in the world's task."""
    honest = {role.agent.account for role in world.roles if role.honest}
    gateway = world.gateway
    events = [logged.event for logged in gateway.events.read(0, gateway.connection.block_number())]
    slashed = [e for e in events if isinstance(e, TrainerSlashed | VerifierSlashed) and _account(e) in honest]
    opened = gateway.tasks.phase(world.task).round
    outcomes = Counter(
        gateway.tasks.round(world.task, RoundIndex(number)).outcome.name.lower() for number in range(1, opened + 1)
    )
    outcomes[NEVER_OPENED] = rounds - opened
    settled = outcomes.pop(Outcome.SETTLED.name.lower(), 0)
    outcomes = +outcomes
    ended = {event.round for event in events if isinstance(event, RoundEnded) and event.outcome == Outcome.SETTLED}
    return Losses(
        slashes=len(slashed),
        stake=sum(event.amount for event in slashed),
        bonds=sum(isinstance(e, BondForfeited) and e.trainer in honest for e in events),
        absences=sum(isinstance(e, AbsenceCharged) and e.verifier in honest for e in events),
        double_payments=_double_payments(world, events, honest),
        settled=settled,
        lost=dict(outcomes),
        unpaid=dict(Counter(found for number in ended for found in _unpaid(world, number))),
    )


def _double_payments(world: ChaosWorld, events: list[ContractEvent], honest: set[Address]) -> int:
    paid = Counter((e.round, e.trainer) for e in events if isinstance(e, Claimed))
    fees = Counter((e.round, e.verifier) for e in events if isinstance(e, FeesClaimed) and e.fee)
    deposits: Counter[tuple[Address, Role]] = Counter()
    for event in events:
        if isinstance(event, StakeDeposited) and event.account in honest:
            deposits[event.account, event.role] += event.amount
    stakes = world.gateway.task(world.task).params.stakes
    once = {
        Role.TRAINER: int(stakes.trainer_stake),
        Role.VERIFIER: stakes.verifier_stake + beside(stakes.verifier_stake, FREE_SHARE),
    }
    needed = Counter({place: once.get(place[1], 0) for place in deposits})
    for event in events:
        if isinstance(event, StakeSlashed):
            needed[event.account, event.role] += event.amount
    return (
        sum(count - 1 for count in paid.values())
        + sum(count - 1 for count in fees.values())
        + sum(amount > needed[place] for place, amount in deposits.items())
    )


def _unpaid(world: ChaosWorld, number: int) -> list[str]:
    trainers = {r.agent.account for r in world.roles if r.honest and r.name.startswith("trainer")}
    verdicts = world.verdicts(number)
    found = (verdicts.get(trainer) for trainer in trainers)
    return ["no commitment" if v is None else v.name.lower() for v in found if v is not Verdict.ACCEPTED]


def _account(event: Any) -> Address:
    return Address(event.trainer if isinstance(event, TrainerSlashed) else event.verifier)
