"""A person's stake: what it is bound to, how to leave a task, and how to get it back."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.chain.abi.enums import Role
from deltaproof.chain.abi.structs import FOREVER, StakeAccount
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.participation import attempt, let_take, require_balance, require_task
from deltaproof.errors import ContractRevert, UsageError
from deltaproof.protocol.types import Address, RoundIndex, TaskId, TokenAmount
from deltaproof.reporting import moment_text, span

__all__ = ["BondCleared", "StakeStep", "clear_bond", "leave_task", "stake_for", "stakes_of", "take_out"]


@dataclass(frozen=True, slots=True)
class StakeStep:
    """One thing that was done, or that has to wait."""

    done: bool
    message: str
    until: int | None = None
    """What has to be waited for, seconds since the epoch; None where nothing is, or no time is known."""


@dataclass(frozen=True, slots=True)
class BondCleared:
    """A bond that was settled."""

    round: RoundIndex
    lost: TokenAmount
    """What it cost, smallest units of the stake token."""
    stake: TokenAmount
    """What the task holds of the trainer's since."""
    least: TokenAmount
    """What the task asks of a trainer: with less it takes part in no further round."""


def stakes_of(gateway: Gateway, account: Address) -> dict[Role, StakeAccount]:
    """Stake by role."""
    return {role: gateway.registry.stake_of(account, role) for role in Role}


def stake_for(gateway: Gateway, account: Address, role: Role, amount: TokenAmount) -> None:
    """Stake the caller's tokens for another account, whose they are from then on.

    Raises InsufficientFunds if the caller holds less.
    """
    token = gateway.registry.token()
    need = f"is to stake {gateway.money(token).exact(amount)} for {account}"
    require_balance(gateway, token, gateway.account, amount, need)
    let_take(gateway, token, gateway.registry.address, amount)
    gateway.registry.deposit_for(account, role, amount)


def clear_bond(gateway: Gateway, task_id: TaskId, trainer: Address) -> BondCleared | None:
    """Settle the bond of the first commitment that was never revealed; None if no bond is outstanding.

    Raises TaskMissing, and UsageError for who is no trainer of the task, or can still reveal.
    """
    require_task(gateway, task_id)
    before = gateway.trainers.enrolment(task_id, trainer)
    if before.index == 0:
        raise UsageError(f"{trainer} does not take part in task {task_id} as a trainer")
    missed = _unrevealed(gateway, task_id, trainer)
    if missed is None:
        return None
    try:
        if attempt(gateway.trainers.forfeit_bond, task_id, missed, trainer) is None:
            return None
        left, least = gateway.trainers.enrolment(task_id, trainer).stake, gateway.terms.params(task_id).stakes
        return BondCleared(missed, TokenAmount(before.stake - left), left, least.trainer_stake)
    except ContractRevert as revert:
        if revert.name == "RevealStillOpen":
            raise UsageError(
                f"round {missed} can still be revealed: start the trainer, it reveals by itself"
            ) from revert
        raise


def _unrevealed(gateway: Gateway, task_id: TaskId, trainer: Address) -> RoundIndex | None:
    for number in range(1, gateway.tasks.phase(task_id).round + 1):
        work = gateway.trainers.work(task_id, RoundIndex(number), trainer)
        if work.committed and not work.revealed and not work.forfeited:
            return RoundIndex(number)
    return None


def leave_task(gateway: Gateway, task_id: TaskId, role: Role) -> list[StakeStep]:
    """Do what of leaving can be done now: resign, then, when the stake is no longer slashable, unlock it."""
    pool = gateway.trainers if role == Role.TRAINER else gateway.verifiers
    enrolment, money = pool.enrolment(task_id, gateway.account), gateway.money(gateway.registry.token())
    if enrolment.index == 0:
        raise UsageError(f"{gateway.account} does not take part in task {task_id} as a {role.name.lower()}")
    steps = []
    if (
        enrolment.active_until == FOREVER
    ):  # also where the task has ended: the stake vouches for "all rounds" until then
        pool.resign(task_id)
        last = "it has ended" if gateway.tasks.is_ended(task_id) else "the running round is the last"
        steps.append(StakeStep(True, f"resigned from task {task_id}: {last}"))
    if enrolment.stake == 0:
        return [*steps, StakeStep(True, "the task holds no stake of yours any more")]
    try:
        pool.release(task_id, gateway.account)
        steps.append(StakeStep(True, f"unlocked {money.text(enrolment.stake)}"))
    except ContractRevert as revert:
        steps.append(_locked(revert, gateway.connection.timestamp()))
    return steps


def _locked(revert: ContractRevert, now: int) -> StakeStep:
    free = revert.arguments.get("until")
    locked = "the stake stays locked while it can be slashed"
    if revert.name != "StillBound" or not isinstance(free, int) or free >= FOREVER:
        return StakeStep(False, f"{locked} ({revert}); come back later")
    return StakeStep(
        False, f"{locked}: run this again from {moment_text(free)} on, in {span(max(free - now, 0))}", free
    )


def take_out(gateway: Gateway, role: Role) -> list[StakeStep]:
    """Start to take out all free stake, or pay out what has finished unbonding."""
    account, money = gateway.registry.stake_of(gateway.account, role), gateway.money(gateway.registry.token())
    steps = []
    if account.unbonding and account.withdrawable_at <= gateway.connection.timestamp():
        gateway.registry.withdraw(role)
        steps.append(StakeStep(True, f"paid out {money.text(account.unbonding)}"))
    elif account.unbonding:
        since = account.withdrawable_at
        steps.append(
            StakeStep(False, f"{money.text(account.unbonding)} can be withdrawn from {moment_text(since)} on", since)
        )
    if account.free and not account.unbonding:
        gateway.registry.request_unbond(role, TokenAmount(account.free))
        seconds = 0 if role == Role.CHALLENGER else gateway.registry.unbonding_seconds()
        steps.append(
            StakeStep(
                True,
                f"{money.text(account.free)} can be withdrawn in {span(seconds)}: run this again then",
                gateway.registry.stake_of(gateway.account, role).withdrawable_at,
            )
        )
    return steps or [StakeStep(False, f"nothing is free; {money.text(account.locked)} is locked in tasks")]
