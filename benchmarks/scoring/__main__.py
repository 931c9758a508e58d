"""How well and how cheaply contributions are scored: our estimators beside shapiq and pyDVL.

    python -m benchmarks.scoring                      everything: writes the JSON and docs/results/scoring.md
    python -m benchmarks.scoring --profile short      a minute, for a look
    python -m benchmarks.scoring --games FILE.npz     adds games from files (tables of real LoRA rounds)
    python -m benchmarks.scoring --keep-peers         ours anew, beside the public libraries' figures of the last run

Errors are against exact values (all coalitions for 10 and 16 players, closed forms beyond), or, for digits with 30
and 100 players, against one run of the default estimator with 20,000 evaluations, whose own standard error the tables
state. The public libraries live in build/scoring-peers, which is made on the first run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.scoring.games import NamedGame, SoftmaxGame, TableGame, load, save, suite
from benchmarks.scoring.tables import page, show
from benchmarks.shared.places import FIGURES, PAGES, ROOT
from incentives.semivalues import BudgetError, estimate

PEERS = ("pyDVL==0.10.0", "shapiq==1.4.1", "lightgbm==4.6.0", "numpy==1.26.4", "scikit-learn")
OURS = ("auto", "kernelshap", "svarm", "antithetic", "gtg")
TRUTH_EVALUATIONS = 20_000


@dataclass(frozen=True)
class ScoringProfile:
    """How much is run: players, seeds of games, seeds of estimates by players, budgets per player."""

    sizes: tuple[int, ...]
    game_seeds: tuple[int, ...]
    seeds: dict[int, int]
    budgets: tuple[int, ...]


BUDGETS_OF_MANY = (5, 20)
"""Budgets per player above 50 players."""

PROFILES = {
    "full": ScoringProfile((10, 16, 30, 100), (0, 1), {10: 3, 16: 3, 30: 2, 100: 1}, (5, 10, 20, 50)),
    "short": ScoringProfile((10,), (0,), {10: 2}, (10, 20)),
}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--games", type=Path, nargs="*", default=[], help="game files added to the suite")
    parser.add_argument("--no-peers", action="store_true", help="leave the public libraries out")
    parser.add_argument("--out", type=Path, default=FIGURES / "scoring.json")
    parser.add_argument("--page", type=Path, default=PAGES / "scoring.md")
    parser.add_argument("--keep-peers", action="store_true", help="take the public figures from the results there are")
    parser.add_argument("--sizes", type=int, nargs="*", help="anew for these numbers of players, the others kept")
    parser.add_argument("--redraw", action="store_true", help="write the page from the figures already there")
    options = parser.parse_args()
    profile = PROFILES[options.profile]
    if options.sizes:
        profile = dataclasses.replace(profile, sizes=tuple(options.sizes))
    console = Console(width=170)
    if options.redraw:
        results = json.loads(options.out.read_text())
        show(results, console)
        options.page.write_text(page(results))
        return

    games = suite(profile.sizes, profile.game_seeds) + [load(path) for path in options.games]
    truths = [truth(named) for named in games]
    rows = []
    for number, named in enumerate(games):
        console.print(f"ours: {named.name}, N={named.players}")
        rows += [dict(row, game=number) for row in ours(named, profile)]
    old = json.loads(options.out.read_text()) if options.keep_peers or options.sizes else {}
    kept = kept_figures(old, games, options.keep_peers, options.sizes)
    if not options.no_peers and not options.keep_peers:
        rows += peers(games, profile, console)
    results = {
        "machine": {"processor": platform.machine(), "python": platform.python_version(), "numpy": np.__version__},
        "profile": options.profile,
        "truth_relative_error": old.get("truth_relative_error", {})
        | {f"{x.name}, N={x.players}": error for x, (_, error) in zip(games, truths, strict=True) if error},
        "figures": figures(rows, games, [values for values, _ in truths]) + kept,
        "failures": sorted(
            {f"{row['method']}, N={games[row['game']].players}: {row['failed']}" for row in rows if "failed" in row}
        ),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    show(results, console)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page(results))


def kept_figures(old: dict, games: list[NamedGame], peers: bool, sizes: list[int] | None) -> list[dict]:
    """Figures of an earlier run that stand: those of other numbers of players, and if `peers` the public libraries'.

    Games, seeds, budgets and the libraries' versions are fixed, so that the libraries would answer the same again; only
    where the reference is a long run of ours do the figures refer to the reference of that run.
    """
    known = {(named.players, named.name) for named in games}

    def stands(figure: dict) -> bool:
        here = (figure["players"], figure["game"]) in known
        return (peers and figure["source"] == "public") if here else bool(sizes and figure["players"] not in sizes)

    return [figure for figure in old.get("figures", []) if stands(figure)]


def truth(named: NamedGame) -> tuple[np.ndarray, float]:
    """Shapley values and their relative standard error (0 where exact)."""
    game = named.game
    if isinstance(game, TableGame):
        exact = estimate(game, n_players=named.players, budget=2**named.players, seed=b"truth", batch_size=4096)
        return exact.values, 0.0
    if isinstance(game, SoftmaxGame):
        long = estimate(
            game, n_players=named.players, budget=TRUTH_EVALUATIONS, seed=b"truth", weights=game.weights, batch_size=256
        )
        return long.values, float(long.standard_errors.mean() / np.abs(long.values).mean())
    return game.semivalues("shapley"), 0.0


def budgets(named: NamedGame, profile: ScoringProfile) -> list[int]:
    """Budgets that are not yet all coalitions."""
    chosen = profile.budgets if named.players <= 50 else BUDGETS_OF_MANY
    return [k * named.players for k in chosen if k * named.players < 2**named.players]


def seeds(named: NamedGame, profile: ScoringProfile) -> list[int]:
    """Seeds of the estimates."""
    return list(range(profile.seeds.get(named.players, 3)))


def ours(named: NamedGame, profile: ScoringProfile) -> list[dict]:
    """Our estimators on one game. Overhead excludes the game and a first call, which fills the caches of the index."""
    rows = []
    clock = Clock(named)
    warm = budgets(named, profile)[0]
    for method in OURS:
        for budget in budgets(named, profile):
            for seed in [-1, *seeds(named, profile)] if budget == warm else seeds(named, profile):
                row = {"method": method, "source": "deltaproof", "budget": budget, "seed": seed}
                clock.seconds, start = 0.0, time.process_time()
                try:
                    result = estimate(
                        clock,
                        n_players=named.players,
                        budget=budget,
                        seed=f"benchmark {seed}".encode(),
                        method=method,
                        weights=named.weights,
                    )
                except BudgetError as error:
                    rows.append(row | {"failed": f"BudgetError: {error}"})
                    break
                overhead = time.process_time() - start - clock.seconds
                if seed < 0:
                    continue
                rows.append(
                    row
                    | {
                        "values": result.values,
                        "errors": result.standard_errors,
                        "evaluations": result.evaluations,
                        "overhead_ms": 1e3 * overhead / result.evaluations,
                    }
                )
    return rows


class Clock:
    """A game that measures the CPU time spent inside."""

    def __init__(self, named: NamedGame) -> None:
        self.game, self.seconds = named.game, 0.0

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """bool [coalitions, players] -> float64 [coalitions]."""
        start = time.process_time()
        values = self.game(coalitions)
        self.seconds += time.process_time() - start
        return values


def peers(games: list[NamedGame], profile: ScoringProfile, console: Console) -> list[dict]:
    """The public libraries' estimates, from their own environment, two processes at a time."""
    python = peers_environment(console)
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for number, named in enumerate(games):
            file = Path(folder) / f"{number}.npz"
            save(named, file)
            jobs.append({"file": str(file), "budgets": budgets(named, profile), "seeds": seeds(named, profile)})
        running, peers = [], [str(python), "-m", "benchmarks.scoring.peers"]
        for half in range(2):
            listed, answers = Path(folder) / f"jobs{half}.json", Path(folder) / f"answers{half}.jsonl"
            listed.write_text(json.dumps(jobs[half::2]))
            one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            running.append((subprocess.Popen([*peers, str(listed), str(answers)], cwd=ROOT, env=one_thread), answers))
        rows = []
        for process, answers in running:
            if process.wait() != 0:
                raise RuntimeError(f"{process.args} ended with {process.returncode}")
            for line in answers.read_text().splitlines():
                row = json.loads(line)
                rows.append(row | {"game": int(Path(row["file"]).stem), "source": "public"})
    return rows


