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
    """One payment; `kind` is `reward`, `fee` or `slash reward`. Amount in smallest units."""

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
            continue
        proposal = settled_leaves(store, task_id, round_, view.settlement, verifiers)
        for index, leaf in enumerate(proposal.leaves if proposal else ()):
            if leaf.trainer != payee or not leaf.payout or gateway.vault.has_claimed(task_id, round_, payee):
                continue
            claim = Claim(task_id, round_, leaf, leaves_tree(proposal.leaves if proposal else ()).proof(index))
            if attempt(gateway.vault.claim, claim) is not None:
                paid.append(Payment(round_, "reward", leaf.payout))
        if payee in verifiers:
            due = gateway.verifiers.claimable_fees(task_id, round_, payee)
            if due.fee or due.slash_reward:
                gateway.verifiers.claim_fees(task_id, [round_], payee)
                paid += [Payment(round_, "fee", due.fee), Payment(round_, "slash reward", due.slash_reward)]
    return paid
