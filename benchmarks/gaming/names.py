"""What names earn: one attacker under k names, by six rules of pay, on real LoRA rounds of two models.

    python -m benchmarks.gaming.names [--worlds N] [--ground sentences|digits] [--rules RULE ...] [--work DIR]

plays what is asked for, a cell for each world, strategy and rule, and writes docs/results/names.md from all cells that
are there. Cells are kept, so an interrupted run goes on. Deltas are trained by the product's own step, values are the
product's; nobody is called a copy by likeness, so that only the rules themselves are compared.

Evidence are the rows of the steps that verifiers with nine samples replay: 11 of 12.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gaming.along_step import scores_along_step
from benchmarks.gaming.grounds import GROUNDS, ROWS, Ground, Shards
from benchmarks.gaming.names_page import write_page
from benchmarks.shared.cells import cell
from benchmarks.shared.places import BUILD, FIGURES
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.types import Digest32, address
from deltaproof.tuning.training.workbench import Workbench
from incentives.row_evidence import RowClaim, RowCount, count_rows
from incentives.steps import rows_within_reach
from incentives.unions import Contribution, united
from incentives.valuation import value_round

SAMPLES, EVALUATIONS = 9, 96


@dataclass(frozen=True)
class Name:
    """One enrolled name: the rows it trains on; `made` in place of a trained adapter."""

    label: str
    rows: Sequence[bytes]
    made: str = ""


@dataclass(frozen=True)
class Played:
    """Everybody of a world: honest trainers, then the attacker's names."""

    contributions: tuple[Contribution, ...]
    opened: tuple[frozenset[bytes], ...]
    """With few rows, those of the first and the last step only."""
    few: tuple[frozenset[bytes], ...]


