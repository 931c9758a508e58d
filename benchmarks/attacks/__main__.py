"""Every known attack on verified training, as a working attacker, against the real judge.

    python -m benchmarks.attacks [--profile full|short] [--work DIR]

Each attacker commits to a consistent transcript. All its steps are judged once; then samples are drawn, with the
protocol's own sampler and a fresh challenge seed each time, and a trial counts as caught if a sampled step is refused
or, in bounded mode, the drift test over the samples objects. Beside the measured rate stands the promised one, computed
from the number of refused steps. Rows of chance are judged together: each promise must lie in an exact interval so
wide that all rows hold at once with 95 %. Attackers over full rounds have a command of their own
(`benchmarks.attacks.full_rounds`).
What was measured is kept in `--work`: an interrupted run goes on where it stopped. Results: docs/results/attacks.md
(the short profile only prints). A broken promise makes the command fail.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.attacks.arena import Arena, chance_attacks, minilm, tiny, whole_run_attacks
from benchmarks.attacks.forging import Forged, ForgedStep, Honest, exact_update, judge_all
from benchmarks.attacks.full_rounds import refused_tasks
from benchmarks.attacks.on_chain import replayed_commitments
from benchmarks.attacks.on_drift import steering_attacks
from benchmarks.attacks.on_files import hostile_files, lucky_restart, second_preimages
from benchmarks.attacks.on_store import unusable_artifacts, withheld_steps
from benchmarks.attacks.rates import (
    TRAINER,
    AttackOutcome,
    measure,
    simultaneous_level,
    tally,
    tally_steps,
)
from benchmarks.attacks.report import markdown
from benchmarks.shared.cells import cell
from benchmarks.shared.replay_tasks import machine_facts, write_results
from deltaproof.protocol.draws.samples import draw_samples, samples_needed
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.training.optimizers import State


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("full", "short"), default="full")
    parser.add_argument("--work", type=Path, default=Path("runs/attacks"))
    options = parser.parse_args()
    short, work = options.profile == "short", options.work / options.profile
    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcomes, notes = run(Path(folder), work, short)
    level = simultaneous_level(outcomes)
    text = markdown(outcomes, notes)
    if short:
        print(text)
    else:
        rows = [
            asdict(o) | {"interval": o.interval(), "simultaneous": o.interval(level), "kept": o.kept(level)}
            for o in outcomes
        ]
        document = {
            "machine": machine_facts(), "seconds": time.perf_counter() - started, "level_of_a_row": level,
            "outcomes": rows, "notes": notes,
        }  # fmt: skip
        write_results("attacks", document, text)
    if broken := [o.attack for o in outcomes if not o.kept(level)]:
        print("PROMISE BROKEN:", *broken, sep="\n  ")
        sys.exit(1)


def run(folder: Path, work: Path, short: bool) -> tuple[list[AttackOutcome], list[str]]:
    trials = 200 if short else 1000

    def real() -> Arena:
        return minilm("exact", 6 if short else 16)

    def notes() -> list[str]:
        arena = real()
        return [
            lucky_restart(arena), *replayed_commitments(folder / "chain"),
            *unusable_artifacts(arena, folder / "unusable"), *hostile_files(arena), *second_preimages(arena),
            f"tasks that would let pushes through, refused: {', '.join(refused_tasks(arena.bench.spec))}",
        ]  # fmt: skip

    def whole_run() -> list[AttackOutcome]:
        arena = real()
        outcomes = [measure(arena, *attack, samples=4, trials=trials) for attack in whole_run_attacks(arena)]
        return outcomes + nothing_opened(arena, folder / "nothing", trials)

    def chance() -> list[AttackOutcome]:
        return by_chance(tiny(folder, "exact", 60 if short else 1000), folder, 200 if short else 10_000)

    def steering() -> list[AttackOutcome]:
        return steering_attacks(minilm("bounded", 6 if short else 40), trials, 4 if short else 20)

    told = cell(work / "parts", "files, store and chain", lambda: {"notes": notes()})["notes"]
    outcomes = []
    for name, part in (("whole run", whole_run), ("by chance", chance), ("steering", steering)):
        rows = cell(work / "parts", name, lambda part=part: {"rows": [asdict(row) for row in part()]})["rows"]  # type: ignore[misc]
        outcomes += [AttackOutcome(**row) for row in rows]
    return outcomes, told


def nothing_opened(arena: Arena, folder: Path, trials: int) -> list[AttackOutcome]:
    """Honest work, or so it says, of which nothing is ever shown."""
    honest = arena.forge(lambda *_: None)
    refused = withheld_steps(arena, folder, honest, range(arena.steps))
    name, what = "withheld: no opening is published", "every opening"
    return [tally_steps(arena, name, what, refused, samples=4, trials=trials, chance=False)]


def by_chance(arena: Arena, folder: Path, trials: int) -> list[AttackOutcome]:
    """Attacks that hope not to be sampled."""
    needed = samples_needed(0.05, 0.99)
    few, outcomes = needed // 9, []
    kept: dict[str, tuple[Forged, dict[int, str]]] = {}
    for name, what, forged in chance_attacks(arena):
        verdicts = judge_all(arena.judge, forged, arena.context)
        kept[name] = forged, {verdict.step: str(verdict.failed) for verdict in verdicts if not verdict.accepted}
        for samples in (few, needed):
            outcomes.append(tally(arena, name, what, verdicts, samples=samples, trials=trials, chance=True))
    forged, bad = kept["skipped steps, made up (5%)"]
    hidden = withheld_steps(arena, folder / "withheld", forged, bad.keys())
    for samples in (few, needed):
        name, what = "adaptive: bad steps are withheld, not shown", f"{len(hidden)} steps"
        outcomes.append(tally_steps(arena, name, what, hidden, samples=samples, trials=trials))
    outcomes.append(predicted(arena, few, trials))
    single, one_percent = kept["one bad step, neither first nor last"][1], kept["skipped steps, made up (1%)"][1]
    for name, refused, samples in (
        ("one bad step, three times the samples", single, 3 * needed),
        ("skipped steps (1%), three times the samples", one_percent, 3 * few),
    ):
        what = f"{len(refused)} step{'s' if len(refused) > 1 else ''}"
        outcomes.append(tally_steps(arena, name, what, refused, samples=samples, trials=trials))
    return outcomes


def predicted(arena: Arena, samples: int, trials: int) -> AttackOutcome:
    """Guess the challenge: corrupt the tenth of the steps that 200 guessed seeds would sample least."""
    counts = Counter[int]()
    for guess in range(200):
        seed = Digest32(hashlib.sha256(f"guess {guess}".encode()).digest())
        counts.update(draw_samples(seed, 1, 0, TRAINER, steps=arena.steps, extra=samples))
    rarest = sorted(range(1, arena.steps - 1), key=lambda step: (counts[step], step))[: arena.steps // 10]
    zeros = np.zeros(arena.bench.layout.size, np.float32)

    def attack(step: int, state: State, _: Honest) -> ForgedStep | None:
        return exact_update(arena.bench, state, step, zeros) if step in rarest else None

    verdicts = judge_all(arena.judge, arena.forge(attack), arena.context)
    name, what = "adaptive: predicting the challenge", f"{len(rarest)} steps"
    return tally(arena, name, what, verdicts, samples=samples, trials=trials, chance=True)


def progress(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
