"""The games that contribution scoring is measured on, and the files that carry them between environments.

A game file is an .npz of plain arrays (never pickled), with a text field `kind`:
  table    `values` float64 [2^players] (row r is the coalition of r's bits, player 0 the lowest), `weights` [players]
  softmax  `logits` float64 [players, rows, classes] of each player's delta, `labels` int [rows], `weights`, `metric`
  closed   `name` of a class in incentives.games and its `arguments` as JSON
Tables of real LoRA rounds come in the same way: `python -m benchmarks.scoring --games FILE.npz`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from incentives import games as closed_forms


@dataclass(frozen=True)
class TableGame:
    """A game given by all its values."""

    values: np.ndarray
    weights: np.ndarray

    @property
    def n_players(self) -> int:
        """Number of players."""
        return len(self.weights)

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """bool [coalitions, players] -> float64 [coalitions]."""
        return self.values[coalitions @ (1 << np.arange(self.n_players))]


@dataclass(frozen=True)
class SoftmaxGame:
    """Federated softmax regression: the members' deltas are averaged by weight, the average is evaluated on held-out
    rows.

    v = log-loss (or accuracy) improvement over the starting model, which predicts all classes alike.
    """

    logits: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    metric: str

    @property
    def n_players(self) -> int:
        """Number of players."""
        return len(self.weights)

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """bool [coalitions, players] -> float64 [coalitions]."""
        share = coalitions * self.weights
        mean = share / np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
        players, rows, classes = self.logits.shape
        logits = (mean @ self.logits.reshape(players, -1)).reshape(-1, rows, classes)
        if self.metric == "accuracy":
            hits = (logits.argmax(axis=2) == self.labels).mean(axis=1)
            return np.where(coalitions.any(axis=1), hits - 1.0 / classes, 0.0)
        peak = logits.max(axis=2)
        total = peak + np.log(np.exp(logits - peak[:, :, None]).sum(axis=2))
        return np.log(classes) - (total - logits[:, np.arange(rows), self.labels]).mean(axis=1)

    def table(self) -> TableGame:
        """All values, for at most 16 players."""
        bits = np.arange(2**self.n_players)[:, None] >> np.arange(self.n_players) & 1
        parts = [self(part.astype(bool)) for part in np.array_split(bits, max(1, len(bits) // 512))]
        return TableGame(np.concatenate(parts), self.weights)


@dataclass(frozen=True)
class NamedGame:
    """A game with its name in tables; `closed` says whether exact values are known without all coalitions."""

    name: str
    family: str
    game: TableGame | SoftmaxGame | closed_forms.ClosedFormGame

    @property
    def players(self) -> int:
        """Number of players."""
        return self.game.n_players

    @property
    def weights(self) -> np.ndarray | None:
        """Aggregation weights, or None for equal ones."""
        return getattr(self.game, "weights", None)


def digits_game(players: int, metric: str, seed: int, rows: int = 400) -> SoftmaxGame:
    """Softmax regression on label-skewed shards of digits; every fifth player has half its labels wrong.

    The digits are scikit-learn's. rows: held-out rows that the game is evaluated on.
    """
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    features = np.hstack([images / 16.0, np.ones((len(images), 1))])
    order = rng.permutation(len(features))
    held, train = order[:rows], order[rows:]
    shards: list[list[int]] = [[] for _ in range(players)]
    for label in range(10):
        mine = train[labels[train] == label]
        cuts = (np.cumsum(rng.dirichlet(np.full(players, 0.7))) * len(mine)).astype(int)[:-1]
        for shard, part in zip(shards, np.split(mine, cuts), strict=True):
            shard.extend(part.tolist())
    deltas, weights = [], []
    for player, shard in enumerate(shards):
        taken = np.array(shard if len(shard) > 5 else rng.choice(train, 6))
        answers = labels[taken].copy()
        if player % 5 == 4:
            wrong = rng.random(len(taken)) < 0.5
            answers[wrong] = rng.integers(0, 10, wrong.sum())
        deltas.append(_trained(features[taken], answers, rng))
        weights.append(float(len(taken)))
    logits = np.einsum("rf,pfc->prc", features[held], np.array(deltas))
    return SoftmaxGame(logits, labels[held], np.array(weights), metric)


def _trained(features: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """60 steps of SGD from zero, float64 [features, classes]."""
    weights = np.zeros((features.shape[1], 10))
    for _ in range(60):
        batch = rng.choice(len(features), min(32, len(features)), replace=False)
        logits = features[batch] @ weights
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        chances[np.arange(len(batch)), labels[batch]] -= 1.0
        weights -= 0.5 * features[batch].T @ chances / len(batch)
    return weights


def closed_games(players: int, seed: int) -> list[NamedGame]:
    """Saturating and averaging games, and games with strong synergies where smooth surrogates fail."""
    rng = np.random.default_rng(seed)
    chances = rng.uniform(0.01, min(0.9, 6.0 / players), players)
    deltas = rng.normal(1.0, 1.0, (players, 8))
    teams = [tuple(int(p) for p in rng.permutation(players)[: rng.integers(3, 7)]) for _ in range(players)]
    votes = tuple(int(v) for v in rng.integers(1, 6, players))
    return [
        NamedGame("saturating", "averaging", closed_forms.Saturating(tuple(chances.tolist()))),
        NamedGame(
            "averaged quadratic",
            "averaging",
            closed_forms.AveragedQuadratic(tuple(tuple(row) for row in deltas.tolist()), (1.0,) * 8),
        ),
        NamedGame(
            "teams of 3-6",
            "synergy",
            closed_forms.Unanimity(players, tuple(teams), tuple(rng.normal(size=players).tolist())),
        ),
        NamedGame("majority vote", "synergy", closed_forms.WeightedVoting(votes, int(0.55 * sum(votes)) + 1)),
        NamedGame("gloves", "synergy", closed_forms.Gloves(players // 3, players - players // 3)),
        NamedGame("airport", "synergy", closed_forms.Airport(tuple(np.sort(rng.uniform(0, 1, players)).tolist()))),
    ]


def suite(sizes: tuple[int, ...], seeds: tuple[int, ...]) -> list[NamedGame]:
    """Federated games on digits and closed forms for every number of players and seed."""
    games: list[NamedGame] = []
    for players in sizes:
        for seed in seeds if players <= 10 else seeds[:1]:
            for metric in ("log-loss", "accuracy"):
                game = digits_game(players, metric, seed, rows=400 if players <= 16 else 200)
                small = game.table() if players <= 16 else game
                games.append(NamedGame(f"digits {metric}", "averaging", small))
            games.extend(closed_games(players, 1000 + seed))
    return games


def save(named: NamedGame, path: Path) -> None:
    """Write a game file."""
    game = named.game
    common = {"title": np.array(named.name), "family": np.array(named.family)}
    if isinstance(game, TableGame):
        np.savez(path, kind="table", values=game.values, weights=game.weights, **common)
    elif isinstance(game, SoftmaxGame):
        np.savez(
            path,
            kind="softmax",
            logits=game.logits,
            labels=game.labels,
            weights=game.weights,
            metric=game.metric,
            **common,
        )
    else:
        arguments = json.dumps(dataclasses.asdict(game))
        np.savez(path, kind="closed", name=type(game).__name__, arguments=arguments, **common)


def load(path: Path) -> NamedGame:
    """Read a game file. Raises ValueError if it is not one."""
    with np.load(path, allow_pickle=False) as data:
        kind = str(data["kind"]) if "kind" in data else "table"
        title = str(data["title"]) if "title" in data else path.stem
        family = str(data["family"]) if "family" in data else "averaging"
        if kind == "softmax":
            game = SoftmaxGame(data["logits"], data["labels"], data["weights"], str(data["metric"]))
        elif kind == "closed":
            arguments = json.loads(str(data["arguments"]))
            game = getattr(closed_forms, str(data["name"]))(**{key: _tuples(value) for key, value in arguments.items()})
        else:
            values = np.asarray(data["values"], dtype=np.float64)
            players = len(values).bit_length() - 1
            if values.shape != (2**players,) or not np.isfinite(values).all():
                raise ValueError(f"{path}: `values` must hold 2^players finite numbers, not {values.shape}")
            weights = data["weights"] if "weights" in data else np.ones(players)
            game = TableGame(values, np.asarray(weights, dtype=np.float64))
    return NamedGame(title, family, game)


def _tuples(value: object) -> object:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
