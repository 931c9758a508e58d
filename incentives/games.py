"""Cooperative games whose semivalues are known in closed form: oracles for the estimators.

Every game is called like any other (bool [coalitions, players] -> float64 [coalitions]) and has
`semivalues(index)`, the exact values by any semivalue, float64 [players]. With P(s) the probability that an index
gives to meeting s others, a uniform set of s of the N-1 others contains m given ones with probability C(N-1-m, s-m)
/ C(N-1, s) and avoids them with probability C(N-1-m, s) / C(N-1, s).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray

from incentives.semivalues import Semivalue, semivalue_by_name

__all__ = [
    "Additive",
    "Airport",
    "AveragedQuadratic",
    "ClosedFormGame",
    "Gloves",
    "Saturating",
    "Unanimity",
    "WeightedVoting",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class ClosedFormGame(ABC):
    """A game that knows its values."""

    @property
    @abstractmethod
    def n_players(self) -> int:
        """Number of players."""

    @abstractmethod
    def __call__(self, coalitions: Bools) -> Floats:
        """Values of bool [coalitions, players], float64 [coalitions]; 0 for the empty coalition."""

    @abstractmethod
    def _semivalues(self, index: Semivalue) -> Floats:
        """Exact values, float64 [players]."""

    def semivalues(self, index: str) -> Floats:
        """Exact values by the index of that name, float64 [players]. Raises UnknownIndexError."""
        return self._semivalues(semivalue_by_name(index, self.n_players))


@dataclass(frozen=True)
class Additive(ClosedFormGame):
    """v(S) = sum of amounts: every semivalue gives everyone their own amount."""

    amounts: tuple[float, ...]

    @property
    def n_players(self) -> int:
        """Number of players."""
        return len(self.amounts)

    def __call__(self, coalitions: Bools) -> Floats:
        """See the base class."""
        return np.asarray(np.where(coalitions, np.array(self.amounts), 0.0).sum(axis=1))

    def _semivalues(self, index: Semivalue) -> Floats:
        return np.asarray(np.array(self.amounts) * index.size_share.sum())


@dataclass(frozen=True)
class Airport(ClosedFormGame):
    """v(S) = the largest cost in S (Littlechild and Owen 1973); costs are not negative."""

    costs: tuple[float, ...]

    @property
    def n_players(self) -> int:
        """Number of players."""
        return len(self.costs)

    def __call__(self, coalitions: Bools) -> Floats:
        """See the base class."""
        return np.asarray(np.where(coalitions, np.array(self.costs), 0.0).max(axis=1))

    def _semivalues(self, index: Semivalue) -> Floats:
        # v is a sum of "somebody needs this stretch" games: a player gains a stretch if all others who need it are
        # absent.
        costs = np.array(self.costs)
        stretches = np.unique(np.concatenate([[0.0], costs]))
        result = np.zeros(self.n_players)
        for low, high in pairwise(stretches):
            users = costs >= high
            result[users] += (high - low) * _avoids(index, int(users.sum()) - 1)
        return result


@dataclass(frozen=True)
class Unanimity(ClosedFormGame):
    """v(S) = sum of the dividends of the teams that S contains (Harsanyi 1959): synergies of any order.

    teams: players of each team, not empty; dividends: one per team.
    """

    players: int
    teams: tuple[tuple[int, ...], ...]
    dividends: tuple[float, ...]

    @property
    def n_players(self) -> int:
        """Number of players."""
        return self.players

    def __call__(self, coalitions: Bools) -> Floats:
        """See the base class."""
        result = np.zeros(len(coalitions))
        for team, dividend in zip(self.teams, self.dividends, strict=True):
            result += dividend * coalitions[:, list(team)].all(axis=1)
        return result

    def _semivalues(self, index: Semivalue) -> Floats:
        result = np.zeros(self.players)
        for team, dividend in zip(self.teams, self.dividends, strict=True):
            result[list(team)] += dividend * _contains(index, len(team) - 1)
        return result


@dataclass(frozen=True)
class Gloves(ClosedFormGame):
    """v(S) = pairs of one left and one right glove; the first `left` players own left ones."""

    left: int
    right: int

    @property
    def n_players(self) -> int:
        """Number of players."""
        return self.left + self.right

    def __call__(self, coalitions: Bools) -> Floats:
        """See the base class."""
        lefts = coalitions[:, : self.left].sum(axis=1)
        return np.asarray(np.minimum(lefts, coalitions.sum(axis=1) - lefts), dtype=np.float64)

    def _semivalues(self, index: Semivalue) -> Floats:
        owns_left = self._value_of_one(index, self.left, self.right)
        owns_right = self._value_of_one(index, self.right, self.left)
        return np.repeat([owns_left, owns_right], [self.left, self.right])

    def _value_of_one(self, index: Semivalue, same: int, other: int) -> float:
        """A glove adds a pair exactly if the others hold more of the other kind."""
        total = 0.0
        for size, share in enumerate(index.size_share):
            ways = sum(
                comb(same - 1, size - others) * comb(other, others)
                for others in range(min(size, other) + 1)
                if others > size - others
            )
            total += float(share) * (ways / comb(self.n_players - 1, size))
        return total


@dataclass(frozen=True)
class WeightedVoting(ClosedFormGame):
    """v(S) = 1 if the votes of S reach the quota, else 0 (Shapley and Shubik 1954); votes and quota are positive."""

    votes: tuple[int, ...]
    quota: int

    @property
    def n_players(self) -> int:
        """Number of players."""
        return len(self.votes)

    def __call__(self, coalitions: Bools) -> Floats:
        """See the base class."""
        return np.asarray((np.where(coalitions, np.array(self.votes), 0).sum(axis=1) >= self.quota), dtype=np.float64)

    def _semivalues(self, index: Semivalue) -> Floats:
        return np.array([self._pivots(index, player) for player in range(self.n_players)])

    def _pivots(self, index: Semivalue, player: int) -> float:
        """Share of sets of others that stay below the quota and reach it with the player."""
        others = self.votes[:player] + self.votes[player + 1 :]
        # share[s, t]: of the sets of s among those seen so far, the share that holds t votes.
        share = np.zeros((len(others) + 1, self.quota))
        share[0, 0] = 1.0
        for seen, votes in enumerate(others, start=1):
            sizes = (np.arange(len(others) + 1) / seen)[:, None].clip(max=1.0)
            taken = np.zeros_like(share)
            if votes < self.quota:
                taken[1:, votes:] = share[:-1, : self.quota - votes]
            share = (1.0 - sizes) * share + sizes * taken
        decisive = share[:, max(0, self.quota - self.votes[player]) :].sum(axis=1)
        return float((index.size_share * decisive).sum())


@dataclass(frozen=True)
class Saturating(ClosedFormGame):
    """v(S) = 1 - prod (1 - q_i): each delta fixes every error with probability q_i, 0 <= q_i <= 1."""

    chances: tuple[float, ...]

    @property
    def n_players(self) -> int:
        """Number of players."""
        return len(self.chances)

    def __call__(self, coalitions: Bools) -> Floats:
        """See the base class."""
        result: Floats = 1.0 - np.where(coalitions, 1.0 - np.array(self.chances), 1.0).prod(axis=1)
        return result

    def _semivalues(self, index: Semivalue) -> Floats:
        return np.array([self._value(index, player) for player in range(self.n_players)])

    def _value(self, index: Semivalue, player: int) -> float:
        others = self.chances[:player] + self.chances[player + 1 :]
        left_wrong = np.zeros(len(others) + 1)  # mean of prod (1 - q) over sets of s among those seen so far
        left_wrong[0] = 1.0
        for seen, chance in enumerate(others, start=1):
            sizes = (np.arange(len(others) + 1) / seen).clip(max=1.0)
            shifted = np.concatenate([[0.0], left_wrong[:-1]])
            left_wrong = (1.0 - sizes) * left_wrong + sizes * (1.0 - chance) * shifted
        return float(self.chances[player] * (index.size_share * left_wrong).sum())


@dataclass(frozen=True)
class AveragedQuadratic(ClosedFormGame):
    """v(S) = |t|^2 - |mean of the members' deltas - t|^2: a quadratic loss of the averaged model, equal weights.

    deltas: players x dimensions; target: dimensions.
    """

    deltas: tuple[tuple[float, ...], ...]
    target: tuple[float, ...]

    @property
    def n_players(self) -> int:
        """Number of players."""
        return len(self.deltas)

    def __call__(self, coalitions: Bools) -> Floats:
        """See the base class."""
        deltas, target = np.array(self.deltas), np.array(self.target)
        sizes = np.maximum(coalitions.sum(axis=1), 1)[:, None]
        # One row at a time, so that a value does not depend on the batch it is computed in.
        mean = np.stack([np.where(row[:, None], deltas, 0.0).sum(axis=0) for row in coalitions]) / sizes
        return np.asarray((target**2).sum() - ((mean - target) ** 2).sum(axis=1))

    def _semivalues(self, index: Semivalue) -> Floats:
        deltas, target = np.array(self.deltas), np.array(self.target)
        gram, along = deltas @ deltas.T, deltas @ target
        players = self.n_players
        result = np.zeros(players)
        for player in range(players):
            rest = np.delete(np.arange(players), player)
            pull, square = along[rest].sum(), gram[rest, rest].sum()
            cross = gram[np.ix_(rest, rest)].sum() - square
            own = gram[player, player], gram[player, rest].sum()
            for others, share in enumerate(index.size_share):
                one = others / (players - 1) if players > 1 else 0.0
                two = one * (others - 1) / (players - 2) if players > 2 else 0.0
                without = (2 * pull * one / others - (square * one + cross * two) / others**2) if others else 0.0
                size = others + 1
                inside = square * one + cross * two + own[0] + 2 * own[1] * one
                result[player] += share * (2 * (along[player] + pull * one) / size - inside / size**2 - without)
        return result


def _contains(index: Semivalue, given: int) -> float:
    """Probability that the others met contain `given` particular ones."""
    others = index.players - 1
    return float(
        sum(
            share * (comb(others - given, size - given) / comb(others, size))
            for size, share in enumerate(index.size_share)
            if size >= given
        )
    )


def _avoids(index: Semivalue, given: int) -> float:
    """Probability that the others met contain none of `given` particular ones."""
    others = index.players - 1
    return float(
        sum(share * (comb(others - given, size) / comb(others, size)) for size, share in enumerate(index.size_share))
    )
