"""Scores and the next adapter: that they follow from the recorded coalition values, and these from the deltas."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deltaproof.auditor.audit.case import Artifacts, RoundCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.deltas import adapter_of, tuned_by
from deltaproof.auditor.facts.sharing import players_of, shard_in
from deltaproof.errors import ArtifactError, DeltaproofError
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.outcome.attestation import Attestation, EmulatorScore, GameRecord
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import COPY_DISCOUNT_BPS, NANOS
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32
from deltaproof.tuning.training.workbench import Workbench
from incentives.scoring import RoundScores, emulator_scores, score_round
from incentives.semivalues import GameError, ScoringError
from incentives.unions import Contribution, aggregate_contributions, named_root, row_weights, share_of
from incentives.valuation import scores_from_table

__all__ = ["check_emulator_scores", "check_next_adapter", "check_scores", "check_values"]


def check_scores(case: RoundCase) -> Iterator[Check]:
    """Every attested score is what the attested coalition values give; so is the improvement."""
    seed = case.facts.challenge_seed
    if case.spec is None or seed is None:
        return
    for verifier, document in case.attestations.items():
        subject = _attested(case, verifier)
        if document.game is None:
            scored = [f.trainer for f in document.findings if f.score_nanos or f.stderr_nanos]
            yield subject.that("scores", not scored, f"scores {', '.join(scored)} without any coalition value")
            yield subject.equal("attested improvement", 0, document.improvement_nanos)
            continue
        yield from _scores(case, case.spec, seed, document, document.game, subject)
        gained = round((document.game.start_loss - document.game.end_loss) * NANOS)
        yield subject.equal("attested improvement", gained, document.improvement_nanos)


def _scores(
    case: RoundCase, spec: TaskSpec, seed: Digest32, document: Attestation, game: GameRecord, subject: Subject
) -> Iterator[Check]:
    findings = document.by_trainer()
    strangers = [p for p in game.players if p not in findings or findings[p].verdict is not Verdict.ACCEPTED]
    if strangers:
        yield subject.failed("scores", f"{', '.join(strangers)} took part in the game without being accepted")
        return
    if spec.data.roots:
        roots = [shard_in(case.facts, player).root for player in game.players]
        yield subject.that("players", len(set(roots)) == len(roots), "trainers of one named data root play apart")
    unions = players_of(case.facts, spec, document)
    weights = row_weights(spec, [min(shard_in(case.facts, member).rows for member in union) for union in unions])
    try:
        estimate = scores_from_table(*_table(game), spec.scoring, seed, weights)
    except (ScoringError, ValueError) as error:
        yield subject.failed("scores", f"the recorded coalitions are not those of this task's estimator: {error}")
        return
    for union, value, deviation in zip(unions, estimate.values, estimate.standard_errors, strict=True):
        score = share_of(round(float(value) * NANOS), len(union))
        least = int(float(deviation) * NANOS / len(union))
        for member in union:
            finding = findings[member]
            yield subject.equal("score", score, finding.score_nanos, f"of {member}")
            yield subject.equal("discount", spec.discount_bps(member), finding.discount_bps, f"of {member}")
            yield subject.that(
                "standard error", finding.stderr_nanos >= least, f"of {member}: below the estimator's own",
                expected=f"at least {least}", actual=finding.stderr_nanos,
            )  # fmt: skip
    players = {member for union in unions for member in union}
    for finding in document.findings:
        if finding.verdict is Verdict.ACCEPTED and finding.trainer not in players:
            marked = (finding.score_nanos, finding.discount_bps)
            yield subject.equal("score", (0, COPY_DISCOUNT_BPS), marked, f"of {finding.trainer}, no player: a copy")


def _table(game: GameRecord) -> tuple[NDArray[np.bool_], list[int]]:
    table = np.zeros((len(game.coalitions), len(game.players)), dtype=np.bool_)
    for row, coalition in enumerate(game.coalitions):
        if any(member >= len(game.players) for member in coalition.members):
            raise GameError(f"coalition {row} names a player that does not exist")
        table[row, list(coalition.members)] = True
    return table, [coalition.value_nanos for coalition in game.coalitions]


def check_next_adapter(case: RoundCase) -> Iterator[Check]:
    """Aggregate the deltas again: the next round's adapter has to come out, to the last bit."""
    posted = case.facts.standing
    if posted is None or case.spec is None or case.artifacts is None:
        return
    digest = posted.settlement.next_start_digest
    subject = case.subject.of(posted.event, artifact=f"tensors/{digest.hex()}")
    try:
        case.artifacts.tensors(digest, case.facts.task.params.training.parameters)
    except ArtifactError as error:
        yield subject.artifact_failed("next adapter", error)
        return
    source = next((d for d in case.attestations.values() if d.digest() == posted.settlement.artifact_digest), None)
    if source is None:
        yield subject.unchecked("next adapter", "the attestation that the adapter comes from is not there")
        return
    try:
        expected = _aggregated(case, case.spec, source)
    except DeltaproofError as error:
        yield subject.unchecked("next adapter", str(error))
        return
    yield subject.equal("next adapter", expected, digest)


def _aggregated(case: RoundCase, spec: TaskSpec, source: Attestation) -> Digest32:
    """Digest of the aggregate of the deltas that the source's scores let in. Raises ArtifactError or TuningError."""
    members = _included(case, spec, source)
    if not members:
        return case.facts.start_digest
    return component_root(
        aggregate_contributions(case.task.scoring_bench, [_contribution(case, spec, member) for member in members])[0]
    )


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


