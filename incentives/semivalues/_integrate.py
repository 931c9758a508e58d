"""The index of a function that costs nothing to evaluate, as a weighted sum over nodes.

For few players the nodes are all coalitions. For more they are a large design of its own, and the weights are those
of a difference estimator: phi(f) = phi(h) + weighed-up (f - h), where h is fitted to f on the nodes and linear in the
members with coefficients that depend on the size, so that phi(h) is a closed form. Nodes and weights belong to the
index and the number of players alone; they are computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deltaproof.protocol.rules import AUTO_ALL_COALITIONS, AUTO_NODE_RIDGE, AUTO_NODES
from incentives.semivalues._design import Design, mass, pair_design
from incentives.semivalues._exact import all_coalitions
from incentives.semivalues._index import Semivalue, semivalue_by_name
from incentives.semivalues._linalg import inverse_root, product
from incentives.semivalues._result import Bools, Floats, Ints
from incentives.semivalues._stream import Stream


@dataclass(frozen=True)
class QuadratureRule:
    """nodes: bool [m, players], none of them empty, the full one first and then pairs of complements unless `exact`.

    weights: float64 [m, players]; phi(f) = weights.T @ f(nodes), f(none) = 0.
    """

    nodes: Bools
    weights: Floats
    exact: bool
    _features: Floats
    _hat: Floats
    _expansion: Floats

    def error(self, values: Floats) -> Floats:
        """Standard error of phi(f) from f at the nodes, float64 [players]."""
        if self.exact:
            return np.zeros(self.weights.shape[1])
        rest = values[1:] - product(self._features, product(self._hat, values[1:, None]))[:, 0]
        pairs = (self._expansion * rest[:, None]).reshape(-1, 2, self.weights.shape[1]).sum(axis=1)
        return np.asarray(np.sqrt((pairs**2).sum(axis=0)))


def rule(index: Semivalue) -> QuadratureRule:
    """The rule for an index."""
    return _rule(index.name, index.players)


@lru_cache(maxsize=16)
def _rule(name: str, players: int) -> QuadratureRule:
    index = semivalue_by_name(name, players)
    if players <= AUTO_ALL_COALITIONS:
        nodes = all_coalitions(players)[1:]
        nothing = np.zeros((0, 0))
        return QuadratureRule(nodes, coefficients(nodes, index), True, nothing, nothing, nothing)
    design = pair_design(index, AUTO_NODES, Stream(b"nodes", name))
    expansion = expanded(design, index)
    inner = slice(2, None)
    features = _features(design.coalitions[inner])
    importance = (expansion[inner] ** 2).sum(axis=1)[:, None]
    # Any coefficients of h will do, so a ridge settles the features that add up to each other (sum of z_i / s = 1).
    width = np.sqrt((features**2 * importance).sum(axis=0))[:, None]
    weighted = (features * importance).T / width
    root = inverse_root(product(weighted, features / width.T) + AUTO_NODE_RIDGE * np.eye(len(width)))
    hat = product(root.T, product(root, weighted)) / width  # [features, nodes]: h = features @ (hat @ f)
    closed = _closed(index) - product(expansion[inner].T, features).T  # [features, players]
    weights = expansion[1:].copy()
    weights[1:] += product(hat.T, closed)
    variance = expansion[inner] * np.sqrt(1.0 - design.probability[inner])[:, None]
    return QuadratureRule(design.coalitions[1:], weights, False, features, hat, variance)


def coefficients(coalitions: Bools, index: Semivalue) -> Floats:
    """c_i(S), the coefficient of v(S) in phi_i: float64 [n, players]."""
    sizes = coalitions.sum(axis=1)
    return np.where(coalitions, index.member_weight()[sizes, None], -index.outsider_weight()[sizes, None])


def expanded(design: Design, index: Semivalue) -> Floats:
    """c_i(S) / probability(S): float64 [n, players]."""
    member, outsider = mass(index)
    sizes = design.coalitions.sum(axis=1)
    result: Floats = np.where(design.coalitions, member[sizes, None], -outsider[sizes, None])
    return result / design.expected[:, None]


def _by_size(sizes: Ints, players: int) -> Floats:
    """Functions of the size that multiply the linear terms: float64 [n, 4]."""
    share = sizes / players
    inverse = 1.0 / np.maximum(sizes, 1)
    return np.stack([np.ones_like(share), share, inverse, inverse**2], axis=1)


def _features(coalitions: Bools) -> Floats:
    """[n, 4 + 4 players]: size functions, and each times z."""
    functions = _by_size(coalitions.sum(axis=1), coalitions.shape[1])
    linear = functions[:, :, None] * coalitions[:, None, :]
    return np.hstack([functions, linear.reshape(len(coalitions), -1)])


def _closed(index: Semivalue) -> Floats:
    """Semivalue of every feature as a game on the sizes 1..N-1, 0 for none and all: float64 [4 + 4 players, players].

    phi_i = sum_s P(s-1) E[h | i in, |S|=s] - P(s) E[h | i out, |S|=s], and E[z_j] given the size is (s-1)/(N-1) or
    s/(N-1).
    """
    players = index.players
    sizes = np.arange(1, players)
    functions = _by_size(sizes, players).T  # [4, sizes]
    inside, outside = index.size_share[sizes - 1] * functions, index.size_share[sizes] * functions
    size_alone = (inside - outside).sum(axis=1)
    own = inside.sum(axis=1)
    other = (inside * (sizes - 1) - outside * sizes).sum(axis=1) / (players - 1)
    same = np.eye(players, dtype=np.bool_)
    linear = np.where(same, own[:, None, None], other[:, None, None])  # [4, player of the feature, players]
    return np.vstack([np.repeat(size_alone[:, None], players, axis=1), linear.reshape(-1, players)])
