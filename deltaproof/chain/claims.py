"""What an ended round pays, claimed: the one way for trainers, verifiers and whoever claims for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.contracts.pools import ClaimableFees
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.participation import attempt, settled_leaves
from deltaproof.protocol.outcome.settlement import SettlementLeaf, leaves_tree
from deltaproof.protocol.types import Address, RoundIndex, TaskId, TokenAmount
from deltaproof.store import ArtifactStore

__all__ = ["Payment", "claim_all", "claim_base", "claim_credit", "claim_fees", "claim_reward", "expire_rounds"]


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment; `kind` is `reward`, `base`, `fee` or `slash reward`. Amount in smallest units."""

    round: RoundIndex
    kind: str
    amount: int


def claim_reward(
    gateway: Gateway, task_id: TaskId, round_: RoundIndex, leaves: Sequence[SettlementLeaf], trainer: Address
) -> TokenAmount:
    """Claim a trainer's reward, which `leaves`, all of the round's settlement, name. 0 if none is due any more."""
    index = next((i for i, leaf in enumerate(leaves) if leaf.trainer == trainer), None)
    if index is None or not leaves[index].payout or gateway.vault.has_claimed(task_id, round_, trainer):
        return TokenAmount(0)
    claim = Claim(task_id, round_, index, len(leaves), leaves[index], leaves_tree(leaves).proof(index))
    paid = attempt(gateway.vault.claim, claim) is not None
    return leaves[index].payout if paid else TokenAmount(0)


def claim_base(gateway: Gateway, task_id: TaskId, round_: RoundIndex, trainer: Address) -> TokenAmount:
    """Claim what a round that ended without a settlement owes to a trainer who revealed and opened. 0 if nothing."""
    each = gateway.vault.pot(task_id, round_).base_each
    if not each or not gateway.trainers.work(task_id, round_, trainer).opened:
        return TokenAmount(0)
    if gateway.vault.has_claimed(task_id, round_, trainer):
        return TokenAmount(0)
    paid = attempt(gateway.vault.claim_base, task_id, round_, trainer) is not None
    return each if paid else TokenAmount(0)


def claim_credit(gateway: Gateway) -> TokenAmount:
    """Pay out what the account earned with proofs, answers and votes, stake token; 0 if nothing."""
    credit = gateway.registry.credit_of(gateway.account)
    if credit:
        gateway.registry.withdraw_credit()
    return credit


def claim_fees(gateway: Gateway, task_id: TaskId, round_: RoundIndex, verifier: Address) -> ClaimableFees | None:
    """Claim a verifier's fee and share of slashes in a settled round; None if none are due any more."""
    due = gateway.fees.claimable(task_id, round_, verifier)
    if not (due.fee or due.slash_reward):
        return None
    paid = attempt(gateway.fees.claim, task_id, [round_], verifier) is not None
    return due if paid else None


def claim_all(gateway: Gateway, store: ArtifactStore, task_id: TaskId, payee: Address) -> list[Payment]:
    """Claim rewards and fees of all ended rounds for `payee`; returns what was paid now."""
    verifiers = gateway.verifiers.enrolments(task_id)
    paid: list[Payment] = []
    for number in range(1, gateway.tasks.phase(task_id).round + 1):
        round_ = RoundIndex(number)
        view = gateway.tasks.round(task_id, round_)
        if view.outcome != Outcome.SETTLED:
            if base := claim_base(gateway, task_id, round_, payee):
                paid.append(Payment(round_, "base", base))
            continue
        proposal = settled_leaves(store, task_id, round_, view.settlement, verifiers)
        if proposal and (reward := claim_reward(gateway, task_id, round_, proposal.leaves, payee)):
            paid.append(Payment(round_, "reward", reward))
        if payee in verifiers and (fees := claim_fees(gateway, task_id, round_, payee)):
            parts = (Payment(round_, "fee", fees.fee), Payment(round_, "slash reward", fees.slash_reward))
            paid += [part for part in parts if part.amount]
    return paid


def expire_rounds(gateway: Gateway, task_id: TaskId) -> list[RoundIndex]:
    """Expire every settled round whose time to claim is over and that still holds money; returns those rounds."""
    now, expired = gateway.connection.timestamp(), []
    for number in range(1, gateway.tasks.phase(task_id).round + 1):
        round_ = RoundIndex(number)
        pot = gateway.vault.pot(task_id, round_)
        if pot.expires_at and pot.expires_at < now and (pot.remaining or pot.fees):
            gateway.vault.expire(task_id, round_)
            if gateway.fees.pot(task_id, round_).slash_rewards > gateway.fees.pot(task_id, round_).slash_rewards_paid:
                attempt(gateway.fees.expire_slash_rewards, task_id, round_)
            expired.append(round_)
    return expired
