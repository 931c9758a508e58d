"""What a task offers to somebody who thinks of taking part: its terms, money, people, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.abi.structs import PhaseView, TaskView
from deltaproof.chain.announced import Stores
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.participation import read_task
from deltaproof.chain.rpc.connection import View
from deltaproof.errors import DeltaproofError
from deltaproof.protocol.terms.costs import round_cost, verifier_fee
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import TaskId, TokenAmount

__all__ = ["ROUND_GAS", "Offer", "offer_views", "read_offer", "read_offers"]

READ_AT_A_TIME = 64
"""Specs; each from a store that its sponsor named, which may let everybody wait."""
ROUND_GAS = {Role.TRAINER: 255_000, Role.VERIFIER: 305_000}
"""Gas of a round: what a participant sends to act in each phase, and to claim (docs/results/gas.md)."""


@dataclass(frozen=True)
class Offer:
    """A task as it stands. `spec` is None, and `problem` says why, if nobody should take part in it."""

    number: TaskId
    view: TaskView
    phase: PhaseView
    ended: bool
    balance: TokenAmount
    trainers: int
    """Who ever enrolled, as with `verifiers`."""
    verifiers: int
    spec: TaskSpec | None
    problem: DeltaproofError | None

    @property
    def pays(self) -> bool:
        """Whether another round can open and be paid."""
        cost = round_cost(self.view.params.rewards)
        return not self.ended and self.spec is not None and (self.phase.phase != Phase.IDLE or self.balance >= cost)

    def least_stake(self, role: Role) -> TokenAmount:
        """What a trainer locks, and a verifier at least, smallest units of the stake token."""
        stakes = self.view.params.stakes
        return stakes.trainer_stake if role is Role.TRAINER else stakes.verifier_stake

    def pay_per_step(self, role: Role) -> TokenAmount:
        """What one more participant gets for each training step of a round, smallest units of the reward token.

        An equal share of the round's budget, for verifiers of its fee, among those who enrolled, or the fewest with
        whom a round can open.
        """
        return TokenAmount(self.pay_per_round(role) // self.view.params.training.steps)

    def pay_per_round(self, role: Role) -> TokenAmount:
        """The same for a whole round: the most that one more participant can count on among equals."""
        rewards, quorum = self.view.params.rewards, self.view.params.quorum
        if role is Role.TRAINER:
            players = max(min(self.trainers + 1, quorum.max_trainers), quorum.min_trainers)
            return TokenAmount(int(rewards.budget_per_round) // players)
        return TokenAmount(int(verifier_fee(rewards)) // max(self.verifiers + 1, quorum.min_verifiers))

    def seconds_per_step(self, role: Role) -> float:
        """Time that the phase of the heavy work (`commit`, for verifiers `attest_commit`) has for each training step of
        a round."""
        phases = self.view.params.phases
        return (phases.commit if role is Role.TRAINER else phases.attest_commit) / self.view.params.training.steps


def offer_views(gateway: Gateway, number: TaskId) -> list[View]:
    """What `read_offer` asks the contracts, for `Connection.prefetch`."""
    return [
        gateway.tasks.view("taskOf", number),
        gateway.tasks.view("phaseOf", number),
        gateway.tasks.view("isEnded", number),
        gateway.terms.view("sponsorOf", number),
        gateway.terms.view("paramsOf", number),
        gateway.vault.view("accountOf", number),
        gateway.trainers.view("trainerCount", number),
        gateway.verifiers.view("verifierCount", number),
    ]


def read_offer(gateway: Gateway, stores: Stores, number: TaskId) -> Offer:
    """A task that exists, from chain and store. Raises ChainUnavailable."""
    spec, problem = None, None
    try:
        spec = read_task(gateway, stores(number), number).spec
    except DeltaproofError as error:
        problem = error
    return Offer(
        number=number,
        view=gateway.task(number),
        phase=gateway.tasks.phase(number),
        ended=gateway.tasks.is_ended(number),
        balance=gateway.vault.account(number).balance,
        trainers=gateway.trainers.count(number),
        verifiers=gateway.verifiers.count(number),
        spec=spec,
        problem=problem,
    )


def read_offers(gateway: Gateway, stores: Stores, numbers: Sequence[TaskId]) -> list[Offer]:
    """Tasks that exist, in this order, all at one block, read several at a time. Raises ChainUnavailable.

    Attack: make a hundred tasks whose stores answer one byte a minute, so that whoever looks for work waits for one
    after the other, joins nothing, and shows no vote meanwhile.
    """
    if not numbers:
        return []
    connection = gateway.connection
    block = connection.read_block

    def read(number: TaskId) -> Offer:
        with connection.reading_at(block):
            return read_offer(gateway, stores, number)

    with ThreadPoolExecutor(min(len(numbers), READ_AT_A_TIME), "offers") as readers:
        return list(readers.map(read, numbers))
