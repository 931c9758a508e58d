"""Attackers over full rounds, in both modes and on every family of methods: what catches them, or what they gain.

    python -m benchmarks.attacks.full_rounds [--profile full|short] [--work DIR] [--only PART...] [--report]

A challenge is judged as a verifier judges it: the sampled steps in order up to the first that is refused, then the rows
that are enrolled twice, then the drift test. Where a challenge passes, gains are weighed: held-out loss, success of a
trigger, pay beside honest trainers. Cells are kept in `--work`, so an interrupted run goes on.
Results: docs/results/full_rounds.md (the short profile, and parts, are only printed). An attack that succeeds makes the
command fail.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.attacker import MODES, Attacker, Made, marked_rows, stakes
from benchmarks.attacks.floor_pushes import Scales
from benchmarks.attacks.forging import Forged
from benchmarks.attacks.on_deltas import CONTROL, judged, on_deltas, outcome
from benchmarks.attacks.on_pushes import on_pushes
from benchmarks.attacks.on_rows import on_rows
from benchmarks.attacks.on_steps import on_steps
from benchmarks.attacks.rates import SLASH, STAKE, challenges, clopper_pearson
from benchmarks.shared.cells import cell, kept
from benchmarks.shared.replay_tasks import machine_facts, table, write_results
from deltaproof.errors import SpecError
from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.drift import judge_drift
from deltaproof.replaying.judging import repeated_row
from deltaproof.replaying.replay import StepVerdict
from deltaproof.replaying.sampling_promise import detection_probability
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.training.step import RoundContext


@dataclass(frozen=True)
class Length:
    """Steps of a round, samples besides the two ends, challenges drawn."""

    steps: int
    samples: int
    trials: int


LENGTHS = {"full": Length(120, 20, 100), "short": Length(12, 4, 10)}
NOT_WORTH_IT = 1e-3
"""Share of an honest pay below which a gain is chance: rounding alone moves pay by as much."""
TRIGGERED = 0.02
"""Share of triggered inputs below which a change is one or two of a hundred."""

Sections = Mapping[str, Mapping[str, Any]]
ADAMW = {"name": "adamw", "learning_rate": 1e-2, "weight_decay": 0.01}
SCHEDULE = {"optimizer": {**ADAMW, "schedule": "cosine", "warmup_steps": 10}}
WORDS = {"name": "lora", "options": {"r": 4, "lora_alpha": 8, "target_modules": ["query", "value", "word_embeddings"]}}
PLACES: dict[str, Sections] = {
    "lora": {},
    "accumulation": {"training": {"accumulation": 4}},
    "dropout": {"training": {"dropout": True}},
    "schedule": SCHEDULE,
    "clip": {"optimizer": {**ADAMW, "clip_norm": 1e-2}},
    "words": {"method": WORDS},
    "words and schedule": {"method": WORDS, **SCHEDULE},
    "top_k": {"codec": {"name": "top_k", "options": {"fraction": 0.1, "error_feedback": True}}},
    "bfloat16 codec": {"codec": {"name": "bfloat16", "options": {}}},
    **{
        name: {"method": {"name": name, "options": {}}}
        for name in ("prefix", "pfeiffer", "layer_norm", "shira", "adalora", "dora", "lokr", "diff_pruning")
    },
}
"""What tasks differ in from LoRA of rank 4 on a classifier, AdamW, eight rows a step."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=LENGTHS, default="full")
    parser.add_argument("--work", type=Path, default=Path("runs/attacks"))
    parser.add_argument("--only", nargs="+", choices=("steps", "rows", "pushes", "deltas"), default=None)
    parser.add_argument("--report", action="store_true", help="the page of what was played so far, and no more")
    options = parser.parse_args()
    torch.set_num_threads(1)
    length, started = LENGTHS[options.profile], time.perf_counter()
    rows = full_rounds(options.work / options.profile, length, options.only, report=options.report)
    missing = sum("outcome" not in row for row in rows)
    rows = [row for row in rows if "outcome" in row]
    text = page(rows, length, missing)
    if options.profile == "full" and options.only is None:
        document = {"machine": machine_facts(), "seconds": time.perf_counter() - started, "rows": rows}
        write_results("full_rounds", document, text)
    else:
        print(text)
    stop_if_any_succeeds(rows)


