"""Room among a task's trainers: seats that are free, and seats of names that do not work.

Attack: take every seat with names that never commit, so that nobody else gets in. In a full task anybody may free the
seat of a trainer that committed nothing in the last two rounds that ended, as far as it took part in them.
"""

from __future__ import annotations

from deltaproof.chain.abi.structs import FOREVER
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.participation import attempt
from deltaproof.protocol.types import Address, RoundIndex, TaskId

__all__ = ["idle_trainers", "make_room"]


def make_room(gateway: Gateway, task_id: TaskId, most: int) -> bool:
    """Whether one more trainer finds a seat in a task of `most`, after that of an idle one was freed if need be."""
    if len(_members(gateway, task_id)) < most:
        return True
    return any(attempt(gateway.trainers.vacate, task_id, idle) is not None for idle in idle_trainers(gateway, task_id))


def idle_trainers(gateway: Gateway, task_id: TaskId) -> list[Address]:
    """Who takes part and committed nothing in the last two rounds that ended, or in the one of them that it took part
    in, in order of enrolment."""
    round_ = gateway.tasks.phase(task_id).round
    if round_ and not gateway.tasks.round(task_id, round_).ended_at:
        round_ = RoundIndex(round_ - 1)
    if not round_:
        return []

    def worked(trainer: Address, since: int) -> bool:
        last_two = range(max(since, round_ - 1), round_ + 1)
        return any(gateway.trainers.has_committed(task_id, RoundIndex(each), trainer) for each in last_two)

    there = [(trainer, since) for trainer, since in _members(gateway, task_id).items() if since <= round_]
    return [trainer for trainer, since in there if not worked(trainer, since)]


def _members(gateway: Gateway, task_id: TaskId) -> dict[Address, int]:
    """The first round of each that takes part."""
    enrolled = gateway.trainers.enrolments(task_id)
    return {account: e.active_from for account, e in enrolled.items() if e.active_from and e.active_until == FOREVER}
