"""What ended rounds pay, claimed: the one way for trainers, verifiers and whoever claims for them.

Rounds are claimed together, in one transaction, as far as the contracts take them together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.abi.structs import RoundView
from deltaproof.chain.announced import Stores
from deltaproof.chain.contracts.pools import ClaimableFees
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.participation import attempt, settled_leaves
from deltaproof.chain.shown import shown_claims
from deltaproof.errors import ContractRevert, StoreUnavailable
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, leaves_tree
from deltaproof.protocol.types import Address, RoundIndex, TaskId, TokenAmount
from deltaproof.store import ArtifactStore

__all__ = [
    "KeptClaim",
    "Payment",
    "Tried",
    "claim_all",
    "claim_base",
    "claim_credit",
    "claim_fees",
    "claim_rewards",
    "expire_rounds",
    "is_due",
    "no_claim_kept",
    "reward_due",
    "settled_claims",
]

T = TypeVar("T")
KeptClaim = Callable[[TaskId, RoundIndex, Settlement], Claim | None]
"""A claim to a settled round that somebody keeps at home."""
MOST_TOGETHER = 100
"""Rounds in one transaction: at 90,000 gas each far below what a transaction may use, 2^24 (EIP-7825)."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment; `kind` is `reward`, `base`, `fee` or `slash reward`. Amount in smallest units."""

    task: TaskId
    round: RoundIndex
    kind: str
    amount: int


@dataclass
class Tried(Generic[T]):
    """What was done now, and what the contracts refused; what somebody else did before is in neither."""

    done: list[T] = field(default_factory=list)
    refused: list[tuple[T, ContractRevert]] = field(default_factory=list)

    def insist(self) -> None:
        """Raises the first refusal, if there is one."""
        for _, revert in self.refused:
            raise revert

    def one_by_one(self, items: Iterable[T], action: Callable[[T], object]) -> None:
        """Each in a transaction of its own: a refusal of one keeps no other back."""
        for item in items:
            try:
                if attempt(action, item) is not None:
                    self.done.append(item)
            except ContractRevert as revert:
                self.refused.append((item, revert))

    def together(
        self, items: Sequence[T], many: Callable[[Sequence[T]], Sequence[T]], one: Callable[[T], object]
    ) -> None:
        """As many in one transaction as may be; where the contract refuses them together, one by one.

        `many` says which of them were done. Attack: hold one claim of a list a moment before, so that it is taken for
        paid and never asked for again.
        """
        for start in range(0, len(items), MOST_TOGETHER):
            part = items[start : start + MOST_TOGETHER]
            try:
                if len(part) > 1:
                    self.done += many(part)
                    continue
            except ContractRevert:
                pass  # because of one of them, which alone is refused again, or was claimed by somebody else
            self.one_by_one(part, one)


def no_claim_kept(_task: TaskId, _round: RoundIndex, _settlement: Settlement) -> Claim | None:
    """Of somebody without a home."""
    return None


def reward_due(
    gateway: Gateway, task_id: TaskId, round_: RoundIndex, leaves: Sequence[SettlementLeaf], trainer: Address
) -> Claim | None:
    """The claim to a trainer's reward, which `leaves`, all of the round's settlement, name; None if none is due now."""
    claim = _claims_among(task_id, round_, leaves, [trainer]).get(trainer)
    return claim if claim is not None and is_due(gateway, claim) else None


def is_due(gateway: Gateway, claim: Claim) -> bool:
    """Whether a claim pays now: it is worth something, was not paid, and nothing holds or blocks it."""
    place = (claim.task_id, claim.round, claim.leaf.trainer)
    if not claim.leaf.payout or gateway.vault.has_claimed(*place):
        return False
    closure = gateway.vault.closure(*place)
    return not closure.holds and not closure.blocked


def settled_claims(
    gateway: Gateway,
    store: ArtifactStore,
    task_id: TaskId,
    round_: RoundIndex,
    view: RoundView,
    trainers: Collection[Address],
    cache: Path | None = None,
    *,
    search: bool = True,
) -> tuple[dict[Address, Claim], bool]:
    """Claims of these trainers to a settled round: by its leaves in the store, else by those that answers on chain
    show; and whether these are all that there can be.

    Attack: take the leaves out of the store, so that whoever claims for others finds none. `cache`: see `shown_claims`,
    which costs many requests and is left out without `search`. Raises ChainError, and StoreUnavailable if the chain
    shows nothing either.
    """
    away: StoreUnavailable | None = None
    try:
        proposal = settled_leaves(gateway, store, task_id, round_, view)
    except StoreUnavailable as error:
        proposal, away = None, error
    if proposal is not None:
        return _claims_among(task_id, round_, proposal.leaves, trainers), True
    shown = shown_claims(gateway, task_id, round_, view, trainers, cache) if search else {}
    if not shown and away is not None:
        raise away
    return shown, len(shown) == len(set(trainers))


def _claims_among(
    task_id: TaskId, round_: RoundIndex, leaves: Sequence[SettlementLeaf], trainers: Collection[Address]
) -> dict[Address, Claim]:
    tree, wanted = leaves_tree(leaves), set(trainers)
    return {
        leaf.trainer: Claim(task_id, round_, index, len(leaves), leaf, tree.proof(index))
        for index, leaf in enumerate(leaves)
        if leaf.trainer in wanted
    }


