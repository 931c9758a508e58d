"""Escrow of the tasks' reward money, and claims on it: `IRewardVault`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deltaproof.chain.abi.structs import Account, Closure, RoundPot
from deltaproof.chain.contracts.client import ContractClient
from deltaproof.chain.events.rounds import Claimed
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.protocol.outcome.settlement import SettlementLeaf
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount

__all__ = ["Claim", "RewardVault"]


@dataclass(frozen=True)
class Claim:
    """One reward: `proof` shows the leaf at position `index` of the `count` leaves of the settlement."""

    task_id: TaskId
    round: RoundIndex
    index: int
    count: int
    leaf: SettlementLeaf
    proof: tuple[Digest32, ...]


class RewardVault(ContractClient):
    """`IRewardVault`."""

    INTERFACE = "IRewardVault"

    def account(self, task_id: TaskId) -> Account:
        """A task's money outside the pots of settled rounds."""
        return self._read(Account, "accountOf", task_id)

    def pot(self, task_id: TaskId, round_index: RoundIndex) -> RoundPot:
        """What is left to claim of a settled round."""
        return self._read(RoundPot, "potOf", task_id, round_index)

    def has_claimed(self, task_id: TaskId, round_index: RoundIndex, trainer: Address) -> bool:
        """Whether the reward was paid."""
        return self._read(bool, "hasClaimed", task_id, round_index, trainer)

    def closure(self, task_id: TaskId, round_index: RoundIndex, trainer: Address) -> Closure:
        """Why a trainer's claim is closed, if it is."""
        return self._read(Closure, "closureOf", task_id, round_index, trainer)

    def fund(self, task_id: TaskId, amount: TokenAmount) -> Receipt:
        """Add reward tokens that the caller approved for this contract."""
        return self._write("fund", task_id, amount)

    def claim(self, claim: Claim) -> Receipt:
        """Pay one reward to the leaf's trainer; anyone may submit."""
        place = (claim.task_id, claim.round, claim.index, claim.count)
        return self._write("claim", *place, claim.leaf, list(claim.proof))

    def claim_base(self, task_id: TaskId, round_index: RoundIndex, trainer: Address) -> Receipt:
        """Pay a trainer who revealed and opened in a round that ended without a settlement; anyone may submit."""
        return self._write("claimBase", task_id, round_index, trainer)

    def return_blocked(self, claim: Claim) -> Receipt:
        """Return the pay of a trainer whose fault was established to the task's balance."""
        place = (claim.task_id, claim.round, claim.index, claim.count)
        return self._write("returnBlocked", *place, claim.leaf, list(claim.proof))

    def claim_batch(self, claims: Sequence[Claim]) -> tuple[Claim, ...]:
        """Pay several rewards of one trainer in one token in one transfer. Returns those that were paid now.

        The contract leaves out what was paid before, and what a demand or a fault holds.
        """
        receipt = self._write("claimBatch", list(claims))
        paid = {(event.task_id, event.round) for event in self._events(receipt, Claimed)}
        return tuple(claim for claim in claims if (claim.task_id, claim.round) in paid)

    def expire(self, task_id: TaskId, round_index: RoundIndex) -> Receipt:
        """Return what was not claimed in time to the task's balance."""
        return self._write("expire", task_id, round_index)

    def withdraw(self, task_id: TaskId) -> Receipt:
        """Pay the free balance of an ended or cancelled task to its sponsor. Sponsor only."""
        return self._write("withdraw", task_id)
