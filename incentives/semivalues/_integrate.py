"""The index of a surrogate: by all coalitions for few players, else by many nodes and a regression that leaves little
to chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from incentives.semivalues._design import mass, pair_design
from incentives.semivalues._exact import all_coalitions, semivalue
from incentives.semivalues._index import Index
from incentives.semivalues._kernels import points
from incentives.semivalues._linalg import cholesky, product, solve
from incentives.semivalues._result import Bools, Floats
from incentives.semivalues._stream import Stream
from incentives.semivalues._surrogate import Surrogate

_ALL_COALITIONS = 12
_NODES = 8192


@dataclass(frozen=True)
class SurrogateIndex:
    """values and standard_errors of the integration, float64 [players] each."""

    values: Floats
    standard_errors: Floats


def surrogate_index(surrogate: Surrogate, index: Index, weights: Floats, stream: Stream) -> SurrogateIndex:
    """The index of the surrogate as a game, with 0 for the empty coalition."""
    players = index.players
    if players <= _ALL_COALITIONS:
        coalitions = all_coalitions(players)
        values = surrogate.predict(points(coalitions, weights))
        values[0] = 0.0
        return SurrogateIndex(semivalue(coalitions, values, index), np.zeros(players))
    return _sampled(surrogate, index, weights, stream)


def _sampled(surrogate: Surrogate, index: Index, weights: Floats, stream: Stream) -> SurrogateIndex:
    """phi(surrogate) = phi(h) + weighed-up (surrogate - h), with h linear in z by size, whose index is closed."""
    design = pair_design(index, _NODES, stream)
    inner = slice(2, None)
    nodes = design.coalitions
    values = surrogate.predict(points(nodes, weights))
    values[0] = 0.0
    member, outsider = mass(index)
    sizes = nodes.sum(axis=1)
    expansion = np.where(nodes, member[sizes, None], -outsider[sizes, None]) / design.expected[:, None]
    control = _features(nodes[inner], sizes[inner])
    importance = np.sqrt((expansion[inner] ** 2).sum(axis=1))[:, None]
    weighted = control * importance
    gram_matrix = product(weighted.T, weighted)
    gram_matrix += 1e-10 * gram_matrix.diagonal().max() * np.eye(len(gram_matrix))
    target = values[inner, None] * importance
    coefficients = solve(cholesky(gram_matrix), product(weighted.T, target))
    rest = values.copy()
    rest[inner] -= product(control, coefficients)[:, 0]
    terms = expansion * rest[:, None]
    pairs = (terms * np.sqrt(1.0 - design.probability)[:, None]).reshape(-1, 2, index.players).sum(axis=1)
    closed = _closed(coefficients[:, 0], index)
    return SurrogateIndex(closed + terms.sum(axis=0), np.sqrt((pairs**2).sum(axis=0)))


def _by_size(sizes: np.ndarray, players: int) -> Floats:
    """Functions of the size that multiply the linear terms: float64 [n, 3]."""
    share = sizes / players
    return np.stack([np.ones_like(share), share, 1.0 / np.maximum(sizes, 1)], axis=1)


def _features(coalitions: Bools, sizes: np.ndarray) -> Floats:
    """[n, 3 + 3 players]: size functions, and each times z."""
    functions = _by_size(sizes, coalitions.shape[1])
    linear = functions[:, :, None] * coalitions[:, None, :]
    return np.hstack([functions, linear.reshape(len(coalitions), -1)])


def _closed(coefficients: Floats, index: Index) -> Floats:
    """Index of h over sizes 1..N-1, 0 for none and all: E[h | i in, s] and E[h | i out, s] are sums over players."""
    players = index.players
    sizes = np.arange(1, players)
    functions = _by_size(sizes, players)  # [sizes, 3]
    constant = (functions * coefficients[:3]).sum(axis=1)
    slope = (functions[:, :, None] * coefficients[3:].reshape(3, players)[None]).sum(axis=1)  # [sizes, players]
    others = slope.sum(axis=1, keepdims=True) - slope
    inside = constant[:, None] + slope + others * ((sizes - 1) / (players - 1))[:, None]
    outside = constant[:, None] + others * (sizes / (players - 1))[:, None]
    return (index.size_share[sizes - 1, None] * inside - index.size_share[sizes, None] * outside).sum(axis=0)
