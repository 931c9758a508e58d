"""What the committee of a trainer tells the other verifiers, and when they take its word.

A member seals its report, the digest alone, before it sees anybody else's: nobody can copy a verdict. Reports are shown
when all members have sealed, or when seals count no more. Others take over one thing from them, that a trainer is
accepted, and only if nobody of its committee says otherwise: whatever else is said, or not said, they look themselves.
So a wrong word needs a committee without one honest member who speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from deltaproof.protocol.outcome.attestation import CheckRecord, Findings, TrainerFinding
from deltaproof.protocol.outcome.reads import DELTA, given_up_from
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import (
    BPS,
    COMMITTEE_AGREES_BPS,
    MAX_ATTESTATION_BYTES,
    MIN_COMMITTEE,
    REPORTS_SEALED_BPS,
    REPORTS_SHOWN_BPS,
)
from deltaproof.protocol.types import Address, AddressField, DigestField
from deltaproof.protocol.wire.documents import Document

__all__ = ["COMMITTEE", "CommitteeReport", "own_word", "reports_until", "sealed_until", "taken_over", "word_of"]

COMMITTEE = "committee"
"""The check of a finding that was taken over."""


class CommitteeReport(Document, kind="report", max_bytes=MAX_ATTESTATION_BYTES):
    """What one verifier found of the trainers it was drawn for."""

    task: Annotated[int, Field(ge=0, le=2**64 - 1)]
    round: Annotated[int, Field(ge=0, le=2**32 - 1)]
    verifier: AddressField
    challenge_seed: DigestField
    salt: DigestField
    """Keeps others from finding the report to a digest."""
    findings: Findings
    """Of these trainers, without scores."""


def sealed_until(deadline: int, seconds: int) -> int:
    """When seals count no more, and reports are shown: in a phase of so many seconds that ends at `deadline`."""
    return _share(deadline, seconds, REPORTS_SEALED_BPS)


def reports_until(deadline: int, seconds: int) -> int:
    """When nobody waits for reports any more, and what was not heard is replayed."""
    return _share(deadline, seconds, REPORTS_SHOWN_BPS)


def word_of(stakes: Mapping[Address, int], said: Mapping[Address, Verdict]) -> CheckRecord | None:
    """The committee's word that a trainer is accepted, as others attest it; None if there is none to take over.

    `stakes` are those of all members, `said` the verdicts of those who were heard. At least two thirds of the stake,
    and two members, have to say it, and nobody anything else.
    """
    heard = sum(stakes[member] for member in said)
    agreed = len(said) >= MIN_COMMITTEE and all(verdict is Verdict.ACCEPTED for verdict in said.values())
    if not agreed or heard * BPS < sum(stakes.values()) * COMMITTEE_AGREES_BPS:
        return None
    message = f"replayed and accepted by {len(said)} of the {len(stakes)} verifiers drawn for it"
    return CheckRecord(step=DELTA, check=COMMITTEE, passed=True, measured=0.0, message=message)


def own_word(finding: TrainerFinding) -> Verdict | None:
    """What a member says of a trainer by its own replays; None if it says nothing of its own.

    Attack: report what others are said to have found, or what one's own checks contradict, and have those who take it
    over look like liars.
    """
    if finding.verdict is Verdict.ACCEPTED and (taken_over(finding) or finding.failure() is not None):
        return None
    return finding.verdict


def taken_over(finding: TrainerFinding) -> bool:
    """Whether a verifier attests a committee's word in place of replays of its own."""
    return any(check.check == COMMITTEE for check in finding.checks)


def _share(deadline: int, seconds: int, bps: int) -> int:
    start = given_up_from(deadline, seconds)
    return start + max(deadline - start, 0) * bps // BPS
