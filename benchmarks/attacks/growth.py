"""How far a rounding grows in a round on MiniLM, by learning rate: in bounded mode, and by the ties of exact mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.floor_pushes import Scales, Stakes
from benchmarks.attacks.forging import forge
from benchmarks.attacks.ties import tie_push
from benchmarks.shared.cells import cell
from benchmarks.shared.replay_tasks import sentiment_shard, table, task
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["GROWTH", "TIES", "arena_at", "growth", "growth_section", "tied", "ties_section"]

GROWTH = ((1e-3, 120), (3e-3, 120), (6e-3, 120), (1e-2, 60), (1e-2, 120))
"""Rates and steps at which it is measured how far rounding grows."""
TIES = ((6e-3, 120), (1e-2, 60), (1e-2, 120))
GROWN = """The same round on MiniLM twice, with gradients in float32 and in float64. Where the rate is too high for so
many steps, training is unstable: what differs by a rounding ends elsewhere. There a push that no test sees, and that
aims at nothing, changes pay as much as chance does, and **a trainer may keep the best of many such runs, for work
alone**. Such a rate also learns less. `task check` plays a round twice and says so."""
TIED = """In exact mode a gradient is float64 rounded to float32, and a trainer is free only where a value is a *near
tie*. Here every step is honest but for that: one tie of the first step is turned, or as many as the rule lets pass, in
every step, along one random direction. Every judged step (the first two, the middle and the last) was accepted. **Where
training is unstable, one tie is enough to choose another end.** Elsewhere all of them together move next to nothing."""


def arena_at(model: str, batch: int, rate: float, steps: int, numeric: Literal["bounded", "exact"]) -> Arena:
    """Review sentences, a small LoRA, adamw at this rate."""
    spec = task(model, optimizer="adamw", numeric=numeric, steps=steps, batch=batch, tokens=32, rank=2)
    tuned = {"optimizer": {**spec.optimizer.model_dump(), "learning_rate": rate}}
    spec = type(spec).model_validate({**spec.model_dump(), **tuned})
    return Arena.of(model, spec, sentiment_shard(spec.model.kind))


def growth(rate: float, steps: int, work: Path) -> dict[str, Any]:
    """What rounding alone makes of a round."""

    def measured() -> dict[str, Any]:
        arena = arena_at("MiniLM-L6", 8, rate, steps, "bounded")
        honest = arena.forge(lambda *_: None).theta
        wide = Workbench.from_spec(arena.bench.spec, precision="float64")
        twin = forge(wide, arena.context, arena.shard, lambda *_: None).theta
        scales = Scales(arena, Stakes.of(arena.bench.spec), honest)
        return {
            "rate": rate, "steps": steps, "honest": asdict(scales.weigh(honest)), "twin": asdict(scales.weigh(twin)),
        }  # fmt: skip

    return cell(work, f"{rate} {steps}", measured)


def tied(rate: float, steps: int, work: Path) -> dict[str, Any]:
    """What near ties make of a round in exact mode. Raises AssertionError if a judged step is refused."""

    def measured() -> dict[str, Any]:
        arena = arena_at("MiniLM-L6", 8, rate, steps, "exact")
        honest = arena.forge(lambda *_: None)
        scales = Scales(arena, Stakes.of(arena.bench.spec), honest.theta)
        found: dict[str, Any] = {"rate": rate, "steps": steps, "honest": asdict(scales.weigh(honest.theta))}
        for name, once in (("one", True), ("all", False)):
            forged = arena.forge(tie_push(arena.bench, arena.context, arena.shard, once=once))
            replay = forged.context(arena.context)
            for step in (0, 1, steps // 2, steps - 1):
                verdict = arena.judge.judge_step(forged.openings[step], step, replay)
                assert verdict.accepted, verdict.message
            turned = np.count_nonzero(forged.openings[0].gradient != honest.openings[0].gradient)
            found[name] = {"turned_in_first_step": int(turned), **asdict(scales.weigh(forged.theta))}
        return found

    return cell(work, f"ties {rate} {steps}", measured)


def growth_section(grown: Sequence[dict[str, Any]]) -> str:
    """Table of `growth`."""
    header = (
        "learning rate", "steps", "held-out loss falls by", "rounding alone: displacement", "held-out loss", "pay",
    )  # fmt: skip
    rows = [
        (
            f"{one['rate']:g}", one["steps"], f"{one['honest']['improvement']:.4f}",
            f"{one['twin']['displacement']:.2e}", f"{0.0 - one['twin']['improvement_change']:+.2e}",
            f"{one['twin']['pay_change']:+.4%}",
        )
        for one in grown
    ]  # fmt: skip
    return "\n\n".join(["## How far rounding grows", GROWN, table(header, rows)])


def ties_section(found: Sequence[dict[str, Any]]) -> str:
    """Table of `tied`."""
    header = ("learning rate", "steps", "ties turned", "displacement", "held-out loss", "pay")
    rows = [
        (
            f"{one['rate']:g}", one["steps"],
            "one, in the first step" if name == "one" else
            f"all, in every step ({one[name]['turned_in_first_step']:,} in the first)",
            f"{one[name]['displacement']:.2e}", f"{0.0 - one[name]['improvement_change']:+.2e}",
            f"{one[name]['pay_change']:+.4%}",
        )
        for one in found for name in ("one", "all")
    ]  # fmt: skip
    return "\n\n".join(["## Ties of exact mode", TIED, table(header, rows)])
