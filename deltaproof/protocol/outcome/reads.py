"""Receipts: what a verifier had read before it sealed its attestation.

A receipt is a hash of the artifact's bytes with the reader's address, task and round, so that nobody can write one who
does not have the bytes, and nobody can copy another's. The seal on chain says by when the bytes were read. Who later
says that the artifact was not there contradicts every earlier receipt for it.

Because a store may lag, a verifier that misses something looks again until `withheld_from`. A verdict of *withheld*
that was sealed before is no verdict of somebody who looked.
"""

from __future__ import annotations

from deltaproof.protocol.rules import BPS, WITHHELD_AFTER_BPS
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address_bytes
from deltaproof.protocol.wire.encoding import sha256

__all__ = ["DELTA", "judging_seconds", "read_receipt", "withheld_from"]

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
    return deadline - judging_seconds(seconds)


def judging_seconds(phase: int) -> int:
    """How long judging and scoring may take in a phase of so many seconds.

    Attack: show an opening just before it counts as withheld, so that everybody has to score anew from then on.
    """
    return phase * (BPS - WITHHELD_AFTER_BPS) // BPS
