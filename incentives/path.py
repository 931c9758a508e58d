"""Aumann-Shapley values along a round's step: what each delta adds to the improvement, whoever it is cut into.

The round's step D = sum_i u_i d_i (`steps`) takes the loss from L(0) to L(1) along L(t) = L(start + t D). The value of
i is the integral over t of -<grad L(t), u_i d_i>. Values add up to L(0) - L(1); who moves nothing gets 0; and what a
delta is worth that is cut into names is the sum of what the names are worth (Aumann and Shapley 1974; no rule besides
gains nobody by merging or splitting: Sprumont 2005). It is the Shapley value of a game with a continuum of players, and
it costs four gradients of the validation loss, whatever the number of trainers.

Whoever's value is not positive leaves, and the rest is valued again along the step that remains, until everybody left
is positive. A pass is recorded as whole nano-nats, and values follow from the record alone.

Legend: N members, Q nodes on the path, G groups of validation rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deltaproof.protocol.rules import (
    PATH_CORRECTION,
    PATH_NODES,
    PATH_PASSES,
    PATH_STEEPEST,
    PATH_WEIGHTS,
    STEP_UNITS,
)
from deltaproof.tuning.numerics.linalg import Array
from incentives._coalitions import nanos
from incentives.rounding import whole_numbers
from incentives.semivalues import GameError
from incentives.steps import capped_units

__all__ = ["PATH_METHOD", "Landscape", "PathPass", "Valued", "path_values", "value_along_path", "values_of_passes"]

PATH_METHOD = "path"
"""What a game record calls the method."""


@dataclass(frozen=True, slots=True)
class PathPass:
    """One pass: `members` are places among the players, with their `units` of the step and their slopes at each node.

    `slopes_nanos` [N][Q] are -dL/dt along each member's part of the step, `gain_nanos` is L(0) - L(1).
    """

    members: tuple[int, ...]
    units: tuple[int, ...]
    slopes_nanos: tuple[tuple[int, ...], ...]
    gain_nanos: int


@dataclass(frozen=True, slots=True)
class Valued:
    """Each player's value in its last pass, whole nano-nats; its standard error over validation rows, nats; passes."""

    values_nanos: tuple[int, ...]
    errors: tuple[float, ...]
    passes: tuple[PathPass, ...]


class Landscape(Protocol):
    """The loss around a round's start. Shares are float64 [1 + N], the start's first, and add up to one."""

    def slopes(self, shares: Sequence[Array]) -> list[Array]:
        """For each of the mixtures, -dL/dx along every player's whole update, float64 [G, N]: sums, nats."""
        ...

    def gain(self, shares: Array) -> float:
        """Improvement of the mean loss over the start's, nats."""
        ...


def value_along_path(
    landscape: Landscape,
    norms: Sequence[float],
    rows: Sequence[int],
    predictions: Sequence[int],
    *,
    stay: bool,
) -> Valued:
    """Value N players by their updates of the start.

    Args:
        norms: of the updates. rows: what each player's share follows.
        predictions: of each group of validation rows, [G].
        stay: nobody leaves; there is one pass.
    """
    values, errors = [0] * len(rows), [0.0] * len(rows)
    passes: list[PathPass] = []
    members = tuple(range(len(rows)))
    while members:
        units = capped_units([norms[i] for i in members], [rows[i] for i in members])
        shares = [_shares(len(rows), members, units, t) for t in (*PATH_NODES, 1.0)]
        parts = np.stack([found[:, members] for found in landscape.slopes(shares[:-1])])  # [Q, G, N]
        parts = parts * (np.array(units) / STEP_UNITS)
        total = max(1, sum(predictions))
        slopes = np.clip(parts.sum(axis=1).T / total, -PATH_STEEPEST, PATH_STEEPEST)  # [N, Q]
        recorded = tuple(tuple(nanos(slope) for slope in row) for row in slopes.tolist())
        found = PathPass(members, units, recorded, nanos(landscape.gain(shares[-1])))
        passes.append(found)
        spread = _errors(parts, _node_weights(found), predictions)
        for i, value, error in zip(members, path_values(found), spread, strict=True):
            values[i], errors[i] = value, error
        following = _following(found, values, len(passes), stay=stay)
        if following == members:
            break
        members = following
    return Valued(tuple(values), tuple(errors), tuple(passes))


