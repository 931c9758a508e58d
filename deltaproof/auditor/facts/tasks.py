"""What the chain says about a task and its rounds, as plain objects; nothing here is judged yet.

Every fact keeps the event that it comes from, so that a check can name the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from deltaproof.auditor.index.calldata import call_behind
from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.follower import OPENED_BY_CALLDATA
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.abi.codec import decode
from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.abi.structs import QuorumProof, RevealData, TaskParams
from deltaproof.errors import DeltaproofError
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount, address_bytes

__all__ = [
    "TASK_EVENTS",
    "AttestationFacts",
    "Commitment",
    "EnrolledShard",
    "PostedSettlement",
    "Reveal",
    "RoundFacts",
    "TaskFacts",
    "UnknownSubject",
    "load_round",
    "load_task",
]

TASK_EVENTS = (
    "TaskCreated", "TaskCancelled", "TaskFunded", "SponsorWithdrew", "HeldOutRevealed",
    "TrainerEnrolled", "StakeToppedUp", "TrainerStopped", "TrainerReleased", "TrainerSlashed", "BondForfeited",
    "VerifierActivated", "VerifierStopped", "VerifierReleased", "VerifierSlashed",
    "RoundOpened", "RoundEnded",
)  # fmt: skip
"""Events that a task keeps over its rounds; the others belong to a round alone."""


class UnknownSubject(DeltaproofError):
    """The chain knows no such task, round or participant."""


@dataclass(frozen=True)
class EnrolledShard:
    """The rows that a trainer enrolled with."""

    root: Digest32
    rows: int


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
        return _digest(self._opened, "artifact_digest")

    @property
    def verdicts(self) -> Digest32:
        """Digest of its verdicts, as revealed."""
        return _digest(self._opened, "verdicts_digest")

    @property
    def scores(self) -> Digest32:
        """Root of the tree over its scores, as revealed."""
        return _digest(self._opened, "scores_root")

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
        found: dict[str, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.name, []).append(event)
        return found

    def named(self, *names: str) -> list[Event]:
        """Events of these names, in the order of the chain."""
        if len(names) == 1:
            return self._by_name.get(names[0], [])
        return sorted((e for name in names for e in self._by_name.get(name, ())), key=lambda event: event.position)

    @property
    def rounds(self) -> list[int]:
        """Rounds that were opened."""
        return [event.args["round"] for event in self.named("RoundOpened")]

    def shard_of(self, trainer: Address, before: tuple[int, int]) -> EnrolledShard | None:
        """The shard with which a trainer was last enrolled before a position on the chain."""
        enrolled = [e for e in self._about("TrainerEnrolled", "trainer", trainer) if e.position < before]
        return EnrolledShard(_digest(enrolled[-1], "data_root"), enrolled[-1].args["data_rows"]) if enrolled else None

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

    def _about(self, names: str | tuple[str, ...], key: str, account: Address) -> list[Event]:
        wanted = (names,) if isinstance(names, str) else names
        return [event for event in self.named(*wanted) if event.args[key] == account]


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

    def named(self, *names: str) -> list[Event]:
        """Events of the round with one of these names, in the chain's order."""
        return [event for event in self.events if event.name in names]

    def first(self, name: str) -> Event | None:
        """The first event of that name."""
        return next(iter(self.named(name)), None)

    @property
    def opened(self) -> Event:
        """The event that began the round."""
        return self.named("RoundOpened")[0]

    @property
    def start_digest(self) -> Digest32:
        """Component root of the adapter that the round starts from."""
        return _digest(self.opened, "start_digest")

    @property
    def order_seed(self) -> Digest32 | None:
        """What the batch orders derive from, once it is drawn."""
        event = self.first("OrderSeedDrawn")
        return _digest(event, "order_seed") if event else None

    @property
    def challenge_seed(self) -> Digest32 | None:
        """What the samples derive from, once it is drawn."""
        event = self.first("ChallengeSeedDrawn")
        return _digest(event, "challenge_seed") if event else None

    @property
    def scored(self) -> bool:
        """Whether the validation set was revealed in time."""
        return self.first("ValidationRevealed") is not None

    @property
    def trainers(self) -> list[Address]:
        """All who committed, by ascending address: the order of the leaves."""
        return sorted(self.commitments, key=address_bytes)

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


def load_task(index: Index, task_id: int) -> TaskFacts:
    """Raises UnknownSubject."""
    events = index.events(task=task_id, names=TASK_EVENTS)
    created = next((event for event in events if event.name == "TaskCreated"), None)
    if created is None:
        raise UnknownSubject(f"there is no task {task_id} at {index.deployment.contracts['tasks']}")
    keys = {event.args["account"]: event for event in index.events(names=["KeyRegistered"])}
    return TaskFacts(
        id=TaskId(task_id),
        sponsor=created.args["sponsor"],
        params=decode(TaskParams, created.args["params"]),
        validation_commitments=tuple(Digest32(c) for c in created.args["validation_commitments"]),
        created=created,
        events=tuple(events),
        keys=keys,
    )


