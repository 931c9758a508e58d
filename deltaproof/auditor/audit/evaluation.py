"""What the deltas are worth on the task's model: who plays, the losses, the coalition values, the next adapter.

The default audit measures the adapter before and after each round, which is two evaluations; `--rescore` evaluates
every coalition, or the slopes along the round's step. Numbers are compared up to rounding, not up to the task's
tolerance: within the tolerance a quorum could agree on values of its choice. Between machines mean losses of float32
models differ by about 1e-8 nats (`deltaproof.tuning.combining.evaluation`); a thousand times as much is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.deltas import adapter_of, read_by, tuned_by
from deltaproof.auditor.audit.valuation import attested_in
from deltaproof.auditor.facts.sharing import enrolment_rank, players_of, shard_in
from deltaproof.errors import ArtifactError, ArtifactSealed, DeltaproofError, StoreUnavailable
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.outcome.attestation import Attestation, EmulatorScore, GameRecord
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import AUDIT_ERROR_SHARE, AUDIT_ROUNDING, MAX_VALIDATION_ROWS, NANOS
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32
from deltaproof.store.paths import Kind
from deltaproof.tuning.combining.evaluation import Evaluation, Evaluator
from incentives.scoring import RoundScores, counted_rows, emulator_scores, same_adapter, score_round
from incentives.unions import Contribution, aggregate_contributions, named_root
from incentives.valuation import find_players

__all__ = ["check_emulator_scores", "check_losses", "check_next_adapter", "check_players", "check_values", "rescored"]


def check_next_adapter(case: RoundCase) -> Iterator[Check]:
    """Aggregate the deltas again: the next round's adapter has to come out, and every verifier's own."""
    posted = case.facts.standing
    if posted is None or case.spec is None or case.artifacts is None:
        return
    settled, size = posted.settlement.next_start_digest, case.facts.task.params.training.parameters
    subject = case.subject.of(posted.event, artifact=case.artifacts.store.weights_paths(Kind.TENSORS, settled)[0])
    try:
        case.artifacts.tensors(settled, size)
    except ArtifactError as error:
        yield subject.artifact_failed("next adapter", error)
    found: dict[tuple[tuple[Address, ...], tuple[Address, ...]], tuple[Vector, float]] = {}
    for verifier, document in case.attestations.items():
        source = document.digest() == posted.settlement.artifact_digest
        about = subject if source else attested_in(case, verifier)
        digest = settled if source else document.next_start_digest
        try:
            members, accepted = tuple(_included(case, case.spec, document)), _accepted(document)
            if (accepted, members) not in found:
                found[accepted, members] = _aggregated(case, case.spec, accepted, members)
            expected, lost = found[accepted, members]
            yield _same(case, about, expected, digest, size)
            if document.game is not None:
                stated = document.game.truncation
                close = abs(lost - stated) <= AUDIT_ROUNDING
                reason = "the aggregate loses another share to the method's form"
                yield about.that("truncation", close, reason, expected=lost, actual=stated)
        except DeltaproofError as error:
            yield about.unchecked("next adapter", str(error))
    if not any(d.digest() == posted.settlement.artifact_digest for d in case.attestations.values()):
        yield subject.unchecked("next adapter", "the attestation that the adapter comes from is not there")


def _same(case: RoundCase, about: Subject, expected: Vector, digest: Digest32, size: int) -> Check:
    """The bits, or an aggregate that other machines' rounding explains. Raises ArtifactError."""
    if component_root(expected) == digest or case.artifacts is None:
        return about.equal("next adapter", component_root(expected), digest)
    reason = "not the aggregate of the accepted deltas"
    try:
        close = same_adapter(expected, case.artifacts.tensors(digest, size))
    except (StoreUnavailable, ArtifactSealed):
        raise
    except ArtifactError as error:
        # Whoever attests an adapter has to publish it, so that others can tell rounding from a lie.
        return about.failed("next adapter", f"{reason} to the last bit, and cannot be compared: {error}")
    return about.that("next adapter", close, reason, expected=component_root(expected), actual=digest)


