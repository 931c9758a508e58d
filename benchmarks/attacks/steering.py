"""What a push that the drift test does not see is worth, and how far the test is from false alarms (bounded mode).

    python -m benchmarks.attacks.steering [--profile full|short] [--models MODEL...] [--work DIR]

The drift test lets the gradients of all steps lean by a share of the bound of one step, because honest machines do. The
attackers here know that limit, fill it, and aim at what they would want: more pay, or a backdoor. Measured is how often
they are caught and what the final adapter gains them. Rows are kept in `--work`, so an interrupted run goes on;
without `--afresh` it goes on from the published ones.
Results: docs/results/steering.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.floor_pushes import FILL, PEERS, Aim, Scales, Stakes, aims, floor_push, sized_push, wandering
from benchmarks.attacks.forging import Attack, Forged, forge
from benchmarks.attacks.growth import GROWTH, TIES, arena_at, growth, growth_section, tied, ties_section
from benchmarks.attacks.rates import challenges, clopper_pearson, tally
from benchmarks.shared.cells import cell
from benchmarks.shared.places import FIGURES
from benchmarks.shared.replay_tasks import machine_facts, table, write_results
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import STEADY_SHARE
from deltaproof.replaying.drift import DriftSample, judge_drift
from deltaproof.replaying.replay import StepVerdict
from deltaproof.tuning.training.workbench import Workbench

HIGH = "MiniLM-L6, at a rate too high for so many steps"
PLANS = {
    "MiniLM-L6": ("MiniLM-L6", 8, 1e-2, 60, 20),
    HIGH: ("MiniLM-L6", 8, 1e-2, 120, 24),
    "SmolLM2-135M": ("SmolLM2-135M", 4, 1e-3, 24, 14),
}
"""Model, batch, learning rate, steps and samples besides the ends."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("full", "short"), default="full")
    parser.add_argument("--models", nargs="+", choices=PLANS, default=list(PLANS))
    parser.add_argument("--afresh", action="store_true", help="measure published rows again")
    parser.add_argument("--work", type=Path, default=Path("runs/steering"))
    options = parser.parse_args()
    short = options.profile == "short"
    torch.set_num_threads(1)
    work = options.work / options.profile
    if not (short or options.afresh):
        adopt(work)
    found = [Pushes(PLANS[name], short, work / name).found(name) for name in options.models]
    grown = [] if short else [growth(rate, steps, work / "growth") for rate, steps in GROWTH]
    ties = [] if short else [tied(rate, steps, work / "growth") for rate, steps in TIES]
    text = markdown(found, grown, ties)
    if short:
        print(text)
    else:
        write_results("steering", {"machine": machine_facts(), "models": found, "growth": grown, "ties": ties}, text)


def adopt(work: Path) -> None:
    """Go on from the published rows where this machine has none."""
    published = json.loads((FIGURES / "steering.json").read_text("utf-8"))
    for part in published["models"]:
        cell(work / part["model"], "false alarms", partial(dict, part["false_alarms"]))
        for row in part["rows"]:
            cell(work / part["model"], row["attack"], partial(dict, row))
    for one in published["growth"]:
        cell(work / "growth", f"{one['rate']} {one['steps']}", partial(dict, one))
    for one in published.get("ties", []):
        cell(work / "growth", f"ties {one['rate']} {one['steps']}", partial(dict, one))


