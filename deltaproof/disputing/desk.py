"""What every role does in the dispute window and after: look at the settlement, and prove what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from deltaproof.agent.loop import Moment
from deltaproof.agent.patience import each_in_turn
from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Demand, DemandKind
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.abi.structs import RoundView, TaskParams
from deltaproof.chain.participation import quorum_members
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.chain.shown import ShownLeaves
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.demands import leaf_answer
from deltaproof.disputing.settlements import (
    SettlementFault,
    find_settlement_fault,
    posted_leaves,
    prove_settlement_fault,
)
from deltaproof.disputing.signers import (
    find_equivocations,
    posted_non_signers,
    prove_equivocation,
    slash_culpable_signers,
)
from deltaproof.errors import ContractRevert
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, SettlementProposal
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address_bytes
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore

__all__ = ["Kept", "SettlementDesk"]

Kept = Callable[[RoundIndex, Settlement], SettlementProposal | None]
"""The proposal of a settlement, if its reader keeps it at home."""

OVERTAKEN = frozenset(
    {"ProofsNotAccepted", "WrongPass", "DisputesNotAccepted", "DemandAlreadyOpen", "DemandTooLate", "OtherSettlement"}
)
"""What the contracts say when a settlement fell, or a question was asked, a moment before."""


class SettlementDesk:
    """Looks at each posted settlement of a task once, and tells or proves its faults and those of its signers."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        params: TaskParams,
        log: TaskLog,
        report: Reporter,
        *,
        prove: bool = True,
        kept: Kept = lambda _round, _settlement: None,
        spend: Callable[[RoundIndex], int] = lambda _round: 0,
    ) -> None:
        """`log` follows the task manager. Without `prove` faults are only told. `kept` is asked before the store.
        `spend`: most bonds that may be risked for hidden leaves of a round's settlement, smallest units."""
        self.gateway, self.store, self.task_id, self.params = gateway, store, task_id, params
        self.log, self.report, self.prove = log, report, prove
        self._kept, self._spend = kept, spend
        self._seen: set[tuple[RoundIndex, int]] = set()
        """Settlements that were looked at, by round and attempt."""
        self._told: set[tuple[str, RoundIndex, Address | int]] = set()
        self._shown = ShownLeaves(gateway, task_id, log)
        self._demanded: set[tuple[Digest32, Address]] = set()
        """Own demands for leaves, by settlement and trainer: they count before the block that is looked at has them."""

    def mind(self, moment: Moment) -> None:
        """Look at what was posted; a proof needs the dispute window, a signer's fault only slashable stake."""
        round_ = moment.view.round
        if not round_:
            return
        view = self.gateway.tasks.round(self.task_id, round_)
        in_window = moment.view.phase is Phase.WINDOW
        if not in_window and not view.attempts:
            return
        self.log.refresh(round_)
        if in_window and not moment.overdue:
            self._look_at_settlement(moment, round_, view)
        self._look_at_signers(round_, view)

    def leaves(self, round_: RoundIndex, view: RoundView) -> tuple[SettlementLeaf, ...] | None:
        """The leaves of the round's posted settlement; None if they are neither kept at home nor published, nor all
        shown on demand."""
        if (kept := self._kept(round_, view.settlement)) is not None:
            return kept.leaves
        published = posted_leaves(self.gateway, self.store, self.task_id, round_, view)
        return self._shown.all_of(view.settlement) if published is None else published

    def answer_leaf(self, number: int, demand: Demand) -> Receipt | None:
        """Show a demanded leaf, if its settlement is the right one: a part of the challenger's bond is the reward."""
        if demand.kind is not DemandKind.LEAF:
            return None
        leaves = self.leaves(demand.round, self.gateway.tasks.round(self.task_id, demand.round))
        return None if leaves is None else leaf_answer(self.gateway, number, demand, leaves)

    def demand_hidden(self, moment: Moment, committed: Callable[[RoundIndex], Sequence[Address]]) -> None:
        """Demand every leaf of a settlement whose leaves nobody published, in the second quarter of the window.

        Whoever settled has a quarter to publish them; the contract takes demands in the first half. `committed` says
        whose leaves there are. Only with free challenger stake for each bond: to deposit it is to agree to risk it.
        Attack: leaves of a right settlement are hidden, so that whoever asks for them pays who answers. So only as far
        as `spend` goes. Raises the first error after all demands were tried.
        """
        round_ = moment.view.round
        hidden = moment.view.phase is Phase.WINDOW and not moment.overdue
        window, left = self.params.phases.window, moment.seconds_left
        if not hidden or 4 * left > 3 * window or 2 * left < window:
            return
        view = self.gateway.tasks.round(self.task_id, round_)
        most = self._spend(round_) // self.gateway.court.params().demand_bond
        if not most or not self._bonds(0) or self.leaves(round_, view) is not None:
            return
        digest = self._digest(round_, view)
        self._shown.look(round_, digest)
        seen, own = self._shown.asked, {trainer for about, trainer in self._demanded if about == digest}
        most -= len(self._shown.asked_by(self.gateway.account) | own)
        missing = [trainer for trainer in committed(round_) if trainer not in seen | own]
        # The own leaf first, then each process in an order of its own, so that they share the bonds.
        me = self.gateway.account
        lots = {each: sha256(address_bytes(me) + address_bytes(each)).digest() for each in missing}
        missing.sort(key=lambda trainer: (trainer != me, lots[trainer]))
        paid_for = missing[: max(0, min(most, self._bonds(len(own - seen))))]
        each_in_turn(paid_for, lambda one: self._demand_leaf(round_, digest, one))

    def _bonds(self, unseen: int) -> int:
        """How many demands the free challenger stake pays for, after those that are not seen on chain yet."""
        free = self.gateway.registry.stake_of(self.gateway.account, Role.CHALLENGER).free
        return max(0, free // self.gateway.court.params().demand_bond - unseen)

    def _demand_leaf(self, round_: RoundIndex, digest: Digest32, trainer: Address) -> None:
        try:
            number, _ = self.gateway.court.demand_leaf(self.task_id, digest, trainer)
        except ContractRevert as revert:
            if revert.name in OVERTAKEN:
                return
            raise
        self._demanded.add((digest, trainer))
        self.report("demanded", f"round {round_}: nobody published the leaves; demanded that of {trainer}: {number}")

    def _digest(self, round_: RoundIndex, view: RoundView) -> Digest32:
        return view.settlement.signing_digest(self.gateway.domain(self.task_id, round_), view.attempts)

    def _look_at_settlement(self, moment: Moment, round_: RoundIndex, view: RoundView) -> None:
        place = (round_, view.attempts)
        if place in self._seen:
            return
        leaves = self.leaves(round_, view)
        if leaves is None:
            self._shown.look(round_, self._digest(round_, view))
            leaves = self._shown.all_of(view.settlement)
        if leaves is None:
            self._tell("hidden-leaves", round_, view.attempts, "nobody has published the leaves of the settlement")
            return
        fault = find_settlement_fault(self.gateway, self.task_id, round_, view, self.params, leaves)
        if fault is None:
            self._seen.add(place)
            self.report("checked", f"round {round_}: the settlement keeps the rules that a contract checks")
            return
        self._tell("settlement-fault", round_, view.attempts, f"the settlement is wrong: {fault.message}")
        if self.prove and not self._signed_myself(round_, view):
            self._prove(round_, view, leaves, fault)
        self._seen.add(place)

    def _prove(
        self, round_: RoundIndex, view: RoundView, leaves: tuple[SettlementLeaf, ...], fault: SettlementFault
    ) -> None:
        try:
            prove_settlement_fault(self.gateway, self.task_id, view, self.params, leaves, fault)
        except ContractRevert as revert:
            if revert.name not in OVERTAKEN:
                raise
            return
        self.report("proved", f"round {round_}: proved the settlement wrong ({fault.reason})", round=round_)

    def _look_at_signers(self, round_: RoundIndex, view: RoundView) -> None:
        for found in find_equivocations(self.gateway, self.store, self.log, self.task_id, round_):
            text = f"{found.verifier} signed two settlements of attempt {found.attempt} with different verdicts"
            new = self._tell("equivocation", round_, found.verifier, text)
            own = self.prove and found.verifier == self.gateway.account
            if new and self.prove and not own and prove_equivocation(self.gateway, self.task_id, round_, found):
                self.report("proved", f"round {round_}: proved that {text}", round=round_)
        if view.attempts and self.prove:
            for verifier in slash_culpable_signers(self.gateway, self.log, self.task_id, round_):
                self.report("slashed", f"round {round_}: {verifier} signed a wrong settlement", round=round_)

    def _signed_myself(self, round_: RoundIndex, view: RoundView) -> bool:
        """Nobody has to prove against itself."""
        me = self.gateway.account
        if me not in quorum_members(self.gateway, self.task_id, round_):
            return False
        return me not in (posted_non_signers(self.log, round_, self._digest(round_, view)) or ())

    def _tell(self, event: str, round_: RoundIndex, whom: Address | int, message: str) -> bool:
        """Report once; whether it was new."""
        if (event, round_, whom) in self._told:
            return False
        self._told.add((event, round_, whom))
        self.report(event, f"round {round_}: {message}", round=round_)
        return True
