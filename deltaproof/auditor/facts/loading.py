"""Tasks and rounds out of the index; calldata is opened where events hold a digest only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deltaproof.auditor.facts.tasks import (
    AttestationFacts,
    Commitment,
    PostedSettlement,
    Reveal,
    RoundFacts,
    TaskFacts,
    UnknownSubject,
)
from deltaproof.auditor.index.calldata import call_behind
from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rows import OPENED_BY_CALLDATA
from deltaproof.chain.abi.codec import decode
from deltaproof.chain.abi.structs import QuorumProof, RevealData, TaskParams
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId

__all__ = ["TASK_EVENTS", "load_round", "load_task"]

TASK_EVENTS = (
    "TaskCreated", "TaskCancelled", "TaskFunded", "SponsorWithdrew", "HeldOutRevealed",
    "TrainerEnrolled", "StakeToppedUp", "TrainerStopped", "TrainerReleased", "TrainerSlashed", "BondForfeited",
    "VerifierActivated", "VerifierStopped", "VerifierReleased", "VerifierSlashed",
    "RoundOpened", "RoundEnded",
)  # fmt: skip
"""Events that a task keeps over its rounds; the others belong to a round alone."""


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
            yield Commitment(event.args["trainer"], event.digest("commitment"), event)
        elif event.name == "BatchCommitted":
            pairs = zip(event.args["trainers"], event.args["commitments"], strict=True)
            yield from (Commitment(trainer, Digest32(commitment), event) for trainer, commitment in pairs)


def _reveals(index: Index, events: Iterable[Event]) -> Iterable[Reveal]:
    for event in events:
        if event.name == "Revealed":
            delta, root = event.digest("delta_digest"), event.digest("transcript_root")
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
            commitment=committed.digest("commitment"),
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
                digest=event.digest("digest"),
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
