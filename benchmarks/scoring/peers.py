"""Public estimators of Shapley values on the same games: shapiq and pyDVL, in an environment of their own.

Started by `python -m benchmarks.scoring`; reads a job list, writes one JSON line per estimate. Whatever a library does
with its budget is its own affair: what is recorded is how many distinct coalitions it asked for.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.scoring import games as games_scoring

SLOW = {"shapiq ProxySPEX"}
"""Run at 20 N only, with one seed: 20-40 ms an evaluation."""


class Counted:
    """A game that counts distinct coalitions and the time spent inside; stops no one."""

    def __init__(self, game: Callable[[np.ndarray], np.ndarray], players: int) -> None:
        self.game = game
        self.players = players
        self.known: dict[bytes, float] = {}
        self.seconds = 0.0

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """bool [coalitions, players] -> float64 [coalitions]."""
        start = time.perf_counter()
        rows = np.atleast_2d(np.asarray(coalitions, dtype=bool))
        keys = [row.tobytes() for row in rows]
        fresh = {key: row for row, key in enumerate(keys) if key not in self.known}
        if fresh:
            values = self.game(rows[list(fresh.values())])
            self.known.update(zip(fresh, values.tolist(), strict=True))
        result = np.array([self.known[key] for key in keys])
        self.seconds += time.perf_counter() - start
        return result


def shapiq_estimators(players: int) -> dict[str, Callable[[int, Counted, int], tuple[np.ndarray, None]]]:
    """Every Shapley estimator of shapiq that takes any number of players."""
    from shapiq import approximator as kinds

    makers = {
        "shapiq KernelSHAP paired": lambda seed: kinds.KernelSHAP(players, pairing_trick=True, random_state=seed),
        "shapiq SVARM": lambda seed: kinds.SVARM(players, random_state=seed),
        "shapiq SVARM paired": lambda seed: kinds.SVARM(players, pairing_trick=True, random_state=seed),
        "shapiq UnbiasedKernelSHAP": lambda seed: kinds.UnbiasedKernelSHAP(players, random_state=seed),
        "shapiq Permutation": lambda seed: kinds.PermutationSamplingSV(players, random_state=seed),
        "shapiq Stratified": lambda seed: kinds.StratifiedSamplingSV(players, random_state=seed),
        "shapiq ProxySPEX": lambda seed: kinds.ProxySPEX(n=players, index="SV", max_order=1, random_state=seed),
    }
    if players > 16:
        del makers["shapiq ProxySPEX"]
    if players <= 30:  # the regression on all sets of two or three players grows too fast beyond
        for order in (2, 3) if players <= 16 else (2,):
            makers[f"shapiq kADD-SHAP {order}"] = lambda seed, order=order: kinds.kADDSHAP(
                players, max_order=order, pairing_trick=True, random_state=seed
            )

    def run(name: str) -> Callable[[int, Counted, int], tuple[np.ndarray, None]]:
        def estimate(budget: int, game: Counted, seed: int) -> tuple[np.ndarray, None]:
            found = makers[name](seed).approximate(budget, game)
            return np.array([found.dict_values.get((player,), 0.0) for player in range(players)]), None

        return estimate

    return {name: run(name) for name in makers}


def pydvl_estimators(players: int) -> dict[str, Callable[[int, Counted, int], tuple[np.ndarray, np.ndarray]]]:
    """pyDVL's permutation family, stopped when the game has been asked for `budget` coalitions."""
    from pydvl.utils.status import Status
    from pydvl.valuation import games as pydvl_games
    from pydvl.valuation.methods import ShapleyValuation
    from pydvl.valuation.samplers import AntitheticPermutationSampler, PermutationSampler
    from pydvl.valuation.samplers.truncation import RelativeTruncation
    from pydvl.valuation.stopping import StoppingCriterion

    class Spent(StoppingCriterion):
        def __init__(self, game: Counted, budget: int) -> None:
            super().__init__()
            self.game, self.budget = game, budget

        def _check(self, result: object) -> Status:
            self._converged = np.full(players, len(self.game.known) >= self.budget)
            done = len(self.game.known) >= self.budget or self.count > 40 * self.budget
            return Status.Converged if done else Status.Pending

        def completion(self) -> float:
            return min(1.0, len(self.game.known) / self.budget)

    class Wrapped(pydvl_games.Game):
        def __init__(self, game: Counted) -> None:
            self.counted = game
            super().__init__(players)

        def _score(self, X: np.ndarray) -> float:
            row = np.zeros((1, players), dtype=bool)
            row[0, np.asarray(X, dtype=int).reshape(-1)] = True
            return float(self.counted(row)[0])

    samplers = {
        "pyDVL permutation": lambda seed: PermutationSampler(seed=seed),
        "pyDVL antithetic": lambda seed: AntitheticPermutationSampler(seed=seed),
        "pyDVL TMC": lambda seed: PermutationSampler(
            truncation=RelativeTruncation(rtol=0.01, burn_in_fraction=0.1), seed=seed
        ),
    }

    def run(name: str) -> Callable[[int, Counted, int], tuple[np.ndarray, np.ndarray]]:
        def estimate(budget: int, game: Counted, seed: int) -> tuple[np.ndarray, np.ndarray]:
            wrapped = Wrapped(game)
            valuation = ShapleyValuation(
                wrapped.u, sampler=samplers[name](seed), is_done=Spent(game, budget), progress=False
            )
            result = valuation.fit(wrapped.data).result
            order = np.argsort(result.indices)
            return np.asarray(result.values)[order], np.asarray(result.stderr)[order]

        return estimate

    return {name: run(name) for name in samplers}


def main(jobs: Path, answers: Path) -> None:
    """Work through [{file, budgets, seeds}] and write one JSON line per estimate."""
    warnings.filterwarnings("ignore")
    with answers.open("w") as out:
        for job in json.loads(jobs.read_text()):
            named = games_scoring.load(Path(job["file"]))
            estimators = shapiq_estimators(named.players) | pydvl_estimators(named.players)
            for name, estimator in estimators.items():
                slow = name in SLOW
                for budget in [b for b in job["budgets"] if not slow or b == 20 * named.players]:
                    for seed in job["seeds"][:1] if slow else job["seeds"]:
                        game = Counted(named.game, named.players)
                        start = time.perf_counter()
                        row: dict[str, object] = {"file": job["file"], "method": name, "budget": budget, "seed": seed}
                        try:
                            values, errors = estimator(budget, game, seed)
                        except Exception as error:  # a library's failure on a game is a result, and it is printed
                            row["failed"] = f"{type(error).__name__}: {error}"[:200]
                        else:
                            spent = time.perf_counter() - start - game.seconds
                            row |= {
                                "values": values.tolist(),
                                "errors": None if errors is None else errors.tolist(),
                                "evaluations": len(game.known),
                                "overhead_ms": 1e3 * spent / max(1, len(game.known)),
                            }
                        out.write(json.dumps(row) + "\n")
                        out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
