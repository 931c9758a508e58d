"""What trainer, verifier and sponsor have in common: reading the task, staking, moving phases on, finding leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from deltaproof.chain.abi.enums import Fault, Phase, Role
from deltaproof.chain.abi.structs import PhaseView, RoundView, TaskView
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.rpc.blocks import LOCAL_CHAINS
from deltaproof.chain.seeds import bring_seed
from deltaproof.errors import (
    UNUSABLE,
    ArtifactMissing,
    ContractRevert,
    EncodingError,
    InsufficientFunds,
    OverLimit,
    SpecError,
    TaskMissing,
    TaskRefused,
)
from deltaproof.protocol.outcome.settlement import SettlementProposal
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, RoundIndex, TaskId, TokenAmount, address_bytes
from deltaproof.store import ArtifactStore

__all__ = [
    "KnownTask",
    "attempt",
    "known_faults",
    "lacking_stake",
    "let_take",
    "lock_stake",
    "move_on",
    "quorum_members",
    "read_task",
    "require_balance",
    "require_going_on",
    "require_task",
    "settled_leaves",
]

P = ParamSpec("P")
R = TypeVar("R")

LOST_RACES = frozenset(
    {
        "AlreadyClaimed", "AlreadyPenalised", "AlreadyRevealed", "ClaimIsClosed", "NotAbsent", "NotActiveYet",
        "NotDue", "NotVacant", "NothingAtStake", "NothingToClaim", "PhaseClosed", "WrongPhase", "DisputesOpen",
        "NoRoundLeft", "DemandClosed",
    }
)  # fmt: skip
"""What the contracts say to somebody who does what another has just done."""


@dataclass(frozen=True, slots=True)
class KnownTask:
    """A task on chain and the spec it registers."""

    view: TaskView
    spec: TaskSpec


def read_task(gateway: Gateway, store: ArtifactStore, task_id: TaskId) -> KnownTask:
    """The task and its spec, whoever made them.

    Raises TaskMissing if there is no such task, ArtifactError if its spec cannot be had, SpecError with every reason if
    the spec is not one that anybody should take part in.
    """
    require_task(gateway, task_id)
    view = gateway.task(task_id)
    try:
        data = store.get_blob(view.params.spec_hash, TaskSpec.MAX_BYTES)
    except ArtifactMissing as error:
        missing = f"not in the store: it is the spec of task {task_id}; check --store"
        raise ArtifactMissing(error.artifact, missing) from error
    try:
        return KnownTask(view, TaskSpec.from_document(data))
    except EncodingError as error:
        raise SpecError(f"task {task_id} is not to be trusted, do not take part: {error}") from error


def require_task(gateway: Gateway, task_id: TaskId) -> None:
    """Raises TaskMissing if the node shows no such task."""
    count = gateway.terms.task_count()
    if not 1 <= task_id <= count:
        known = f"1 to {count}" if count else "none"
        raise TaskMissing(f"there is no task {task_id}; tasks on this contract: {known}; check --task, and --contract")


def require_going_on(gateway: Gateway, task_id: TaskId) -> None:
    """Raises TaskRefused if a task has ended: the contract would still lock the stake of who joins, and pay nothing."""
    if gateway.tasks.is_ended(task_id):
        raise TaskRefused(f"task {task_id} has ended: no money or stake was moved; `deltaproof task list` shows others")


def attempt(action: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Send what anybody may send; None if somebody else was faster. Raises ContractRevert for every other refusal."""
    try:
        return action(*args, **kwargs)
    except ContractRevert as revert:
        if revert.name in LOST_RACES:
            return None
        raise


def require_balance(gateway: Gateway, token: Address, account: Address, amount: TokenAmount, need: str) -> None:
    """Raises InsufficientFunds if an account holds less than `amount` of a token; `need` says what for."""
    balance = gateway.token(token).balance_of(account)
    if balance < amount:
        money = gateway.money(token)
        mint = f" (deltaproof faucet {account} --amount '{money.exact(amount - balance)}')"
        local = mint if gateway.connection.chain_id in LOCAL_CHAINS else ""
        raise InsufficientFunds(f"{account} holds {money.exact(balance)} ({token}) and {need}; send it some{local}")


