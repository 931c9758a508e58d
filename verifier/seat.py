"""A seat in a task's quorum, for stake that has waited long enough."""

from __future__ import annotations

from deltaproof.chain import Gateway
from deltaproof.chain.participation import attempt
from deltaproof.errors import ContractRevert
from deltaproof.protocol.types import RoundIndex, TaskId, address_bytes
from deltaproof.reporting import Reporter

__all__ = ["take_seat"]


def take_seat(gateway: Gateway, task_id: TaskId, report: Reporter) -> None:
    """Join the next quorum; a full one in the place of the member with the least weight, if one's own is more.

    Raises ContractRevert for every refusal but that of somebody who was faster.
    """
    try:
        attempt(gateway.verifiers.activate, task_id, gateway.account)
    except ContractRevert as revert:
        if revert.name != "QuorumIsFull":
            raise
        _replace_the_weakest(gateway, task_id, report)


def _replace_the_weakest(gateway: Gateway, task_id: TaskId, report: Reporter) -> None:
    enrolled, upcoming = gateway.verifiers.enrolments(task_id), RoundIndex(gateway.tasks.phase(task_id).round + 1)
    members = {verifier: enrolment.weight for verifier, enrolment in enrolled.items() if enrolment.in_quorum(upcoming)}
    weakest = min(members, key=lambda verifier: (members[verifier], address_bytes(verifier)))
    if members[weakest] >= enrolled[gateway.account].stake:
        report("full", "the quorum is full, and nobody in it has less stake: leave the task, and come back with more")
    elif attempt(gateway.verifiers.replace, task_id, gateway.account, weakest) is not None:
        report("replaced", f"the quorum was full: took the place of {weakest}, who has less stake", verifier=weakest)