def path_values(found: PathPass) -> tuple[int, ...]:
    """The members' values in a pass, whole nano-nats that add up to its gain.

    The nodes' weights are those of the quadrature, changed as little as possible (least relative change, in the mean
    square over nodes) so that the values add up. A member without slopes gets 0, and cutting a member changes no sum.
    A correction beyond PATH_CORRECTION is cut off, and values then add up to something else: the loss jumps between
    the nodes, which a hostile step can make it do, and nobody may be paid for a jump.
    """
    weights = _node_weights(found)
    values = [math.fsum(w * slope for w, slope in zip(weights, row, strict=True)) for row in found.slopes_nanos]
    return tuple(whole_numbers(values, round(math.fsum(values))))


def values_of_passes(passes: Sequence[PathPass], players: int, *, stay: bool) -> tuple[int, ...]:
    """The values that recorded passes lead to: an auditor's check without a model.

    Raises GameError unless each pass has the members that the one before leaves, and the last leaves nobody out.
    """
    values = [0] * players
    members = tuple(range(players))
    for number, found in enumerate(passes, start=1):
        if found.members != members or not members:
            raise GameError(f"pass {number} values other players than those who stay: {found.members}")
        if any(len(row) != len(PATH_NODES) for row in found.slopes_nanos):
            raise GameError(f"pass {number} does not have {len(PATH_NODES)} slopes for each member")
        for i, value in zip(members, path_values(found), strict=True):
            values[i] = value
        following = _following(found, values, number, stay=stay)
        members = () if following == members else following
    if members:
        raise GameError(f"there is no pass of the players who stay: {members}")
    return tuple(values)


def _following(found: PathPass, values: Sequence[int], passed: int, *, stay: bool) -> tuple[int, ...]:
    """Who is valued in the next pass; the same members, or nobody, if there is none."""
    if stay or passed >= PATH_PASSES:
        return found.members
    return tuple(i for i in found.members if values[i] > 0)


def _shares(players: int, members: Sequence[int], units: Sequence[int], t: float) -> Array:
    """The mixture at t, float64 [1 + players]."""
    shares = np.zeros(1 + players)
    shares[[1 + i for i in members]] = t * (np.array(units) / STEP_UNITS)
    shares[0] = 1.0 - shares.sum()
    return shares


def _node_weights(found: PathPass) -> list[float]:
    """The quadrature's weights, corrected so that the members' values add up to the gain."""
    whole = [float(sum(row[q] for row in found.slopes_nanos)) for q in range(len(PATH_NODES))]
    missing = found.gain_nanos - math.fsum(w * slope for w, slope in zip(PATH_WEIGHTS, whole, strict=True))
    square = math.fsum(w * slope * slope for w, slope in zip(PATH_WEIGHTS, whole, strict=True))
    if square == 0.0:
        return list(PATH_WEIGHTS)
    changes = [missing / square * slope for slope in whole]
    largest = max(map(abs, changes))
    allowed = min(1.0, PATH_CORRECTION / largest) if largest > 0.0 else 1.0
    return [w * (1.0 + allowed * change) for w, change in zip(PATH_WEIGHTS, changes, strict=True)]


def _errors(parts: Array, weights: Sequence[float], predictions: Sequence[int]) -> list[float]:
    """Standard error of each value for the finite validation set, nats: a ratio of sums over groups of rows.

    `parts` [Q, G, N] are sums over each group. What a group gives is compared with what its predictions are worth on
    average (Cochran 1977, section 6.4).
    """
    counts = np.array(predictions, dtype=np.float64)
    total, groups = max(1.0, float(counts.sum())), int((counts > 0).sum())
    if groups < 2:
        return [0.0] * parts.shape[2]
    given = np.tensordot(np.array(weights), parts, axes=1)  # [G, N]
    apart = given - counts[:, None] * (given.sum(axis=0) / total)
    return [math.sqrt(square) for square in ((apart**2).sum(axis=0) * groups / (groups - 1) / total**2).tolist()]