def peers_environment(console: Console) -> Path:
    """Python of the environment with the public libraries; made if it is not there."""
    folder = ROOT / "build/scoring-peers"
    python = folder / "bin/python"
    ready = folder / "ready"
    if not ready.exists():
        console.print(f"making {folder.relative_to(ROOT)} with {', '.join(PEERS)}")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS], check=True)
        ready.touch()
    return python


def figures(rows: list[dict], games: list[NamedGame], truths: list[np.ndarray]) -> list[dict]:
    """Means over seeds and over games of one name, size and budget."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if "failed" in row:
            continue
        named, exact = games[row["game"]], truths[row["game"]]
        key = (named.players, named.family, named.name, row["budget"] // named.players, row["source"], row["method"])
        groups.setdefault(key, []).append(one_figure(row, exact))
    result = []
    for key, group in sorted(groups.items()):
        names = ("players", "family", "game", "budget_per_player", "source", "method")
        means = {name: float(np.mean([one[name] for one in group])) for name in group[0] if group[0][name] is not None}
        spread = float(np.std([one["error"] for one in group]) / np.sqrt(len(group)))
        result.append(dict(zip(names, key, strict=True)) | means | {"error_noise": spread, "runs": len(group)})
    return result


def one_figure(row: dict, exact: np.ndarray) -> dict:
    """Relative mean absolute error, rank correlation, coverage and half-width of 95 % intervals of one estimate."""
    values, scale = np.array(row["values"]), np.abs(exact).mean()
    wrong = np.abs(values - exact)
    errors = row.get("errors")
    tolerance = 1e-9 * scale
    return {
        "error": float(wrong.mean() / scale),
        "spearman": spearman(values, exact),
        "coverage": None if errors is None else float((wrong <= 1.96 * np.array(errors) + tolerance).mean()),
        "half_width": None if errors is None else float(1.96 * np.mean(errors) / scale),
        "overhead_ms": row["overhead_ms"],
        "evaluations": float(row["evaluations"]),
    }


def spearman(left: np.ndarray, right: np.ndarray) -> float:
    """Rank correlation with mean ranks for ties (values closer than 1e-9 of the largest count as tied)."""
    ranks = []
    for values in (left, right):
        rounded = np.round(values / max(float(np.abs(values).max()), 1e-300), 9)
        unique, inverse, counts = np.unique(rounded, return_inverse=True, return_counts=True)
        del unique
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    if min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0.0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
