"""The error-feedback memory that a trainer takes into a round, as chain and store fix it."""

from __future__ import annotations

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

__all__ = ["memory_after", "memory_root"]


def memory_root(
    gateway: Gateway, store: ArtifactStore, log: TaskLog, spec: TaskSpec, task_id: TaskId, round_: RoundIndex,
    trainer: Address,
) -> Digest32 | None:  # fmt: skip
    """Root of the memory: what the trainer's delta of the round before names, if that was settled as accepted.

    Zero otherwise: a memory that nobody checked is lost. None if that delta is no longer in the store. `log` has been
    refreshed in this round. Raises ChainError if the leaves of the round before cannot be had, StoreUnavailable.
    """
    if spec.codec.name == "float32" or round_ <= 1:
        return ZERO_DIGEST
    before = RoundIndex(round_ - 1)
    view = gateway.tasks.round(task_id, before)
    reveal = log.reveals(before).get(trainer)
    if view.outcome != Outcome.SETTLED or reveal is None:
        return ZERO_DIGEST
    proposal = settled_leaves(gateway, store, task_id, before, view)
    if proposal is None:
        raise ChainError(f"round {before} is settled, but no verifier has published the leaves of its settlement")
    accepted = any(leaf.trainer == trainer and leaf.verdict is Verdict.ACCEPTED for leaf in proposal.leaves)
    return memory_after(store, spec, reveal.delta_digest) if accepted else ZERO_DIGEST


def memory_after(store: ArtifactStore, spec: TaskSpec, delta: Digest32) -> Digest32 | None:
    """Root of the memory that an encoded delta names; None if the store has no such delta. Raises StoreUnavailable."""
    try:
        return unpack_delta(store.get_delta(delta, spec.codec.byte_limit))[0]
    except StoreUnavailable:
        raise
    except (ArtifactError, EncodingError):
        return None  # the verdict on the trainer's next round says so
