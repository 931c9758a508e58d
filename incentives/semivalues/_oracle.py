"""Asking the game: every distinct coalition once, never above the budget, in batches of fixed make-up.

Batches are cut in order of the request and do not depend on the number of workers, because a model's last bits may
depend on which coalitions share a pass.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from deltaproof.extras import need
from incentives.semivalues._result import Bools, BudgetError, Floats, Game, GameError, Ints, ScoringError


class Mapper(Protocol):
    """Where batches are evaluated. `ray.util.multiprocessing.Pool` and executors of `concurrent.futures` qualify."""

    def map(self, game: Game, batches: list[Bools], /) -> Iterable[Floats]:
        """The game's answers, in the order of `batches`."""


class InProcess:
    """Evaluates in the calling process."""

    def map(self, game: Game, batches: list[Bools], /) -> Iterable[Floats]:
        """The game's answers, in the order of `batches`."""
        return map(game, batches)


class ProcessMapper:
    """Processes that receive the game once. The game must pickle.

    `spawn`, because a forked process that has used torch or BLAS threads can hang.
    """

    def __init__(self, game: Game, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.executor = ProcessPoolExecutor(workers, context, initializer=_install, initargs=(game,))

    def map(self, game: Game, batches: list[Bools], /) -> Iterable[Floats]:
        """The game's answers, in the order of `batches`; `game` is the one the processes were started with."""
        return self.executor.map(_ask_installed, batches)


LOOK_SECONDS = 60.0
"""How often a cluster is looked at that answers nothing."""


class RayMapper:
    """Batches as Ray tasks; the game is put into the object store once. Needs `ray.init` before use.

    Ray gives the batches of a lost node to others. Raises ScoringError when no node is left.
    """

    def __init__(self) -> None:
        self._ray = need("ray")
        self._answer = self._ray.remote(_ask)
        self._stored: tuple[Game, object] | None = None

    def map(self, game: Game, batches: list[Bools], /) -> Iterable[Floats]:
        """The game's answers, in the order of `batches`."""
        if self._stored is None or self._stored[0] is not game:
            self._stored = (game, self._ray.put(game))
        handle = self._stored[1]
        # Ray hands out read-only views of the store; the oracle only reads them.
        answers = [self._answer.remote(handle, batch) for batch in batches]
        waiting = answers
        while waiting:
            done, waiting = self._ray.wait(waiting, num_returns=len(waiting), timeout=LOOK_SECONDS)
            if not done and not self._ray.cluster_resources().get("CPU"):
                raise ScoringError("the Ray cluster has no node left that computes: start nodes, and ask again")
        return list(self._ray.get(answers))


@contextmanager
def worker_pool(game: Game, workers: int) -> Iterator[Mapper]:
    """`workers` processes that evaluate the game, or the calling process for one."""
    if workers == 1:
        yield InProcess()
        return
    pool = ProcessMapper(game, workers)
    with pool.executor:
        yield pool


_installed: list[Game] = []


def _install(game: Game) -> None:
    _installed[:] = [game]


def _ask_installed(batch: Bools) -> Floats:
    return _installed[0](batch)


def _ask(game: Game, batch: Bools) -> Floats:
    return game(batch)


class Oracle:
    """A game with a memory and a budget.

    Coalitions get numbers in order of first request: `coalitions` and `values` hold them, bool [asked, players] and
    float64 [asked].
    """

    def __init__(self, game: Game, players: int, budget: int, mapper: Mapper, batch_size: int) -> None:
        self.players = players
        self.budget = budget
        self._game = game
        self._mapper = mapper
        self._batch_size = batch_size
        self._number: dict[bytes, int] = {}
        self._coalitions: list[Bools] = []
        self._values: list[Floats] = []

    @property
    def evaluations(self) -> int:
        """Distinct coalitions asked for so far."""
        return len(self._number)

    @property
    def left(self) -> int:
        """Distinct coalitions that may still be asked for."""
        return self.budget - self.evaluations

    @property
    def coalitions(self) -> Bools:
        """bool [asked, players]."""
        return np.concatenate(self._coalitions) if self._coalitions else np.zeros((0, self.players), dtype=np.bool_)

    @property
    def values(self) -> Floats:
        """float64 [asked]."""
        return np.concatenate(self._values) if self._values else np.zeros(0)

    def new_keys(self, coalitions: Bools) -> int:
        """How many of these coalitions have not been asked for."""
        return len({key for key in _keys(coalitions) if key not in self._number})

    def affordable_prefix(self, coalitions: Bools, unit: int) -> int:
        """How many leading groups of `unit` coalitions the rest of the budget pays for."""
        fresh: set[bytes] = set()
        keys = _keys(coalitions)
        for group in range(len(keys) // unit):
            fresh.update(key for key in keys[group * unit : (group + 1) * unit] if key not in self._number)
            if len(fresh) > self.left:
                return group
        return len(keys) // unit

    def ask(self, coalitions: Bools) -> Floats:
        """Values of coalitions, bool [n, players] -> float64 [n]. Raises BudgetError before evaluating too many."""
        numbers = self.numbers(coalitions)
        return self.values[numbers]

    def numbers(self, coalitions: Bools) -> Ints:
        """Evaluate what is new; the number of each coalition, int64 [n]."""
        keys = _keys(coalitions)
        first: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            if key not in self._number:
                first.setdefault(key, row)
        # INVARIANT: the game never sees more than `budget` distinct coalitions.
        if len(first) > self.left:
            raise BudgetError(f"{len(first)} coalitions wanted, {self.left} of {self.budget} left")
        if first:
            # In order of first request: numbers, and with them every recorded table, are the same for everybody.
            fresh = np.ascontiguousarray(coalitions[list(first.values())])
            values = self._evaluate(fresh)
            for key in first:
                self._number[key] = len(self._number)
            self._coalitions.append(fresh)
            self._values.append(values)
        return np.array([self._number[key] for key in keys], dtype=np.int64)

    def _evaluate(self, fresh: Bools) -> Floats:
        batches = [fresh[start : start + self._batch_size] for start in range(0, len(fresh), self._batch_size)]
        results = list(self._mapper.map(self._game, batches))
        for batch, result in zip(batches, results, strict=True):
            if not isinstance(result, np.ndarray) or result.dtype != np.float64 or result.shape != (len(batch),):
                got = f"{result.dtype} {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
                raise GameError(f"the game must return float64 [{len(batch)}] for these coalitions, not {got}")
            if not np.isfinite(result).all():
                bad = batch[np.flatnonzero(~np.isfinite(result))[0]]
                raise GameError(f"the value of coalition {np.flatnonzero(bad).tolist()} is not finite")
        return np.concatenate(results)


def _keys(coalitions: Bools) -> list[bytes]:
    packed = np.packbits(coalitions, axis=1)
    width = packed.shape[1]
    raw = packed.tobytes()
    return [raw[start : start + width] for start in range(0, len(raw), width)]
