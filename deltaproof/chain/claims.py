"""Everything that an account has earned in a task and not claimed."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.participation import attempt, settled_leaves
from deltaproof.protocol.outcome.settlement import leaves_tree
from deltaproof.protocol.types import Address, RoundIndex, TaskId
from deltaproof.store import ArtifactStore

__all__ = ["Payment", "claim_all"]


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment; `kind` is `reward`, `base`, `fee` or `slash reward`. Amount in smallest units."""

    round: RoundIndex
    kind: str
    amount: int


def claim_all(gateway: Gateway, store: ArtifactStore, task_id: TaskId, payee: Address) -> list[Payment]:
    """Claim rewards and fees of all ended rounds for `payee`; returns what was paid now."""
    verifiers = gateway.verifiers.enrolments(task_id)
    paid: list[Payment] = []
    for number in range(1, gateway.tasks.phase(task_id).round + 1):
        round_ = RoundIndex(number)
        view = gateway.tasks.round(task_id, round_)
        if view.outcome != Outcome.SETTLED:
            paid += _base(gateway, task_id, round_, payee)
            continue
        proposal = settled_leaves(store, task_id, round_, view.settlement, verifiers)
        leaves = proposal.leaves if proposal else ()
        for index, leaf in enumerate(leaves):
            if leaf.trainer != payee or not leaf.payout or gateway.vault.has_claimed(task_id, round_, payee):
                continue
            claim = Claim(task_id, round_, index, len(leaves), leaf, leaves_tree(leaves).proof(index))
            if attempt(gateway.vault.claim, claim) is not None:
                paid.append(Payment(round_, "reward", leaf.payout))
        if payee in verifiers:
            due = gateway.fees.claimable(task_id, round_, payee)
            if due.fee or due.slash_reward:
                gateway.fees.claim(task_id, [round_], payee)
                paid += [Payment(round_, "fee", due.fee), Payment(round_, "slash reward", due.slash_reward)]
    return paid


def _base(gateway: Gateway, task_id: TaskId, round_: RoundIndex, payee: Address) -> list[Payment]:
    """What a round without a settlement owes to a trainer who revealed and opened."""
    each = gateway.vault.pot(task_id, round_).base_each
    if not each or not gateway.trainers.work(task_id, round_, payee).opened:
        return []
    if gateway.vault.has_claimed(task_id, round_, payee):
        return []
    paid = attempt(gateway.vault.claim_base, task_id, round_, payee) is not None
    return [Payment(round_, "base", each)] if paid else []
