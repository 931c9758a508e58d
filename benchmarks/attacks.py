"""Every known attack on verified training, as a working attacker, against the real judge.

    python benchmarks/attacks.py [--profile full|short]

Each attacker commits to a consistent transcript. All its steps are judged once; then samples are drawn, with the
protocol's own sampler and a fresh challenge seed each time, and a trial counts as caught if a sampled step is refused
or, in bounded mode, the drift test over the samples objects. Beside the measured rate stands the promised one, computed
from the number of refused steps. Results: docs/results/attacks.{json,md} (the short profile only prints).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attackers import Arena, chance_attacks, minilm, tiny, whole_run_attacks
from attacks_on_files import hostile_files, lucky_restart, second_preimages
from forging import Attack, Forged, Forgery, Honest, exact_update, forge, judge_all
from replay_tasks import machine_facts, table, wilson, write_results

from protocol.samples import draw_samples, samples_needed
from protocol.types import Address, Digest32
from tuning.drift import judge_drift
from tuning.optimizers import State
from tuning.replay import StepVerdict
from tuning.sampling_promise import detection_probability
from tuning.step import RoundContext
from tuning.workbench import Workbench

VERIFIER, TRAINER = Address("0x" + "22" * 20), Address("0x" + "01" * 20)
STAKE, SLASH = 10.0, 0.5
"""For the earnings column: stake in rounds' pay, and the share that a caught cheat loses."""


@dataclass(frozen=True)
class Outcome:
    """One attack's row. `promised` follows from the refused steps; whole-run attacks promise 1."""

    attack: str
    setting: str
    corrupts: str
    steps: int
    refused: int
    checks: str
    samples: int
    trials: int
    caught: int
    low: float
    high: float
    promised: float
    earnings: float
    whole_run: bool

    @property
    def kept(self) -> bool:
        """All caught if promised with certainty, else the interval contains the promise."""
        return self.caught == self.trials if self.promised > 0.999999 else self.low <= self.promised <= self.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("full", "short"), default="full")
    short = parser.parse_args().profile == "short"
    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcomes, notes, remains = run(Path(folder), short)
    text = markdown(outcomes, notes, remains)
    if short:
        print(text)
    else:
        document = {
            "machine": machine_facts(), "seconds": time.perf_counter() - started,
            "outcomes": [asdict(o) | {"kept": o.kept} for o in outcomes], "notes": notes, "steering": remains,
        }  # fmt: skip
        write_results("attacks", document, text)
    if broken := [o.attack for o in outcomes if not o.kept]:
        print("PROMISE BROKEN:", *broken, sep="\n  ")
        sys.exit(1)


