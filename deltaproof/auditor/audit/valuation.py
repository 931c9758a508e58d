"""Scores: that they follow from recorded coalition values, slopes and losses. No model; `evaluation` has one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.readers import gives_up_from, in_time_until_of, published_at
from deltaproof.auditor.facts.sharing import misfit_in, players_of, shard_in
from deltaproof.errors import ArtifactError, StoreUnavailable
from deltaproof.protocol.outcome.attestation import Attestation, GameRecord, TrainerFinding
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import AUDIT_CLOCK_SECONDS, LOSS_CAP, NANOS
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32
from deltaproof.store.paths import Kind, addressed_path
from incentives.path import PATH_METHOD, values_of_passes
from incentives.scoring import discount_bps, path_pass, rowless_in
from incentives.semivalues import GameError, ScoringError
from incentives.unions import row_weights, share_of
from incentives.valuation import scores_from_table

__all__ = ["attested_in", "check_scores"]


def check_scores(case: RoundCase) -> Iterator[Check]:
    """A round that was to be scored has a game, and every attested score and improvement is what its game gives."""
    seed = case.facts.challenge_seed
    if case.spec is None or seed is None:
        return
    for verifier, document in case.attestations.items():
        subject = attested_in(case, verifier)
        accepted = any(finding.verdict is Verdict.ACCEPTED for finding in document.findings)
        expected = "a game" if case.facts.scored and accepted else "nothing to score"
        if expected == "a game" and document.game is None:
            yield _kept_back(case, verifier, subject)
        else:
            yield subject.equal("game", expected, "a game" if document.game is not None else "nothing to score")
        yield from _unscored(document, subject)
        if document.game is None:
            yield subject.equal("attested improvement", 0, document.improvement_nanos)
            continue
        yield from _scores(case, case.spec, seed, document, document.game, subject)
        yield from _improvement(document, document.game, subject)


def _kept_back(case: RoundCase, verifier: Address, subject: Subject) -> Check:
    """Whether a verifier that scored nothing was right that the sponsor keeps the validation set back."""
    if case.artifacts is None:
        return subject.unchecked("game", "without a store nobody knows whether the validation set was there")
    commitment = case.facts.task.validation_commitments[case.facts.number - 1]
    try:
        case.artifacts.validation(commitment)
    except StoreUnavailable as error:
        return subject.unchecked("game", str(error))
    except ArtifactError as error:
        return subject.passed("game", f"the validation set was opened on chain, but {error}")
    block = case.facts.attestations[verifier].committed.block
    sealed, earliest = case.index.blocks([block])[block].timestamp, gives_up_from(case)
    if earliest is not None and sealed < earliest:
        return subject.failed(
            "game", "the validation set is there, and this was sealed before it was time to give up looking"
        )
    published = published_at(case.artifacts.store, addressed_path(Kind.VALIDATION, commitment))
    if published is None or abs(published - sealed) < AUDIT_CLOCK_SECONDS:
        return subject.unchecked("game", "the validation set is there now; whether it was, the store does not say")
    reason, until = "by the store's clock the validation set was there, and nothing was scored", in_time_until_of(case)
    return subject.that("game", published > sealed or (until is not None and published > until), reason)


def _unscored(document: Attestation, subject: Subject) -> Iterator[Check]:
    """Only who was accepted into a game has numbers."""
    marked = [
        finding.trainer
        for finding in document.findings
        if (document.game is None or finding.verdict is not Verdict.ACCEPTED)
        and (finding.score_nanos or finding.stderr_nanos or finding.discount_bps)
    ]
    yield subject.that("unscored", not marked, f"{', '.join(marked)} has a score without a part in any game")


def _improvement(document: Attestation, game: GameRecord, subject: Subject) -> Iterator[Check]:
    losses = (game.start_loss, game.end_loss)
    if not all(0.0 <= loss <= LOSS_CAP for loss in losses):
        yield subject.failed("attested improvement", f"no mean loss is outside of 0 to {LOSS_CAP:g} nats: {losses}")
        return
    yield subject.equal("attested improvement", round((losses[0] - losses[1]) * NANOS), document.improvement_nanos)


def _scores(
    case: RoundCase, spec: TaskSpec, seed: Digest32, document: Attestation, game: GameRecord, subject: Subject
) -> Iterator[Check]:
    findings = document.by_trainer()
    if misfit := misfit_in(case.facts, document, game):
        yield subject.failed("scores", misfit)
        return
    if spec.data.roots:
        roots = [shard_in(case.facts, player).root for player in game.players]
        yield subject.that("players", len(set(roots)) == len(roots), "trainers of one named data root play apart")
    unions = players_of(case.facts, spec, document)
    rows = [min(shard_in(case.facts, member).rows for member in union) for union in unions]
    try:
        values = _recorded_values(spec, game, seed, rows)
    except (ScoringError, ValueError) as error:
        yield subject.failed("scores", f"the game record is not one that this task's rule leads to: {error}")
        return
    yield subject.equal("scoring method", values.method, game.method)
    rowless = rowless_in(game.rows)
    yield from _shares(spec, findings, unions, values, rowless, subject)
    players = {member for union in unions for member in union}
    yield from _left_out(spec, document, players, subject)
    for finding in document.findings:
        if finding.verdict is Verdict.ACCEPTED and finding.trainer not in players:
            marked = (finding.score_nanos, finding.stderr_nanos)
            yield subject.equal("score", (0, 0), marked, f"of {finding.trainer}, no player: a copy")
            yield _discount(spec, rowless, finding, subject)


def _left_out(spec: TaskSpec, document: Attestation, players: set[Address], subject: Subject) -> Iterator[Check]:
    """In a task that looks for no copies every accepted trainer plays, which takes no model to see."""
    left = [f.trainer for f in document.findings if f.verdict is Verdict.ACCEPTED and f.trainer not in players]
    if spec.scoring.similarity_threshold >= 1.0:
        yield subject.that("players", not left, f"{', '.join(left)} does not play, in a task that looks for no copies")


def _shares(
    spec: TaskSpec,
    findings: dict[Address, TrainerFinding],
    unions: list[list[Address]],
    found: _Values,
    rowless: Collection[Address],
    subject: Subject,
) -> Iterator[Check]:
    """Each player's value as its members' scores. The error on rows needs a model; the estimator's own is a floor."""
    for union, value, deviation in zip(unions, found.nanos, found.errors, strict=True):
        score = share_of(value, len(union))
        least = int(float(deviation) * NANOS / len(union))
        for member in union:
            finding = findings[member]
            yield subject.equal("score", score, finding.score_nanos, f"of {member}")
            yield _discount(spec, rowless, finding, subject)
            yield subject.that(
                "standard error", finding.stderr_nanos >= least, f"of {member}: below the estimator's own",
                expected=f"at least {least}", actual=finding.stderr_nanos,
            )  # fmt: skip


