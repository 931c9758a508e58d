"""The demo: the same commands that anyone would use, as separate processes, on a private chain.

It prepares data and keys, starts the chain, deploys, creates the task, starts trainers, verifiers and the sponsor,
waits until the task is over, then asks `history`, `audit` and `task results` what happened and checks its promises.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from deltaproof.demo import fedpeat
from deltaproof.demo.data import DemoData, prepare_data
from deltaproof.demo.display import Display
from deltaproof.demo.expectations import Promise, TrainerOutcome, check_promises, names_pay
from deltaproof.demo.plan import SPONSOR, Scenario
from deltaproof.demo.processes import Supervisor
from deltaproof.demo.stage import DemoOptions, KeyFile, Stage, claim_folder, write_keys
from deltaproof.demo.tables import print_summary

__all__ = ["DemoOptions", "run_demo"]

VALIDATION_ROWS = 96
POLL_SECONDS = 0.5
"""Nobody pays for calls of a private chain, and whoever waits for the last of eight sees it at once."""
REPOSITORY = Path(__file__).resolve().parents[2]


def run_demo(options: DemoOptions, console: Console) -> bool:
    """Run or continue the demo in its folder. True if every promise was kept.

    Raises CommandError if a command failed, UsageError if the folder belongs to other options.
    """
    folder, scenario = options.folder, options.scenario
    claim_folder(options)
    keys = write_keys(folder, scenario.participants)
    began = time.monotonic()
    groups = (("trainer", scenario.trainers), ("verifier", scenario.verifiers))
    roles = {p.name: p.about or role for role, group in groups for p in group}
    environment = {
        # A gateway is found by the chain.
        "DELTAPROOF_STORE": "" if scenario.gateway else str(folder / "store"),
        "DELTAPROOF_POLL": str(POLL_SECONDS),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    # Two machines have two caches, and libraries look for theirs as they are imported: nothing is shared there.
    with Supervisor(folder / "logs", environment, preload=scenario.machines is None) as commands:
        data, draft = _prepare(options, keys)
        stage = Stage(commands, options, keys, console)
        stage.start_chain()
        stage.deploy()
        if scenario.gateway:
            stage.start_gateway()
        task = stage.create_task(draft)
        with Display(console, {"sponsor": "sponsor", **roles}) as display:
            stage.play(task, data.shards, display)
        seconds = time.monotonic() - began
        stage.introduce(task)
        history, audit, results = stage.ask_together(
            ("history", "--task", str(task)),
            ("audit", "--task", str(task), "--html", str(folder / "report.html"), *_audit_options(stage, scenario)),
            ("task", "results", "--task", str(task), "--out", str(folder / "adapter"), *_reading(stage, scenario)),
        )
        extra = fedpeat.look_closer(stage, options, task) if scenario.federated else {}
    summary, promises = _summarise(options, keys, history, audit, results, extra)
    summary |= {"seconds": round(seconds, 1), "continued": stage.progress.continued}
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print_summary(console, summary, promises, scenario)
    return all(promise.kept for promise in promises)


def _prepare(options: DemoOptions, keys: Mapping[str, KeyFile]) -> tuple[DemoData, Path]:
    """The rows of everybody, and the draft of the task."""
    folder, scenario = options.folder, options.scenario
    data = prepare_data(
        REPOSITORY / "assets",
        folder / "data",
        seed=options.seed,
        rounds=scenario.rounds,
        validation_rows=VALIDATION_ROWS,
    )
    draft = folder / "data" / "task.toml"
    draft.write_text(scenario.draft_text())
    if scenario.federated:
        fedpeat.prepare(options, data, draft, {name: key.address for name, key in keys.items()})
    return data, draft


def _audit_options(stage: Stage, scenario: Scenario) -> Sequence[str]:
    """What is sealed, a verifier may read; so it audits with its own keys."""
    key = ("--reading-key", str(stage.home(scenario.verifiers[0]))) if scenario.sealed else ()
    return (*scenario.audit_options, *key)


def _reading(stage: Stage, scenario: Scenario) -> Sequence[str]:
    """Where adapters are sealed, the sponsor reads them with its own keys."""
    return ("--reading-key", str(stage.home(SPONSOR))) if scenario.sealed else ()


def _summarise(
    options: DemoOptions,
    keys: Mapping[str, KeyFile],
    history: Mapping[str, Any],
    audit: Mapping[str, Any],
    results: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> tuple[dict[str, Any], list[Promise]]:
    scenario = options.scenario
    names = {key.address: name for name, key in keys.items()}
    rounds = [entry for entry in history["tasks"][0]["history"] if entry["outcome"] == "settled"]
    outcomes = [
        TrainerOutcome(
            round=entry["round"],
            trainer=names[leaf["trainer"]],
            verdict=leaf["verdict"],
            score_nanos=leaf["scoreNanos"],
            stderr_nanos=leaf["stderrNanos"],
            payout=leaf["payout"],
        )
        for entry in rounds
        for leaf in entry["trainers"]
    ]
    slashed = {p.name: 0 for p in (*scenario.trainers, *scenario.verifiers)}
    fees: dict[str, dict[int, int]] = {p.name: {} for p in scenario.verifiers}
    for entry in rounds:
        for slash in entry["slashes"]:
            slashed[names[slash["account"]]] += slash["amount"]
        for fee in entry["verifiers"]:
            fees[names[fee["verifier"]]][entry["round"]] = fee["fee"]
    accuracy = {
        "start": float(results["start"]["accuracy"]),
        "final": float(results["final"]["accuracy"]),
        **{names[one["trainer"]]: float(one["accuracy"]) for one in results["alone"]},
    }
    pay = {name: sum(by_round.values()) for name, by_round in fees.items()}
    failures = int(audit["failed"])
    if scenario.federated:
        promises = fedpeat.check_promises(outcomes, slashed, pay, accuracy, audit, extra, rounds=scenario.rounds)
    else:
        promises = check_promises(outcomes, slashed, pay, accuracy, failures, scenario=scenario)
    promises = [promise for promise in promises if scenario.judges_value or not promise.of_value]
    summary = {
        "name": options.name,
        "seed": options.seed,
        "chain": options.chain,
        "kept": all(promise.kept for promise in promises),
        "promises": [asdict(promise) for promise in promises],
        "outcomes": [asdict(outcome) for outcome in outcomes],
        "names": {str(number): paid for number, paid in names_pay(outcomes, scenario).items()},
        "slashed": slashed,
        "verifier_fees": fees,
        "held_out": results,
        "accuracy": accuracy,
        "audit": audit,
        **extra,
        "adapter": str(options.folder / "adapter"),
        "report": str(options.folder / "report.html"),
    }
    return summary, promises
