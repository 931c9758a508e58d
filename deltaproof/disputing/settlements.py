"""What is wrong with a posted settlement, where the contract `SettlementProver` can see it, and the proof of it.

The checks are the contract's own (`ISettlementProver`), so whatever is found here can be proved there, without bond or
vote, in the dispute window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Fault
from deltaproof.chain.abi.structs import RoundView, TaskParams, TrainerWork
from deltaproof.errors import UNUSABLE
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict, leaves_tree, verdicts_digest
from deltaproof.protocol.rules import FINAL_BLOCKS
from deltaproof.protocol.types import RoundIndex, TaskId, address_bytes
from deltaproof.store import ArtifactStore
from incentives.payouts import Payouts
from incentives.settling import payouts_of

__all__ = ["SettlementFault", "find_settlement_fault", "posted_leaves", "prove_settlement_fault"]

PART = 100
"""Leaves of one transaction of a check: some 3 million gas."""


@dataclass(frozen=True, slots=True)
class SettlementFault:
    """A rule that a settlement breaks. `index`: the leaf that shows it; None where only all leaves together do."""

    reason: str
    index: int | None
    message: str
    culpable: bool = True
    """Whether its signers can be slashed for it."""


def posted_leaves(
    gateway: Gateway, store: ArtifactStore, task_id: TaskId, round_: RoundIndex, view: RoundView
) -> tuple[SettlementLeaf, ...] | None:
    """The leaves that the posted settlement commits to, wrong or right, from the store; None if they are not there.

    Raises StoreUnavailable.
    """
    digest = view.settlement.signing_digest(gateway.domain(task_id, round_), view.attempts)
    try:
        return store.get_proposal(digest, lambda found: found.belongs_to(view.settlement)).leaves
    except UNUSABLE:
        return None


def find_settlement_fault(
    gateway: Gateway,
    task_id: TaskId,
    round_: RoundIndex,
    view: RoundView,
    params: TaskParams,
    leaves: Sequence[SettlementLeaf],
) -> SettlementFault | None:
    """A rule that the posted settlement breaks: the first for which its signers are slashed, in the order of what a
    proof costs, else the first; None if it keeps them all."""
    spared: SettlementFault | None = None
    for fault in _faults(gateway, task_id, round_, view, params, leaves):
        if fault.culpable:
            return fault
        # Who lies in what costs stake could add this one, and have it proved in the other's place.
        spared = spared or fault
    return spared


def prove_settlement_fault(
    gateway: Gateway,
    task_id: TaskId,
    view: RoundView,
    params: TaskParams,
    leaves: Sequence[SettlementLeaf],
    fault: SettlementFault,
) -> None:
    """Prove on chain what `find_settlement_fault` found, in as many transactions as it takes.

    Raises ContractRevert, e.g. when somebody else was faster or the window is over.
    """
    prover, tree = gateway.settlements, leaves_tree(leaves)
    if fault.reason == "leaf order":
        assert fault.index is not None
        first, second = ((leaves[i], tree.proof(i)) for i in (fault.index, fault.index + 1))
        prover.prove_wrong_order(task_id, fault.index, leaf=first, following=second)
        return
    if fault.index is not None:
        prover.prove_wrong_leaf(task_id, fault.index, leaves[fault.index], tree.proof(fault.index))
        return
    check, _ = prover.open_check(task_id)
    for start in range(0, len(leaves), PART):
        prover.feed_leaves(check, leaves[start : start + PART])
    if fault.reason != "payout":
        return
    plan = _payouts(params, view, leaves)
    for start in range(0, len(leaves), PART):
        prover.review_leaves(check, leaves[start : start + PART], plan.threshold, plan.top_up)


def _faults(
    gateway: Gateway,
    task_id: TaskId,
    round_: RoundIndex,
    view: RoundView,
    params: TaskParams,
    leaves: Sequence[SettlementLeaf],
) -> Iterator[SettlementFault]:
    """Every rule that the settlement breaks, in the order of what a proof costs."""
    views = [gateway.trainers.view("workOf", task_id, round_, leaf.trainer) for leaf in leaves]
    gateway.connection.prefetch(views)
    for index, leaf in enumerate(leaves):
        work = gateway.trainers.work(task_id, round_, leaf.trainer)
        if broken := _broken_by_itself(leaf, work, view.attesting_block):
            reason, culpable = broken
            yield SettlementFault(reason, index, f"the leaf of {leaf.trainer} breaks the rule on {reason}", culpable)
    for index, (leaf, following) in enumerate(pairwise(leaves)):
        if address_bytes(following.trainer) <= address_bytes(leaf.trainer):
            message = f"the leaf of {following.trainer} does not come after that of {leaf.trainer}"
            yield SettlementFault("leaf order", index, message)
    total, posted = sum(leaf.payout for leaf in leaves), view.settlement
    if total != posted.total_payout:
        yield SettlementFault("total", None, f"payouts add up to {total}, the settlement says {posted.total_payout}")
    if verdicts_digest(leaves) != posted.verdicts_digest:
        yield SettlementFault("verdicts digest", None, "the signed verdicts are not those of the leaves")
    due = _payouts(params, view, leaves).amounts
    for leaf, amount in zip(leaves, due, strict=True):
        if leaf.payout != amount:
            message = f"{leaf.trainer} is paid {leaf.payout} where the task's rule gives {amount}"
            yield SettlementFault("payout", None, message)


def _broken_by_itself(leaf: SettlementLeaf, work: TrainerWork, attesting_block: int) -> tuple[str, bool] | None:
    """Twin of the contract's `_brokenByItself`: the rule, and whether it is culpable."""
    if leaf.verdict is Verdict.NONE:
        return "verdict code", True
    if not work.committed:
        return "no commitment", True
    if leaf.verdict is not Verdict.ACCEPTED:
        if leaf.payout:
            return "payout", True
        return ("reveal", True) if work.revealed and leaf.verdict is Verdict.UNREVEALED else None
    if not work.revealed:
        return "reveal", True
    known = work.fault is not Fault.NONE and work.fault_block < attesting_block
    return ("accepted fault", work.fault_block + FINAL_BLOCKS < attesting_block) if known else None


def _payouts(params: TaskParams, view: RoundView, leaves: Sequence[SettlementLeaf]) -> Payouts:
    return payouts_of(params.rewards, leaves, view.settlement.improvement_nanos, scored=view.validation_revealed)