def _discount(spec: TaskSpec, rowless: Collection[Address], finding: TrainerFinding, subject: Subject) -> Check:
    expected = discount_bps(spec, rowless, finding.trainer)
    return subject.equal("discount", expected, finding.discount_bps, f"of {finding.trainer}")


@dataclass(frozen=True, slots=True)
class _Values:
    """What a game record says of each player: whole nano-nats, the estimator's own error in nats, its method."""

    nanos: tuple[int, ...]
    errors: tuple[float, ...]
    method: str


def _recorded_values(spec: TaskSpec, game: GameRecord, seed: Digest32, rows: Sequence[int]) -> _Values:
    """`rows` are the players'. Raises ScoringError or ValueError for a record that the task's rule does not lead to."""
    if spec.scoring.index == "aumann_shapley":
        if game.coalitions:
            raise GameError("values along a step evaluate no coalition")
        values = values_of_passes(
            [path_pass(found) for found in game.passes],
            len(game.players),
            stay=spec.aggregation.include == "accepted",
        )
        return _Values(values, (0.0,) * len(values), PATH_METHOD)
    if game.passes:
        raise GameError("a semivalue has no passes along a step")
    estimate = scores_from_table(*_table(game), spec.scoring, seed, row_weights(spec, rows))
    values = tuple(round(float(value) * NANOS) for value in estimate.values)
    return _Values(values, tuple(estimate.standard_errors.tolist()), estimate.method)


def _table(game: GameRecord) -> tuple[NDArray[np.bool_], list[int]]:
    """Coalitions, bool [E, N], and their values [E]. Raises GameError if a coalition is not written as it has to be."""
    table = np.zeros((len(game.coalitions), len(game.players)), dtype=np.bool_)
    for row, coalition in enumerate(game.coalitions):
        if list(coalition.members) != sorted(set(coalition.members)):
            raise GameError(f"coalition {row} does not name its members once each, in ascending order")
        if any(member >= len(game.players) for member in coalition.members):
            raise GameError(f"coalition {row} names a player that does not exist")
        table[row, list(coalition.members)] = True
    return table, [coalition.value_nanos for coalition in game.coalitions]


def attested_in(case: RoundCase, verifier: Address) -> Subject:
    """A verifier's revealed attestation."""
    attested = case.facts.attestations[verifier]
    return case.subject.of(attested.revealed, participant=verifier, artifact=f"attestations/{attested.artifact.hex()}")