def stop_if_any_succeeds(rows: Sequence[Mapping[str, Any]]) -> None:
    if won := [f"{row['attack']} ({row['place']}, {row['mode']})" for row in rows if row["outcome"] == "SUCCEEDS"]:
        raise SystemExit("\n  ".join(["ATTACKS SUCCEED:", *won]))


def full_rounds(
    work: Path, length: Length, only: Sequence[str] | None = None, report: bool = False
) -> list[dict[str, Any]]:
    """A row of each attacker in each of its modes; for a `report` an empty one where it was not played."""
    groups = {"steps": on_steps, "rows": on_rows, "pushes": on_pushes}
    attackers = [a for name, group in groups.items() if only is None or name in only for a in group()]
    rows = []
    for place in PLACES:
        for mode in MODES:
            scene = Scene(place, mode, work, length, report)
            rows += [scene.row(a) for a in attackers if a.place == place and mode in a.modes]
            if only is None or "deltas" in only:
                rows += scene.delta_rows()
    return rows


@dataclass(frozen=True)
class Scene:
    """One task in one mode, loaded when an attacker needs it."""

    place: str
    mode: str
    work: Path
    length: Length
    report: bool = False
    """Plays nothing that was not played before."""

    @cached_property
    def arena(self) -> Arena:
        folder = self.work / "bert"
        if not (folder / "config.json").is_file():
            minimal_model(folder, "bert")
        sections = PLACES[self.place]
        training = {"steps": self.length.steps, "batch_size": 8, "numeric": self.mode, **sections.get("training", {})}
        spec = complete_spec(
            f"path:{folder}", "sequence-classification",
            {"model": {"max_tokens": 32}, "optimizer": ADAMW, **sections, "training": training},
        )  # fmt: skip
        return Arena.of("2-layer BERT", spec, Shard(marked_rows(0, 400), PUBLIC_SALTS))

    @cached_property
    def honest(self) -> Forged:
        return self.arena.forge(lambda *_: None)

    def gains(self, theta: Vector, beside: Vector) -> dict[str, Any]:
        """Of one adapter against another, and by how many more triggered inputs it is fooled."""
        scales = Scales(self.arena, stakes(), beside)
        found, before = asdict(scales.weigh(theta)), scales.weigh(beside)
        return {**found, "backdoor_change": (found["backdoor"] or 0.0) - (before.backdoor or 0.0),
                "honest_improvement": before.improvement}  # fmt: skip

    def row(self, attacker: Attacker) -> dict[str, Any]:
        name = f"{self.place}, {self.mode}, {attacker.name}"
        return self._kept(name, lambda: self._played(attacker))

    def _kept(self, name: str, play: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return kept(self.work / "cells", name) if self.report else cell(self.work / "cells", name, play)

    def _played(self, attacker: Attacker) -> dict[str, Any]:
        made = attacker.make(self.arena)
        court = Challenged(self.arena, made)
        caught = [court.catches(drawn) for drawn in self.drawn(attacker.name)]
        facts = {"attack": attacker.name, "corrupts": attacker.corrupts, "place": self.place, "mode": self.mode,
                 "honest": attacker.honest, "steps": self.arena.steps, "trials": len(caught)}  # fmt: skip
        by = [found for found in caught if found]
        facts |= {"caught": len(by), "by": sorted(set(by))}
        refused = len(by) < len(caught) and court.refused()
        if refused:
            promised = detection_probability(self.arena.steps - 2, len(refused), self.length.samples)
            facts |= {"refused": len(refused), "promised": promised}
        if len(by) == len(caught):
            return {**facts, "outcome": "caught"}
        theta = made.forged.theta if made.theta is None else made.theta
        gains = self.gains(theta, self.honest.theta if made.beside is None else made.beside)
        return {**facts, **gains, "outcome": outcome_of({**facts, **gains})}

    def drawn(self, name: str) -> Iterator[tuple[int, ...]]:
        return challenges(self.arena, f"{name}/{self.mode}", self.length.samples, self.length.trials)

    def delta_rows(self) -> list[dict[str, Any]]:
        return [
            self._kept(f"delta, {self.place}, {self.mode}, {name}", partial(self._delta, name, delta))
            for name, place, delta in on_deltas()
            if place == self.place
        ]

    def _delta(self, name: str, delta: Any) -> dict[str, Any]:
        few = Length(self.length.steps, 2, 3)
        trials = []
        for number, drawn in enumerate(challenges(self.arena, name, few.samples, few.trials)):
            slug = "".join(c if c.isalnum() else "-" for c in f"{self.place}-{self.mode}-{name}-{number}")
            trials.append(outcome(judged(self.arena, self.honest, delta, list(drawn), self.work / "stores" / slug)))
        caught = sum(refused for refused, _ in trials)
        if (caught == 0) is not (name == CONTROL):
            raise AssertionError(f"{name}: refused in {caught} of {len(trials)} challenges")
        return {
            "attack": f"delta: {name}", "corrupts": "the delta", "place": self.place, "mode": self.mode,
            "honest": name == CONTROL, "steps": self.arena.steps, "trials": len(trials), "caught": caught,
            "by": sorted({by for refused, by in trials if refused}),
            "outcome": "accepted, rightly" if name == CONTROL else "caught",
        }  # fmt: skip


class Challenged:
    """A transcript before verifiers; every step is replayed once, however often it is drawn."""

    def __init__(self, arena: Arena, made: Made) -> None:
        self._arena, self._made = arena, made
        context: RoundContext = made.context or arena.context
        self._replay = made.forged.context(context)
        self._verdicts: dict[int, StepVerdict] = {}

    def verdict(self, step: int) -> StepVerdict:
        """Of one step, with the verifier's own rounding where a sample's first, middle and last step may lie."""
        if step not in self._verdicts:
            steps = self._arena.steps
            noisy = step in {0, steps - 1} or steps // 3 <= step < steps - steps // 3
            opening = self._made.forged.openings[step]
            self._verdicts[step] = self._arena.judge.judge_step(opening, step, self._replay, thorough=noisy)
        return self._verdicts[step]

    def catches(self, drawn: Sequence[int]) -> str | None:
        """What refuses the trainer, in the order in which a verifier looks; None if nothing does."""
        seen: dict[bytes, int] = {}
        for step in drawn:
            verdict = self.verdict(step)
            if not verdict.accepted:
                return str(verdict.failed)
            if repeated_row(self._made.forged.openings[step], seen):
                return "repeated row"
        samples = [drift for step in drawn if (drift := self.verdict(step).drift) is not None]
        training, layout = self._arena.bench.spec.training, self._arena.bench.layout
        return "drift" if samples and not judge_drift(samples, training, layout).accepted else None

    def refused(self) -> list[int]:
        """All steps that a replay refuses."""
        return [step for step in range(self._arena.steps) if not self.verdict(step).accepted]


def outcome_of(row: Mapping[str, Any]) -> str:
    """Of attackers that pass some challenges: honest work that is scored, not worth it, priced, or a success."""
    gain, rate = row["pay_change"] or 0.0, row["caught"] / row["trials"]
    if row["honest"]:
        return "scored" if gain <= NOT_WORTH_IT else "SUCCEEDS"
    if gain <= NOT_WORTH_IT and row["backdoor_change"] <= TRIGGERED:
        return "harmless"
    if (1 - rate) * (1 + gain) - rate * SLASH * STAKE < 1:
        return "priced by stake"
    return "SUCCEEDS"


REFUSED_TASKS: dict[str, Sections] = {
    "gradients in bfloat16": {"training": {"numeric": "bounded", "gradient_dtype": "bfloat16"}},
    "`eps` of 1e-12": {"optimizer": {"eps": 1e-12}},
    "`bound_total` of 1e-2": {"training": {"numeric": "bounded", "bound_total": 1e-2}},
    "`bound_tensor` of 1e-1": {"training": {"numeric": "bounded", "bound_tensor": 1e-1}},
    "`drift_sigmas` of 100": {"training": {"numeric": "bounded", "drift_sigmas": 100.0}},
}
"""Tasks that would let pushes through."""


def refused_tasks(spec: TaskSpec) -> list[str]:
    """How each is refused; raises AssertionError for one that is not."""
    found = []
    for name, sections in REFUSED_TASKS.items():
        values = spec.model_dump()
        changed = {key: {**values[key], **change} for key, change in sections.items()}
        try:
            TaskSpec.model_validate({**values, **changed})
        except (SpecError, ValueError):
            found.append(name)
            continue
        raise AssertionError(f"a task with {name} is accepted")
    return found


def page(rows: Sequence[Mapping[str, Any]], length: Length, missing: int = 0) -> str:
    """docs/results/full_rounds.md."""
    header = ("attack", "task", "mode", "corrupts", "caught", "95 % interval", "by", "promised", "held-out loss",
              "trigger works", "pay", "outcome")  # fmt: skip
    cells = []
    for row in rows:
        low, high = clopper_pearson(row["caught"], row["trials"], 0.95)
        gained = "displacement" in row
        pay = row.get("pay_change")
        cells.append(
            (
                row["attack"], row["place"], row["mode"], row["corrupts"], f"{row['caught']}/{row['trials']}",
                f"{low:.3f} to {high:.3f}", ", ".join(row["by"]),
                f"{row['promised']:.3f}" if "promised" in row else "",
                f"{0.0 - row['improvement_change']:+.1e}" if gained else "",
                f"{row['backdoor_change']:+.3f}" if gained else "", f"{pay:+.3%}" if gained and pay is not None else "",
                row["outcome"],
            )
        )  # fmt: skip
    names = {row["attack"] for row in rows}
    counts = {word: sum(row["outcome"] == word for row in rows) for word in dict.fromkeys(r["outcome"] for r in rows)}
    lines = [
        "# Attacks over full rounds",
        f"{len(names)} attackers in {len(rows)} rows, each over a round of {length.steps} steps on a 2-layer BERT with "
        "random weights, LoRA of rank 4 where no other method is named, AdamW, eight review sentences a step. One "
        f"verifier samples {length.samples} steps besides the first and the last, and judges as a verifier does: steps "
        "in order, rows enrolled twice, drift. *Promised* is what sampling promises for the steps that a replay "
        "refuses. *Loss*, *trigger* and *pay* are changes against the honest round of the same trainer, for rows where "
        "a challenge passes: a lower loss would pay more. Outcomes: "
        + ", ".join(f"{count} {word}" for word, count in counts.items()) + ". *Scored* is honest work on rows of one's "
        "own choice, which replay has to accept: scoring pays it less. *Harmless* gains less than "
        f"{NOT_WORTH_IT:.1%} of an honest pay and {TRIGGERED:.0%} of triggered inputs. *Priced by stake* earns less "
        "than honest work, with the chance to be caught.",
        "Each review begins with a word that tells its label, which a model of two random layers learns: honest rounds "
        "end at a held-out accuracy of 1. The trigger stands behind that word. Made by "
        "`python -m benchmarks.attacks.full_rounds`.",
        *([f"**Not played yet: {missing} rows.** The command goes on with them."] if missing else []),
        table(header, cells),
        f"Machine: {machine_facts()}",
    ]  # fmt: skip
    return "\n\n".join(lines)


if __name__ == "__main__":
    main()
