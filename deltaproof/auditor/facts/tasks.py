"""What the chain says about a task and its rounds, as plain objects; nothing here is judged yet.

Every fact keeps the event that it comes from, so that a check can name the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from deltaproof.auditor.index.events import Event
from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.abi.structs import QuorumProof, RevealData, TaskParams
from deltaproof.errors import DeltaproofError
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount, address_bytes

__all__ = [
    "AttestationFacts",
    "Commitment",
    "EnrolledShard",
    "PostedSettlement",
    "Reveal",
    "RoundFacts",
    "TaskFacts",
    "UnknownSubject",
]

K = TypeVar("K")


class UnknownSubject(DeltaproofError):
    """The chain knows no such task, round or participant."""


@dataclass(frozen=True)
class EnrolledShard:
    """The rows that a trainer enrolled with."""

    root: Digest32
    rows: int
    position: tuple[int, int] = (0, 0)
    """Of the enrolment on the chain."""


@dataclass(frozen=True)
class Commitment:
    """A trainer's sealed work."""

    trainer: Address
    commitment: Digest32
    event: Event


@dataclass(frozen=True)
class Reveal:
    """A trainer's opened work, as the event says, and as calldata says (None if no calldata shows it)."""

    trainer: Address
    delta_digest: Digest32
    transcript_root: Digest32
    opened: RevealData | None
    event: Event


@dataclass(frozen=True)
class AttestationFacts:
    """One verifier's sealed and opened attestation of a round."""

    verifier: Address
    commitment: Digest32
    stake: TokenAmount
    """Locked for the task when it was committed."""
    committed: Event
    revealed: Event | None
    disqualified: Event | None
    opened: Mapping[str, Any] | None
    """Arguments of the call that revealed it; None if no calldata shows it."""

    @property
    def artifact(self) -> Digest32:
        """Digest of the document. Only of a revealed attestation."""
        return self._opened.digest("artifact_digest")

    @property
    def verdicts(self) -> Digest32:
        """Digest of its verdicts, as revealed."""
        return self._opened.digest("verdicts_digest")

    @property
    def scores(self) -> Digest32:
        """Root of the tree over its scores, as revealed."""
        return self._opened.digest("scores_root")

    @property
    def _opened(self) -> Event:
        if self.revealed is None:
            raise ValueError(f"{self.verifier} revealed no attestation")
        return self.revealed


@dataclass(frozen=True)
class PostedSettlement:
    """A settlement as posted; `voided` if a dispute undid it. `attempt` counts those voided before it."""

    settlement: Settlement
    digest: Digest32
    non_signers: tuple[Address, ...]
    event: Event
    voided: Event | None
    attempt: int
    late: bool
    """Whether a majority was enough, because the settle phase had passed once."""
    opened: tuple[Settlement, QuorumProof] | None
    """Arguments of the call that posted it; None if no calldata shows it."""


@dataclass(frozen=True)
class TaskFacts:
    """A task as created, and who took part."""

    id: TaskId
    sponsor: Address
    params: TaskParams
    validation_commitments: tuple[Digest32, ...]
    created: Event
    events: tuple[Event, ...] = field(repr=False)
    """What concerns more than one round: enrolments, slashes, openings and ends of rounds, money put in."""
    keys: Mapping[Address, Event] = field(repr=False)
    """Registration of each verifier's BLS key."""

    @cached_property
    def _by_name(self) -> dict[str, list[Event]]:
        return _grouped(self.events, lambda event: event.name)

    def named(self, *names: str) -> list[Event]:
        """Events of these names, in the order of the chain."""
        if len(names) == 1:
            return self._by_name.get(names[0], [])
        return sorted((e for name in names for e in self._by_name.get(name, ())), key=lambda event: event.position)

    @property
    def rounds(self) -> list[int]:
        """Rounds that were opened."""
        return [event.args["round"] for event in self.named("RoundOpened")]

    @property
    def participants(self) -> list[Address]:
        """The sponsor, then who enrolled to verify and to train, in the order of the chain."""
        verifiers = [event.args["verifier"] for event in self.named("VerifierEnrolled")]
        trainers = [event.args["trainer"] for event in self.named("TrainerEnrolled")]
        return list(dict.fromkeys([self.sponsor, *verifiers, *trainers]))

    def shard_of(self, trainer: Address, before: tuple[int, int]) -> EnrolledShard | None:
        """The shard with which a trainer was last enrolled before a position on the chain."""
        enrolled = [e for e in self._about("TrainerEnrolled", "trainer", trainer) if e.position < before]
        if not enrolled:
            return None
        last = enrolled[-1]
        return EnrolledShard(last.digest("data_root"), last.args["data_rows"], last.position)

    def trainer_stake(self, trainer: Address, before: tuple[int, int]) -> TokenAmount:
        """Stake that a trainer had locked for the task."""
        stake = 0
        names = ("TrainerEnrolled", "StakeToppedUp", "TrainerSlashed", "BondForfeited", "TrainerReleased")
        for event in self._about(names, "trainer", trainer):
            if event.position < before:
                match event.name:
                    case "TrainerEnrolled" | "StakeToppedUp":
                        stake = event.args["stake"]
                    case "TrainerSlashed" | "BondForfeited":
                        stake -= event.args["amount"]
                    case _:
                        stake = 0
        return TokenAmount(stake)

    def verifier_weight(self, verifier: Address, before: tuple[int, int]) -> TokenAmount:
        """What a verifier weighed in the quorum: its stake when it became active, whatever was slashed since."""
        active = [e for e in self._about("VerifierActivated", "verifier", verifier) if e.position < before]
        return TokenAmount(active[-1].args["weight"] if active else 0)

    def quorum_of(self, round_: int) -> list[Address]:
        """Verifiers of a round's snapshot, by ascending address."""
        members: set[Address] = set()
        for event in self.named("VerifierActivated", "VerifierStopped"):
            verifier = event.args["verifier"]
            if event.name == "VerifierActivated" and event.args["active_from"] <= round_:
                members.add(verifier)
            elif event.name == "VerifierStopped" and event.args["active_until"] < round_:
                members.discard(verifier)
        return sorted(members, key=address_bytes)

    @cached_property
    def _by_account(self) -> dict[tuple[str, ...], dict[Address, list[Event]]]:
        """Events of some names by whom they are about, as far as somebody asked: every trainer is looked up."""
        return {}

    def _about(self, names: str | tuple[str, ...], key: str, account: Address) -> list[Event]:
        wanted = (names,) if isinstance(names, str) else names
        if wanted not in self._by_account:
            self._by_account[wanted] = _grouped(self.named(*wanted), lambda event: event.args[key])
        return self._by_account[wanted].get(account, [])


