"""The index of a surrogate's kernel columns k(., B).

Under equal weights a column depends on |S| and |S n B| alone, so its semivalue is a sum over hypergeometric counts:
exact, and one number for the members of B and one for the others. Under unequal weights the same closed form serves
as control: only the difference between the two columns is integrated over nodes (`_integrate`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from deltaproof.protocol.rules import AUTO_COLUMNS
from incentives.semivalues._index import Semivalue, semivalue_by_name
from incentives.semivalues._integrate import rule
from incentives.semivalues._kernels import likeness, points, similarity_by_size
from incentives.semivalues._linalg import product
from incentives.semivalues._result import Floats
from incentives.semivalues._surrogate import Surrogate

_CELLS = 2**21
"""Cells of the table of counts worked on at a time: 16 MiB."""


def kernel_index(surrogate: Surrogate, index: Semivalue, weights: Floats) -> tuple[Floats, Floats]:
    """Semivalue of each scaled kernel column, float64 [players, n], and the surrogate's error, float64 [players]."""
    columns = _equal_weights(surrogate, index)
    if surrogate.kernel == "set" or (weights == weights[0]).all():
        return columns, np.zeros(index.players)
    nodes, alike = rule(index), np.ones(index.players)
    equal = points(surrogate.centres.signs > 0, alike)
    predictions = []
    for start in range(0, len(nodes.nodes), AUTO_COLUMNS):
        rows = nodes.nodes[start : start + AUTO_COLUMNS]
        change = likeness(points(rows, weights), surrogate.centres).averaged(surrogate.kernel)
        change -= likeness(points(rows, alike), equal).averaged(surrogate.kernel)
        change /= surrogate.scale
        columns += product(nodes.weights[start : start + AUTO_COLUMNS].T, change)
        predictions.append(product(change, surrogate.coefficients[:, None])[:, 0])
    return columns, nodes.error(np.concatenate(predictions))


def _equal_weights(surrogate: Surrogate, index: Semivalue) -> Floats:
    of_member, of_outsider = _by_size(surrogate.kernel, index.name, index.players)
    size = surrogate.centres.size.astype(np.int64)
    return np.where(surrogate.centres.signs.T > 0, of_member[size], of_outsider[size]) / surrogate.scale


@lru_cache(maxsize=32)
def _by_size(kernel: str, name: str, players: int) -> tuple[Floats, Floats]:
    """phi_i of k(., B) for i in B and for i not in B, by |B|: float64 [players + 1] each."""
    index = semivalue_by_name(name, players)
    step = max(1, _CELLS // players**2)
    parts = [
        _of_sizes(kernel, index, np.arange(start, min(start + step, players + 1)))
        for start in range(0, players + 1, step)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _of_sizes(kernel: str, index: Semivalue, sizes: np.ndarray) -> tuple[Floats, Floats]:
    players = index.players
    others = np.arange(players, dtype=np.float64)[:, None]  # how many others i meets
    common = np.arange(players, dtype=np.float64)  # how many of those are in B
    centre = sizes.astype(np.float64)[:, None, None]

    def contribution(of_others: Floats, own: float) -> Floats:
        """sum over others met of P * (E[k | i joins] - E[k | i stays away]); v(none) = 0 is put in by the caller."""
        chance = _hypergeometric(players - 1, of_others, others[:, 0])
        joined = similarity_by_size(kernel, players, common + own, others + 1.0, centre)
        alone = similarity_by_size(kernel, players, common, others, centre)
        alone[:, 0] = 0.0
        gain = (chance * (joined - alone)).sum(axis=2)
        return np.asarray((index.size_share * gain).sum(axis=1))

    return contribution(np.maximum(sizes - 1, 0), 1.0), contribution(np.minimum(sizes, players - 1), 0.0)


def _hypergeometric(total: int, marked: np.ndarray, drawn: Floats) -> Floats:
    """Chance of m marked ones among those drawn: float64 [len(marked), len(drawn), total + 1].

    By ratios of neighbours from the least possible m; for total up to 900 nothing leaves the range of floats.
    """
    marked, drawn = marked[:, None, None].astype(np.float64), drawn[None, :, None]
    count = np.arange(total + 1, dtype=np.float64)
    least = np.maximum(0.0, marked + drawn - total)
    before = count - 1.0
    ratio = (marked - before) * (drawn - before) / np.maximum(count * (total - marked - drawn + count), 1.0)
    ratio = np.where(count <= least, 1.0, ratio)
    chance = np.where(count < least, 0.0, np.cumprod(np.maximum(ratio, 0.0), axis=2))
    return np.asarray(chance / chance.sum(axis=2, keepdims=True))