def _aggregated(
    case: RoundCase, spec: TaskSpec, accepted: Sequence[Address], members: Sequence[Address]
) -> tuple[Vector, float]:
    """The aggregate of the deltas that an attestation's scores let in, and the share that the method's form lost.

    Raises ArtifactError or TuningError.

    Where distinct rows count, it matters whom else the attestation accepts.
    """
    if not members:
        if case.artifacts is None:
            raise AssertionError("aggregating needs a store")
        return case.artifacts.tensors(case.facts.start_digest, case.facts.task.params.training.parameters), 0.0
    counting = accepted if spec.scoring.rows == "distinct" else members
    contributions, _ = counted_rows(spec, _contributions(case, spec, counting))
    included = [contributions[member] for member in members]
    return aggregate_contributions(case.task.scoring_bench, _start(case), included)


def _included(case: RoundCase, spec: TaskSpec, source: Attestation) -> list[Address]:
    """Accepted trainers who are no copies and, if the task says so, have a positive score. Unscored: all accepted."""
    accepted = [f for f in source.findings if f.verdict is Verdict.ACCEPTED]
    if source.game is None:
        return [finding.trainer for finding in accepted]
    # A complete discount does not make a copy: a server may work without pay. Copies play in no union.
    players = {member for union in players_of(case.facts, spec, source) for member in union}
    accepted = [finding for finding in accepted if finding.trainer in players]
    if spec.aggregation.include == "accepted":
        return [finding.trainer for finding in accepted]
    return [finding.trainer for finding in accepted if finding.score_nanos > 0]


def check_players(case: RoundCase) -> Iterator[Check]:
    """Compare the accepted deltas again: who plays in the game, and who is a copy."""
    if case.spec is None or case.artifacts is None:
        return
    found: dict[tuple[Address, ...], list[list[Address]]] = {}
    for verifier, document in case.attestations.items():
        if document.game is None:
            continue
        subject, accepted = attested_in(case, verifier), _accepted(document)
        try:
            if accepted not in found:
                contributions = _contributions(case, case.spec, accepted)
                _, groups = find_players(case.task.scoring_bench, _start(case), list(contributions.values()))
                found[accepted] = [[accepted[i] for i in group] for group in groups]
        except DeltaproofError as error:
            yield subject.unchecked("coalition players", str(error))
            continue
        # Attack: call who shares a player's value a copy, so that the others have its part. No player changes by it.
        yield subject.equal("coalition players", found[accepted], players_of(case.facts, case.spec, document))


@dataclass
class _Measured:
    """A round's validation set on the full model. Raises ArtifactError, or TuningError where that model is not here."""

    case: RoundCase
    _ends: dict[Digest32, Evaluation] = field(default_factory=dict)

    @cached_property
    def evaluator(self) -> Evaluator:
        return Evaluator(self.case.task.scoring_bench, _validation_rows(self.case))

    @cached_property
    def start(self) -> Evaluation:
        return self.evaluator.evaluate(_start(self.case))

    def end(self, digest: Digest32) -> Evaluation:
        if digest not in self._ends:
            self._ends[digest] = self.evaluator.evaluate(_tensors(self.case, digest))
        return self._ends[digest]


def check_losses(case: RoundCase) -> Iterator[Check]:
    """Evaluate the round's starting adapter and the next one: losses and accuracies, on which the pay depends."""
    if case.spec is None or case.artifacts is None or not case.facts.scored:
        return
    measured = _Measured(case)
    for verifier, document in case.attestations.items():
        game = document.game
        if game is None:
            continue
        subject = attested_in(case, verifier)
        try:
            start, end = measured.start, measured.end(document.next_start_digest)
        except DeltaproofError as error:
            yield subject.unchecked("losses", str(error))
            continue
        yield from _evaluated("start", start, game.start_loss, game.start_accuracy, subject)
        yield from _evaluated("end", end, game.end_loss, game.end_accuracy, subject)


