"""Whether the last round's penalties are paid, so that nobody takes part in the next with a stake that it lost."""

from __future__ import annotations

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import AttestationState, Outcome
from deltaproof.chain.participation import quorum_members, settled_leaves
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict
from deltaproof.protocol.types import RoundIndex, TaskId
from deltaproof.store import ArtifactStore

__all__ = ["penalties_paid"]


def penalties_paid(gateway: Gateway, store: ArtifactStore, task_id: TaskId, round_: RoundIndex) -> bool:
    """Whether a settled round has no penalty left that anybody can still apply; False where that is not known.

    Raises ChainError, StoreUnavailable.
    """
    view = gateway.tasks.round(task_id, round_)
    if view.outcome != Outcome.SETTLED:
        return False
    members = quorum_members(gateway, task_id, round_)
    absent = (AttestationState.NONE, AttestationState.COMMITTED)
    if any(gateway.verifiers.attestation(task_id, round_, member).state in absent for member in members):
        return False
    proposal = settled_leaves(gateway, store, task_id, round_, view)
    return proposal is not None and all(_paid(gateway, task_id, round_, leaf) for leaf in proposal.leaves)


def _paid(gateway: Gateway, task_id: TaskId, round_: RoundIndex, leaf: SettlementLeaf) -> bool:
    work = gateway.trainers.work(task_id, round_, leaf.trainer)
    match leaf.verdict:
        case Verdict.REJECTED | Verdict.WITHHELD:
            return work.slashed
        case Verdict.UNREVEALED:
            return work.forfeited
        case _:
            return True
