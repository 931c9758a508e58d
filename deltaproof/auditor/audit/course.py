"""The course of a round: which events there must be, in which order, and what decided its seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.audit.seeds import check_decided_after, check_seed
from deltaproof.auditor.index.events import Event
from deltaproof.chain.abi.enums import Outcome, Phase

__all__ = ["check_course", "ended_beyond"]

NEXT = {
    Phase.DRAW: {Phase.COMMIT},
    Phase.COMMIT: {Phase.REVEAL},
    Phase.REVEAL: {Phase.CHALLENGE},
    Phase.CHALLENGE: {Phase.OPENING},
    Phase.OPENING: {Phase.ATTEST_COMMIT},
    Phase.ATTEST_COMMIT: {Phase.ATTEST_REVEAL},
    Phase.ATTEST_REVEAL: {Phase.SETTLE},
    Phase.SETTLE: {Phase.WINDOW, Phase.SETTLE},  # a second time with a lower quorum
    Phase.WINDOW: {Phase.SETTLE},  # after a voided settlement
}
ACTS_IN = {
    "Committed": Phase.COMMIT,
    "BatchCommitted": Phase.COMMIT,
    "Revealed": Phase.REVEAL,
    "BatchRevealed": Phase.REVEAL,
    "ValidationRevealed": Phase.OPENING,
    "OpeningsPublished": Phase.OPENING,
    "AttestationCommitted": Phase.ATTEST_COMMIT,
    "AttestationRevealed": Phase.ATTEST_REVEAL,
    "SettlementPosted": Phase.SETTLE,
}
ENDS_AFTER = {
    Outcome.SETTLED: Phase.WINDOW,
    Outcome.NO_COMMITMENTS: Phase.COMMIT,
    Outcome.NO_REVEALS: Phase.REVEAL,
    Outcome.NO_QUORUM: Phase.SETTLE,
}
ONCE = ("OrderSeedDrawn", "ChallengeSeedDrawn", "ValidationRevealed", "RoundReserved", "RoundEnded", "FeesFixed")
ONCE_EACH = {
    "Revealed": "trainer",
    "OpeningsPublished": "trainer",
    "AttestationCommitted": "verifier",
    "AttestationRevealed": "verifier",
    "Claimed": "trainer",
    "TrainerSlashed": "trainer",
    "VerifierSlashed": "verifier",
}


def check_course(case: RoundCase) -> Iterator[Check]:
    """Everything that the events of a round say by their order, number and seeds."""
    yield from _phases(case)
    yield from _acts_within_phases(case)
    yield from _acts_once(case)
    yield from _participants(case)
    yield from _order(case)
    yield from _challenge(case)


def _phases(case: RoundCase) -> Iterator[Check]:
    started = case.facts.named("PhaseStarted")
    sequence = [Phase(event.args["phase"]) for event in started]
    for before, event in zip([None, *sequence], started, strict=False):
        phase = Phase(event.args["phase"])
        follows = phase is Phase.DRAW if before is None else phase in NEXT.get(before, ())
        if not follows:
            came_after = before.name.lower() if before is not None else "the opening"
            yield case.subject.of(event).failed("phases", f"{phase.name.lower()} cannot follow {came_after}")
            return
    ended = case.facts.ended
    if ended is None:
        running = sequence[-1].name.lower() if sequence else "nothing"
        yield case.subject.unchecked("phases", f"the round is not over; it is in {running}")
        return
    last = sequence[-1] if sequence else None
    fits = ENDS_AFTER.get(case.facts.outcome, last) == last
    yield case.subject.of(ended).that(
        "phases", fits, f"the round cannot end like this after {last.name.lower() if last else 'nothing'}",
        expected=ENDS_AFTER.get(case.facts.outcome, last), actual=last,
    )  # fmt: skip


def _acts_within_phases(case: RoundCase) -> Iterator[Check]:
    """Every act lies between the start of its phase and the start of the next one."""
    current: Phase | None = None
    wrong: list[tuple[Event, Phase]] = []
    for event in case.facts.events:
        if event.name == "PhaseStarted":
            current = Phase(event.args["phase"])
        elif (phase := ACTS_IN.get(event.name)) is not None and phase is not current:
            wrong.append((event, phase))
    for event, phase in wrong:
        reason = f"{event.name} belongs into the phase {phase.name.lower()}"
        yield case.subject.of(event).that("act in phase", False, reason, expected=phase, actual=current)
    if not wrong:
        yield case.subject.passed("act in phase")


def _acts_once(case: RoundCase) -> Iterator[Check]:
    """No event that may happen once happens twice."""
    seen: Counter[tuple[str, str]] = Counter()
    doubled = False
    for event in case.facts.events:
        for who in _actors(event):
            seen[event.name, who] += 1
            if seen[event.name, who] == 2:
                doubled = True
                reason = f"{event.name} happened twice"
                yield case.subject.of(event, participant=who or None).failed("once", reason)
    if not doubled:
        yield case.subject.passed("once")


def _actors(event: Event) -> list[str]:
    if event.name in ONCE:
        return [""]
    if event.name in ONCE_EACH:
        return [event.args[ONCE_EACH[event.name]]]
    if event.name == "BatchCommitted":
        return list(event.args["trainers"])
    if event.name == "BatchRevealed":
        return [entry["trainer"] for entry in event.args["entries"] if any(entry["salt"])]
    if event.name == "Committed":
        return [event.args["trainer"]]
    return []


def _participants(case: RoundCase) -> Iterator[Check]:
    """Whoever acted was enrolled, and nobody opened what was not sealed."""
    facts = case.facts
    for trainer, commitment in facts.commitments.items():
        enrolled = facts.shard_of(trainer) is not None
        yield case.subject.of(commitment.event, participant=trainer).that(
            "enrolled", enrolled, "committed without being enrolled before the round opened"
        )
    for trainer, reveal in facts.reveals.items():
        if trainer not in facts.commitments:
            yield case.subject.of(reveal.event, participant=trainer).failed("commitment", "revealed, never committed")
    quorum = set(facts.task.quorum_of(facts.number))
    for event in facts.named("AttestationCommitted"):
        verifier = event.args["verifier"]
        yield case.subject.of(event, participant=verifier).that(
            "enrolled", verifier in quorum, "attested without belonging to the round's quorum"
        )
    for event in facts.named("AttestationRevealed"):
        if event.args["verifier"] not in facts.attestations:
            reason = "revealed an attestation, never committed one"
            yield case.subject.of(event, participant=event.args["verifier"]).failed("attestation commitment", reason)
    yield case.subject.of(facts.opened).equal("verifiers at opening", len(quorum), facts.opened.args["verifiers"])
    if ended_beyond(facts.events, Phase.COMMIT):
        yield case.subject.of(facts.opened).that(
            "commitments at most enrolled",
            len(facts.commitments) <= facts.opened.args["trainers"],
            "more trainers committed than were enrolled when the round opened",
            expected=facts.opened.args["trainers"],
            actual=len(facts.commitments),
        )


def ended_beyond(events: tuple[Event, ...], phase: Phase) -> bool:
    """Whether a later phase than `phase` began."""
    return any(event.name == "PhaseStarted" and event.args["phase"] > phase for event in events)


def _order(case: RoundCase) -> Iterator[Check]:
    drawn = case.facts.first("OrderSeedDrawn")
    if drawn is None:
        yield case.subject.unchecked("order seed", "the seed was not drawn")
        return
    yield from check_seed(case, "order seed", drawn, drawn.args["order_seed"], case.facts.opened.args["order_request"])


def _challenge(case: RoundCase) -> Iterator[Check]:
    started = case.facts.phase_start(Phase.CHALLENGE)
    if started is None:
        return
    drawn = case.facts.first("ChallengeSeedDrawn")
    if drawn is None:
        yield case.subject.of(started).unchecked("challenge seed", "the seed is not drawn yet")
        return
    request = _request_in(case, started)
    if request is None:
        yield case.subject.of(started).failed("challenge seed", "the challenge phase began without asking the beacon")
        return
    yield from check_seed(case, "challenge seed", drawn, drawn.args["challenge_seed"], request)
    reveals = [reveal.event.block for reveal in case.facts.reveals.values()]
    yield from check_decided_after(case, "challenge after reveals", drawn, request, max(reveals, default=-1))


def _request_in(case: RoundCase, started: Event) -> int | None:
    """The beacon request that was made in the transaction of an event."""
    asked = case.index.events(names=["SeedRequested"], blocks=[started.block])
    mine = [e.args["id"] for e in asked if e.transaction == started.transaction and e.position < started.position]
    return mine[-1] if mine else None
