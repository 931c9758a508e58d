"""Tables of coalition values of real LoRA rounds, for `python -m benchmarks.scoring --games`.

    python -m benchmarks.scoring.lora_games                            build/benchmarks/games/lora-10.npz, 1,024 sets
    python -m benchmarks.scoring.lora_games --players 16 --rows 12     65,536 coalitions: an hour and a half on one core
    python -m benchmarks.scoring.lora_games --stop-at 512              the first half: the game of the first 9 trainers

The demo's task: shards of the three sources in turn; every fourth trainer has 60 % of its labels flipped, every fifth
works on the shard of the trainer five before it (a duplicate of data, with a batch order of its own), and the last one
hands in a noised copy of the first. v(S) is the loss improvement of the mean over the warm starting adapter, as
`incentives.valuation` defines it. A run that is stopped goes on where it was. Coalitions come in binary order, the
first trainer being the lowest bit: when 2^k are done, the game of the first k trainers is complete; from 8 trainers on
it is written.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.scoring.games import NamedGame, TableGame, save
from benchmarks.shared.lora_rounds import SOURCES, Rounds, sentiment_rows, with_flipped_labels
from benchmarks.shared.places import BUILD
from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.combining.aggregation import mixture_weights
from deltaproof.tuning.combining.evaluation import Evaluator

GAMES = BUILD / "games"
BLOCK = 64
SHARD = 50


def trainers(rounds: Rounds, players: int) -> list[Vector]:
    """Adapters after one round."""
    thetas: list[Vector] = []
    for i in range(players - 1):
        origin = i - 5 if i % 5 == 4 and i >= 5 else i
        first = 100 + SHARD * (origin // 3)
        rows = sentiment_rows(SOURCES[origin % 3], first, first + SHARD)
        if i % 4 == 3:
            rows = with_flipped_labels(rows, 0.6, f"game/{i}")
        thetas.append(rounds.train(f"game/{i}", rows, rounds.warm_start, 1))
    update = thetas[0] - rounds.warm_start
    noise = np.random.default_rng(5).normal(size=update.shape)
    copy = thetas[0] + 0.2 * np.linalg.norm(update) / np.linalg.norm(noise) * noise
    return [*thetas, copy.astype(np.float32)]


def main() -> None:
    """Evaluate what is missing, in blocks that are kept, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=10, choices=range(3, 17))
    parser.add_argument("--rows", type=int, default=96, help="validation rows, a multiple of 3")
    parser.add_argument("--stop-at", type=int, default=2**16, help="coalitions after which to stop")
    options = parser.parse_args()
    rounds = Rounds()
    thetas = trainers(rounds, options.players)
    rows = [row for source in SOURCES for row in sentiment_rows(source, 900, 900 + options.rows // 3)]
    evaluator = Evaluator(rounds.bench, rows)
    start = evaluator.evaluate(rounds.warm_start).loss
    coalitions = (np.arange(2**options.players)[:, None] >> np.arange(options.players) & 1).astype(bool)
    parts = GAMES / f"lora-{options.players}-{options.rows}"
    parts.mkdir(parents=True, exist_ok=True)
    began, done = time.monotonic(), 0
    for first in range(0, min(options.stop_at, len(coalitions)), BLOCK):
        path = parts / f"{first:06d}.npy"
        if path.exists():
            continue
        block = coalitions[first : first + BLOCK]
        values = np.zeros(len(block))
        members = block.any(axis=1)
        results = evaluator.evaluate_means(thetas, mixture_weights(block[members]))
        values[members] = [start - results.mean(c).loss for c in range(int(members.sum()))]
        np.save(path, values)
        done += len(block)
        print(f"{first + len(block)} of {len(coalitions)}: {(time.monotonic() - began) / done:.3f} s each", flush=True)
    table = np.concatenate([np.load(path) for path in sorted(parts.glob("*.npy"))])
    players = min(options.players, len(table).bit_length() - 1)
    if players < min(8, options.players):
        raise SystemExit(f"{len(table)} coalitions are too few for a game")
    table, target = table[: 2**players], GAMES / f"lora-{players}.npz"
    title = f"LoRA MiniLM, {options.rows} rows"
    save(NamedGame(title, "averaging", TableGame(table, np.ones(players))), target)
    print(f"wrote {target.name}: v(all) = {table[-1]:.4f}, best single {table[1 << np.arange(players)].max():.4f}")


if __name__ == "__main__":
    main()
