"""The error-feedback memory that a trainer takes into a round, as chain and store fix it."""

from __future__ import annotations

from collections.abc import Sequence

from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.participation import settled_leaves
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import ArtifactError, ChainError, EncodingError, StoreUnavailable
from deltaproof.protocol.evidence.delta import unpack_delta
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId
from deltaproof.store import ArtifactStore

__all__ = ["memory_after", "memory_roots"]


def memory_roots(
    gateway: Gateway, store: ArtifactStore, log: TaskLog, spec: TaskSpec, task_id: TaskId, round_: RoundIndex,
    trainers: Sequence[Address],
) -> dict[Address, Digest32 | None]:  # fmt: skip
    """Roots of the trainers' memories: what the delta of the round before names, if that was settled as accepted.

    Zero otherwise: a memory that nobody checked is lost. None if that delta is no longer in the store. `log` has been
    refreshed in this round. Raises ChainError if the leaves of the round before cannot be had, StoreUnavailable.

    Reveals and leaves of the round before are read once, for however many trainers.
    """
    roots: dict[Address, Digest32 | None] = dict.fromkeys(trainers, ZERO_DIGEST)
    if spec.codec.name == "float32" or round_ <= 1:
        return roots
    before = RoundIndex(round_ - 1)
    view, reveals = gateway.tasks.round(task_id, before), log.reveals(before)
    revealed = [trainer for trainer in trainers if trainer in reveals]
    if view.outcome != Outcome.SETTLED or not revealed:
        return roots
    proposal = settled_leaves(gateway, store, task_id, before, view)
    if proposal is None:
        raise ChainError(f"round {before} is settled, but no verifier has published the leaves of its settlement")
    accepted = {leaf.trainer for leaf in proposal.leaves if leaf.verdict is Verdict.ACCEPTED}
    for trainer in revealed:
        if trainer in accepted:
            roots[trainer] = memory_after(store, spec, reveals[trainer].delta_digest)
    return roots


def memory_after(store: ArtifactStore, spec: TaskSpec, delta: Digest32) -> Digest32 | None:
    """Root of the memory that an encoded delta names; None if the store has no such delta. Raises StoreUnavailable."""
    try:
        return unpack_delta(store.get_delta(delta, spec.codec.byte_limit))[0]
    except StoreUnavailable:
        raise
    except (ArtifactError, EncodingError):
        return None  # the verdict on the trainer's next round says so