def _evaluated(name: str, mine: Evaluation, loss: float, accuracy: float, subject: Subject) -> Iterator[Check]:
    yield subject.that(
        f"{name} loss", _rounds_to(mine.loss, loss), "the adapter's loss on the validation set is another one",
        expected=mine.loss, actual=loss,
    )  # fmt: skip
    # Rounding may turn a prediction whose two best labels are equally likely. What is stated may be any number.
    turned = abs(mine.accuracy - accuracy) * mine.predictions
    same = math.isfinite(turned) and round(turned) <= 1
    yield subject.that(
        f"{name} accuracy", same, "the adapter's accuracy is another one", expected=mine.accuracy, actual=accuracy
    )


def check_values(case: RoundCase) -> Iterator[Check]:
    """Evaluate every coalition, or every slope, again on the validation set; compare with what verifiers recorded."""
    if not case.options.rescore or case.spec is None or case.artifacts is None or case.facts.challenge_seed is None:
        return
    scored: dict[tuple[Address, ...], RoundScores] = {}  # verifiers who accept the same deltas have one game
    for verifier, document in case.attestations.items():
        subject, accepted = attested_in(case, verifier), _accepted(document)
        if document.game is None:
            continue
        try:
            again = scored.get(accepted) or rescored(case, case.spec, accepted, case.facts.challenge_seed)
        except DeltaproofError as error:
            yield subject.unchecked("coalition values", str(error))
            continue
        scored[accepted] = again
        if again.game is None:
            yield subject.failed("coalition values", "there is nothing to score in this round")
            continue
        compared = _worst_slope if case.spec.scoring.index == "aumann_shapley" else _worst_value
        yield compared(document.game, again.game, subject)
        yield from _findings(document, again, subject)


def _worst_value(recorded: GameRecord, again: GameRecord, subject: Subject) -> Check:
    mine = {coalition.members: coalition.value_nanos for coalition in again.coalitions}
    theirs = {coalition.members: coalition.value_nanos for coalition in recorded.coalitions}
    if mine.keys() != theirs.keys():
        return subject.equal("coalition values", sorted(mine), sorted(theirs), "other coalitions")
    worst = max(mine, key=lambda members: abs(mine[members] - theirs[members]), default=())
    off = abs(mine.get(worst, 0) - theirs.get(worst, 0))
    allowed = 2 * AUDIT_ROUNDING * max(1.0, again.start_loss)  # a value is the difference of two losses
    return subject.that(
        "coalition values", off <= allowed * NANOS, f"coalition {list(worst)} is off by {off} nano-nats",
        expected=mine.get(worst), actual=theirs.get(worst),
    )  # fmt: skip


def _worst_slope(recorded: GameRecord, again: GameRecord, subject: Subject) -> Check:
    """Of the passes along the step: who was there with which share, the gains, the slopes."""
    who = [[(share.player, share.units) for share in found.shares] for found in again.passes]
    if who != (theirs := [[(share.player, share.units) for share in found.shares] for found in recorded.passes]):
        return subject.equal("slopes", who, theirs, "other players or shares of the step")
    mine, told = _numbers_of(again), _numbers_of(recorded)
    worst = max(mine, key=lambda place: abs(mine[place] - told.get(place, 0)), default="")
    off = abs(mine.get(worst, 0) - told.get(worst, 0))
    allowed = 2 * AUDIT_ROUNDING * max(1.0, again.start_loss, abs(mine.get(worst, 0)) / NANOS)
    return subject.that(
        "slopes", mine.keys() == told.keys() and off <= allowed * NANOS, f"{worst} is off by {off} nano-nats",
        expected=mine.get(worst), actual=told.get(worst),
    )  # fmt: skip


def _numbers_of(game: GameRecord) -> dict[str, int]:
    numbers = {f"the gain of pass {p}": found.gain_nanos for p, found in enumerate(game.passes, start=1)}
    for p, found in enumerate(game.passes, start=1):
        for share in found.shares:
            numbers |= {f"pass {p}, player {share.player}, node {q}": s for q, s in enumerate(share.slopes_nanos)}
    return numbers


