"""The demo: the same commands that anyone would use, as separate processes, on a private chain.

It prepares data and keys, starts the chain, deploys, creates the task, starts trainers, verifiers and the sponsor,
waits until the task is over, then asks `history`, `audit` and `task results` what happened and checks its promises.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from deltaproof.chain_node import development_keys
from deltaproof.demo.data import prepare_data
from deltaproof.demo.display import Display
from deltaproof.demo.expectations import Outcome, Promise, check_promises
from deltaproof.demo.plan import DEPLOYER, SPONSOR, TRAINERS, VERIFIERS, Participant
from deltaproof.demo.processes import CommandError, Supervisor
from deltaproof.demo.tables import print_summary
from deltaproof.errors import UsageError

__all__ = ["DemoOptions", "run_demo"]

PARTICIPANTS = (DEPLOYER, SPONSOR, *TRAINERS, *VERIFIERS)
TOKENS_EACH = 1_000 * 10**18
ROUNDS = 3
FUNDING = (ROUNDS * 110) * 10**18
VALIDATION_ROWS = 96
DRAFT = Path(__file__).with_name("sentiment.toml")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `deltaproof demo` was asked for."""

    name: str
    folder: Path
    seed: int
    chain: str
    timeout_seconds: float


def run_demo(options: DemoOptions, console: Console) -> bool:
    """Run or continue the demo in its folder. True if every promise was kept.

    Raises CommandError if a command failed, UsageError if the folder belongs to other options.
    """
    folder = options.folder
    _claim_folder(options)
    keys = _write_keys(folder)
    data = prepare_data(
        REPOSITORY / "assets", folder / "data", seed=options.seed, rounds=ROUNDS, validation_rows=VALIDATION_ROWS
    )
    draft = folder / "data" / "task.toml"
    draft.write_text(DRAFT.read_text())
    began = time.monotonic()
    roles = {p.name: p.about or role for role, group in (("trainer", TRAINERS), ("verifier", VERIFIERS)) for p in group}
    environment = {"DELTAPROOF_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with Supervisor(folder / "logs", environment) as commands:
        stage = _Stage(commands, options, keys, console)
        stage.start_chain()
        stage.deploy()
        task = stage.create_task(draft)
        with Display(console, {"sponsor": "sponsor", **roles}) as display:
            stage.play(task, data.shards, display)
        seconds = time.monotonic() - began
        history = stage.ask("history", "--task", str(task))
        audit = stage.ask("audit", "--task", str(task), may_fail=True)
        results = stage.ask("task", "results", "--task", str(task), "--out", str(folder / "adapter"))
        report = ("report", "--task", str(task), "--replay", "0", "--html", str(folder / "report.html"))
        stage.ask(*report, may_fail=True)
    summary, promises = _summarise(options, keys, history, audit, results)
    summary |= {"seconds": round(seconds, 1), "continued": stage.progress.continued}
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print_summary(console, summary, promises)
    return all(promise.kept for promise in promises)


class _Progress:
    """What a stopped run had done, so that the same command continues it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.continued = path.is_file()
        self._done: dict[str, Any] = json.loads(path.read_text()) if self.continued else {}

    def once(self, step: str, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of a step, taken from an earlier run if that did it."""
        if step not in self._done:
            self._done[step] = act()
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(self._done, indent=2))
            partial.replace(self._path)
        result: dict[str, Any] = self._done[step]
        return result


