"""Semivalues by name.

A semivalue weighs the marginal contributions v(S + i) - v(S) by the size s of S alone: phi_i = sum_S p(s) * marginal.
With an inclusion probability t drawn from a distribution mu, p(s) = E[t^s (1-t)^(N-1-s)]:
Shapley (1953) is mu = uniform, Banzhaf (1965) is t = 1/2, Beta(a, b) (Kwon and Zou 2022) is t ~ Beta(b, a), so that a
> b favours small coalitions; Beta(1,1) is Shapley. Leave-one-out is t = 1: only v(all) - v(all but i).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb

import numpy as np

from incentives.semivalues._result import Floats, UnknownIndexError

_BETA = re.compile(r"beta\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)")
INDICES = ("shapley", "banzhaf", "beta(a,b)", "leave_one_out")


@dataclass(frozen=True)
class Semivalue:
    """A semivalue for `players` players.

    name: canonical ("shapley", "banzhaf", "beta(4,1)", "leave_one_out").
    join: float64 [players]; join[s] = p(s), the weight of one marginal contribution to a coalition of s others.
    size_share: float64 [players]; size_share[s] = C(N-1, s) p(s), adds up to one.
    """

    name: str
    players: int
    join: Floats
    size_share: Floats

    def member_weight(self) -> Floats:
        """Coefficient of v(S) in phi_i for i in S, by |S|: float64 [players + 1]."""
        return np.concatenate([[0.0], self.join])

    def outsider_weight(self) -> Floats:
        """Coefficient of -v(S) in phi_i for i not in S, by |S|: float64 [players + 1]."""
        return np.concatenate([self.join, [0.0]])


def semivalue_by_name(name: str, players: int) -> Semivalue:
    """The semivalue called `name`. Raises UnknownIndexError with the names that exist."""
    return _index(canonical_name(name), players)


def canonical_name(name: str) -> str:
    """`name` in the spelling that specs and results use. Raises UnknownIndexError."""
    text = name.strip().lower()
    if text in {"shapley", "banzhaf", "leave_one_out"}:
        return text
    match = _BETA.fullmatch(text)
    if match is None:
        raise UnknownIndexError(f"unknown index {name!r}; known: {', '.join(INDICES)} with whole a, b from 1 to 999")
    a, b = int(match[1]), int(match[2])
    if a < 1 or b < 1:
        raise UnknownIndexError(f"{name!r}: a and b must be at least 1")
    return "shapley" if a == b == 1 else f"beta({a},{b})"


@lru_cache(maxsize=64)
def _index(name: str, players: int) -> Semivalue:
    # Fractions, because ratios of factorials overflow floats and lgamma differs between C libraries.
    share = [_size_share(name, players, size) for size in range(players)]
    size_share = np.array([float(value) for value in share])
    join = np.array([float(value / comb(players - 1, size)) for size, value in enumerate(share)])
    size_share.flags.writeable = join.flags.writeable = False
    return Semivalue(name, players, join, size_share)


def _size_share(name: str, players: int, size: int) -> Fraction:
    others = players - 1
    if name == "leave_one_out":
        return Fraction(int(size == others))
    if name == "banzhaf":
        return Fraction(comb(others, size), 2**others)
    a, b = (1, 1) if name == "shapley" else (int(part) for part in name[5:-1].split(","))
    # Beta-binomial: C(n, s) B(s + b, n - s + a) / B(b, a), with B(x, y) = (x-1)! (y-1)! / (x+y-1)!
    return comb(others, size) * _beta(size + b, others - size + a) / _beta(b, a)


def _beta(x: int, y: int) -> Fraction:
    return Fraction(1, x * comb(x + y - 1, x))