def claim_rewards(gateway: Gateway, claims: Sequence[Claim]) -> Tried[Claim]:
    """Claim rewards of one trainer, of any rounds and tasks; those in one token are paid in one transfer."""
    by_token: dict[Address, list[Claim]] = {}
    for claim in claims:
        by_token.setdefault(gateway.vault.account(claim.task_id).token, []).append(claim)
    tried = Tried[Claim]()
    for same in by_token.values():
        tried.together(same, gateway.vault.claim_batch, gateway.vault.claim)
    return tried


def claim_base(gateway: Gateway, task_id: TaskId, round_: RoundIndex, trainer: Address) -> TokenAmount:
    """Claim what a round that ended without a settlement owes to a trainer who revealed and opened. 0 if nothing."""
    each = gateway.vault.pot(task_id, round_).base_each
    if not each or not gateway.trainers.work(task_id, round_, trainer).opened:
        return TokenAmount(0)
    if gateway.vault.has_claimed(task_id, round_, trainer):
        return TokenAmount(0)
    paid = attempt(gateway.vault.claim_base, task_id, round_, trainer) is not None
    return each if paid else TokenAmount(0)


def claim_credit(gateway: Gateway, receiver: Address | None = None) -> TokenAmount:
    """Pay out what the account earned with proofs, answers and votes, stake token; 0 if nothing.

    `receiver`: who gets it as credit of its own instead.
    """
    credit = gateway.registry.credit_of(gateway.account)
    if credit and receiver is not None:
        gateway.registry.transfer_credit(receiver, credit)
    elif credit:
        gateway.registry.withdraw_credit()
    return credit


def claim_fees(
    gateway: Gateway, task_id: TaskId, rounds: Iterable[RoundIndex], verifier: Address
) -> Tried[tuple[RoundIndex, ClaimableFees]]:
    """Claim a verifier's fees and shares of slashes of settled rounds.

    Where the reward token refuses the verifier, its shares of slashes are claimed alone.
    """
    due = {round_: gateway.fees.claimable(task_id, round_, verifier) for round_ in rounds}
    open_ = [round_ for round_, amounts in due.items() if amounts.fee or amounts.slash_reward]
    tried, alone = Tried[RoundIndex](), Tried[RoundIndex]()
    tried.together(
        open_,
        lambda part: gateway.fees.claim(task_id, part, verifier),
        lambda round_: gateway.fees.claim(task_id, [round_], verifier),
    )
    owed = [round_ for round_, _ in tried.refused if due[round_].slash_reward]
    alone.one_by_one(owed, lambda round_: gateway.fees.claim_slash_reward(task_id, round_, verifier))
    paid = [(round_, due[round_]) for round_ in tried.done]
    paid += [(round_, ClaimableFees(TokenAmount(0), due[round_].slash_reward)) for round_ in alone.done]
    return Tried(paid, [((round_, due[round_]), revert) for round_, revert in tried.refused])


def claim_all(
    gateway: Gateway, stores: Stores, tasks: Iterable[TaskId], payee: Address, kept: KeptClaim = no_claim_kept
) -> Tried[Payment]:
    """Claim rewards, bases and fees of all ended rounds of tasks for `payee`. `kept` is asked first."""
    found, claims = Tried[Payment](), list[Claim]()

    def claim_of(task_id: TaskId, round_: RoundIndex, view: RoundView) -> Claim | None:
        claim = kept(task_id, round_, view.settlement)
        if claim is None:
            claim = settled_claims(gateway, stores(task_id), task_id, round_, view, [payee])[0].get(payee)
        return claim if claim is not None and is_due(gateway, claim) else None

    for task_id in tasks:
        settled, verifiers = list[RoundIndex](), gateway.verifiers.enrolments(task_id)
        for number in range(1, gateway.tasks.phase(task_id).round + 1):
            round_ = RoundIndex(number)
            view = gateway.tasks.round(task_id, round_)
            if view.outcome != Outcome.SETTLED:
                _claim_base_too(gateway, task_id, round_, payee, found)
                continue
            settled.append(round_)
            if gateway.trainers.has_committed(task_id, round_, payee) and (claim := claim_of(task_id, round_, view)):
                claims.append(claim)
        if payee in verifiers:
            fees = claim_fees(gateway, task_id, settled, payee)
            found.done += [payment for paid in fees.done for payment in _fee_payments(task_id, *paid)]
            found.refused += [(_fee_payments(task_id, *due)[0], revert) for due, revert in fees.refused]
    rewards = claim_rewards(gateway, claims)
    found.done += [_reward_payment(claim) for claim in rewards.done]
    found.refused += [(_reward_payment(claim), revert) for claim, revert in rewards.refused]
    found.done.sort(key=lambda payment: (payment.task, payment.round))
    return found


def _claim_base_too(
    gateway: Gateway, task_id: TaskId, round_: RoundIndex, payee: Address, found: Tried[Payment]
) -> None:
    try:
        if base := claim_base(gateway, task_id, round_, payee):
            found.done.append(Payment(task_id, round_, "base", base))
    except ContractRevert as revert:
        each = gateway.vault.pot(task_id, round_).base_each
        found.refused.append((Payment(task_id, round_, "base", each), revert))


def _reward_payment(claim: Claim) -> Payment:
    return Payment(claim.task_id, claim.round, "reward", claim.leaf.payout)


def _fee_payments(task_id: TaskId, round_: RoundIndex, fees: ClaimableFees) -> list[Payment]:
    parts = (("fee", fees.fee), ("slash reward", fees.slash_reward))
    return [Payment(task_id, round_, kind, amount) for kind, amount in parts if amount]


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
