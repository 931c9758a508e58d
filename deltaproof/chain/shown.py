"""Leaves of a settlement that no store shows: one trainer's claim, or all of them, by answers to demands on chain.

Attack: keep the leaves back, and show each trainer its own. A wrong total or payout comes to light only when all of
them lie side by side. A settlement has as many leaves as trainers committed, and the court takes none that is not in
it: so one shown leaf of each is all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from deltaproof.chain.abi.calls import function_of
from deltaproof.chain.abi.dispute_structs import DemandKind
from deltaproof.chain.abi.structs import RoundView
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.enrolments import OVERLAP_BLOCKS
from deltaproof.chain.events.base import LoggedEvent
from deltaproof.chain.events.disputes import DemandOpened, LeafAnswered
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.origin import log_start
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, leaves_tree
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address_bytes
from deltaproof.protocol.wire.leaftree import verify_proof

__all__ = ["ShownLeaves", "in_order", "shown_claims"]


def shown_claims(
    gateway: Gateway,
    task_id: TaskId,
    round_: RoundIndex,
    view: RoundView,
    trainers: Collection[Address],
    cache: Path | None = None,
) -> dict[Address, Claim]:
    """What answers on chain show of these trainers' leaves of a standing settlement, each with the proof that leads to
    the posted root. `cache` is a folder that remembers where a task's events begin.

    Who answers through a contract of its own hides the proof, not the leaf. Raises ChainError.
    """
    found: dict[Address, Claim] = {}
    reader, settlement = LogReader(gateway.connection, [gateway.court.address]), view.settlement
    first, answer = log_start(gateway, task_id, round_, cache), function_of(gateway.court.INTERFACE, "answerLeaf", 4)
    for logged in reader.read(first, gateway.connection.read_block.number, (LeafAnswered,)):
        if not isinstance(logged.event, LeafAnswered) or logged.event.leaf.trainer not in trainers:
            continue
        called = answer.arguments(_call_data(gateway, logged.transaction_hash))
        if called is None:
            continue
        leaf, (_, index, _, proof) = logged.event.leaf, called
        claim = Claim(task_id, round_, index, settlement.leaf_count, leaf, tuple(map(Digest32, proof)))
        if verify_proof(settlement.leaves_root, leaves_tree([leaf]).root, index, settlement.leaf_count, claim.proof):
            found[leaf.trainer] = claim
    return found


def in_order(leaves: Mapping[int, SettlementLeaf], posted: Settlement) -> tuple[SettlementLeaf, ...] | None:
    """All leaves of a settlement, shown one by one: by their addresses, or else by the places that the call data of the
    answers says; None if they are not all."""
    by_address = sorted({leaf.trainer: leaf for leaf in leaves.values()}.values(), key=_by_address)
    in_place = [leaf for _, leaf in sorted(leaves.items())]
    return next((tuple(each) for each in (by_address, in_place) if _fits(each, posted)), None)


class ShownLeaves:
    """Follows the demands for leaves of one settlement, the posted one."""

    def __init__(self, gateway: Gateway, task_id: TaskId, log: TaskLog) -> None:
        """`log` knows where the task's events begin."""
        self._gateway, self._task_id, self._log = gateway, task_id, log
        self._reader = LogReader(gateway.connection, [gateway.court.address])
        self._digest: Digest32 | None = None
        self._next_block = 0
        self._opened: dict[int, tuple[int, Address, Address]] = {}
        """Block, trainer and challenger of each demand for a leaf of that settlement."""
        self._answered: dict[int, tuple[int, SettlementLeaf, Digest32]] = {}
        """Block, leaf and transaction of each answer, by demand."""
        self._places: dict[Digest32, bytes] = {}
        """Call data of answers, by transaction."""
        self._whole: dict[Digest32, tuple[SettlementLeaf, ...]] = {}
        """By the root of their tree."""

    @property
    def asked(self) -> set[Address]:
        """Trainers whose leaf somebody has demanded; it is shown, or else the settlement falls."""
        return {trainer for _, trainer, _ in self._opened.values()}

    def asked_by(self, challenger: Address) -> set[Address]:
        """Those whose leaf this account has demanded."""
        return {trainer for _, trainer, who in self._opened.values() if who == challenger}

    def look(self, round_: RoundIndex, digest: Digest32) -> None:
        """Read what was demanded and shown up to the block that is looked at. Raises what `LogReader.read` raises."""
        if digest != self._digest:
            self._digest, self._opened, self._answered, self._places = digest, {}, {}, {}
            self._next_block = log_start(self._gateway, self._task_id, round_, self._log.cache)
        start, last = max(0, self._next_block - OVERLAP_BLOCKS), self._gateway.connection.read_block.number
        fresh = list(self._reader.read(start, last, (DemandOpened, LeafAnswered)))
        self._opened = {number: one for number, one in self._opened.items() if one[0] < start}
        self._answered = {number: one for number, one in self._answered.items() if one[0] < start}
        for logged in fresh:
            self._take(logged, digest)
        self._next_block = last + 1

    def all_of(self, posted: Settlement) -> tuple[SettlementLeaf, ...] | None:
        """All leaves of a settlement, in the order of its tree; None as long as some were not shown.

        Raises what reading call data raises: who settled may have ordered them by no address.
        """
        found = self._whole.get(posted.leaves_root)
        if found is None and len(self._leaves()) == posted.leaf_count:
            found = self._ordered(posted)
            if found is not None:
                self._whole[posted.leaves_root] = found
        return found

    def _take(self, logged: LoggedEvent, digest: Digest32) -> None:
        event, block = logged.event, logged.block_number
        if isinstance(event, DemandOpened):
            if event.demand.kind is DemandKind.LEAF and event.demand.root == digest:
                self._opened[event.demand_id] = (block, event.demand.subject, event.demand.challenger)
        elif isinstance(event, LeafAnswered) and event.demand_id in self._opened:
            self._answered[event.demand_id] = (block, event.leaf, logged.transaction_hash)

    def _leaves(self) -> dict[Address, SettlementLeaf]:
        return {leaf.trainer: leaf for _, leaf, _ in self._answered.values()}

    def _ordered(self, posted: Settlement) -> tuple[SettlementLeaf, ...] | None:
        by_address = sorted(self._leaves().values(), key=_by_address)
        if _fits(by_address, posted):
            return tuple(by_address)
        return in_order({self._place(number): leaf for number, (_, leaf, _) in self._answered.items()}, posted)

    def _place(self, number: int) -> int:
        """The leaf's place in the tree, which only the call data of the answer says; -1 where it does not.

        `answerLeaf` begins with demand and place, also where another contract passes the call on.
        """
        transaction = self._answered[number][2]
        if transaction not in self._places:
            self._places[transaction] = _call_data(self._gateway, transaction)
        begins = function_of(self._gateway.court.INTERFACE, "answerLeaf", 4).selector + number.to_bytes(32, "big")
        _, found_it, after = self._places[transaction].partition(begins)
        return int.from_bytes(after[:32], "big") if found_it and len(after) >= 32 else -1


def _call_data(gateway: Gateway, transaction: Digest32) -> bytes:
    with gateway.connection.translated("eth_getTransactionByHash"):
        found = gateway.connection.web3.eth.get_transaction(transaction)  # type: ignore[arg-type]
    return bytes(found["input"])


def _by_address(leaf: SettlementLeaf) -> bytes:
    return address_bytes(leaf.trainer)


def _fits(leaves: Sequence[SettlementLeaf], posted: Settlement) -> bool:
    return len(leaves) == posted.leaf_count and leaves_tree(leaves).root == posted.leaves_root
