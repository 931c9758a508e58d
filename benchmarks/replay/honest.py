"""Are honest trainers refused anywhere? Every regime, in both modes, between machines; no step twice.

    python -m benchmarks.replay.honest [--parts small real] [--pair TRAINER VERIFIER] [--work DIR] [--anew] [--report]

The regimes of `benchmarks.replay.regimes` and more, each with several pairs of machine configurations as trainer and
verifier, in exact and in bounded mode. Every pair has a round of its own with batches of its own, so no replay stands
for another. Part `small` takes random models of two layers, part `real` MiniLM-L6 and SmolLM2-135M; `short` is one real
round in each mode, and is only printed. Verdicts are kept in `--work`, and what the page's figures hold is not judged
again without `--anew`: so a run goes on where another ended, on any machine. `--report` makes the page of what was
judged so far, and says what is missing and when each part was judged. Results: docs/results/honest_replays.md. A
refusal or a drift alarm makes the command fail.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.replay.regimes import ADAMW, Regime, regimes, shard_of, spec_of
from benchmarks.shared.cells import cell
from benchmarks.shared.places import FIGURES, ROOT
from benchmarks.shared.replay_tasks import (
    MACHINES,
    machine_facts,
    round_context,
    sentiment_shard,
    table,
    wilson,
    write_results,
)  # fmt: skip
from deltaproof.protocol.evidence.transcript import serialize_opening
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.drift import judge_drift, noise_steps
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.tuning.errors import TuningError
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.step import RoundContext
from deltaproof.tuning.training.workbench import Workbench

Mode = str
Pair = tuple[str, str]
"""Machine of the trainer, machine of the verifier."""
PAIRS: tuple[Pair, ...] = (
    ("SSE4.2", "default, 1 thread"),
    ("default, 1 thread", "SSE4.2"),
    ("compatible MKL", "default, 1 thread"),
    ("default, 1 thread", "compatible MKL"),
    ("SSE4.2", "compatible MKL"),
    ("default, 2 threads", "default, 1 thread"),
)


@dataclass(frozen=True)
class Part:
    """Which rounds are played: the pairs of each mode, and the steps of a long and of a brief round."""

    real: bool
    pairs: Mapping[Mode, tuple[Pair, ...]]
    long: int
    brief: int
    models: tuple[str, str]
    """Of classification, and of language."""
    only: str | None = None
    """One regime in place of all."""


PARTS = {
    "small": Part(
        False, {"bounded": PAIRS, "exact": PAIRS}, 120, 40,
        ("2-layer BERT, random", "2-layer LLaMA, random"),
    ),
    "real": Part(
        True,
        {"bounded": (("SSE4.2", "default, 1 thread"), ("default, 1 thread", "compatible MKL")),
         "exact": (("SSE4.2", "default, 1 thread"),)},
        40, 8, ("MiniLM-L6", "SmolLM2-135M"),
    ),
    "short": Part(
        True, dict.fromkeys(("bounded", "exact"), (("SSE4.2", "default, 1 thread"),)),
        3, 3, ("MiniLM-L6", "SmolLM2-135M"), "late training",
    ),
}  # fmt: skip
PAGE = ("small", "real")
"""What makes the page."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PAGE))
    parser.add_argument("--work", type=Path, default=Path("runs/honest_replays"))
    parser.add_argument("--anew", action="store_true", help="judge what was judged before as well")
    parser.add_argument("--report", action="store_true", help="the page of what was judged so far, and no more")
    parser.add_argument("--worker", choices=("train", "judge"), help=argparse.SUPPRESS)
    parser.add_argument("--pair", nargs=2, choices=MACHINES, help="only this one; others may run beside it")
    options = parser.parse_args()
    work = options.work.resolve()
    if options.worker:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        work_on(options.worker, options.parts[0], tuple(options.pair), work, {} if options.anew else judged_before())
        return
    for name in [] if options.report else options.parts:
        every = dict.fromkeys(pair for pairs in PARTS[name].pairs.values() for pair in pairs)
        for pair in every if options.pair is None else [tuple(options.pair)]:
            for worker, machine in zip(("train", "judge"), pair, strict=True):
                arguments = ["--parts", name, "--work", str(work), "--worker", worker, "--pair", *pair]
                arguments += ["--anew"] if options.anew else []
                subprocess.run(
                    [sys.executable, "-m", "benchmarks.replay.honest", *arguments],
                    cwd=ROOT, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **MACHINES[machine]}, check=True,
                )  # fmt: skip
    if "short" in options.parts:
        rows = list(kept("short", work, {}))
        print(markdown(rows))
    else:
        rows = [row for name in PAGE for row in kept(name, work, judged_before())]
        write_results("honest_replays", {"machine": machine_facts(), "rows": rows}, markdown(rows))
    stop_if_refused(rows)


