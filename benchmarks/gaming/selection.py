"""What choosing among k names pays: before the validation set is shown, after it, and what it has to cost.

    python -m benchmarks.gaming.selection [--worlds N]

An attacker trains k names on one shard, each in its own batch order, and every name commits and reveals: the contract
shows the validation set only after the reveals are closed. Left to choose is whose openings are published. A name
without openings is *withheld*: it leaves the game and its stake is slashed. Measured on the worlds of
`benchmarks.gaming` is the best subset for the attacker against publishing all, as shares of the round's budget. That
difference, per name dropped, is what a slash has to exceed. Results: docs/results/selection.md and its figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.gaming.__main__ import DRAWS, HELD_OUT_ROWS, LOSSES, VALIDATION_ROWS, World, settle
from benchmarks.shared.lora_rounds import Rounds
from benchmarks.shared.places import FIGURES, PAGES

NAMES = (2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=2)
    console, worlds = Console(stderr=True), parser.parse_args().worlds
    LOSSES.mkdir(parents=True, exist_ok=True)
    rounds = Rounds()
    results = [row for number in range(worlds) for row in play(World(rounds, number), console)]
    FIGURES.mkdir(parents=True, exist_ok=True)
    (FIGURES / "selection.json").write_text(json.dumps({"worlds": worlds, "seeds": results}, indent=1) + "\n")
    (PAGES / "selection.md").write_text(page(results, worlds))


def play(world: World, console: Console) -> list[dict[str, Any]]:
    """Every subset of the names, under every draw of the validation set."""
    rng = np.random.default_rng([11, world.number])
    draws = [np.sort(rng.permutation(HELD_OUT_ROWS)[:VALIDATION_ROWS]) for _ in range(DRAWS)]
    names = [world.train(f"sybil-same/{world.number}/{i}", world.rows) for i in range(max(NAMES))]
    found = []
    for draw, rows in enumerate(draws):
        subsets = (chosen for k in range(1, len(names) + 1) for chosen in itertools.combinations(range(len(names)), k))
        pay = {chosen: settle(world, [names[i] for i in chosen], rows).attacker for chosen in subsets}
        for k in NAMES:
            mine = {chosen: amount for chosen, amount in pay.items() if max(chosen) < k}
            everybody = mine[tuple(range(k))]
            singles = [mine[i,] for i in range(k)]
            price = max((amount - everybody) / (k - len(chosen)) for chosen, amount in mine.items() if len(chosen) < k)
            found.append(
                {
                    "world": world.number,
                    "draw": draw,
                    "names": k,
                    "all": everybody,
                    "one": float(np.mean(singles)),
                    "best_one": max(singles),
                    "best": max(mine.values()),
                    "price": price,
                }
            )
        console.print(f"world {world.number}, draw {draw}: {found[-1]}")
    return found


def page(results: list[dict[str, Any]], worlds: int) -> str:
    """The page in Markdown."""
    rows = []
    for k in NAMES:
        mine = [row for row in results if row["names"] == k]
        mean = {name: float(np.mean([row[name] for row in mine])) for name in ("one", "all", "best_one", "best")}
        price = max(row["price"] for row in mine)
        gains = sum(row["price"] > 1e-9 for row in mine)
        told = " | ".join(f"{mean[name]:.1%}" for name in ("one", "all", "best_one", "best"))
        rows.append(f"| {k} | {len(mine)} | {told} | {gains} | {max(price, 0.0):.1%} |")
    table = "\n".join(rows)
    return f"""# What choosing among names pays

Written by `python -m benchmarks.gaming.selection` from {worlds} worlds of `benchmarks.gaming` with {DRAWS} validation
sets each: three honest trainers, and an attacker who trains k names on one shard. Pay is a share of the round's budget.

| names | seeds | one name, blindly | all names | best one, chosen on the set | best subset, chosen on the set | \
seeds in which dropping paid | largest gain per name dropped |
|---|---|---|---|---|---|---|---|
{table}

- **Before version 2 of the contracts** a sponsor could show the set while trainers could still choose whether to
  reveal. A name that did not reveal cost its commit bond.
- **Now** the set comes after the reveals, and an audit checks it (`validation after reveals`). Whoever drops a name has
  to withhold its openings, which is a verdict of *withheld*: `slash_bps` of the stake instead of the bond.
- The last column is the price: a slash (`min_trainer_stake` times `slash_bps`) of that share of a round's budget makes
  choosing worthless in every seed. Two worlds and one kind of shard measure it; take a margin.
- What remains is `all names` over `one name`: k names are paid like k trainers where the task does not name its shards
  ([gaming](gaming.md)). Choosing on data of one's own, before the commitment, costs training and nothing else.
"""


if __name__ == "__main__":
    main()
