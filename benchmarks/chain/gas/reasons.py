"""Why a call of the normal path costs over 5 % more than before the contracts of version 2."""

from __future__ import annotations

__all__ = ["MOVED", "REASONS", "SLACK", "reason_of"]

SLACK = 0.05
"""A call may cost so much more without a reason."""

MOVED = {
    "TaskTerms.createTask": "TaskManager.createTask",
    "VerifierFees.claimFees": "VerifierPool.claimFees",
}
"""Calls that were another contract's."""


_TERMS = "terms are a contract of their own, which is read from outside (`TaskManager` had 157 bytes left)"
_MARK = (
    "what a trainer did is kept for every round, one bit each, so that it stays provable; the first of 256 opens a word"
)

REASONS = {
    "RewardVault.claim": "the chain itself checks that the payee revealed: a quorum cannot pay strangers",
    "RewardVault.claimBatch": "as for a claim, for each round of the batch",
    "StakeRegistry.depositFor": "a verifier's stake and the sum of all are kept over time: votes follow a snapshot",
    "TaskManager.advance": _TERMS,
    "TaskManager.finalize": f"{_TERMS}; so are fees",
    "TaskManager.openRound": _TERMS,
    "TaskManager.settle": f"{_TERMS}; one more slot is read for each absentee",
    "TrainerPool.commit": "kept for every round in a slot of its own, so that a fault stays provable after it",
    "TrainerPool.commitBatch": "one bit for each trainer: a direct commitment no longer breaks the batch it is in",
    "TrainerPool.openingsPublished": _MARK,
    "TrainerPool.reveal": _MARK,
    "TrainerPool.revealBatch": _MARK,
    "TrainerPool.forfeitBond": _TERMS,
    "TrainerPool.release": "asks the court for open demands: stake cannot leave before somebody closes one",
    "VerifierFees.claimFees": "fees are a contract of their own, which asks the pool and the vault",
    "TrainerPool.topUp": "whoever comes back needs a seat: the task's room is looked up",
    "VerifierPool.enrol": "stake weighs once it is old enough, and its history is kept for votes",
}
"""By the name of the call."""


def reason_of(label: str) -> str | None:
    """The reason for a label's call, if there is one."""
    return REASONS.get(label.split(",", maxsplit=1)[0].split(" (", maxsplit=1)[0].split(" of ", maxsplit=1)[0])