def run(folder: Path, short: bool) -> tuple[list[Outcome], list[str], list[dict[str, Any]]]:
    trials = 200 if short else 1000
    real = minilm("exact", 6 if short else 16)
    outcomes = [measure(real, *attack, samples=4, trials=trials) for attack in whole_run_attacks(real)]
    small = tiny(folder, "exact", 60 if short else 1000)
    needed = samples_needed(0.05, 0.99)
    for name, what, forged in chance_attacks(small):
        verdicts = judge_all(small.judge, forged, small.context)
        for samples in (needed // 9, needed):
            outcomes.append(tally(small, name, what, verdicts, samples=samples, trials=trials, chance=True))
    outcomes += prediction(small, needed // 9, trials)
    notes = [lucky_restart(real), *hostile_files(real), *second_preimages(real)]
    bounded = minilm("bounded", 6 if short else 40)
    steering, remains = steering_attacks(bounded, trials, samples=4 if short else 20)
    return [*outcomes, *steering], notes, remains


# Measuring


def measure(
    arena: Arena, attack: str, corrupts: str, forged: Forged | tuple[Forged, RoundContext], *,
    samples: int, trials: int,
) -> Outcome:  # fmt: skip
    """Judge every step, then draw `trials` challenges."""
    made, context = forged if isinstance(forged, tuple) else (forged, arena.context)
    verdicts = judge_all(arena.judge, made, context)
    return tally(arena, attack, corrupts, verdicts, samples=samples, trials=trials)


def tally(
    arena: Arena, attack: str, corrupts: str, verdicts: Sequence[StepVerdict], *,
    samples: int, trials: int, chance: bool = False, drift: bool = False,
) -> Outcome:  # fmt: skip
    refused = {verdict.step for verdict in verdicts if not verdict.accepted}
    caught = 0
    for drawn in challenges(arena, samples, trials):
        hit = any(step in refused for step in drawn)
        if not hit and drift:
            sampled = [verdicts[step].drift for step in drawn]
            hit = not judge_drift([s for s in sampled if s], arena.bench.spec.training, arena.bench.layout).accepted
        caught += hit
    low, high = wilson(caught, trials)
    ends = {0, arena.steps - 1}
    certain = drift or bool(refused & ends)
    promised = 1.0 if certain else detection_probability(arena.steps - 2, len(refused), samples)
    rate = caught / trials
    checks = Counter(verdict.failed for verdict in verdicts if verdict.failed)
    found = ", ".join(f"{check} ({count})" for check, count in checks.most_common()) or ("drift" if drift else "none")
    return Outcome(
        attack, arena.name, corrupts, arena.steps, len(refused), found, samples, trials, caught, low, high, promised,
        (1 - rate) - rate * SLASH * STAKE, not chance,
    )  # fmt: skip


def challenges(arena: Arena, samples: int, trials: int) -> Iterator[tuple[int, ...]]:
    """What a verifier samples, for one fresh challenge seed after the other."""
    for trial in range(trials):
        seed = Digest32(hashlib.sha256(f"challenge {trial}".encode()).digest())
        yield draw_samples(seed, 1, 0, TRAINER, [VERIFIER], steps=arena.steps, extra=samples)[VERIFIER]


def prediction(arena: Arena, samples: int, trials: int) -> list[Outcome]:
    """Guess the challenge: corrupt the tenth of the steps that 200 guessed seeds would sample least."""
    counts = Counter[int]()
    for guess in range(200):
        seed = Digest32(hashlib.sha256(f"guess {guess}".encode()).digest())
        counts.update(draw_samples(seed, 1, 0, TRAINER, [VERIFIER], steps=arena.steps, extra=samples)[VERIFIER])
    rarest = sorted(range(1, arena.steps - 1), key=lambda step: (counts[step], step))[: arena.steps // 10]
    zeros = np.zeros(arena.bench.layout.size, np.float32)

    def attack(step: int, state: State, _: Honest) -> Forgery | None:
        return exact_update(arena.bench, state, step, zeros) if step in rarest else None

    verdicts = judge_all(arena.judge, arena.forge(attack), arena.context)
    name, what = "predicting the challenge", f"{len(rarest)} steps"
    return [tally(arena, name, what, verdicts, samples=samples, trials=trials, chance=True)]


# Steering inside the tolerance


def steering_attacks(arena: Arena, trials: int, samples: int) -> tuple[list[Outcome], list[dict[str, Any]]]:
    """Pushes that know the bound and the drift test, and what those that are not caught move."""
    bench, layout = arena.bench, arena.bench.layout
    bound = bench.spec.training.bound_total
    generator = np.random.default_rng(11)
    random = generator.standard_normal(layout.size)
    head = np.zeros(layout.size)
    for name, where in layout.slices.items():
        if "classifier" in name:
            head[where] = generator.standard_normal(where.stop - where.start)
    honest = arena.forge(lambda *_: None)
    verdicts = judge_all(arena.judge, honest, arena.context)
    false = [verdict.message for verdict in verdicts if not verdict.accepted]
    if false:
        raise AssertionError(f"honest steps refused: {false}")
    noise = judge_drift([v.drift for v in verdicts if v.drift], bench.spec.training, layout).noise

    def push(size: float, direction: np.ndarray | str, alternate: bool = False) -> Attack:
        def attack(step: int, state: State, do: Honest) -> Forgery:
            result = do(state)
            norm = float(np.linalg.norm(result.gradient))
            chosen = result.gradient.astype(np.float64) if isinstance(direction, str) else direction.copy()
            chosen[result.gradient == 0.0] = 0.0  # a push where the gradient is exactly zero is refused outright
            sign = -1.0 if alternate and step % 2 else 1.0
            pushed = result.gradient + sign * size * norm * chosen / (float(np.linalg.norm(chosen)) or 1.0)
            return exact_update(bench, state, step, pushed.astype(np.float32), loss=result.record.loss)

        return attack

    def amplified(step: int, state: State, do: Honest) -> Forgery:
        """Adam turns a tiny push on a tensor without gradient into a full step: LoRA's A in the first step."""
        result = do(state)
        gradient = result.gradient.copy()
        quiet = gradient == 0.0
        gradient[quiet] = np.float32(1e-8) * np.float32(np.linalg.norm(gradient))
        return exact_update(bench, state, step, gradient, loss=result.record.loss)

    attackers: list[tuple[str, str, Attack]] = [
        ("beyond the bound, random direction", "every gradient, 3 x bound", push(3 * bound, random)),
        ("adaptive: inside the bound, one random direction", "every gradient, 0.9 x bound", push(0.9 * bound, random)),
        ("adaptive: inside the bound, head only", "every gradient, 0.9 x bound", push(0.9 * bound, head)),
        ("adaptive: inside the bound, along the gradient", "every gradient, 0.9 x bound", push(0.9 * bound, "along")),
        ("adaptive: Adam's amplifier on silent tensors", "first steps", amplified),
    ]
    outcomes = []
    for name, what, attack in attackers:
        forged = arena.forge(attack)
        judged = judge_all(arena.judge, forged, arena.context)
        outcomes.append(tally(arena, name, what, judged, samples=samples, trials=trials, drift=True))

    # What one could hope to hide: less than the noise of the whole, and less than each tensor's own noise.
    own = _tensor_noise(arena, verdicts)
    sized = np.concatenate([generator.standard_normal(w.stop - w.start) for w in layout.slices.values()])
    for scale, where in zip(own, layout.slices.values(), strict=True):
        sized[where] *= scale / (float(np.linalg.norm(sized[where])) or 1.0)
    remains = []
    unseen = [
        ("half the noise of the whole, one random direction", push(0.5 * noise, random)),
        ("half of each tensor's own noise, one random direction", push(0.5 * noise, sized)),
        ("alternating signs, 0.9 x bound", push(0.9 * bound, random, alternate=True)),
    ]
    twin = forge(Workbench.from_spec(bench.spec, precision="float64"), arena.context, arena.shard, lambda *_: None)
    remains.append(_moved(arena, "honest, but in float64 (what rounding alone moves)", twin, honest, caught=None))
    for name, attack in unseen:
        forged = arena.forge(attack)
        judged = judge_all(arena.judge, forged, arena.context)
        outcome = tally(arena, name, "every gradient", judged, samples=samples, trials=trials, drift=True)
        remains.append(_moved(arena, name, forged, honest, caught=outcome.caught / trials))
    return outcomes, remains


def _tensor_noise(arena: Arena, verdicts: Sequence[StepVerdict]) -> list[float]:
    measured = [verdict.drift.tensor_noise for verdict in verdicts if verdict.drift and verdict.drift.tensor_noise]
    return np.sqrt(np.mean(np.square(measured), axis=0)).tolist()  # type: ignore[no-any-return]


def _moved(arena: Arena, name: str, forged: Forged, honest: Forged, caught: float | None) -> dict[str, Any]:
    """How far the final adapter is from the honest one, relative to what training moved."""
    start = arena.bench.initial_state()
    trained = float(np.linalg.norm(honest.theta - start))
    return {
        "attack": name, "caught": caught,
        "displacement": float(np.linalg.norm(forged.theta - honest.theta)) / trained,
    }  # fmt: skip


# Report


def markdown(outcomes: Sequence[Outcome], notes: Sequence[str], remains: Sequence[dict[str, Any]]) -> str:
    def rows(whole: bool) -> list[tuple[object, ...]]:
        return [
            (
                o.attack, o.setting, o.corrupts, f"{o.refused}/{o.steps}", o.checks, o.samples,
                f"{o.caught}/{o.trials} = {o.caught / o.trials:.3f}", f"{o.low:.3f} to {o.high:.3f}",
                f"{o.promised:.3f}", "yes" if o.kept else "**NO**", f"{o.earnings:+.2f}",
            )
            for o in outcomes
            if o.whole_run is whole
        ]  # fmt: skip

    header = (
        "attack", "setting", "corrupts", "steps refused", "failing check", "samples", "caught", "95 % interval",
        "promised", "kept", "earns (honest: +1)",
    )  # fmt: skip
    steering = [
        (r["attack"], "" if r["caught"] is None else f"{r['caught']:.3f}", f"{r['displacement']:.2e}") for r in remains
    ]
    return "\n".join(
        [
            "# Attacks on verified training",
            "",
            "Every attacker commits to a transcript that is consistent in itself; challenges are drawn with the "
            "protocol's sampler. *Samples* are drawn besides the first and the last step, by one verifier. "
            f"Earnings are in units of a round's pay, for a stake of {STAKE:g} rounds' pay of which a caught cheat "
            f"loses {SLASH:.0%}. Made by `python benchmarks/attacks.py`.",
            "",
            "## Attacks on the whole run, or with a fault in a step that is always sampled",
            "",
            table(header, rows(True)),
            "",
            "## Attacks that hope not to be sampled",
            "",
            table(header, rows(False)),
            "",
            "A single bad step is caught with probability k/N per verifier only: stake prices it, see the last column.",
            "",
            "## Others",
            "",
            *(f"- {note}" for note in notes),
            "",
            "## What steering below the noise is worth (bounded mode)",
            "",
            "A push below the verifier's own rounding noise is not told from rounding. How often the drift test saw it "
            "all the same, and how far it moved the final adapter from the honest one, relative to what training did:",
            "",
            table(("attack", "caught", "displacement / training"), steering),
            "",
            f"Machine: {machine_facts()}",
        ]
    )


if __name__ == "__main__":
    main()