class _Stage:
    """The commands of the demo, in the order in which they are given."""

    def __init__(self, commands: Supervisor, options: DemoOptions, keys: Mapping[str, _Key], console: Console) -> None:
        self._commands, self._options, self._keys, self._console = commands, options, keys, console
        self._environment: dict[str, str] = {}
        self.progress = _Progress(options.folder / "progress.json")

    def start_chain(self) -> None:
        folder = self._options.folder
        worker = self._commands.start(
            "chain",
            ["chain", "up", "--kind", self._options.chain, "--accounts", str(len(PARTICIPANTS)), "--block-time", "1",
             "--state", str(folder / "chain")],
        )  # fmt: skip
        ready = self._commands.wait_for(worker, "ready", timeout=60)
        self._environment["DELTAPROOF_RPC"] = str(ready.fields["rpc_url"])
        self._console.print(f"{self._options.chain} answers at {ready.fields['rpc_url']}")

    def deploy(self) -> None:
        out = str(self._options.folder / "deployment.json")
        deployed = self.progress.once("deploy", lambda: self._run("deploy", "--out", out, by=DEPLOYER))
        self._environment["DELTAPROOF_CONTRACT"] = str(deployed["tasks"])
        self._console.print(f"contracts deployed; TaskManager at {deployed['tasks']}")
        receivers = [self._keys[p.name].address for p in PARTICIPANTS[1:]]
        faucet = ("faucet", "--amount", str(TOKENS_EACH), *receivers)
        self.progress.once("faucet", lambda: self._run(*faucet, by=DEPLOYER))

    def create_task(self, draft: Path) -> int:
        home = self._options.folder / "homes" / SPONSOR.name
        create = ("task", "create", str(draft), "--fund", str(FUNDING), "--home", str(home))
        task = self.progress.once("task", lambda: self._run(*create, by=SPONSOR))
        spec = str(task["spec_hash"])[:18]
        self._console.print(f"task {task['task']} created, spec {spec}..., funded with {FUNDING // 10**18} DEMO")
        return int(task["task"])

    def play(self, task: int, shards: Mapping[str, Path], display: Display) -> None:
        """Start every role and wait until all have ended by themselves."""
        for verifier in VERIFIERS:
            self._start(verifier, ["verifier", "run", "--task", str(task)])
        for trainer in TRAINERS:
            arguments = ["trainer", "run", "--task", str(task), "--data", str(shards[trainer.shard])]
            self._start(trainer, arguments if trainer.honest else [*arguments, "--conduct", "skip-half", "--top-up"])
        enrolled = ["--trainers", str(len(TRAINERS)), "--verifiers", str(len(VERIFIERS))]
        self._start(SPONSOR, ["sponsor", "run", "--task", str(task), *enrolled])
        names = [p.name for p in (SPONSOR, *TRAINERS, *VERIFIERS)]
        deadline = time.monotonic() + self._options.timeout_seconds
        while self._commands.running(names):
            self._pump(display)
            if failed := self._commands.failed():
                raise CommandError(f"{failed.name} ended with an error:\n{failed.tail()}")
            if time.monotonic() > deadline:
                raise CommandError(
                    f"not finished after {self._options.timeout_seconds:.0f} s; see {self._commands.logs}"
                )
        self._pump(display)

    def ask(self, *arguments: str, may_fail: bool = False) -> dict[str, Any]:
        """The JSON answer of a command that only reads."""
        return self._commands.run(
            arguments[0], arguments, timeout=600, environment=self._environment, may_fail=may_fail
        )

    def _pump(self, display: Display) -> None:
        try:
            while True:
                display.show(self._commands.events.get(timeout=0.25))
        except queue.Empty:
            display.refresh()

    def _start(self, participant: Participant, arguments: Sequence[str]) -> None:
        home = self._options.folder / "homes" / participant.name
        self._commands.start(participant.name, [*arguments, "--home", str(home)], self._of(participant))

    def _run(self, *arguments: str, by: Participant) -> dict[str, Any]:
        return self._commands.run(by.name, arguments, timeout=300, environment=self._of(by))

    def _of(self, participant: Participant) -> dict[str, str]:
        return {**self._environment, "DELTAPROOF_KEY": str(self._keys[participant.name].path)}


@dataclass(frozen=True, slots=True)
class _Key:
    path: Path
    address: str


def _write_keys(folder: Path) -> dict[str, _Key]:
    """A key file per participant, from the chain's well-known development accounts."""
    from eth_account import Account

    keys = development_keys(len(PARTICIPANTS))
    (folder / "keys").mkdir(parents=True, exist_ok=True)
    written = {}
    for participant in PARTICIPANTS:
        path = folder / "keys" / f"{participant.name}.key"
        path.touch(mode=0o600)
        path.write_text(keys[participant.account] + "\n")
        written[participant.name] = _Key(path, str(Account.from_key(keys[participant.account]).address))
    return written


def _claim_folder(options: DemoOptions) -> None:
    """Make the run's folder, or recognise it. Raises UsageError if it was made with other options."""
    options.folder.mkdir(parents=True, exist_ok=True)
    note = options.folder / "demo.json"
    wanted = {"seed": options.seed, "chain": options.chain}
    if note.is_file():
        found = json.loads(note.read_text())
        if found != wanted:
            raise UsageError(f"{options.folder} was made with {found}; choose another --name, or remove the folder")
    note.write_text(json.dumps(wanted))


def _summarise(
    options: DemoOptions,
    keys: Mapping[str, _Key],
    history: Mapping[str, Any],
    audit: Mapping[str, Any],
    results: Mapping[str, Any],
) -> tuple[dict[str, Any], list[Promise]]:
    names = {key.address: name for name, key in keys.items()}
    rounds = [entry for entry in history["tasks"][0]["history"] if entry["outcome"] == "settled"]
    outcomes = [
        Outcome(
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
    slashed = {p.name: 0 for p in (*TRAINERS, *VERIFIERS)}
    fees: dict[str, dict[int, int]] = {p.name: {} for p in VERIFIERS}
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
    promises = check_promises(
        outcomes,
        slashed,
        {name: sum(by_round.values()) for name, by_round in fees.items()},
        accuracy,
        int(audit["failed"]),
        rounds=ROUNDS,
    )
    summary = {
        "name": options.name,
        "seed": options.seed,
        "chain": options.chain,
        "kept": all(promise.kept for promise in promises),
        "promises": [asdict(promise) for promise in promises],
        "outcomes": [asdict(outcome) for outcome in outcomes],
        "slashed": slashed,
        "verifier_fees": fees,
        "held_out": results,
        "accuracy": accuracy,
        "audit": audit,
        "adapter": str(options.folder / "adapter"),
        "report": str(options.folder / "report.html"),
    }
    return summary, promises
