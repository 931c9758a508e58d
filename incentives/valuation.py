"""What each delta of a round is worth: coalition values on held-out rows, semivalues over them, the next adapter.

The rules are docs/protocol/scores.md. v(S) is the improvement of the mean held-out loss over the starting adapter when
the deltas of S are aggregated; v of nobody is 0. Values are rounded to nano-nats before anything else sees them. So
scores follow from the recorded table alone, and an auditor can recompute them without a model.

A near-duplicate of an earlier delta (`similarity`), where a task looks for them, is no player. It scores 0 and takes no
part in the aggregate. So a copied trainer's coalitions and its score are what they would be without the copy.

Trainers of one named data root are one player and share its value (`unions`). Among them nobody is a copy.

Standard errors have two parts: of the estimator, for the coalitions it did not see, and of the validation set, for the
rows that it does not hold.

Legend: N players, E coalitions, V validation rows, P values of an adapter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import BORDER_WEIGHT, NANOS, PATH_GROUPS
from deltaproof.protocol.terms.estimators import estimator_for
from deltaproof.protocol.terms.spec import ScoringSection
from deltaproof.tuning.combining.aggregation import Array
from deltaproof.tuning.combining.evaluation import Evaluation, Evaluator, RowResults
from deltaproof.tuning.combining.mixing import masks_of, members_of
from deltaproof.tuning.combining.slopes import Slopes
from deltaproof.tuning.numerics.machine import HERE, Machine
from deltaproof.tuning.numerics.workers import Workers
from deltaproof.tuning.training.workbench import Workbench
from incentives._coalitions import Bools, CoalitionLosses, RecordedGame, nanos
from incentives._landscape import RoundLandscape
from incentives.overlap import have_common_rows
from incentives.path import PATH_METHOD, PathPass, value_along_path
from incentives.semivalues import Estimate, Game, GameError, Mapper, estimate
from incentives.similarity import copies, similarities
from incentives.steps import rows_within_reach, update_norms
from incentives.unions import Contribution, aggregate_contributions, data_unions, row_weights, share_of, united

__all__ = [
    "RoundValuation",
    "TrainerValue",
    "find_players",
    "score_players",
    "scores_from_table",
    "shared_out",
    "value_round",
    "who_plays",
]


NO_COPIES = 1.0
"""Threshold of likeness from which on nobody is a copy, whatever rounding makes of one: verifiers would differ."""
Players = tuple[tuple[int | None, ...], tuple[tuple[int, ...], ...]]
"""Each contribution's original, if it copies one; and the players, as places among the contributions."""


@dataclass(frozen=True, slots=True)
class TrainerValue:
    """What goes into the trainer's settlement leaf. `copy_of` is the index of the contribution that it repeats."""

    score_nanos: int
    stderr_nanos: int
    copy_of: int | None = None


@dataclass(frozen=True, slots=True)
class RoundValuation:
    """A round's accepted contributions, valued, in their order.

    `players` are unions of those that are no copies, most of them of one; `coalitions` bool [E, N] over players and
    `values_nanos` [E] are the whole game table in order of evaluation. Where values are integrals along the round's
    step there is no table, but `passes`. `included` are the contributions that make
    `next_start`, which `end` evaluates.
    """

    values: tuple[TrainerValue, ...]
    players: tuple[tuple[int, ...], ...]
    coalitions: Bools
    values_nanos: tuple[int, ...]
    passes: tuple[PathPass, ...]
    method: str
    start: Evaluation
    end: Evaluation
    included: tuple[int, ...]
    next_start: Vector
    truncation_error: float
    """Of the next adapter (`aggregate_thetas`)."""

    @property
    def improvement_nanos(self) -> int:
        """Of the adapter that the next round starts from."""
        return nanos(self.start.loss - self.end.loss)


