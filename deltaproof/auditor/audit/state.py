"""What the contracts store against what their events say: a hidden, invented or altered event shows here.

An index may have been built from another endpoint than the one that answers now, so both can lie, and they would have
to lie alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from deltaproof.auditor.audit.case import TaskCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.facts.chainview import ChainView, Question
from deltaproof.auditor.facts.tasks import RoundFacts
from deltaproof.chain.abi.codec import decode
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import RoundView, TaskParams
from deltaproof.errors import ChainError
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, TokenAmount

__all__ = ["check_round_state", "check_task_state"]


def check_task_state(case: TaskCase, view: ChainView | None) -> Iterator[Check]:
    """The task's terms as the contracts keep them, how many rounds were opened, and the adapter that it stands at."""
    if view is None:
        yield case.subject.unchecked("task state", "no RPC endpoint to ask")
        return
    task = (case.facts.id,)
    functions = ("sponsorOf", "paramsOf", "validationCommitmentsOf")
    questions = [Question("terms", function, task) for function in functions]
    try:
        sponsor, params, commitments, state = view.ask([*questions, Question("tasks", "taskOf", task)])
    except ChainError as error:
        yield case.subject.unchecked("task state", f"the endpoint keeps no state of that block: {error}")
        return
    yield from _terms(case, sponsor, params, tuple(Digest32(item) for item in commitments))
    yield case.subject.equal("rounds opened", state["round"], max(case.facts.rounds, default=0))
    cancelled = case.facts.named("TaskCancelled")
    yield case.subject.equal("state: cancelled", state["cancelled"], bool(cancelled))
    last = case.facts.named("RoundEnded")
    adapter = last[-1].args["next_start_digest"] if last else case.facts.params.start_digest
    subject = case.subject.of(last[-1] if last else case.facts.created)
    yield subject.equal("current adapter", state["adapter_digest"], adapter)


def _terms(
    case: TaskCase, sponsor: Address, params: dict[str, Any], commitments: tuple[Digest32, ...]
) -> Iterator[Check]:
    """By section, so that a report names what differs. `terms: ...` compares the same with the spec."""
    subject = case.subject.of(case.facts.created)
    yield subject.equal("state: sponsor", sponsor, case.facts.sponsor)
    kept = decode(TaskParams, params)
    for field in dataclasses.fields(TaskParams):
        name = f"state: terms: {field.name.replace('_', ' ')}"
        yield subject.equal(name, getattr(kept, field.name), getattr(case.facts.params, field.name))
    yield subject.equal("state: validation commitments", commitments, case.facts.validation_commitments)


def check_round_state(case: TaskCase, view: ChainView | None, rounds: Sequence[RoundFacts]) -> Iterator[Check]:
    """What the contract stores of every round is what its events say, to the last field."""
    if view is None:
        yield case.subject.unchecked("round state", "no RPC endpoint to ask")
        return
    try:
        stored = view.ask([Question("tasks", "roundOf", (case.facts.id, facts.number)) for facts in rounds])
    except ChainError as error:
        yield case.subject.unchecked("round state", f"the endpoint keeps no state of that block: {error}")
        return
    for facts, answer in zip(rounds, stored, strict=True):
        subject = case.subject.of(facts.opened, round=facts.number)
        yield from _fields(subject, decode(RoundView, answer), _round_of(case, facts))


def _fields(subject: Subject, kept: RoundView, told: RoundView) -> Iterator[Check]:
    for field in dataclasses.fields(RoundView):
        name = f"state: {field.name.replace('_', ' ')}"
        yield subject.equal(name, getattr(kept, field.name), getattr(told, field.name))


def _round_of(case: TaskCase, facts: RoundFacts) -> RoundView:
    """The round as its events tell it."""
    shown, posted = facts.first("ValidationRevealed"), facts.standing
    attesting = facts.phase_start(Phase.ATTEST_COMMIT)
    return RoundView(
        outcome=facts.outcome,
        attempts=len(facts.named("SettlementVoided")),
        late=facts.number == max(case.facts.rounds) and _late(facts),
        validation_revealed=shown is not None,
        verifier_set_version=facts.opened.args["verifier_set_version"],
        ended_at=_time(case, facts),
        attesting_block=attesting.block if attesting else 0,
        start_digest=facts.start_digest,
        order_seed=facts.order_seed or ZERO_DIGEST,
        challenge_seed=facts.challenge_seed or ZERO_DIGEST,
        validation_digest=Digest32(shown.args["digest"]) if shown else ZERO_DIGEST,
        settlement=posted.settlement if posted else _NOTHING,
    )


_NOTHING = Settlement.model_construct(
    leaves_root=ZERO_DIGEST,
    leaf_count=0,
    total_payout=TokenAmount(0),
    verdicts_digest=ZERO_DIGEST,
    next_start_digest=ZERO_DIGEST,
    improvement_nanos=0,
    artifact_digest=ZERO_DIGEST,
)


def _late(facts: RoundFacts) -> bool:
    """Whether a majority settles: the settle phase passed once in this attempt, or no attempt is left."""
    turns = facts.named("QuorumLowered", "SettlementVoided")
    if not turns:
        return False
    settling = [event for event in facts.named("PhaseStarted") if event.args["phase"] == Phase.SETTLE]
    return turns[-1].name == "QuorumLowered" or settling[-1].args["deadline"] == 0


def _time(case: TaskCase, facts: RoundFacts) -> int:
    """When the round ended, seconds since the epoch; 0 while it runs."""
    if facts.ended is None:
        return 0
    block = facts.ended.block
    return case.index.blocks([block])[block].timestamp
