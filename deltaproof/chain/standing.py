"""Where a task is: its phase, until when, who has acted, and whether the escrow pays for another round."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import PhaseView
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.protocol.terms.costs import round_cost
from deltaproof.protocol.types import TaskId, TokenAmount
from deltaproof.reporting import counted, phase_line

__all__ = ["Standing", "standing_of"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A task at one block."""

    task_id: TaskId
    view: PhaseView
    rounds: int
    """Of the whole task."""
    ended: bool
    now: int
    """The chain's clock, seconds since the epoch."""
    acted: tuple[int, int]
    """How many did what the phase asks for, and how many may; zeros in phases that ask nobody."""
    doing: str
    """What they did, for people: `trainers committed`; empty in phases that ask nobody."""
    balance: TokenAmount
    """Of the escrow, beyond what is reserved for rounds that have begun; smallest units of the reward token."""
    cost: TokenAmount
    """What another round sets aside."""

    @property
    def seconds_left(self) -> int:
        """Until the phase's deadline; 0 without one, or when it is past."""
        return max(0, self.view.deadline - self.now)

    @property
    def unfunded(self) -> bool:
        """Whether a round is still to come and the escrow cannot pay for it."""
        between = not self.ended and self.view.phase is Phase.IDLE and self.view.round < self.rounds
        return between and self.balance < self.cost

    @property
    def line(self) -> str:
        """Phase, deadline and time left in words."""
        if self.ended:
            return f"task {self.task_id} has ended, after {self.view.round} of {counted(self.rounds, 'round')}"
        view = self.view
        return phase_line(self.task_id, view.round, view.phase.name, view.deadline, self.seconds_left)

    @property
    def counts(self) -> str:
        """Who has acted in words: `3 of 5 trainers committed`; empty in phases that ask nobody."""
        return f"{self.acted[0]} of {self.acted[1]} {self.doing}" if self.doing else ""


def standing_of(gateway: Gateway, task_id: TaskId) -> Standing:
    """A task at the block that is read at. Raises ChainUnavailable."""
    view, params = gateway.tasks.phase(task_id), gateway.terms.params(task_id)
    acted, doing = _acted(gateway, task_id, view)
    return Standing(
        task_id,
        view,
        params.training.rounds,
        gateway.tasks.is_ended(task_id),
        gateway.connection.read_block.timestamp,
        acted,
        doing,
        gateway.vault.account(task_id).balance,
        round_cost(params.rewards),
    )


def _acted(gateway: Gateway, task_id: TaskId, view: PhaseView) -> tuple[tuple[int, int], str]:
    match view.phase:
        case Phase.COMMIT | Phase.REVEAL | Phase.OPENING:
            trainers = gateway.trainers.progress(task_id)
            here = trainers.round == view.round
            if view.phase is Phase.COMMIT:
                return (trainers.committed * here, trainers.expected * here), "trainers committed"
            if view.phase is Phase.REVEAL:
                return (trainers.revealed * here, trainers.committed * here), "trainers revealed"
            return (trainers.opened * here, trainers.revealed * here), "trainers opened the drawn steps"
        case Phase.ATTEST_COMMIT | Phase.ATTEST_REVEAL:
            verifiers = gateway.verifiers.progress(task_id)
            here = verifiers.round == view.round
            if view.phase is Phase.ATTEST_COMMIT:
                return (verifiers.committed * here, verifiers.expected * here), "verifiers sealed their attestations"
            return (verifiers.revealed * here, verifiers.committed * here), "verifiers showed their attestations"
        case _:
            return (0, 0), ""