def more_regimes() -> Iterator[tuple[str, Regime]]:
    """Beside those of `benchmarks.replay.regimes`: other optimisers, batches, masks, and a method that needs rows."""
    for name in ("sgd", "momentum", "adam"):
        rate = 1e-2 if name != "adam" else 1e-3
        yield f"optimiser {name}", Regime(8, sections={"optimizer": {"name": name, "learning_rate": rate}})
    yield "one row a batch", Regime(8, sections={"training": {"batch_size": 1}})
    yield "32 rows a batch", Regime(8, sections={"training": {"batch_size": 32}})
    yield "federated dropout", Regime(8, sections={"codec": {"name": "dropout", "options": {"fraction": 0.5}},
                                                   "optimizer": {**ADAMW, "weight_decay": 0.0}})  # fmt: skip
    rows = [row.decode() for row in sentiment_shard("sequence-classification", rows=6).rows]
    options = {"fraction": 0.05, "rows": rows}
    yield "method sensitivity, rows given", Regime(8, sections={"method": {"name": "sensitivity", "options": options}})


def rounds(part: Part) -> Iterator[tuple[str, Regime]]:
    """Every regime, with this part's steps."""
    for name, regime in (*regimes(part.real), *more_regimes()):
        if name in {"method sensitivity", "method fusion"}:  # need rows, and adapters, in the options
            continue
        if part.only in {None, name}:
            yield name, replace(regime, steps=part.long if regime.steps >= 40 else part.brief)


Place = tuple[str, str, str, str, str]
"""Of a round on the page: regime, model, mode, and the pair."""


def judged_before() -> dict[Place, dict[str, Any]]:
    """Rounds that the page's figures hold, with the day on which each was judged."""
    path = FIGURES / "honest_replays.json"
    if not path.is_file():
        return {}
    figures = json.loads(path.read_text(encoding="utf-8"))
    found = ({"day": figures["machine"]["day"], **row} for row in figures["rows"])
    judged = (row for row in found if "replays" in row or "skipped" in row)
    return {(row["regime"], row["model"], row["mode"], *row["pair"]): row for row in judged}


def work_on(worker: str, name: str, pair: Pair, work: Path, before: Mapping[Place, Any]) -> None:
    part = PARTS[name]
    for (regime_name, regime), (mode, pairs) in product(rounds(part), part.pairs.items()):
        round_ = Round(name, regime_name, regime, mode, pair, work)
        known = name in PAGE and round_.place in before
        if pair in pairs and not known:
            (train if worker == "train" else judge)(round_)


@dataclass(frozen=True)
class Round:
    """One honest round that is judged whole."""

    part: str
    name: str
    regime: Regime
    mode: Mode
    pair: Pair
    work: Path

    @property
    def folder(self) -> Path:
        """Where its openings and verdicts are kept."""
        name = "-".join((self.part, self.mode, *self.pair, self.name))
        return self.work / "rounds" / "".join(c if c.isalnum() or c in ".-" else "_" for c in name)

    @property
    def place(self) -> Place:
        """Its place on the page."""
        return self.name, PARTS[self.part].models[self.regime.language], self.mode, *self.pair

    def spec(self) -> TaskSpec:
        sections = dict(self.regime.sections or {})
        sections["training"] = {**sections.get("training", {}), "numeric": self.mode}
        return spec_of(replace(self.regime, sections=sections), PARTS[self.part].real, self.work)

    def context(self, bench: Workbench) -> RoundContext:
        """Batches of this round's own: no two rounds of the benchmark replay the same step."""
        seed = hashlib.sha256(str(self.folder.name).encode()).digest()
        return round_context(bench, shard_of(self.regime, bench.spec), order_seed=seed)


def train(round_: Round) -> None:
    folder = round_.folder

    def recorded() -> dict[str, Any]:
        try:
            bench = Workbench.from_spec(round_.spec())
        except TuningError as error:
            return {"skipped": str(error)[:160]}
        shard, context = shard_of(round_.regime, bench.spec), round_.context(bench)
        trained = train_round(bench, context, bench.initial_state(), shard, folder / "round", keep_every=1)
        for opening in open_steps(bench, context, shard, folder / "round", range(round_.regime.steps)):
            (folder / f"{opening.before.step}.opening").write_bytes(serialize_opening(opening))
        return {"root": trained.transcript_root.hex(), "theta": trained.theta_digest.hex(), "losses": trained.losses}

    cell(folder, "trained", recorded)