def _findings(document: Attestation, again: RoundScores, subject: Subject) -> Iterator[Check]:
    attested = document.by_trainer()
    for trainer, finding in again.findings.items():
        theirs = attested[trainer]
        yield subject.equal("discount", finding.discount_bps, theirs.discount_bps, f"of {trainer}")
        allowed = 2 * AUDIT_ROUNDING * NANOS + AUDIT_ERROR_SHARE * finding.stderr_nanos
        yield subject.that(
            "standard error", abs(finding.stderr_nanos - theirs.stderr_nanos) <= allowed, f"of {trainer}",
            expected=finding.stderr_nanos, actual=theirs.stderr_nanos,
        )  # fmt: skip


def check_emulator_scores(case: RoundCase) -> Iterator[Check]:
    """Evaluate the next adapter again on each emulator, for which nobody needs the full model."""
    spec = case.spec
    if spec is None or case.artifacts is None or spec.federation is None or not case.facts.scored:
        return
    scored: dict[Digest32, tuple[EmulatorScore, ...]] = {}
    for verifier, document in case.attestations.items():
        if document.game is None:
            continue
        subject, digest = attested_in(case, verifier), document.next_start_digest
        try:
            rows = _validation_rows(case)
            if digest not in scored:
                scored[digest] = emulator_scores(case.task.judges.emulators(), _tensors(case, digest), rows)
        except DeltaproofError as error:
            yield subject.unchecked("emulator score", str(error))
            continue
        again, recorded = scored[digest], document.game.emulators
        yield subject.equal("scored emulators", [s.emulator for s in again], [s.emulator for s in recorded])
        for mine, theirs in zip(again, recorded, strict=False):
            found = Evaluation(mine.loss, mine.accuracy, len(rows))
            yield from _evaluated("emulator", found, theirs.loss, theirs.accuracy, subject)


def _rounds_to(mine: float, theirs: float) -> bool:
    return abs(mine - theirs) <= AUDIT_ROUNDING * max(1.0, abs(mine))


def _accepted(document: Attestation) -> tuple[Address, ...]:
    return tuple(finding.trainer for finding in document.findings if finding.verdict is Verdict.ACCEPTED)


def _start(case: RoundCase) -> Vector:
    """The round's starting adapter, shape (P,). Raises ArtifactError."""
    return _tensors(case, case.facts.start_digest)


def _tensors(case: RoundCase, digest: Digest32) -> Vector:
    if case.artifacts is None:
        raise AssertionError("evaluating needs a store")
    return case.artifacts.tensors(digest, case.facts.task.params.training.parameters)


def _validation_rows(case: RoundCase) -> list[bytes]:
    """Raises ArtifactError."""
    if case.artifacts is None:
        raise AssertionError("evaluating needs a store")
    commitment = case.facts.task.validation_commitments[case.facts.number - 1]
    count = case.spec.validation.rows if case.spec is not None else MAX_VALIDATION_ROWS
    return case.artifacts.validation(commitment)[0].scored(count)


def rescored(case: RoundCase, spec: TaskSpec, accepted: tuple[Address, ...], seed: Digest32) -> RoundScores:
    """What a verifier who accepts these trainers, in leaf order, scores. Raises ArtifactError or TuningError."""
    rows = _validation_rows(case) if case.facts.scored else None
    return score_round(
        case.task.scoring_bench, _start(case), _contributions(case, spec, accepted), rows, seed,
        machine=case.task.machine,
    )  # fmt: skip


def _contributions(case: RoundCase, spec: TaskSpec, trainers: Sequence[Address]) -> dict[Address, Contribution]:
    """Raises ArtifactError or TuningError."""
    return {trainer: _contribution(case, spec, trainer) for trainer in trainers}


def _contribution(case: RoundCase, spec: TaskSpec, trainer: Address) -> Contribution:
    """Raises ArtifactError or TuningError."""
    shard, order = shard_in(case.facts, trainer), case.facts.commit_ranks.get(trainer)
    if order is None:
        raise ArtifactError(f"commitment of {trainer}", "there is none on chain")
    union, opened = named_root(spec, shard.root), partial(read_by, case, spec, trainer)
    rank = enrolment_rank(case.facts, trainer)
    return Contribution(adapter_of(case, trainer), shard.rows, order, tuned_by(case, trainer), union, opened, rank)
