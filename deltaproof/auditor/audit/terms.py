"""A task as a whole: its spec, its terms on chain, the chain of adapters, and its money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deltaproof.auditor.audit.case import TaskCase
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.facts.chainview import ChainView, Question, token_balance
from deltaproof.auditor.index.events import Event
from deltaproof.chain.contracts.tasks import task_params
from deltaproof.errors import ArtifactError, ArtifactSealed, ChainError, DeltaproofError, StoreUnavailable
from deltaproof.protocol.types import ZERO_DIGEST
from deltaproof.store.paths import Kind

__all__ = ["check_adapter_chain", "check_escrow", "check_spec", "check_terms"]


def check_spec(case: TaskCase) -> Iterator[Check]:
    """The spec is in the store under the digest that is on chain."""
    params = case.facts.params
    subject = case.subject.of(case.facts.created, artifact=f"blob/{params.spec_hash.hex()}")
    if case.artifacts is None:
        yield subject.unchecked("spec", case.without)
        return
    try:
        spec = case.artifacts.spec(params.spec_hash)
    except ArtifactError as error:
        yield subject.artifact_failed("spec", error)
        return
    yield subject.equal("spec", spec.digest(), params.spec_hash)
    yield subject.equal("validation commitments", spec.validation.commitments, case.facts.validation_commitments)


def check_terms(case: TaskCase) -> Iterator[Check]:
    """Pay, stakes, quorum, phases and training terms on chain are those of the spec."""
    if case.spec is None:
        return
    from deltaproof.tuning.training.optimizers import constants_root, constants_table

    params = case.facts.params
    expected = task_params(
        case.spec,
        token=params.token,
        parameters=params.training.parameters,
        constants_root=constants_root(constants_table(case.spec.optimizer, case.spec.training.steps)),
    )
    subject = case.subject.of(case.facts.created)
    for name in ("start_digest", "constants_root", "rewards", "stakes", "quorum", "training", "phases"):
        title = f"terms: {name.replace('_', ' ')}"
        yield subject.equal(title, getattr(expected, name), getattr(params, name))
    if case.artifacts is None:
        return
    subject = subject.of(artifact=case.artifacts.store.weights_paths(Kind.TENSORS, params.start_digest)[0])
    try:
        case.artifacts.tensors(params.start_digest, params.training.parameters)
        yield subject.passed("starting adapter")
    except (ArtifactSealed, StoreUnavailable) as error:
        yield subject.artifact_failed("starting adapter", error)
    except DeltaproofError as error:
        yield subject.failed("starting adapter", str(error))


def check_adapter_chain(case: TaskCase) -> Iterator[Check]:
    """Rounds count up from 1, and each starts from the adapter that the one before it ended with."""
    opened = case.facts.named("RoundOpened")
    ended = {event.args["round"]: event for event in case.facts.named("RoundEnded")}
    numbers = [event.args["round"] for event in opened]
    yield case.subject.of(case.facts.created).equal("rounds", list(range(1, len(numbers) + 1)), numbers)
    adapter = case.facts.params.start_digest
    for event in opened:
        number = event.args["round"]
        subject = case.subject.of(event, round=number)
        yield subject.equal("start adapter", adapter, event.args["start_digest"])
        if number in ended:
            adapter = ended[number].args["next_start_digest"]
    for number, event in ended.items():
        if number not in numbers:
            yield case.subject.of(event, round=number).failed("rounds", "a round ended that was never opened")


def check_escrow(case: TaskCase, view: ChainView | None) -> Iterator[Check]:
    """Everything ever paid in is paid out, still reserved, still claimable, or still the task's: to the last unit."""
    sums = _sums(case)
    subject = case.subject.of(case.facts.created)
    yield subject.that(
        "escrow", min(sums.values()) >= 0, "more was paid than was put in", expected="nothing below 0", actual=sums
    )
    if view is None:
        yield subject.unchecked("escrow state", "no RPC endpoint to ask")
        return
    vault = case.index.deployment.contracts["vault"]
    token = case.facts.params.token
    try:
        account, held = view.ask([Question("vault", "accountOf", (case.facts.id,)), token_balance(token, vault)])
        pots = view.ask([Question("vault", "potOf", (case.facts.id, number)) for number in case.facts.rounds])
    except ChainError as error:
        yield subject.unchecked("escrow state", f"the endpoint keeps no state of that block: {error}")
        return
    yield subject.equal("escrow token", account["token"], token)
    yield subject.equal("escrow balance", account["balance"], sums["balance"])
    yield subject.equal("escrow reserve", account["reserved"], sums["reserved"])
    yield subject.equal("escrow pots", sum(pot["remaining"] + pot["fees"] for pot in pots), sums["pots"])
    yield from _pots(case, pots)
    owed = _owed_in_token(case)
    yield subject.that(
        "escrow tokens", held >= owed, "the vault holds less than it owes", expected=f"at least {owed}", actual=held
    )