def load_round(index: Index, task: TaskFacts, number: int) -> RoundFacts:
    """Raises UnknownSubject."""
    events = index.events(task=task.id, round_=number)
    if not any(event.name == "RoundOpened" for event in events):
        raise UnknownSubject(f"task {task.id} has no round {number}")
    index.prefetch(event.transaction for event in events if event.name in OPENED_BY_CALLDATA)
    deployment = index.deployment
    return RoundFacts(
        task=task,
        number=RoundIndex(number),
        domain=RoundDomain(deployment.chain_id, deployment.contracts["tasks"], task.id, RoundIndex(number)),
        events=tuple(events),
        commitments={c.trainer: c for c in _commitments(events)},
        reveals={r.trainer: r for r in _reveals(index, events)},
        attestations={a.verifier: a for a in _attestations(index, task, events)},
        settlements=tuple(_settlements(index, events)),
    )


def _commitments(events: Iterable[Event]) -> Iterable[Commitment]:
    for event in events:
        if event.name == "Committed":
            yield Commitment(event.args["trainer"], _digest(event, "commitment"), event)
        elif event.name == "BatchCommitted":
            pairs = zip(event.args["trainers"], event.args["commitments"], strict=True)
            yield from (Commitment(trainer, Digest32(commitment), event) for trainer, commitment in pairs)


def _reveals(index: Index, events: Iterable[Event]) -> Iterable[Reveal]:
    for event in events:
        if event.name == "Revealed":
            delta, root = _digest(event, "delta_digest"), _digest(event, "transcript_root")
            yield Reveal(event.args["trainer"], delta, root, _revealed_data(index, event), event)
        elif event.name == "BatchRevealed":
            for entry in event.args["entries"]:
                if any(entry["salt"]) or any(entry["delta_digest"]):
                    delta, root, salt = (Digest32(entry[k]) for k in ("delta_digest", "transcript_root", "salt"))
                    yield Reveal(entry["trainer"], delta, root, RevealData(delta, root, salt), event)


def _revealed_data(index: Index, event: Event) -> RevealData | None:
    call = call_behind(index, event)
    if call is None:
        return None
    name, args = call
    if name == "reveal":
        return decode(RevealData, (args["delta_digest"], args["transcript_root"], args["salt"]))  # type: ignore[no-any-return]
    if name == "revealFromBatch":
        return decode(RevealData, args["data"])  # type: ignore[no-any-return]
    return None


def _attestations(index: Index, task: TaskFacts, events: Iterable[Event]) -> Iterable[AttestationFacts]:
    found: dict[Address, dict[str, Event]] = {}
    for event in events:
        if event.name in ("AttestationCommitted", "AttestationRevealed", "AttestationDisqualified"):
            found.setdefault(event.args["verifier"], {}).setdefault(event.name, event)
    for verifier, named in found.items():
        committed = named.get("AttestationCommitted")
        if committed is None:
            continue  # the order of events is a check of its own
        revealed = named.get("AttestationRevealed")
        yield AttestationFacts(
            verifier=verifier,
            commitment=_digest(committed, "commitment"),
            stake=task.verifier_weight(verifier, committed.position),
            committed=committed,
            revealed=revealed,
            disqualified=named.get("AttestationDisqualified"),
            opened=_attestation_call(index, revealed),
        )


def _attestation_call(index: Index, revealed: Event | None) -> Mapping[str, Any] | None:
    call = call_behind(index, revealed) if revealed else None
    return call[1] if call and call[0] == "revealAttestation" else None


def _settlements(index: Index, events: Iterable[Event]) -> Iterable[PostedSettlement]:
    all_events = list(events)
    for event in all_events:
        if event.name == "SettlementPosted":
            later = (e for e in all_events if e.name == "SettlementVoided" and e.position > event.position)
            voided = next((e for e in later if e.args["digest"] == event.args["digest"]), None)
            before = [e for e in all_events if e.position < event.position]
            attempt = sum(e.name == "SettlementVoided" for e in before)
            lowered = {e.args["attempt"] for e in before if e.name == "QuorumLowered"}
            yield PostedSettlement(
                settlement=decode(Settlement, event.args["settlement"]),
                digest=_digest(event, "digest"),
                non_signers=event.args["non_signers"],
                event=event,
                voided=voided,
                attempt=attempt,
                late=attempt in lowered,
                opened=_settle_call(index, event),
            )


def _settle_call(index: Index, event: Event) -> tuple[Settlement, QuorumProof] | None:
    call = call_behind(index, event)
    if call is None or call[0] != "settle":
        return None
    return decode(Settlement, call[1]["settlement"]), decode(QuorumProof, call[1]["proof"])


def _digest(event: Event, name: str) -> Digest32:
    value: Any = event.args[name]
    return Digest32(value)
