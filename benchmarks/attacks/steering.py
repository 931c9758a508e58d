"""What a push that the drift test does not see is worth, and how far the test is from false alarms (bounded mode).

    python -m benchmarks.attacks.steering [--profile full|short] [--models MODEL...] [--work DIR]

The drift test lets the gradients of all steps lean by a share of the bound of one step, because honest machines do. The
attackers here know that limit, fill it, and aim at what they would want: more pay, or a backdoor. Measured is how often
they are caught and what the final adapter gains them. What a model gave is kept in `--work`, so an interrupted run goes
on with the next one. Results: docs/results/steering.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.floor_pushes import FILL, PEERS, Scales, Stakes, aims, floor_push, wandering
from benchmarks.attacks.forging import Attack, Forged, forge
from benchmarks.attacks.on_drift import push
from benchmarks.attacks.rates import challenges, clopper_pearson, tally
from benchmarks.shared.cells import cell
from benchmarks.shared.replay_tasks import machine_facts, sentiment_shard, table, task, write_results
from deltaproof.protocol.rules import STEADY_SHARE
from deltaproof.replaying.drift import DriftSample, judge_drift
from deltaproof.replaying.replay import StepVerdict
from deltaproof.tuning.training.workbench import Workbench

PLANS = {"MiniLM-L6": (8, 1e-2, 60, 20), "SmolLM2-135M": (4, 1e-3, 24, 14)}
"""Batch, learning rate, steps and samples besides the ends."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("full", "short"), default="full")
    parser.add_argument("--models", nargs="+", choices=PLANS, default=list(PLANS))
    parser.add_argument("--work", type=Path, default=Path("runs/steering"))
    options = parser.parse_args()
    short = options.profile == "short"
    torch.set_num_threads(1)
    found = []
    for model in options.models:
        batch, rate, steps, samples = PLANS[model]
        steps, samples, trials = (6, 4, 20) if short else (steps, samples, 300)
        played = partial(measured, model, (batch, rate, steps), trials, samples)
        found.append(cell(options.work / options.profile, model, played))
    text = markdown(found)
    if short:
        print(text)
    else:
        write_results("steering", {"machine": machine_facts(), "models": found}, text)


def measured(model: str, plan: tuple[int, float, int], trials: int, samples: int) -> dict[str, Any]:
    started = time.perf_counter()
    return {**pushes(arena(model, *plan), trials, samples), "seconds": time.perf_counter() - started}


def arena(model: str, batch: int, rate: float, steps: int) -> Arena:
    spec = task(model, optimizer="adamw", numeric="bounded", steps=steps, batch=batch, tokens=32, rank=2)
    tuned = {"optimizer": {**spec.optimizer.model_dump(), "learning_rate": rate}}
    spec = type(spec).model_validate({**spec.model_dump(), **tuned})
    return Arena.of(model, spec, sentiment_shard(spec.model.kind))


def pushes(arena: Arena, trials: int, samples: int) -> dict[str, Any]:
    """How often the drift test sees each push, what it moves and what it earns; and the test's false alarms."""
    bench, layout = arena.bench, arena.bench.layout
    stakes = Stakes.of(bench.spec)
    honest = arena.forge(lambda *_: None)
    verdicts = _accepted(judged(arena, honest))
    noise = judge_drift(_samples(verdicts), bench.spec.training, layout).noise
    scales = Scales(arena, stakes, honest.theta)
    twin = forge(Workbench.from_spec(bench.spec, precision="float64"), arena.context, arena.shard, lambda *_: None)
    rounded = _accepted(judged(arena, twin))

    generator = np.random.default_rng(11)
    sized = np.zeros(layout.size)
    for scale, where in zip(_tensor_noise(verdicts), layout.slices.values(), strict=True):
        part = generator.standard_normal(where.stop - where.start)
        sized[where] = part * (scale / float(np.linalg.norm(part)))
    at_floor = [
        (f"{FILL:.0%} of the floor: {name}", floor_push(bench, samples + 2, aim)) for name, aim in aims(arena, stakes)
    ]
    attacks: list[tuple[str, Attack]] = [
        ("half of each tensor's own noise, one random direction", push(arena, 0.5 * noise, sized)),
        *at_floor,
        ("0.9 x both bounds of a step, a fresh direction in every step", wandering(bench, 0.9)),
    ]  # fmt: skip
    rows = [
        {"attack": "honest", "caught": None} | asdict(scales.weigh(honest.theta)),
        {"attack": "honest, but in float64 (what rounding alone moves)", "caught": None}
        | asdict(scales.weigh(twin.theta)),
    ]
    for name, attack in attacks:
        print(f"{arena.name}: {name} ...", file=sys.stderr, flush=True)
        forged = arena.forge(attack)
        verdicts = judged(arena, forged)
        outcome = tally(arena, name, "every gradient", verdicts, samples=samples, trials=trials, drift=True)
        rows.append({"attack": name, "caught": outcome.caught / trials} | asdict(scales.weigh(forged.theta)))
    return {
        "model": arena.name, "steps": arena.steps, "samples": samples + 2, "rows": rows,
        "false_alarms": false_alarms(arena, rounded, trials, samples),
    }  # fmt: skip