def lock_stake(gateway: Gateway, role: Role, needed: TokenAmount) -> None:
    """Deposit what the account's free stake lacks of `needed`. Raises what `lacking_stake` raises."""
    missing = lacking_stake(gateway, role, needed)
    if not missing:
        return
    let_take(gateway, gateway.registry.token(), gateway.registry.address, missing)
    gateway.registry.deposit(role, missing)


def let_take(gateway: Gateway, token: Address, spender: Address, amount: TokenAmount) -> None:
    """Approve that a contract takes an amount of the caller's tokens, unless it may take as much already."""
    held = gateway.token(token)
    if held.allowance(gateway.account, spender) < amount:
        held.approve(spender, amount)


def lacking_stake(gateway: Gateway, role: Role, needed: TokenAmount) -> TokenAmount:
    """What the account's free stake lacks of `needed`, which it can deposit.

    Raises InsufficientFunds saying how much it has too little, OverLimit if more would be staked than
    `Gateway.max_stake`.
    """
    staked = {each: gateway.registry.stake_of(gateway.account, each) for each in Role}
    missing = TokenAmount(max(needed - staked[role].free, 0))
    if needed > 0:
        _keep_to_limit(gateway, sum(stake.total for stake in staked.values()) + missing)
    if missing:
        token = gateway.registry.token()
        need = f"has to stake {gateway.money(token).exact(missing)} more"
        require_balance(gateway, token, gateway.account, missing, need)
    return missing


def _keep_to_limit(gateway: Gateway, staked: int) -> None:
    """Free stake counts as well: votes that were missed are fined from it."""
    most = gateway.max_stake
    if most is not None and staked > most:
        money = gateway.money(gateway.registry.token())
        raise OverLimit(
            f"{gateway.account} would have {money.exact(staked)} staked in all, and --max-stake allows "
            f"{money.exact(most)}; raise it, leave another task (deltaproof stake leave), or take free stake out "
            "(deltaproof stake withdraw)"
        )


def move_on(gateway: Gateway, task_id: TaskId, view: PhaseView, *, overdue: bool, now: int) -> bool:
    """Push a phase that is over, or one whose seed is decided; whether anything moved.

    `overdue`: the deadline has passed, though maybe only the next block will know it. `now`: the chain's clock.
    """
    match view.phase:
        case Phase.IDLE:
            return False
        case Phase.DRAW | Phase.CHALLENGE:
            ready = bring_seed(gateway, gateway.tasks.seed_request(task_id), now)
            return ready and attempt(gateway.tasks.advance, task_id) is not None
        case Phase.WINDOW:
            return overdue and attempt(gateway.tasks.finalize, task_id) is not None
        case _:
            return overdue and attempt(gateway.tasks.advance, task_id) is not None


def quorum_members(gateway: Gateway, task_id: TaskId, round_: RoundIndex) -> dict[Address, TokenAmount]:
    """The round's verifiers with their weights, by ascending address."""
    enrolled = gateway.verifiers.enrolments(task_id)
    active = {v: e.weight for v, e in enrolled.items() if e.in_quorum(round_)}
    return dict(sorted(active.items(), key=lambda item: address_bytes(item[0])))


def known_faults(
    gateway: Gateway, task_id: TaskId, round_: RoundIndex, trainers: Iterable[Address]
) -> frozenset[Address]:
    """Who revealed and whose fault was established before verifiers could attest: everybody has to reject them."""
    began = gateway.tasks.round(task_id, round_).attesting_block
    trainers = list(trainers)
    pool = gateway.trainers
    gateway.connection.prefetch([pool.view("workOf", task_id, round_, trainer) for trainer in trainers])
    work = {trainer: pool.work(task_id, round_, trainer) for trainer in trainers}
    return frozenset(
        trainer
        for trainer, done in work.items()
        if done.revealed and done.fault is not Fault.NONE and (not began or done.fault_block < began)
    )


def settled_leaves(
    gateway: Gateway, store: ArtifactStore, task_id: TaskId, round_: RoundIndex, view: RoundView
) -> SettlementProposal | None:
    """The leaves behind the settlement that stands in a round, from the store; None if nobody published them there, or
    it does not follow from them. Raises StoreUnavailable."""
    posted = view.settlement
    digest = posted.signing_digest(gateway.domain(task_id, round_), view.attempts)
    try:
        found = store.get_proposal(digest, lambda found: found.proposal_of(posted) is not None)
    except UNUSABLE:
        return None
    return found.proposal_of(posted)
