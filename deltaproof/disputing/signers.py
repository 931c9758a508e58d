"""Verifiers who signed what they must not: two settlements of one attempt, or one that is proven wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import combinations

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import AttestationState
from deltaproof.chain.events.rounds import SettlementPosted, SettlementVoided
from deltaproof.chain.participation import attempt, quorum_members
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import UNUSABLE
from deltaproof.protocol.commit.bls import SETTLEMENT_DOMAIN, Signature, verify
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.store import ArtifactStore

__all__ = ["Equivocation", "find_equivocations", "posted_non_signers", "prove_equivocation", "slash_culpable_signers"]


@dataclass(frozen=True)
class Equivocation:
    """Two settlements with different verdicts that one verifier signed in one attempt, with both signatures."""

    verifier: Address
    attempt: int
    first: tuple[Settlement, Signature]
    second: tuple[Settlement, Signature]


def find_equivocations(
    gateway: Gateway, store: ArtifactStore, log: TaskLog, task_id: TaskId, round_: RoundIndex
) -> list[Equivocation]:
    """Every verifier of the round whose published signatures contradict each other, once each.

    Candidates are the settlements that were posted, or that a member lists as signed. `log` follows the task manager
    and was refreshed. Raises StoreUnavailable, ChainError.
    """
    members = quorum_members(gateway, task_id, round_)
    attempts = range(gateway.tasks.round(task_id, round_).attempts + 1)
    posted = list(log.of(SettlementPosted, round_))
    candidates = {event.settlement.verdicts_digest: event.settlement for event in posted}
    listed = {digest for member in members for digest in store.signed_by(task_id, round_, member)}
    domain = gateway.domain(task_id, round_)
    for digest in sorted(listed - {event.digest for event in posted}):
        if (settlement := _signed_settlement(store, digest, domain, attempts)) is not None:
            candidates.setdefault(settlement.verdicts_digest, settlement)
    found: dict[Address, Equivocation] = {}
    if len(candidates) < 2:
        return []
    for number, verifier in ((number, verifier) for number in attempts for verifier in members):
        if verifier in found:
            continue
        signed = _signed_by(gateway, store, task_id, round_, number, verifier, candidates.values())
        for first, second in combinations(signed, 2):
            found[verifier] = Equivocation(verifier, number, first, second)
            break
    return list(found.values())


def prove_equivocation(gateway: Gateway, task_id: TaskId, round_: RoundIndex, found: Equivocation) -> bool:
    """Slash the verifier; False if it was punished in this round before."""
    prove = gateway.court.prove_equivocation
    receipt = attempt(
        prove, task_id, round_, found.attempt, found.verifier, first=found.first, second=found.second
    )  # fmt: skip
    return receipt is not None


def slash_culpable_signers(gateway: Gateway, log: TaskLog, task_id: TaskId, round_: RoundIndex) -> list[Address]:
    """Slash whoever signed a settlement of the round that was voided as culpable; returns those slashed now."""
    slashed: list[Address] = []
    for voided in log.of(SettlementVoided, round_):
        non_signers = posted_non_signers(log, round_, voided.digest)
        if not voided.culpable or non_signers is None:
            continue
        for verifier in quorum_members(gateway, task_id, round_):
            state = gateway.verifiers.attestation(task_id, round_, verifier).state
            if verifier in non_signers or state is AttestationState.EXCLUDED:
                continue
            if attempt(gateway.court.slash_signer, voided.digest, verifier, non_signers) is not None:
                slashed.append(verifier)
    return slashed


def posted_non_signers(log: TaskLog, round_: RoundIndex, digest: Digest32) -> tuple[Address, ...] | None:
    """Who did not sign a settlement, as it was posted; None if the log does not have it."""
    posted = (event for event in log.of(SettlementPosted, round_) if event.digest == digest)
    return next((event.non_signers for event in posted), None)


def _signed_settlement(
    store: ArtifactStore, digest: Digest32, domain: RoundDomain, attempts: Iterable[int]
) -> Settlement | None:
    try:
        return store.get_proposal(digest, lambda found: found.signed_as(digest, domain, attempts)).settlement
    except UNUSABLE:
        return None


def _signed_by(
    gateway: Gateway,
    store: ArtifactStore,
    task_id: TaskId,
    round_: RoundIndex,
    number: int,
    verifier: Address,
    candidates: Iterable[Settlement],
) -> list[tuple[Settlement, Signature]]:
    key, signed = gateway.registry.key_of(verifier), list[tuple[Settlement, Signature]]()
    if key is None:
        return signed
    for settlement in candidates:
        digest = settlement.signing_digest(gateway.domain(task_id, round_), number)
        try:
            signature = store.get_signature(digest, verifier, partial(verify, key, SETTLEMENT_DOMAIN, digest))
        except UNUSABLE:
            continue
        signed.append((settlement, signature))
    return signed
