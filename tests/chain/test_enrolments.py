"""Who enrolled first, from logs: the last enrolment that a round found counts, and nobody may be left out."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deltaproof.chain import enrolments
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.enrolments import OVERLAP_BLOCKS, EnrolmentLog
from deltaproof.chain.events.base import LoggedEvent
from deltaproof.chain.events.participants import TrainerEnrolled
from deltaproof.chain.rpc.blocks import BlockRef
from deltaproof.errors import BlockUnknown
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId, TokenAmount, address

TASK = TaskId(4)
FIRST, SECOND, THIRD = (address(bytes([n]) * 20) for n in (9, 5, 7))


def enrolled(trainer: Address, block: int, place: int = 0, *, task: TaskId = TASK, from_round: int = 1) -> LoggedEvent:
    event = TrainerEnrolled(task, trainer, 1, RoundIndex(from_round), ZERO_DIGEST, 8, TokenAmount(1))
    return LoggedEvent(event, trainer, block, ZERO_DIGEST, ZERO_DIGEST, place)


class Node:
    """A chain whose logs and hashes a test writes, and which counts the blocks that are read."""

    def __init__(self) -> None:
        self.logs: list[LoggedEvent] = []
        self.height, self.fork = 99, 0
        self.read: list[tuple[int, int]] = []

    def block(self, number: int) -> dict[str, bytes]:
        return {"hash": bytes([self.fork, number % 256]) + bytes(30)}

    @property
    def read_block(self) -> BlockRef:
        return BlockRef(self.height, Digest32(self.block(self.height)["hash"]), 0)

    def logged(self, first: int, last: int) -> Iterator[LoggedEvent]:
        self.read.append((first, last))
        return iter([log for log in self.logs if first <= log.block_number <= last])


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, node: Node) -> EnrolmentLog:
    class Reader:
        def __init__(self, *_: object) -> None: ...

        def read(self, first: int, last: int, _kinds: object) -> Iterator[LoggedEvent]:
            return node.logged(first, last)

    monkeypatch.setattr(enrolments, "LogReader", Reader)
    monkeypatch.setattr(enrolments, "first_block", lambda *_: 10)
    head = SimpleNamespace(connection=node, trainers=SimpleNamespace(address=FIRST))
    return EnrolmentLog(cast(Gateway, head), TASK, None)


@pytest.fixture
def order(node: Node, log: EnrolmentLog) -> Any:
    """The order of `trainers` in a round, by these logs of a node."""

    def ordered(logs: list[LoggedEvent], round_: int, trainers: tuple[Address, ...]) -> tuple[Address, ...]:
        node.logs = logs
        return log.order(RoundIndex(round_), trainers)

    return ordered


def test_order_is_that_of_blocks_and_of_logs_within(order: Any) -> None:
    logs = [enrolled(SECOND, 12, 1), enrolled(THIRD, 12, 3), enrolled(FIRST, 11)]
    assert order(logs, 1, (SECOND, FIRST, THIRD)) == (FIRST, SECOND, THIRD)


def test_who_left_and_came_back_counts_from_its_last_enrolment(order: Any) -> None:
    """Else an early name could wait for rows that others show."""
    logs = [enrolled(FIRST, 11), enrolled(SECOND, 12), enrolled(FIRST, 40, from_round=3)]
    assert order(logs, 3, (FIRST, SECOND)) == (SECOND, FIRST)


def test_later_enrolments_and_other_tasks_change_nothing(order: Any) -> None:
    logs = [enrolled(FIRST, 11), enrolled(SECOND, 12), enrolled(FIRST, 50, from_round=2)]
    logs.append(enrolled(SECOND, 10, task=TaskId(5)))
    assert order(logs, 1, (FIRST, SECOND)) == (FIRST, SECOND)


def test_node_that_leaves_out_an_enrolment_is_asked_again(order: Any) -> None:
    """An order that misses somebody would be another order than the other verifiers have."""
    with pytest.raises(BlockUnknown, match=SECOND):
        order([enrolled(FIRST, 11)], 1, (FIRST, SECOND))


def test_next_round_reads_the_blocks_since_and_not_the_life_of_the_task(node: Node, log: EnrolmentLog) -> None:
    node.logs = [enrolled(FIRST, 11), enrolled(SECOND, 95)]
    assert log.order(RoundIndex(1), (SECOND, FIRST)) == (FIRST, SECOND)
    assert log.order(RoundIndex(1), (FIRST,)) == (FIRST,)
    node.height = 140
    node.logs.append(enrolled(THIRD, 120, from_round=2))
    assert log.order(RoundIndex(2), (THIRD, SECOND, FIRST)) == (FIRST, SECOND, THIRD)
    assert node.read == [(10, 99), (100 - OVERLAP_BLOCKS, 140)]


def test_reorganisation_and_a_node_that_lagged_are_read_anew(node: Node, log: EnrolmentLog) -> None:
    node.logs = [enrolled(FIRST, 11), enrolled(SECOND, 12)]
    log.order(RoundIndex(1), (FIRST, SECOND))
    node.fork, node.height, node.logs = 1, 120, [enrolled(SECOND, 11), enrolled(FIRST, 12)]
    assert log.order(RoundIndex(1), (FIRST, SECOND)) == (SECOND, FIRST)
    node.height = 130
    with pytest.raises(BlockUnknown, match=THIRD):
        log.order(RoundIndex(1), (THIRD,))
    node.logs.append(enrolled(THIRD, 13))
    assert log.order(RoundIndex(1), (THIRD, FIRST)) == (FIRST, THIRD), "what was left out lies deep"
