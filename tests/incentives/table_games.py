"""Small games for the estimator tests; module level, so that worker processes can unpickle them."""

from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from incentives.semivalues import estimate


@dataclass
class Table:
    """A game given by all its values; counts what it is asked for. Row r is the coalition of r's bits."""

    values: np.ndarray
    batches: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    @property
    def players(self) -> int:
        return len(self.values).bit_length() - 1

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        assert coalitions.dtype == np.bool_
        rows = coalitions @ (1 << np.arange(self.players))
        self.batches.append(len(rows))
        self.asked.extend(rows.tolist())
        return self.values[rows]

    def exact(self, index: str = "shapley") -> np.ndarray:
        fresh = Table(self.values)
        return estimate(fresh, n_players=self.players, budget=len(self.values), seed=b"x", index=index).values


def coalitions_of(players: int) -> np.ndarray:
    """bool [2^players, players]."""
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def averaged(players: int, seed: int, weights: np.ndarray | None = None) -> Table:
    """1 / (1 + distance of the averaged delta to a target): smooth in the mean, neither quadratic nor additive."""
    rng = np.random.default_rng(seed)
    deltas = rng.normal(1.0, 1.0, (players, 6))
    share = coalitions_of(players) * (np.ones(players) if weights is None else weights)
    mean = share @ deltas / np.maximum(share.sum(axis=1, keepdims=True), 1e-9)
    values = 1.0 / (1.0 + ((mean - 1.0) ** 2).sum(axis=1))
    values[0] = 0.0
    return Table(values)


def hashed(players: int) -> Table:
    """No structure at all, and exact binary fractions on every machine."""
    numbers = [int.from_bytes(sha256(row.to_bytes(4, "big")).digest()[:4], "big") for row in range(2**players)]
    return Table(np.array(numbers) / 2.0**32)
