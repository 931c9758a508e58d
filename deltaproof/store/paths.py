"""What names artifacts have (docs/protocol.md, section 6): who makes a path, and what an untrusted one says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from deltaproof.errors import EncodingError
from deltaproof.protocol.types import (
    ZERO_DIGEST,
    Address,
    Digest32,
    RoundIndex,
    StepIndex,
    TaskId,
    address,
    digest32,
)

__all__ = [
    "PATTERNS",
    "ArtifactName",
    "Kind",
    "addressed_path",
    "admission_path",
    "envelope_path",
    "key_path",
    "opening_path",
    "parse_path",
    "profile_path",
    "report_path",
    "sealed_path",
    "signature_path",
    "signed_path",
]


class Kind(StrEnum):
    """What an artifact is; the first part of its path."""

    BLOB = "blob"
    TENSORS = "tensors"
    OPENING = "openings"
    VALIDATION = "validation"
    ATTESTATION = "attestations"
    PROPOSAL = "proposals"
    SIGNATURE = "signatures"
    SIGNED = "signed"
    KEY = "keys"
    ENVELOPE = "envelopes"
    PROFILE = "profiles"
    SEALED = "sealed"
    ADMISSION = "admissions"
    REPORT = "reports"


_DIGEST = "[0-9a-f]{64}"
_NUMBER = "(?:0|[1-9][0-9]{0,8})"
_ACCOUNT = "0x[0-9a-f]{40}"

PATTERNS: dict[Kind, dict[str, str]] = {
    Kind.BLOB: {"digest": _DIGEST},
    Kind.TENSORS: {"digest": _DIGEST},
    Kind.OPENING: {"digest": _DIGEST, "account": _ACCOUNT, "step": _NUMBER},
    Kind.VALIDATION: {"digest": _DIGEST},
    Kind.ATTESTATION: {"digest": _DIGEST},
    Kind.PROPOSAL: {"digest": _DIGEST},
    Kind.SIGNATURE: {"digest": _DIGEST, "account": _ACCOUNT},
    Kind.SIGNED: {"task": _NUMBER, "round": _NUMBER, "account": _ACCOUNT, "copy": _NUMBER},
    Kind.KEY: {"account": _ACCOUNT, "epoch": _NUMBER},
    Kind.ENVELOPE: {"digest": _DIGEST, "account": _ACCOUNT, "reader": _DIGEST},
    Kind.PROFILE: {"account": _ACCOUNT},
    Kind.SEALED: {"digest": _DIGEST, "copy": _NUMBER},
    Kind.ADMISSION: {"digest": _DIGEST, "reader": _DIGEST, "account": _ACCOUNT},
    Kind.REPORT: {"digest": _DIGEST, "account": _ACCOUNT},
}
"""After the kind, the parts of its path in order, each with the regular expression that it matches as a whole."""

_GRAMMAR = {
    kind: re.compile("/".join([kind.value, *(f"(?P<{part}>{pattern})" for part, pattern in parts.items())]))
    for kind, parts in PATTERNS.items()
}
_NOBODY = Address("0x" + "0" * 40)


@dataclass(frozen=True, slots=True)
class ArtifactName:
    """What a path says. Parts that its kind does not have are zero."""

    kind: Kind
    path: str
    digest: Digest32
    """SHA-256, component root, transcript root, commitment, settlement digest or challenge seed, as the kind says."""
    step: StepIndex
    task: TaskId
    round: RoundIndex
    account: Address
    epoch: int
    """Of a reading key."""
    reader: Digest32
    """The reading key that an envelope is for."""
    copy: int
    """Of what is sealed, where the first may be garbage; of what a verifier signed in a round."""


def parse_path(path: str) -> ArtifactName:
    """What an untrusted path names. Raises EncodingError unless it is the one form that a name has."""
    kind = next((kind for kind in Kind if path.startswith(f"{kind.value}/")), None)
    found = _GRAMMAR[kind].fullmatch(path) if kind else None
    if kind is None or found is None:
        raise EncodingError(f"{path[:200]!r} is no artifact's path; see docs/protocol/encodings.md, section 6")
    parts = found.groupdict()
    return ArtifactName(
        kind,
        path,
        digest32(parts["digest"]) if "digest" in parts else ZERO_DIGEST,
        StepIndex(int(parts.get("step", 0))),
        TaskId(int(parts.get("task", 0))),
        RoundIndex(int(parts.get("round", 0))),
        address(parts["account"]) if "account" in parts else _NOBODY,
        int(parts.get("epoch", 0)),
        digest32(parts["reader"]) if "reader" in parts else ZERO_DIGEST,
        int(parts.get("copy", 0)),
    )


def addressed_path(kind: Kind, digest: Digest32) -> str:
    """The path of what is named by one digest."""
    return f"{kind.value}/{digest.hex()}"


def opening_path(transcript_root: Digest32, trainer: Address, step: StepIndex) -> str:
    """The path of the opening of a step.

    Attack: reveal somebody else's transcript in a task of one's own, and put garbage under its names first; what is
    sealed a store cannot tell from it. So each trainer has names of its own.
    """
    return f"{Kind.OPENING.value}/{transcript_root.hex()}/{trainer.lower()}/{step}"


def signature_path(settlement_digest: Digest32, verifier: Address) -> str:
    """The path of a verifier's signature over a settlement."""
    return f"{Kind.SIGNATURE.value}/{settlement_digest.hex()}/{verifier.lower()}"


def signed_path(task_id: TaskId, round_index: RoundIndex, verifier: Address, number: int) -> str:
    """The path that says which settlement a verifier signed as the first, second, ... of a round."""
    return f"{Kind.SIGNED.value}/{task_id}/{round_index}/{verifier.lower()}/{number}"


def key_path(account: Address, epoch: int) -> str:
    """The path of an account's reading key of an epoch."""
    return f"{Kind.KEY.value}/{account.lower()}/{epoch}"


def envelope_path(transcript_root: Digest32, trainer: Address, reader: Digest32) -> str:
    """The path of a transcript's secret, sealed for a reading key by its trainer."""
    return f"{Kind.ENVELOPE.value}/{transcript_root.hex()}/{trainer.lower()}/{reader.hex()}"


def profile_path(account: Address) -> str:
    """The path of what an account says of itself."""
    return f"{Kind.PROFILE.value}/{account.lower()}"


def report_path(challenge_seed: Digest32, verifier: Address) -> str:
    """The path of a verifier's seal of its report about the trainers it was drawn for."""
    return f"{Kind.REPORT.value}/{challenge_seed.hex()}/{verifier.lower()}"


def sealed_path(digest: Digest32, copy: int) -> str:
    """The path of a delta or adapter, by the digest of its content, that is sealed for the task's participants."""
    return f"{Kind.SEALED.value}/{digest.hex()}/{copy}"


def admission_path(commitment: Digest32, reader: Digest32, giver: Address) -> str:
    """The path of a task's adapter secret, sealed for a reading key by a participant."""
    return f"{Kind.ADMISSION.value}/{commitment.hex()}/{reader.hex()}/{giver.lower()}"