def judged(arena: Arena, forged: Forged) -> list[StepVerdict]:
    """Every step, with the verifier's own rounding where a sample's first, middle and last step may lie."""
    replay, steps = forged.context(arena.context), arena.steps
    noisy = {0, steps - 1, *range(steps // 3, steps - steps // 3)}
    return [arena.judge.judge_step(forged.openings[t], t, replay, thorough=t in noisy) for t in range(steps)]


def false_alarms(arena: Arena, rounded: Sequence[StepVerdict], trials: int, samples: int) -> dict[str, Any]:
    """How close honest rounding comes to the limits: a transcript that differs by float32 rounding in every step.

    Besides the real differences, ones with a random sign in every step: rounding without any common direction.
    """
    training, layout = arena.bench.spec.training, arena.bench.layout
    generator = np.random.default_rng(13)
    real, signed = [], []
    for drawn in challenges(arena, "false alarms", samples, 1, 0, trials):
        seen = _samples([rounded[step] for step in drawn])
        signs = generator.choice((-1.0, 1.0), len(seen))
        flipped = [
            replace(s, difference=s.difference * np.float32(sign), along=s.along * sign)
            for s, sign in zip(seen, signs, strict=True)
        ]
        real.append(judge_drift(seen, training, layout).magnitude)
        signed.append(judge_drift(flipped, training, layout).magnitude)

    def facts(magnitudes: Sequence[float]) -> dict[str, float]:
        alarms = sum(float(magnitude) > 1.0 for magnitude in magnitudes)
        return {
            "trials": trials, "alarms": alarms, "at_most": clopper_pearson(alarms, trials, 0.9)[1],
            "largest": float(max(magnitudes)), "mean": float(np.mean(magnitudes)),
            "deviation": float(np.std(magnitudes)),
        }  # fmt: skip

    return {"real": facts(real), "random_signs": facts(signed)}


def _accepted(verdicts: list[StepVerdict]) -> list[StepVerdict]:
    if refused := [verdict.message for verdict in verdicts if not verdict.accepted]:
        raise AssertionError(f"honest steps refused: {refused}")
    return verdicts


def _samples(verdicts: Sequence[StepVerdict]) -> list[DriftSample]:
    return [verdict.drift for verdict in verdicts if verdict.drift is not None]


def _tensor_noise(verdicts: Sequence[StepVerdict]) -> list[float]:
    measured = [verdict.drift.tensor_noise for verdict in verdicts if verdict.drift and verdict.drift.tensor_noise]
    return np.sqrt(np.mean(np.square(measured), axis=0)).tolist()  # type: ignore[no-any-return]


# Report


def markdown(found: Sequence[dict[str, Any]]) -> str:
    return "\n\n".join(
        [
            "# What steering inside the tolerance is worth",
            f"Bounded mode. The drift test lets the gradients of all steps lean by {STEADY_SHARE:.0%} of the bound of "
            "one step, and a little more for few samples, because honest machines do; a push below that is not told "
            "from rounding. The attackers *at the floor* know the limits of the test for the whole gradient and for "
            f"every tensor, fill them to {FILL:.0%} in every step, and serve the tensors that Adam amplifies most "
            "first; those who aim estimate their objective in every step on the very rows that count, which a real "
            "attacker does not have. *Displacement* is the distance of the final adapter from the honest one over the "
            f"way that training went. *Pay* is that of a trainer beside {PEERS} honest ones of the same score. "
            "Made by `python -m benchmarks.attacks.steering`.",
            *(_section(part) for part in found),
            f"Machine: {machine_facts()}",
        ]
    )


def _section(part: dict[str, Any]) -> str:
    header = (
        "attack", "caught", "displacement", "held-out loss, against honest", "accuracy", "backdoor works",
        "pay, against honest",
    )  # fmt: skip
    rows = [
        (
            row["attack"], "" if row["caught"] is None else f"{row['caught']:.3f}", f"{row['displacement']:.2e}",
            f"{0.0 - row['improvement_change']:+.2e}", f"{row['accuracy']:.3f}",
            "" if row["backdoor"] is None else f"{row['backdoor']:.3f}",
            "" if row["pay_change"] is None else f"{row['pay_change']:+.5%}",
        )
        for row in part["rows"]
    ]  # fmt: skip
    real, signed = part["false_alarms"]["real"], part["false_alarms"]["random_signs"]
    return "\n\n".join(
        [
            f"## {part['model']}, {part['steps']} steps, {part['samples']} of them sampled",
            f"Honest training lowers the loss of 200 held-out rows by {part['rows'][0]['improvement']:.4f} nats.",
            table(header, rows),
            "False alarms, on an honest transcript that differs from the verifier's by float32 rounding in every step: "
            f"{real['alarms']} of {real['trials']} draws of the samples (95 %: at most {real['at_most']:.4f}), the "
            f"largest statistic {real['largest']:.3f} of its limit (mean {real['mean']:.3f}, standard deviation "
            f"{real['deviation']:.3f}). With the sign of each step's rounding drawn at random: {signed['alarms']} of "
            f"{signed['trials']}, largest {signed['largest']:.3f} (mean {signed['mean']:.3f}, standard deviation "
            f"{signed['deviation']:.3f}).",
        ]
    )


if __name__ == "__main__":
    main()