class World:
    """A world of a ground, and what its people train."""

    def __init__(self, ground: Ground, number: int) -> None:
        self.ground, self.number, self.rounds = ground, number, ground.rounds

    @cached_property
    def shards(self) -> Shards:
        return self.ground.shards(self.number)

    def honest(self) -> list[Name]:
        return [Name(f"honest/{i}", rows) for i, rows in enumerate(self.shards.honest)]

    def attacker(self, strategy: str, k: int) -> list[Name]:
        """The attacker's names; one that works honestly is `same` with k = 1."""
        own, other = self.shards.own, self.shards.second
        few = own[: ROWS // 4]
        return {
            "nobody": list,
            "same": lambda: [Name(f"same/{i}", own) for i in range(k)],
            "part": lambda: [Name(f"part/{k}/{i}", own[i::k]) for i in range(k)],
            "subsets": lambda: [Name(f"subsets/{i}", self._half(own, i)) for i in range(k)],
            "nearly the same": lambda: self._rewritten("nearly", self.ground.nearly, k),
            "paraphrased": lambda: self._rewritten("reworded", self.ground.reworded, k),
            "mimicry": lambda: [Name(f"mimic/{i}", self.shown_by_victim()) for i in range(k)],
            "mixture": lambda: [Name(f"mixture/{k}/{i}", self._mixed(own[i::k])) for i in range(k)],
            "averaged": lambda: [Name(f"averaged/{k}", own, f"mean of {k}")],
            "collusion": lambda: [Name(f"both/{i}", [*own, *other]) for i in range(k)],
            "merging": lambda: [Name("merged", [*own[::2], *other[::2]])],
            "two halves": lambda: [Name("half/0", own[::2]), Name("half/1", other[::2])],
            "two honest shards": lambda: [Name("same/0", own), Name("second", other)],
            "a quarter of the rows": lambda: [Name("quarter", few)],
            "a quarter, inflated": lambda: [Name("inflated", self._inflated(few))],
            "free ride": lambda: [Name(f"{made}/0", own, made) for made in ("start", "random")],
            "labels turned over": lambda: [Name("turned", [_turned(row) for row in own])],
        }[strategy]()

    def _inflated(self, rows: Sequence[bytes]) -> list[bytes]:
        return [self.ground.nearly(row, i) if i else row for row in rows for i in range(4)]

    def _half(self, rows: Sequence[bytes], number: int) -> list[bytes]:
        order = sorted(rows, key=lambda row: sha256(f"{number}/".encode() + row).digest())
        return order[: len(rows) // 2]

    def _rewritten(self, label: str, write: Callable[[bytes, int], bytes], k: int) -> list[Name]:
        """The first name is the one that works honestly, key and all: what the others add is then no chance."""
        own = self.shards.own
        others = [list(dict.fromkeys(write(row, i) for row in own)) for i in range(1, k)]
        return [Name("same/0", own), *(Name(f"{label}/{i}", rows) for i, rows in enumerate(others, start=1))]

    def _mixed(self, rows: Sequence[bytes]) -> list[bytes]:
        """A part of the own rows, filled up with a victim's."""
        return [*rows, *self.shown_by_victim()[: ROWS - len(rows)]]

    def shown_by_victim(self) -> list[bytes]:
        """Rows of the first honest trainer that everybody saw in the round before."""
        victim = self.honest()[0]
        return sorted(self._shown(victim.label, victim.rows, 0, self._drawn(victim.label, 0)))

    def played(self, names: Sequence[Name]) -> Played:
        contributions, opened, few = [], [], []
        for rank, name in enumerate(names):
            label = f"{self.number}/{name.label}"
            theta = self._made(name.made) if name.made else self.rounds.train(label, name.rows, self.start, 1)
            contributions.append(Contribution(theta, len(name.rows), rank, enrolled=rank))
            opened.append(self._shown(label, name.rows, 1, self._drawn(label, 1)))
            few.append(self._shown(label, name.rows, 1, [0, self.rounds.steps - 1]))
        return Played(tuple(contributions), tuple(opened), tuple(few))

    @property
    def start(self) -> Vector:
        return self.rounds.warm_start

    def _made(self, kind: str) -> Vector:
        if kind == "start":
            return self.start.copy()
        if kind.startswith("mean of "):
            return self._mean_run(int(kind.removeprefix("mean of ")))
        drawn = np.random.default_rng([5, self.number]).normal(size=self.start.shape)
        honest = self.rounds.train(f"{self.number}/honest/0", self.shards.honest[0], self.start, 1) - self.start
        return (self.start + drawn * np.linalg.norm(honest) / np.linalg.norm(drawn)).astype(np.float32)

    def _mean_run(self, k: int) -> Vector:
        """What k runs on the attacker's rows come to on average: no name can hand it in, replay would reject it."""
        runs = [self.rounds.train(f"{self.number}/same/{i}", self.shards.own, self.start, 1) for i in range(k)]
        return united(self.rounds.bench, [Contribution(run, ROWS, i) for i, run in enumerate(runs)]).theta

    def _drawn(self, label: str, round_: int) -> tuple[int, ...]:
        """Steps that verifiers replay."""
        seed = Digest32(sha256(f"challenge/{label}".encode()).digest())
        return draw_samples(seed, 1, round_, address(bytes([1]) * 20), steps=self.rounds.steps, extra=SAMPLES)

    def _shown(self, label: str, rows: Sequence[bytes], round_: int, steps: Sequence[int]) -> frozenset[bytes]:
        context, shard = self.rounds.context(label, rows, self.start, round_)
        spec = self.rounds.spec
        return frozenset(shard.rows[i] for step in steps for i in context.batch(spec, step))


def _turned(row: bytes) -> bytes:
    """The next label: in sentences the wrong one."""
    for label in range(10):
        if (old := f'"label":{label}'.encode()) in row:
            most = 2 if b'"text"' in row else 10
            return row.replace(old, f'"label":{(label + 1) % most}'.encode())
    raise ValueError("a row without a label")


# Rules: each gives scores, nano-nats.

Rule = Callable[[World, Played], list[int]]


def _bench(world: World, **scoring: object) -> Workbench:
    """The model under another semivalue; nobody is a copy."""
    bench = world.rounds.bench
    spec = bench.spec
    section = spec.scoring.model_copy(update={"budget": EVALUATIONS, "similarity_threshold": 2.0, **scoring})
    return replace(bench, spec=spec.model_copy(update={"scoring": section}))


def _scores(world: World, contributions: Sequence[Contribution], **scoring: object) -> list[int]:
    found = value_round(_bench(world, **scoring), world.start, contributions, world.shards.held_out, b"names")
    return [value.score_nanos for value in found.values]


def _along_step(world: World, contributions: Sequence[Contribution]) -> list[int]:
    return scores_along_step(world.rounds.bench, world.shards.held_out, world.start, contributions)


def _counts(world: World, played: Played, opened: Sequence[frozenset[bytes]]) -> list[RowCount]:
    spec, people = world.rounds.spec, played.contributions
    return count_rows(
        [RowClaim(c.enrolled, rows_within_reach(spec, c.rows), o) for c, o in zip(people, opened, strict=True)]
    )


def _distinct(world: World, played: Played, opened: Sequence[frozenset[bytes]]) -> list[int]:
    counts = _counts(world, played, opened)
    counted = [replace(c, rows=count.counted) for c, count in zip(played.contributions, counts, strict=True)]
    return _along_step(world, counted)


def _quotient(world: World, played: Played) -> list[int]:
    """Quotient semivalue (arXiv 2605.07663): whom shown rows link, is one player; its members share its value alike."""
    cluster = list(range(len(played.contributions)))
    for place, count in enumerate(_counts(world, played, played.opened)):
        linked = {cluster[place], *(cluster[other] for other in count.earlier)}
        cluster = [min(linked) if c in linked else c for c in cluster]
    members = {c: [i for i, mine in enumerate(cluster) if mine == c] for c in sorted(set(cluster))}
    bench = _bench(world)
    players = [united(bench, [played.contributions[i] for i in who]) for who in members.values()]
    scores = [0] * len(cluster)
    for who, score in zip(members.values(), _scores(world, players), strict=True):
        for i in who:
            scores[i] = score // len(who)
    return scores


RULES: dict[str, Rule] = {
    "distinct": lambda world, played: _distinct(world, played, played.opened),
    "few": lambda world, played: _distinct(world, played, played.few),
    "aumann_shapley": lambda world, played: _along_step(world, played.contributions),
    "quotient": _quotient,
    "shapley": lambda world, played: _scores(world, played.contributions),
    "banzhaf": lambda world, played: _scores(world, played.contributions, index="banzhaf"),
}
SINGLE = (
    "nobody",
    "two honest shards",
    "two halves",
    "merging",
    "a quarter of the rows",
    "a quarter, inflated",
    "free ride",
    "labels turned over",
)
STRATEGIES: list[tuple[str, int]] = [
    *(("same", k) for k in (1, 2, 3, 5, 10, 30, 100)),
    *(("part", k) for k in (3, 10)),
    ("subsets", 10),
    ("nearly the same", 5),
    *(("paraphrased", k) for k in (2, 5)),
    *(("mimicry", k) for k in (1, 10)),
    *(("averaged", k) for k in (3, 10)),
    *(("mixture", k) for k in (2, 4)),
    *(("collusion", k) for k in (2, 10)),
    *((name, 1) for name in SINGLE),
]
FEW_NAMES = {"sentences": 10, "digits": 100}
"""Most names by ground: what a world costs."""


def play(world: World, rule: str, strategy: str, k: int) -> dict[str, Any]:
    """Everybody's part of all positive scores, the honest trainers first."""
    honest = world.honest()
    played = world.played([*honest, *world.attacker(strategy, k)])
    paid = [max(score, 0) for score in RULES[rule](world, played)]
    total = max(1, sum(paid))
    return {"honest": [p / total for p in paid[: len(honest)]], "attacker": sum(paid[len(honest) :]) / total}


def adopt(work: Path) -> None:
    """Go on from the published cells where this machine has none."""
    for *place, found in json.loads((FIGURES / "names.json").read_text("utf-8"))["cells"]:
        cell(work, " ".join(map(str, place)), partial(dict, found))


def main() -> None:
    """Play and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="first world to play")
    parser.add_argument("--ground", choices=tuple(GROUNDS), nargs="*", default=tuple(GROUNDS))
    parser.add_argument("--rules", choices=tuple(RULES), nargs="*", default=tuple(RULES))
    parser.add_argument("--strategies", nargs="*", default=tuple(dict.fromkeys(name for name, _ in STRATEGIES)))
    parser.add_argument("--most", type=int, default=100, help="most names that are played")
    parser.add_argument("--work", type=Path, default=BUILD / "names")
    options = parser.parse_args()
    torch.set_num_threads(1)
    adopt(options.work)
    for ground in options.ground:
        for number in range(options.first, options.worlds):
            world = World(GROUNDS[ground], number)
            for rule in options.rules:
                for strategy, k in STRATEGIES:
                    if strategy in options.strategies and k <= min(options.most, FEW_NAMES[ground]):
                        name = f"{ground} {number} {rule} {strategy} {k}"
                        cell(options.work, name, partial(play, world, rule, strategy, k))
    everything = [
        (ground, number, rule, strategy, k)
        for ground in GROUNDS
        for rule in RULES
        for strategy, k in STRATEGIES
        for number in range(100)
    ]
    write_page(options.work, everything)


if __name__ == "__main__":
    main()
