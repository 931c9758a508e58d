"""Who enrolled first, from logs: the last enrolment that a round found counts, and nobody may be left out."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deltaproof.chain import enrolments
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.enrolments import enrolment_order
from deltaproof.chain.events.base import LoggedEvent
from deltaproof.chain.events.participants import TrainerEnrolled
from deltaproof.errors import BlockUnknown
from deltaproof.protocol.types import ZERO_DIGEST, Address, RoundIndex, TaskId, TokenAmount, address

TASK = TaskId(4)
FIRST, SECOND, THIRD = (address(bytes([n]) * 20) for n in (9, 5, 7))


def enrolled(trainer: Address, block: int, place: int = 0, *, task: TaskId = TASK, from_round: int = 1) -> LoggedEvent:
    event = TrainerEnrolled(task, trainer, 1, RoundIndex(from_round), ZERO_DIGEST, 8, TokenAmount(1))
    return LoggedEvent(event, trainer, block, ZERO_DIGEST, ZERO_DIGEST, place)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The order of `trainers` in a round, by these logs of a node."""

    def ordered(logs: list[LoggedEvent], round_: int, trainers: tuple[Address, ...]) -> tuple[Address, ...]:
        class Reader:
            def __init__(self, *_: object) -> None: ...

            def read(self, first: int, last: int, _kinds: object) -> Iterator[LoggedEvent]:
                return iter(log for log in logs if first <= log.block_number <= last)

        monkeypatch.setattr(enrolments, "LogReader", Reader)
        monkeypatch.setattr(enrolments, "first_block", lambda *_: 10)
        head = SimpleNamespace(connection=SimpleNamespace(read_block=SimpleNamespace(number=99)),
                               trainers=SimpleNamespace(address=FIRST))  # fmt: skip
        return enrolment_order(cast(Gateway, head), TASK, RoundIndex(round_), trainers, None)

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
