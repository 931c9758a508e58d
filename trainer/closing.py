"""What ended rounds brought a trainer: claimed, refused, or worth nothing."""

from __future__ import annotations

from collections.abc import Callable

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.abi.structs import RoundView
from deltaproof.chain.claims import claim_base, claim_rewards
from deltaproof.chain.contracts.money import Money
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.participation import settled_leaves
from deltaproof.errors import ChainError, StoreUnavailable
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict
from deltaproof.protocol.types import RoundIndex, TaskId, TokenAmount
from deltaproof.reporting import Reporter, counted
from deltaproof.store import ArtifactStore
from trainer.keeping import KeptClaims, claim_among

__all__ = ["Accounts"]


class Accounts:
    """The pay of one trainer in one task. `closed`: rounds of which nothing more can come."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        money: Money,
        kept: KeptClaims,
        report: Reporter,
    ) -> None:
        self.closed: set[RoundIndex] = set()
        self._kept = kept
        self._gateway, self._store, self._task_id = gateway, store, task_id
        self._money, self._report = money, report
        self.left_to_others: Callable[[RoundIndex, int], bool] = lambda round_, ended_at: False
        """Whether somebody else is expected to claim the pay of a round that ended then."""

    def settle(self, last_round: RoundIndex) -> None:
        """Claim what every ended round pays, those of several together. Raises the first error after all were tried."""
        errors: list[Exception] = []
        claims: list[Claim] = []
        for number in range(1, last_round + 1):
            round_ = RoundIndex(number)
            try:
                if round_ not in self.closed and (claim := self._due(round_)) is not None:
                    claims.append(claim)
            except Exception as error:
                errors.append(error)
        tried = claim_rewards(self._gateway, claims)
        for claim in tried.done:
            self._paid(claim.round, claim.leaf.payout)
        # Those that somebody else claimed meanwhile are met again, and closed then.
        if errors:
            raise errors[0]
        tried.insist()

    def _due(self, round_: RoundIndex) -> Claim | None:
        """What is to be claimed of a round, if it has ended and there is something; closes it if there is nothing.

        Raises ChainError while nobody shows the leaf of a settlement whose money can still be claimed.
        """
        view = self._gateway.tasks.round(self._task_id, round_)
        if not view.ended_at:
            return None
        if view.outcome != Outcome.SETTLED:
            self._report("ended", f"round {round_}: ended without a settlement ({view.outcome.name.lower()})")
            if base := claim_base(self._gateway, self._task_id, round_, self._gateway.account):
                message = f"round {round_}: paid the base of {self._money.text(base)}"
                self._report("paid", message, round=round_, payout=str(base))
            elif self._may_come(round_):
                return None
            self.closed.add(round_)
            return None
        claim = self._claim(round_, view)
        if claim is None:
            self.closed.add(round_)
        elif self._payable(round_, claim.leaf):
            if not self._gateway.vault.has_claimed(self._task_id, round_, claim.leaf.trainer):
                return None if self.left_to_others(round_, view.ended_at) else claim
            self._paid(round_, claim.leaf.payout, ", claimed before")
        return None

    def _claim(self, round_: RoundIndex, view: RoundView) -> Claim | None:
        """The own claim to a settled round: kept at home, published by a verifier, or shown on chain.

        None if the settlement has no leaf of this trainer, or nobody showed it in time. See `_due` for what is raised.
        """
        settlement = view.settlement
        if (kept := self._kept.of(round_, settlement)) is not None:
            return kept
        try:
            proposal = settled_leaves(self._gateway, self._store, self._task_id, round_, view)
        except StoreUnavailable:
            if (shown := self._kept.answered(round_, settlement)) is not None:
                return shown
            raise
        if proposal is not None:
            return claim_among(self._task_id, round_, proposal.leaves, self._gateway.account)
        if (shown := self._kept.answered(round_, settlement)) is not None:
            return shown
        expires_at = self._gateway.vault.pot(self._task_id, round_).expires_at
        if expires_at >= self._gateway.connection.read_block.timestamp:
            raise ChainError(f"round {round_} is settled, but no verifier has published the leaves of its settlement")
        self._report("expired", f"round {round_}: the time to claim is over and nobody published the leaves")
        return None

    def _may_come(self, round_: RoundIndex) -> bool:
        """Whether the base of a round that ended without a settlement is still to come, because a demand holds it."""
        vault, account = self._gateway.vault, self._gateway.account
        closure = vault.closure(self._task_id, round_, account)
        owed = vault.pot(self._task_id, round_).base_each
        opened = self._gateway.trainers.work(self._task_id, round_, account).opened
        return bool(owed and opened and closure.holds and not closure.blocked)

    def _payable(self, round_: RoundIndex, leaf: SettlementLeaf) -> bool:
        """Whether the leaf is to be paid now; closes the round if it never will be."""
        verdict, closure = leaf.verdict.name.lower(), self._gateway.vault.closure(self._task_id, round_, leaf.trainer)
        if closure.holds and not closure.blocked:
            self._report(
                "held", f"round {round_}: the pay waits for {counted(closure.holds, 'demanded opening')}", round=round_
            )
            return False
        if closure.blocked:
            self._report("blocked", f"round {round_}: not paid, a fault of this work was shown on chain", round=round_)
        elif leaf.verdict != Verdict.ACCEPTED:
            self._report("refused", f"round {round_}: {verdict}", round=round_, verdict=verdict)
        elif not leaf.payout:
            self._report("unpaid", f"round {round_}: accepted, worth nothing", round=round_)
        else:
            return True
        self.closed.add(round_)
        return False

    def _paid(self, round_: RoundIndex, payout: TokenAmount, remark: str = "") -> None:
        message = f"round {round_}: paid {self._money.text(payout)}{remark}"
        self._report("paid", message, round=round_, payout=str(payout))
        self.closed.add(round_)