def value_round(
    bench: Workbench,
    start: Vector,
    contributions: Sequence[Contribution],
    validation_rows: Sequence[bytes],
    seed: bytes,
    *,
    machine: Machine = HERE,
    told: Callable[[int], None] | None = None,
) -> RoundValuation:
    """Value a round's accepted contributions by the task's rules.

    Args:
        bench: the task's model; float32 is enough (see `deltaproof.tuning.combining.evaluation`).
        start: the round's starting adapter, shape (P,).
        contributions: in leaf order; may be none.
        validation_rows: canonical rows of the round's revealed validation set.
        seed: from the round's challenge seed; decides which coalitions are drawn when not all fit the budget.
        machine: workers that evaluate coalitions, if it has some. The result has the same bits for any number.
        told: hears how many evaluations are done, after each.

    Raises ValueError for weights or ranks that make no sense, ScoringError for a scoring rule that does not,
    EncodingError for adapters that do not fit the task. Rows that do not fit it count for nobody.
    """
    spec = bench.spec
    evaluator = Evaluator(bench, validation_rows)
    start_rows = evaluator.evaluate_means([start], np.ones((1, 1)))
    originals, groups = find_players(bench, start, contributions)
    players = [united(bench, [contributions[i] for i in group]) for group in groups]
    value = _along_step if spec.scoring.index == "aumann_shapley" else _by_coalitions
    found = value(evaluator, validation_rows, start_rows, start, players, seed, machine, told)
    values = shared_out(found.scored, groups, originals)

    everybody = spec.aggregation.include == "accepted"
    wanted = sorted(i for group in groups for i in group if values[i].score_nanos > 0 or everybody)
    chosen = [contributions[i] for i in wanted]
    next_start, truncation = aggregate_contributions(bench, start, chosen) if chosen else (start.copy(), 0.0)
    return RoundValuation(
        values=tuple(values),
        players=groups,
        coalitions=found.coalitions,
        values_nanos=found.values_nanos,
        passes=found.passes,
        method=found.method,
        start=start_rows.mean(0),
        end=evaluator.evaluate(next_start),
        included=tuple(wanted),
        next_start=next_start,
        truncation_error=truncation,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Each player's value, and the record that it follows from."""

    scored: list[TrainerValue]
    method: str
    coalitions: Bools = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    values_nanos: tuple[int, ...] = ()
    passes: tuple[PathPass, ...] = ()


def _by_coalitions(
    evaluator: Evaluator,
    rows: Sequence[bytes],
    begun: RowResults,
    _start: Vector,
    players: Sequence[Contribution],
    seed: bytes,
    machine: Machine,
    told: Callable[[int], None] | None,
) -> _Found:
    spec = evaluator.bench.spec
    weights = row_weights(spec, [player.rows for player in players])
    tuned = masks_of([player.tuned for player in players])
    losses = CoalitionLosses(evaluator, rows, [player.theta for player in players], weights, tuned, machine.device)
    with Workers.holding(machine, losses, told) as workers:
        game = RecordedGame(workers, begun)
        scored, method = score_players(game, len(players), spec.scoring, seed, weights)
    return _Found(scored, method, game.coalitions, tuple(game.values_nanos))


def _along_step(
    evaluator: Evaluator,
    rows: Sequence[bytes],
    begun: RowResults,
    start: Vector,
    players: Sequence[Contribution],
    _seed: bytes,
    machine: Machine,
    told: Callable[[int], None] | None,
) -> _Found:
    bench, thetas = evaluator.bench, [player.theta for player in players]
    weights = [rows_within_reach(bench.spec, player.rows) for player in players]
    groups = min(len(rows), PATH_GROUPS)
    slopes = Slopes(bench, rows, start, thetas, groups, machine.device)
    with Workers.holding(machine, slopes, told) as workers:
        valued = value_along_path(
            RoundLandscape(evaluator, begun, start, thetas, workers),
            update_norms(bench, start, thetas),
            weights,
            [int(begun.counts[group::groups].sum()) for group in range(groups)],
            stay=bench.spec.aggregation.include == "accepted",
        )
    pairs = zip(valued.values_nanos, valued.errors, strict=True)
    scored = [TrainerValue(value, math.ceil(error * NANOS)) for value, error in pairs]
    return _Found(scored, PATH_METHOD, passes=valued.passes)


def find_players(bench: Workbench, start: Vector, contributions: Sequence[Contribution]) -> Players:
    """Who plays (`who_plays`). Deltas are compared, N^2 products, only where the task looks for copies. Needs no
    validation rows.

    Raises EncodingError where an adapter that is compared does not fit the task.
    """
    threshold = bench.spec.scoring.similarity_threshold
    if threshold >= NO_COPIES:
        return _all_play(contributions)
    begun, *members = members_of(bench, [start, *(contribution.theta for contribution in contributions)])
    return who_plays(similarities(members, begun, bench.pairs), contributions, threshold)


def _all_play(contributions: Sequence[Contribution]) -> Players:
    """Nobody copies anybody, and every union is a player."""
    return (None,) * len(contributions), data_unions([contribution.union for contribution in contributions])


def who_plays(similarity: Array, contributions: Sequence[Contribution], threshold: float) -> Players:
    """For each contribution the original that it copies, if any, and the players: unions of those that copy nobody.

    Only deltas of other data can be copies: of another root, with rows of their own that count, and with no row in
    common that both opened. From a threshold of 1 on there are none. `similarity` is float64 [N, N].
    """
    if threshold >= NO_COPIES:
        return _all_play(contributions)
    unions = data_unions([contribution.union for contribution in contributions])
    compared = similarity.copy()
    for union in unions:
        compared[np.ix_(union, union)] = 0.0
    # Attack: enrol rows that are another's and count for nobody, commit first, and be the original of their owner.
    rowless = [i for i, contribution in enumerate(contributions) if not contribution.rows]
    compared[rowless, :] = compared[:, rowless] = 0.0
    for i, j in np.argwhere(np.triu(compared >= threshold, 1)).tolist():
        if have_common_rows(contributions[i].opened(), contributions[j].opened()):
            compared[i, j] = compared[j, i] = 0.0
    originals = copies(compared, [contribution.order for contribution in contributions], threshold)
    kept = (tuple(i for i in union if originals[i] is None) for union in unions)
    return originals, tuple(group for group in kept if group)


def shared_out(
    scored: Sequence[TrainerValue], groups: Sequence[Sequence[int]], originals: Sequence[int | None]
) -> list[TrainerValue]:
    """Players' values as their members': equal parts. A copy gets 0."""
    values = [TrainerValue(0, 0, original) for original in originals]
    for group, value in zip(groups, scored, strict=True):
        for i in group:
            # A part is rounded down and its error up: together they never claim more than the whole.
            values[i] = TrainerValue(share_of(value.score_nanos, len(group)), -(-value.stderr_nanos // len(group)))
    return values


def score_players(
    game: RecordedGame, players: int, scoring: ScoringSection, seed: bytes, weights: Sequence[int] | None
) -> tuple[list[TrainerValue], str]:
    """The task's semivalue of each player of a game, which fills `game`, and the name of the method that found it."""
    if not players:
        return [], "none"
    result = _estimate(_unused, players, scoring, seed, weights, game)
    errors = np.hypot(result.standard_errors, _sampling_errors(game, scoring))
    pairs = zip(result.values.tolist(), errors.tolist(), strict=True)
    return [TrainerValue(nanos(value), math.ceil(error * NANOS)) for value, error in pairs], result.method


def scores_from_table(
    coalitions: Bools,
    values_nanos: Sequence[int],
    scoring: ScoringSection,
    seed: bytes,
    weights: Sequence[int] | None = None,
) -> Estimate:
    """The estimate that a recorded game table, bool [E, N] and [E], leads to: an auditor's check without a model.

    `weights` are the players' rows where the task weighs by rows. Raises GameError unless the table holds exactly the
    coalitions that this seed and budget lead the estimator to ask for, in that order, and nobody is worth nothing;
    ScoringError for a game that the task's rule cannot score.
    """
    known = {row.tobytes(): value for row, value in zip(coalitions, values_nanos, strict=True)}
    asked_for: list[bytes] = []

    def look_up(asked: Bools) -> Array:
        missing = [np.flatnonzero(row).tolist() for row in asked if row.tobytes() not in known]
        if missing:
            raise GameError(f"the recorded game lacks the coalition {missing[0]}")
        asked_for.extend(row.tobytes() for row in asked)
        return np.array([known[row.tobytes()] for row in asked]) / NANOS

    found = _estimate(look_up, coalitions.shape[1], scoring, seed, weights, None)
    if asked_for != [row.tobytes() for row in coalitions]:
        raise GameError("the recorded game holds other coalitions than the estimator asks for, or in another order")
    if known.get(bytes(coalitions.shape[1]), 0):
        raise GameError("the recorded game gives the coalition of nobody a value")
    return found


def _estimate(
    game: Game,
    players: int,
    scoring: ScoringSection,
    seed: bytes,
    weights: Sequence[int] | None,
    executor: Mapper | None,
) -> Estimate:
    """The task's semivalue, in nats."""
    method, budget = estimator_for(scoring.method, scoring.index, scoring.budget, players)
    index = f"beta({scoring.beta_a},{scoring.beta_b})" if scoring.index == "beta_shapley" else scoring.index
    return estimate(
        game,
        n_players=players,
        budget=budget,
        seed=seed,
        index=index,
        method=method,
        weights=weights,
        executor=executor,
    )


def _sampling_errors(game: RecordedGame, scoring: ScoringSection) -> Array:
    """Standard error of each value for the finite validation set, float64 [N], nats.

    A semivalue is linear in the game and the game is a mean over rows, so a value is a mean of row values, whose spread
    gives the error. Row values come from a weighted regression on the coalitions that were evaluated: exact for Shapley
    (Charnes et al. 1988) and Banzhaf (Hammer and Holzman 1992) values of complete tables, else an approximation.
    """
    coalitions, start = game.coalitions.astype(np.float64), game.start
    players, rows = coalitions.shape[1], len(start.counts)
    if rows < 2:
        return np.zeros(players)
    gains = (start.losses - game.row_losses) * (rows / max(1, int(start.counts.sum())))
    sizes = coalitions.sum(axis=1)
    inner = (sizes > 0) & (sizes < players)
    kernel = np.ones(len(sizes))
    if scoring.index != "banzhaf":
        ways = np.array([math.comb(players, int(size)) for size in sizes], dtype=np.float64)
        kernel[inner] = (players - 1) / (ways[inner] * sizes[inner] * (players - sizes[inner]))
        kernel[~inner] = BORDER_WEIGHT  # stands for the infinite weight that makes values add up
    design = np.column_stack([np.ones(len(sizes)), coalitions]) * np.sqrt(kernel)[:, None]
    # LAPACK's last bits differ between machines. They may: an error is rounded up to nano-nats, and pays nobody.
    row_values = np.linalg.lstsq(design, gains * np.sqrt(kernel)[:, None], rcond=None)[0][1:]
    return np.asarray(row_values.std(axis=1, ddof=1) / math.sqrt(rows))


def _unused(coalitions: Bools) -> Array:
    raise AssertionError("unreachable: the recorded game evaluates its own coalitions")