def judge(round_: Round) -> None:
    folder, steps = round_.folder, range(round_.regime.steps)
    if not (folder / "trained.json").is_file():
        return  # by a trainer that was interrupted
    trained = cell(folder, "trained", dict)

    def judged() -> dict[str, Any]:
        if "skipped" in trained:
            return trained
        verifier = Judge.from_spec(round_.spec())
        context = ReplayContext(
            round_.context(verifier.reference), bytes.fromhex(trained["root"]), bytes.fromhex(trained["theta"])
        )
        thorough = noise_steps(steps)
        verdicts = [
            verifier.judge_bytes((folder / f"{t}.opening").read_bytes(), t, context, thorough=t in thorough)
            for t in steps
        ]
        samples = [verdict.drift for verdict in verdicts if verdict.drift is not None]
        drift = judge_drift(samples, verifier.spec.training, verifier.reference.layout) if samples else None
        return {
            "replays": len(verdicts), "refused": [verdict.message for verdict in verdicts if not verdict.accepted],
            "worst": max((v.magnitude / v.bound for v in verdicts if v.accepted and v.bound), default=0.0),
            "ties": sum(verdict.near_ties for verdict in verdicts), "root": trained["root"],
            "drift": drift.magnitude if drift else None, "drift_message": drift.message if drift else "",
            "first": trained["losses"][0], "least": min(trained["losses"]), "day": machine_facts()["day"],
        }  # fmt: skip

    if not cell(folder, "judged", judged).get("refused"):
        for file in folder.glob("*.opening"):  # a refused round stays for whoever looks for the cause
            file.unlink()


def kept(name: str, work: Path, before: Mapping[Place, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row of each round, with its verdicts if it was judged, in this work or before."""
    part = PARTS[name]
    for (regime_name, regime), (mode, pairs) in product(rounds(part), part.pairs.items()):
        for pair in pairs:
            round_ = Round(name, regime_name, regime, mode, pair, work)
            found = round_.folder / "judged.json"
            facts = cell(round_.folder, "judged", dict) if found.is_file() else before.get(round_.place, {})
            model = part.models[regime.language]
            yield {"regime": regime_name, "model": model, "mode": mode, "pair": list(pair), **facts}


def stop_if_refused(rows: list[dict[str, Any]]) -> None:
    alarms = [row for row in rows if row.get("refused") or (row.get("drift") or 0.0) > 1.0]
    for row in alarms:
        print("FALSE ALARM", row)
    if alarms:
        sys.exit(1)


def markdown(rows: list[dict[str, Any]]) -> str:
    done = [row for row in rows if "replays" in row]
    total, alarms = sum(row["replays"] for row in done), sum(len(row["refused"]) for row in done)
    drifts = [row["drift"] for row in done if row["drift"] is not None]
    low, high = wilson(alarms, total)
    lines = [
        f"# Honest replays\n\n{total:,} replays of honest steps, no step "
        f"twice: every round has batches of its own. **{alarms} refused** (95 % interval of the rate: {low:.4%} to "
        f"{high:.4%}); drift tests: {len(drifts):,}, alarms {sum(drift > 1.0 for drift in drifts)}, largest "
        f"{max(drifts, default=0.0):.3f} of its limit. Made by `python -m benchmarks.replay.honest`.",
        "Machine configurations: " + "; ".join(MACHINES) + ". *Pairs* counts those of trainer and verifier; *first* "
        "and *least* are losses in nats; differences and drift are shares of what is allowed.",
    ]
    keys = dict.fromkeys((row["model"], row["mode"], row["regime"]) for row in rows)
    cells = []
    for key in keys:
        group = [row for row in done if (row["model"], row["mode"], row["regime"]) == key]
        if group:
            drift = [row["drift"] for row in group if row["drift"] is not None]
            cells.append(
                (*key, len(group), f"{max(r['first'] for r in group):.2g}", f"{min(r['least'] for r in group):.2g}",
                 sum(r["replays"] for r in group), sum(len(r["refused"]) for r in group),
                 f"{max(r['worst'] for r in group):.3f}", sum(r["ties"] for r in group),
                 f"{max(drift):.3f}" if drift else "")
            )  # fmt: skip
    for model in dict.fromkeys(row["model"] for row in rows):
        of_model = [row for row in done if row["model"] == model]
        lines.append(f"- {model}: {sum(row['replays'] for row in of_model):,} replays in {len(of_model):,} rounds")
    header = ("model", "mode", "regime", "pairs", "first", "least", "replays", "refused", "worst difference",
              "near ties", "drift")  # fmt: skip
    skipped = dict.fromkeys(f"- {r['model']}, {r['mode']}, {r['regime']}: {r['skipped']}" for r in rows
                            if "skipped" in r)  # fmt: skip
    open_ = len([row for row in rows if "replays" not in row and "skipped" not in row])
    lines += [
        table(header, cells),
        *(["Left out, with the reason:", "\n".join(skipped)] if skipped else []),
        *([f"Not judged yet: {open_} of {len(rows)} rounds."] if open_ else []),
        _judged_when(done),
        f"Machine: {machine_facts()}",
    ]
    return "\n\n".join(lines)


def _judged_when(rows: list[dict[str, Any]]) -> str:
    days: dict[str, dict[str, int]] = {}
    for row in rows:
        of_day = days.setdefault(row["day"], {})
        of_day[row["model"]] = of_day.get(row["model"], 0) + 1
    told = (
        f"{day}: " + ", ".join(f"{count} rounds of {model}" for model, count in sorted(found.items()))
        for day, found in sorted(days.items())
    )
    return "Judged on " + ". On ".join(told) + "."


if __name__ == "__main__":
    main()