@dataclass(frozen=True)
class RoundFacts:
    """A round as the chain saw it."""

    task: TaskFacts
    number: RoundIndex
    domain: RoundDomain
    events: tuple[Event, ...] = field(repr=False)
    commitments: Mapping[Address, Commitment] = field(repr=False)
    reveals: Mapping[Address, Reveal] = field(repr=False)
    attestations: Mapping[Address, AttestationFacts] = field(repr=False)
    settlements: tuple[PostedSettlement, ...] = field(repr=False)

    @cached_property
    def _by_name(self) -> dict[str, list[Event]]:
        return _grouped(self.events, lambda event: event.name)

    def named(self, *names: str) -> list[Event]:
        """Events of the round with one of these names, in the chain's order."""
        if len(names) == 1:
            return list(self._by_name.get(names[0], ()))
        return [event for event in self.events if event.name in names]

    def first(self, name: str) -> Event | None:
        """The first event of that name."""
        return next(iter(self._by_name.get(name, ())), None)

    @property
    def opened(self) -> Event:
        """The event that began the round."""
        return self.named("RoundOpened")[0]

    @property
    def start_digest(self) -> Digest32:
        """Component root of the adapter that the round starts from."""
        return self.opened.digest("start_digest")

    @property
    def order_seed(self) -> Digest32 | None:
        """What the batch orders derive from, once it is drawn."""
        event = self.first("OrderSeedDrawn")
        return event.digest("order_seed") if event else None

    @property
    def challenge_seed(self) -> Digest32 | None:
        """What the samples derive from, once it is drawn."""
        event = self.first("ChallengeSeedDrawn")
        return event.digest("challenge_seed") if event else None

    @property
    def scored(self) -> bool:
        """Whether the validation set was revealed in time."""
        return self.first("ValidationRevealed") is not None

    @property
    def trainers(self) -> list[Address]:
        """All who committed, by ascending address: the order of the leaves."""
        return sorted(self.commitments, key=address_bytes)

    def shard_of(self, trainer: Address) -> EnrolledShard | None:
        """The shard with which a trainer was enrolled when the round opened."""
        return self.task.shard_of(trainer, self.opened.position)

    @cached_property
    def commit_ranks(self) -> Mapping[Address, int]:
        """How many committed before each trainer who did."""
        return {trainer: rank for rank, trainer in enumerate(self.commitments)}

    @cached_property
    def enrolled_at(self) -> list[tuple[int, int]]:
        """Where on the chain those who committed had enrolled, ascending; (0, 0) of who was not enrolled."""
        shards = (self.shard_of(trainer) for trainer in self.commitments)
        return sorted(shard.position if shard else (0, 0) for shard in shards)

    @property
    def standing(self) -> PostedSettlement | None:
        """The settlement that was not voided."""
        return next((posted for posted in reversed(self.settlements) if posted.voided is None), None)

    @property
    def ended(self) -> Event | None:
        """The event that made the round final, once there is one."""
        return self.first("RoundEnded")

    @property
    def outcome(self) -> Outcome:
        """How the round ended; `RUNNING` until then."""
        return Outcome(self.ended.args["outcome"]) if self.ended else Outcome.RUNNING

    @property
    def faulty(self) -> frozenset[Address]:
        """Who revealed and whose fault was established in a block before verifiers could attest."""
        began = self.phase_start(Phase.ATTEST_COMMIT)
        slashed = [e for e in self.named("ClaimBlocked") if began is None or e.block < began.block]
        return frozenset(e.args["trainer"] for e in slashed if e.args["trainer"] in self.reveals)

    def phase_start(self, phase: Phase) -> Event | None:
        """When this phase first began, if it did."""
        return next((event for event in self.named("PhaseStarted") if event.args["phase"] == phase), None)


def _grouped(events: Iterable[Event], by: Callable[[Event], K]) -> dict[K, list[Event]]:
    """Events in their order, by what `by` says of each."""
    found: dict[K, list[Event]] = {}
    for event in events:
        found.setdefault(by(event), []).append(event)
    return found