class Pushes:
    """How often the drift test sees each push on one model, what it moves and what it earns; and its false alarms."""

    def __init__(self, plan: tuple[str, int, float, int, int], short: bool, work: Path) -> None:
        self.model, batch, self.rate, steps, samples = plan
        self.work = work
        self.steps, self.samples, self.trials = (6, 4, 20) if short else (steps, samples, 300)
        self._arena = partial(arena_at, self.model, batch, self.rate, self.steps, "bounded")

    def found(self, name: str) -> dict[str, Any]:
        """All rows, each from `work` if it was measured before."""
        plain: dict[str, Callable[[], Vector]] = {
            "honest": lambda: self.honest.theta,
            "honest, but in float64 (what rounding alone moves)": lambda: self.twin.theta,
        }
        rows = [self._kept(name, partial(self._unpushed, name, theta)) for name, theta in plain.items()]
        rows += [self._kept(name, partial(self._pushed, name)) for name in ATTACKS if self._fits(name)]
        alarms = self._kept("false alarms", lambda: false_alarms(self.arena, self.rounded, self.trials, self.samples))
        return {"model": name, "rate": self.rate, "steps": self.steps, "samples": self.samples + 2, "rows": rows,
                "false_alarms": alarms}  # fmt: skip

    def _kept(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return cell(self.work, name, measure)

    def _fits(self, name: str) -> bool:
        return not (name.endswith(BACKDOOR) and "SmolLM2" in self.model)  # a language model has no label to flip

    def _unpushed(self, name: str, theta: Callable[[], Vector]) -> dict[str, Any]:
        return {"attack": name, "caught": None} | asdict(self.scales.weigh(theta()))

    def _pushed(self, name: str) -> dict[str, Any]:
        forged = self.arena.forge(ATTACKS[name](self))
        verdicts = judged(self.arena, forged)
        outcome = tally(
            self.arena, name, "every gradient", verdicts, samples=self.samples, trials=self.trials, drift=True
        )
        return {"attack": name, "caught": outcome.caught / self.trials} | asdict(self.scales.weigh(forged.theta))

    # What every push is measured against, computed when a row is missing.

    @cached_property
    def arena(self) -> Arena:
        return self._arena()

    @cached_property
    def aims(self) -> dict[str, Aim]:
        return dict(aims(self.arena, self.stakes))

    @cached_property
    def stakes(self) -> Stakes:
        return Stakes.of(self.arena.bench.spec)

    @cached_property
    def scales(self) -> Scales:
        return Scales(self.arena, self.stakes, self.honest.theta)

    @cached_property
    def honest(self) -> Forged:
        return self.arena.forge(lambda *_: None)

    @cached_property
    def verdicts(self) -> list[StepVerdict]:
        return _accepted(judged(self.arena, self.honest))

    @cached_property
    def noise(self) -> float:
        bench = self.arena.bench
        return judge_drift(_samples(self.verdicts), bench.spec.training, bench.layout).noise

    @cached_property
    def twin(self) -> Forged:
        arena = self.arena
        exact = Workbench.from_spec(arena.bench.spec, precision="float64")
        return forge(exact, arena.context, arena.shard, lambda *_: None)

    @cached_property
    def rounded(self) -> list[StepVerdict]:
        return _accepted(judged(self.arena, self.twin))


RANDOM, HELD_OUT, BACKDOOR, LOUDEST = (
    "one random direction", "towards a lower held-out loss, rows known", "towards a backdoor (trigger word)",
    "the values that Adam amplifies most",
)  # fmt: skip
NOISE = "half of each tensor's own noise"


def _noise_push(aim: str) -> Callable[[Pushes], Attack]:
    """As large as half of what the verifier's own rounding comes to, tensor by tensor."""

    def made(pushes: Pushes) -> Attack:
        return sized_push(pushes.arena.bench, 0.5 * pushes.noise, _tensor_noise(pushes.verdicts), pushes.aims[aim])

    return made


def _floor_push(aim: str) -> Callable[[Pushes], Attack]:
    return lambda pushes: floor_push(pushes.arena.bench, pushes.samples + 2, pushes.aims[aim])


ATTACKS: dict[str, Callable[[Pushes], Attack]] = {
    **{f"{NOISE}, {aim}": _noise_push(aim) for aim in (RANDOM, HELD_OUT, BACKDOOR)},
    **{f"{FILL:.0%} of the floor: {aim}": _floor_push(aim) for aim in (RANDOM, HELD_OUT, BACKDOOR, LOUDEST)},
    "0.9 x both bounds of a step, a fresh direction in every step": lambda pushes: wandering(pushes.arena.bench, 0.9),
}
"""By name; aims are those of `floor_pushes.aims`."""


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
    for drawn in challenges(arena, "false alarms", samples, trials):
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


def markdown(found: Sequence[dict[str, Any]], grown: Sequence[dict[str, Any]], ties: Sequence[dict[str, Any]]) -> str:
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
            *([growth_section(grown), ties_section(ties)] if grown else []),
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
            f"## {part['model']}, {part['steps']} steps at {part['rate']:g}, {part['samples']} of them sampled",
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