def _pots(case: TaskCase, pots: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """What each ended round's pot pays by, and until when."""
    allocated = {
        event.args["round"]: event
        for event in case.index.events(task=case.facts.id, names=("RoundAllocated", "BaseAllocated"), contract="vault")
    }
    for number, pot in zip(case.facts.rounds, pots, strict=True):
        event = allocated.get(number)
        args = event.args if event and (event.name == "RoundAllocated" or event.args["amount"]) else {}
        told = (args.get("root", ZERO_DIGEST), args.get("each", 0), _claimable_until(case, event) if args else 0)
        kept = (pot["root"], pot["base_each"], pot["expires_at"])
        yield case.subject.of(event, round=number).equal("escrow pot", kept, told)


def _claimable_until(case: TaskCase, allocated: Event | None) -> int:
    """Pay can be claimed for the task's time after its round ended, seconds since the epoch."""
    if allocated is None:
        return 0
    ended = case.index.blocks([allocated.block])[allocated.block].timestamp
    return ended + case.facts.params.phases.claim


MONEY = (
    "TaskFunded", "RoundReserved", "RoundAllocated", "BaseAllocated", "Claimed", "FeePaid", "RoundExpired",
    "BlockedPayReturned", "SponsorWithdrew",
)  # fmt: skip


def _sums(case: TaskCase) -> dict[str, int]:
    return _fold_money(case.index.events(task=case.facts.id, names=MONEY, contract="vault"))


def _fold_money(events: list[Event]) -> dict[str, int]:
    """A task's free balance, reserve and pots after its vault events."""
    balance = reserved = pots = 0
    for event in events:
        args = event.args
        match event.name:
            case "TaskFunded":
                balance += args["amount"]
            case "RoundReserved":
                balance, reserved = balance - args["amount"], args["amount"]
            case "RoundAllocated":
                kept = args["payouts"] + args["fees"]
                balance, reserved, pots = balance + reserved - kept, 0, pots + kept
            case "BaseAllocated":
                balance, reserved, pots = balance + args["returned"], 0, pots + args["amount"]
            case "BlockedPayReturned":
                balance, pots = balance + args["amount"], pots - args["amount"]
            case "Claimed" | "FeePaid":
                pots -= args["amount"]
            case "RoundExpired":
                balance, pots = balance + args["amount"], pots - args["amount"]
            case "SponsorWithdrew":
                balance -= args["amount"]
    return {"balance": balance, "reserved": reserved, "pots": pots}


def _owed_in_token(case: TaskCase) -> int:
    """What the vault owes over all tasks that are paid in the same token."""
    created = case.index.events(names=["TaskCreated"])
    same = [event.args["task_id"] for event in created if event.args["params"]["token"] == case.facts.params.token]
    owed = 0
    for task in same:
        owed += sum(_fold_money(case.index.events(task=task, names=MONEY, contract="vault")).values())
    return owed