def check_values(case: RoundCase) -> Iterator[Check]:
    """Evaluate every coalition again on the validation set, and compare with what each verifier recorded."""
    if not case.options.rescore or case.spec is None or case.artifacts is None or case.facts.challenge_seed is None:
        return
    scored: dict[tuple[Address, ...], RoundScores] = {}  # verifiers who accept the same deltas have one game
    for verifier, document in case.attestations.items():
        subject = _attested(case, verifier)
        if document.game is None:
            continue
        accepted = tuple(f.trainer for f in document.findings if f.verdict is Verdict.ACCEPTED)
        try:
            again = scored.get(accepted) or _rescored(case, case.spec, accepted, case.facts.challenge_seed)
        except DeltaproofError as error:
            yield subject.unchecked("coalition values", str(error))
            continue
        scored[accepted] = again
        yield from _compare(case.spec, document, document.game, again, subject)
        if again.game is not None and case.spec.federation is not None:
            recorded = document.game.end_loss
            yield subject.that(
                "score in the full model",
                _within(case.spec, again.game.end_loss, recorded),
                "the next adapter's loss in the full model is another one",
                expected=again.game.end_loss,
                actual=recorded,
            )


def _compare(
    spec: TaskSpec, document: Attestation, recorded: GameRecord, again: RoundScores, subject: Subject
) -> Iterator[Check]:
    if again.game is None:
        yield subject.failed("coalition values", "there is nothing to score in this round")
        return
    yield subject.equal("coalition players", again.game.players, recorded.players)
    mine = {coalition.members: coalition.value_nanos for coalition in again.game.coalitions}
    theirs = {coalition.members: coalition.value_nanos for coalition in recorded.coalitions}
    yield subject.equal("coalitions", sorted(mine), sorted(theirs))
    tolerance = spec.scoring.tolerance_nanos
    worst = max((m for m in mine if m in theirs), key=lambda m: abs(mine[m] - theirs[m]), default=None)
    if worst is not None:
        off = abs(mine[worst] - theirs[worst])
        yield subject.that(
            "coalition values", off <= tolerance, f"coalition {list(worst)} is off by {off} nano-nats",
            expected=mine[worst], actual=theirs[worst],
        )  # fmt: skip
    for trainer, finding in again.findings.items():
        attested = document.by_trainer()[trainer]
        yield subject.equal("discount", finding.discount_bps, attested.discount_bps, f"of {trainer}")


def check_emulator_scores(case: RoundCase) -> Iterator[Check]:
    """Evaluate the next adapter again on each emulator, for which nobody needs the full model."""
    posted, spec, artifacts = case.facts.standing, case.spec, case.artifacts
    if not case.options.rescore or posted is None or spec is None or artifacts is None or spec.federation is None:
        return
    scored: dict[Digest32, tuple[EmulatorScore, ...]] = {}
    for verifier, document in case.attestations.items():
        if document.game is None:
            continue
        subject, digest = _attested(case, verifier), document.next_start_digest
        try:
            if digest not in scored:
                adapter = artifacts.tensors(digest, case.facts.task.params.training.parameters)
                rows = _validation_rows(case, artifacts)
                scored[digest] = emulator_scores(case.task.judges.emulators(), adapter, rows)
        except DeltaproofError as error:
            yield subject.unchecked("emulator score", str(error))
            continue
        again, recorded = scored[digest], document.game.emulators
        yield subject.equal("scored emulators", [s.emulator for s in again], [s.emulator for s in recorded])
        for mine, theirs in zip(again, recorded, strict=False):
            yield subject.that(
                "emulator score",
                _within(spec, mine.loss, theirs.loss),
                f"the next adapter's loss on emulator {mine.emulator} is another one",
                expected=mine.loss,
                actual=theirs.loss,
            )


def _within(spec: TaskSpec, mine: float, theirs: float) -> bool:
    return abs(mine - theirs) * NANOS <= spec.scoring.tolerance_nanos


def _validation_rows(case: RoundCase, artifacts: Artifacts) -> list[bytes]:
    commitment = case.facts.task.validation_commitments[case.facts.number - 1]
    return [row.encode() for row in artifacts.validation(commitment)[0].rows]


def _rescored(case: RoundCase, spec: TaskSpec, accepted: tuple[Address, ...], seed: Digest32) -> RoundScores:
    """Raises ArtifactError or TuningError."""
    artifacts, task = case.artifacts, case.facts.task
    if artifacts is None:
        raise AssertionError("rescoring needs a store")
    bench: Workbench = case.task.scoring_bench
    deltas = {trainer: _contribution(case, spec, trainer) for trainer in accepted}
    start = artifacts.tensors(case.facts.start_digest, task.params.training.parameters)
    rows = _validation_rows(case, artifacts) if case.facts.scored else None
    return score_round(bench, start, deltas, rows, seed)


def _contribution(case: RoundCase, spec: TaskSpec, trainer: Address) -> Contribution:
    """Raises ArtifactError or TuningError."""
    shard, committed = shard_in(case.facts, trainer), list(case.facts.commitments)
    if trainer not in committed:
        raise ArtifactError(f"commitment of {trainer}", "there is none on chain")
    union = named_root(spec, shard.root)
    return Contribution(adapter_of(case, trainer), shard.rows, committed.index(trainer), tuned_by(case, trainer), union)


def _attested(case: RoundCase, verifier: Address) -> Subject:
    attested = case.facts.attestations[verifier]
    return case.subject.of(attested.revealed, participant=verifier, artifact=f"attestations/{attested.artifact.hex()}")
