"""Attacks on single coordinates: values whose gradient is zero, tiny, masked or drowned; attackers know every rule.

    python -m benchmarks.attacks.coordinates [--profile full|short] [--work DIR]

Each attacker trains whole rounds, every hash consistent, and pushes what no other value hides: words that no row holds,
values with a tiny second moment, values that it is not to tune. Caught means that one verifier refuses a step of its
sample, or that the drift test objects. *Moved* is the distance of the final adapter from the honest one over the way
that training went, *largest* the largest change of one value, in learning rates. Cells are kept in `--work`.
Results: docs/results/coordinate_attacks.md and its figures (the short profile writes as well, and says so).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.floor_pushes import Stakes
from benchmarks.attacks.forging import Attack, Forged, ForgedStep, Honest, exact_update
from benchmarks.attacks.rates import tally
from benchmarks.attacks.steering import judged
from benchmarks.shared.cells import cell
from benchmarks.shared.replay_tasks import machine_facts, sentiment_shard, table, task, write_results
from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.training.optimizers import State


@dataclass(frozen=True)
class Plan:
    """Steps of a round, samples besides the ends, challenges drawn."""

    real: bool
    steps: int
    samples: int
    trials: int


PLANS = {"full": Plan(True, 120, 22, 300), "short": Plan(False, 24, 8, 100)}
WORDS = ["query", "value", "word_embeddings"]
EPS = 1e-10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PLANS, default="full")
    parser.add_argument("--work", type=Path, default=Path("runs/coordinate_attacks"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    plan, work, started = PLANS[options.profile], options.work / options.profile, time.perf_counter()
    rows = [row for place in places(plan, work) for row in run(place, plan, work)]
    text = markdown(rows, plan, options.profile)
    write_results(
        "coordinate_attacks", {"machine": machine_facts(), "profile": options.profile, "rows": rows,
                               "seconds": time.perf_counter() - started}, text,
    )  # fmt: skip


# Where


def places(
    plan: Plan, work: Path
) -> Iterator[tuple[str, Callable[[], Arena], Mapping[str, Callable[[Arena], Attack]]]]:
    """Name, task, and the attackers that make sense there."""

    def at(numeric: str, **sections: Any) -> Callable[[], Arena]:
        return lambda: _arena(plan, work, numeric, **sections)

    words = {"method": {"name": "lora", "options": {"r": 2, "lora_alpha": 4, "target_modules": WORDS}}}
    yield "bounded, LoRA with words", at("bounded", **words), ON_ZEROS | ON_SMALL
    yield "exact, LoRA with words", at("exact", optimizer={"eps": EPS}, **words), ON_ZEROS | ON_TIES
    yield "bounded, biases", at("bounded", method={"name": "bitfit", "options": {}}), ON_SMALL
    masked = {"codec": {"name": "dropout", "options": {"fraction": 0.5}}, "optimizer": {"weight_decay": 0.0}}
    yield "bounded, federated dropout", at("bounded", **masked), {"values that are masked": masked_values}


def _arena(plan: Plan, work: Path, numeric: str, **sections: Any) -> Arena:
    optimizer = {"name": "adamw", "learning_rate": 1e-3, **sections.pop("optimizer", {})}
    if plan.real:
        spec = task("MiniLM-L6", optimizer="adamw", numeric=numeric, steps=plan.steps, batch=8, tokens=32, rank=2)
        changed = {name: {**spec.model_dump()[name], **values} for name, values in sections.items()}
        changed["optimizer"] = {**spec.optimizer.model_dump(), **optimizer}
        spec = type(spec).model_validate({**spec.model_dump(), **changed})
        return Arena.of("MiniLM-L6", spec, sentiment_shard(spec.model.kind))
    folder = work / "bert"
    if not (folder / "config.json").is_file():
        minimal_model(folder, "bert")
    training = {"steps": plan.steps, "batch_size": 4, "numeric": numeric}
    spec = complete_spec(
        f"path:{folder}", "sequence-classification",
        {"training": training, "model": {"max_tokens": 16}, "optimizer": optimizer, **sections},
    )  # fmt: skip
    return Arena.of("2-layer BERT", spec, sentiment_shard(spec.model.kind, rows=200))


def run(
    place: tuple[str, Callable[[], Arena], Mapping[str, Callable[[Arena], Attack]]], plan: Plan, work: Path
) -> list[dict[str, Any]]:
    """A row for honest work and for each attacker."""
    name, make, attackers = place
    made: list[tuple[Arena, Forged]] = []

    def here() -> tuple[Arena, Forged]:
        if not made:
            arena = make()
            made.append((arena, arena.forge(lambda *_: None)))
        return made[0]

    def weighed(attack: str, attacker: Callable[[Arena], Attack]) -> dict[str, Any]:
        arena, honest = here()
        forged = honest if attack == "honest" else arena.forge(attacker(arena))
        bounded = arena.bench.spec.training.numeric == "bounded"
        outcome = tally(
            arena, attack, name, judged(arena, forged), samples=plan.samples, trials=plan.trials, drift=bounded,
        )  # fmt: skip
        return {"place": name, "attack": attack, "refused": outcome.refused, "checks": outcome.checks,
                "caught": outcome.caught / plan.trials, "steps": arena.steps,
                **gains(arena, honest.theta, forged.theta)}  # fmt: skip

    everybody: dict[str, Callable[[Arena], Attack]] = {"honest": lambda _: lambda *_: None, **attackers}
    return [
        cell(work, f"{name}, {attack}", lambda a=attack, b=attacker: weighed(a, b))
        for attack, attacker in everybody.items()
    ]


def gains(arena: Arena, honest: Vector, forged: Vector) -> dict[str, float]:
    """What the final adapter is, beside the honest one."""
    start, rate = arena.bench.initial_state(), arena.bench.spec.optimizer.learning_rate
    stakes = Stakes.of(arena.bench.spec)
    found = {}
    for name, rows in (("loss", stakes.held_out), ("trigger", stakes.triggered)):
        evaluator = Evaluator(arena.bench, rows)
        after, before = evaluator.evaluate(forged), evaluator.evaluate(honest)
        found[name] = after.loss - before.loss if name == "loss" else after.accuracy - before.accuracy
    return {
        "moved": float(np.linalg.norm(forged - honest) / np.linalg.norm(honest - start)),
        "largest": float(np.abs(forged - honest).max() / rate),
        **found,
    }


# Attackers: each pushes the honest gradient, and does the optimiser's update right.


def pushing(change: Callable[[int, State, Vector], Vector]) -> Callable[[Arena], Attack]:
    """`change` gives what is committed for step, state and honest gradient."""

    def attacker(arena: Arena) -> Attack:
        def attack(step: int, state: State, do: Honest) -> ForgedStep:
            result = do(state)
            committed = change(step, state, result.gradient.copy()).astype(np.float32)
            return exact_update(arena.bench, state, step, committed, loss=result.record.loss)

        return attack

    return attacker


def on_zeros(size: float, count: int, first: int = 0, last: int = 10**9) -> Callable[[Arena], Attack]:
    """The same `count` values whose gradient is zero in the first step, wherever it is zero again."""
    chosen: list[np.ndarray] = []

    def change(step: int, state: State, gradient: Vector) -> Vector:
        quiet = np.flatnonzero((gradient == 0.0) & (state["v"].numpy() == 0.0))
        if step == 0:
            chosen.clear()
        if step == 1:
            chosen.append(quiet[-count:])
        if chosen and first <= step <= last:
            places = chosen[0][gradient[chosen[0]] == 0.0]
            gradient[places] = size
        return gradient

    return pushing(change)


def small(steps: float, share: float, until: int = 10**9, sign: Callable[[int], float] = lambda _: 1.0
          ) -> Callable[[Arena], Attack]:  # fmt: skip
    """A share of a step of each value with a small second moment: the `share` that Adam amplifies most."""

    def change(step: int, state: State, gradient: Vector) -> Vector:
        root = np.sqrt(state["v"].numpy().astype(np.float64))
        alive = (gradient != 0.0) & (root > 0)
        if step == 0 or step > until or not alive.any():
            return gradient
        limit = np.quantile(root[alive], share)
        pushed = alive & (root <= limit)
        return np.where(pushed, gradient + sign(step) * steps * root, gradient)

    return pushing(change)


def shrunk(share: float) -> Callable[[Arena], Attack]:
    return pushing(lambda _step, _state, gradient: gradient * np.float32(1 - share))


def tied(share: float) -> Callable[[Arena], Attack]:
    """The smallest values, moved by a share of what float64 noise explains beside the largest."""

    def change(_step: int, _state: State, gradient: Vector) -> Vector:
        rms = float(np.sqrt(np.mean(np.square(gradient, dtype=np.float64))))
        smallest = np.argsort(np.abs(gradient) + (gradient == 0.0) * np.inf)[:8] if gradient.any() else []
        gradient[smallest] += np.float32(share * 2.0**-36 * rms)
        return gradient

    return pushing(change)


def masked_values(arena: Arena) -> Attack:
    mask = arena.bench.codec.mask(arena.context.key)
    assert mask is not None

    def change(_step: int, _state: State, gradient: Vector) -> Vector:
        gradient[np.flatnonzero(~mask)[:8]] = 1e-9
        return gradient

    return pushing(change)(arena)


def one_ulp(_step: int, _state: State, gradient: Vector) -> Vector:
    return np.nextafter(gradient, np.float32(np.inf), dtype=np.float32) * (gradient != 0)


ON_ZEROS: dict[str, Callable[[Arena], Attack]] = {
    "four unused words, 1e-8": on_zeros(1e-8, 4),
    "four unused words, 1e-12": on_zeros(1e-12, 4),
    "four unused words, 1e-40 (denormal)": on_zeros(1e-40, 4),
    "one unused word, one step only": on_zeros(1e-8, 1, 2, 2),
    "a thousand unused words, 1e-10": on_zeros(1e-10, 1000),
}
ON_SMALL: dict[str, Callable[[Arena], Attack]] = {
    "preconditioned, a hundredth of a step of every value": small(1e-2, 1.0),
    "preconditioned, 1e-4 of a step of every value": small(1e-4, 1.0),
    "preconditioned, 1e-5 of a step of every value": small(1e-5, 1.0),
    "a tenth of a step of the loudest hundredth": small(1e-1, 0.01),
    "a thousandth of a step of the loudest thousandth": small(1e-3, 0.001),
    "first five steps only, a tenth of a step of the loudest": small(1e-1, 0.01, until=5),
    "a hundredth of a step, sign alternating": small(1e-2, 0.1, sign=lambda step: 1.0 - 2.0 * (step % 2)),
    "every gradient shrunk by 1e-5": shrunk(1e-5),
    "every gradient shrunk by 1e-6": shrunk(1e-6),
    "every value one float32 step up": pushing(one_ulp),
}
ON_TIES: dict[str, Callable[[Arena], Attack]] = {
    "smallest values, 0.9 of float64 noise": tied(0.9),
    "smallest values, 1e-3 of float64 noise": tied(1e-3),
    "every value one float32 step up": pushing(one_ulp),
    "every gradient shrunk by 1e-7": shrunk(1e-7),
}


def markdown(rows: list[dict[str, Any]], plan: Plan, profile: str) -> str:
    model = "MiniLM-L6" if plan.real else "a 2-layer BERT with random weights"
    return "\n\n".join(
        [
            "# Attacks on single coordinates",
            f"Profile **{profile}**: {model}, rounds of {plan.steps} steps, {plan.samples + 2} of them sampled, "
            f"{plan.trials} challenges each. Made by `python -m benchmarks.attacks.coordinates"
            f"{'' if profile == 'full' else ' --profile ' + profile}`.",
            "Attackers know every rule. *Caught* is the share of challenges in which one verifier refuses a step or "
            "finds a drift; *moved* the distance of the final adapter from the honest one over the way of training; "
            "*largest* the largest change of one value, in learning rates; *loss* the change of the held-out loss in "
            "nats, *trigger* that of the share of triggered negative reviews that are called positive.",
            table(
                ("where", "attack", "steps refused", "checks", "caught", "moved", "largest", "loss", "trigger"),
                [
                    (
                        r["place"], r["attack"], f"{r['refused']} of {r['steps']}", r["checks"], f"{r['caught']:.3f}",
                        f"{r['moved']:.1e}", f"{r['largest']:.2g}", f"{r['loss']:+.1e}", f"{r['trigger']:+.3f}",
                    )
                    for r in rows
                ],
            ),
            f"Machine: {machine_facts()}",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
