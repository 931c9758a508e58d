"""Receipts: what a verifier had read before it sealed its attestation.

A receipt is a hash of the artifact's bytes with the reader's address, task and round, so that nobody can write one who
does not have the bytes, and nobody can copy another's. The seal on chain says by when the bytes were read. Who later
says that the artifact was not there contradicts every earlier receipt for it.

Because a store may lag, a verifier that misses something looks again until `withheld_from`, and a little longer,
because clocks differ. A verdict of *withheld* that was sealed before is no verdict of somebody who looked.
"""

from __future__ import annotations

from deltaproof.protocol.rules import (
    AUDIT_CLOCK_SECONDS,
    BPS,
    CLOCK_MARGIN_BPS,
    REPORTS_SHOWN_BPS,
    WITHHELD_AFTER_BPS,
)
from deltaproof.protocol.terms.tables import TaskTables
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address_bytes
from deltaproof.protocol.wire.encoding import sha256

__all__ = [
    "DELTA",
    "clock_margin",
    "given_up_from",
    "in_time_until",
    "judging_seconds",
    "read_receipt",
    "withheld_from",
]

DELTA = -1
"""Stands for the delta where a step stands for its opening."""
DOMAIN = b"deltaproof/read/v1\x00"


def read_receipt(task: TaskId, round_: RoundIndex, reader: Address, content: Digest32) -> Digest32:
    """The receipt for an artifact of which `content` is the SHA-256: of a delta's bytes, or of an opening as
    `serialize_opening` writes it."""
    place = task.to_bytes(8, "big") + round_.to_bytes(4, "big")
    return sha256(DOMAIN + place + address_bytes(reader) + content)


def withheld_from(deadline: int, seconds: int) -> int:
    """The earliest time, seconds since the epoch, at which *withheld* may be sealed in a phase of so many seconds."""
    return deadline - seconds * (BPS - WITHHELD_AFTER_BPS) // BPS


def clock_margin(phase: int) -> int:
    """By how much the clocks of store and chain may differ in a phase of so many seconds."""
    return min(AUDIT_CLOCK_SECONDS, phase * CLOCK_MARGIN_BPS // BPS)


def in_time_until(deadline: int, seconds: int) -> int:
    """What a store took later, by its own clock, came too late, whoever looks when. Work that is there before anybody
    may miss it is in time by every clock within the margin."""
    return withheld_from(deadline, seconds) + clock_margin(seconds)


def given_up_from(deadline: int, seconds: int) -> int:
    """When verifiers give up looking: by then all see what is in time, by every clock within the margin."""
    return withheld_from(deadline, seconds) + 2 * clock_margin(seconds)


def judging_seconds(terms: TaskTables) -> int:
    """How long judging and scoring a round may take in the phase for it.

    Attack: show an opening just before it counts as withheld, so that everybody has to score anew from then on. With
    committees what nobody was heard about is replayed in the second half of that (`protocol.outcome.reports`).
    """
    phase = terms.phases.attest_commit
    left = phase - given_up_from(phase, phase)
    return left * (BPS - REPORTS_SHOWN_BPS) // BPS if terms.verification.committee else left
