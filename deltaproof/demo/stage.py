"""The demo's participants at work: each command a process of its own, with its own key and, if need be, machine."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from deltaproof.chain.local_node import development_keys, free_port
from deltaproof.demo.display import Display
from deltaproof.demo.plan import DEPLOYER, ROUNDS, SPONSOR, Participant, Scenario
from deltaproof.demo.processes import CommandError, Supervisor
from deltaproof.errors import UsageError

__all__ = ["DemoOptions", "KeyFile", "RunProgress", "Stage", "claim_folder", "write_keys"]

TOKENS_EACH = 1_000
FUNDING_A_ROUND = 120
"""In tokens, as commands take them."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `deltaproof demo` was asked for."""

    name: str
    folder: Path
    seed: int
    chain: str
    timeout_seconds: float
    scenario: Scenario


class RunProgress:
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


class Stage:
    """The commands of the demo, in the order in which they are given."""

    def __init__(
        self, commands: Supervisor, options: DemoOptions, keys: Mapping[str, KeyFile], console: Console
    ) -> None:
        self._commands, self._options, self._keys, self._console = commands, options, keys, console
        self._scenario = options.scenario
        self._environment: dict[str, str] = {}
        self._announced: dict[str, str] = {}
        """The store that only the sponsor is told, where others find it by the chain."""
        self.progress = RunProgress(options.folder / "progress.json")

    def start_chain(self) -> None:
        """Start the private chain and wait until it answers."""
        folder = self._options.folder
        accounts = str(len(self._scenario.participants))
        worker = self._commands.start(
            "chain",
            ["chain", "up", "--kind", self._options.chain, "--accounts", accounts, "--block-time", "1",
             "--state", str(folder / "chain")],
        )  # fmt: skip
        ready = self._commands.wait_for(worker, "ready", timeout=60)
        self._environment["DELTAPROOF_RPC"] = str(ready.fields["rpc_url"])
        self._console.print(f"{self._options.chain} answers at {ready.fields['rpc_url']}")

    def deploy(self) -> None:
        """Deploy the contracts and give every participant tokens, once."""
        out = str(self._options.folder / "deployment.json")
        deployed = self.progress.once("deploy", lambda: self._run("deploy", "--out", out, by=DEPLOYER))
        self._environment["DELTAPROOF_CONTRACT"] = str(deployed["tasks"])
        self._console.print(f"contracts deployed; TaskManager at {deployed['tasks']}")
        receivers = [self._keys[p.name].address for p in self._scenario.participants[1:]]
        faucet = ("faucet", "--amount", str(TOKENS_EACH), *receivers)
        self.progress.once("faucet", lambda: self._run(*faucet, by=DEPLOYER))

    def start_gateway(self) -> None:
        """Put a gateway before the folder, which nobody else is told. The sponsor announces its URL on chain."""
        folder = self._options.folder
        # A demo that goes on needs the same port: the URL stands on chain.
        chosen = self.progress.once("gateway", lambda: {"port": free_port("127.0.0.1")})
        behind, home = str(folder / "store"), str(folder / "gateway")
        serving = ("--store", behind, "--home", home, "--port", str(chosen["port"]))
        worker = self._commands.start("gateway", ["store", "serve", *serving], self._environment)
        ready = self._commands.wait_for(worker, "ready", timeout=60)
        self._announced = {"DELTAPROOF_STORE": str(ready.fields["url"])}
        self._console.print(f"a gateway serves artifacts at {ready.fields['url']}")

    def home(self, participant: Participant) -> Path:
        """A participant's home."""
        return self._options.folder / "homes" / participant.name

    def create_task(self, draft: Path) -> int:
        """Create and fund the task, once; returns its number."""
        home = self.home(SPONSOR)
        funding = FUNDING_A_ROUND * self._scenario.rounds
        create = ("task", "create", str(draft), "--fund", str(funding), "--home", str(home))
        task = self.progress.once("task", lambda: self._run(*create, by=SPONSOR, told=self._announced))
        spec = str(task["spec_hash"])[:18]
        self._console.print(f"task {task['task']} created, spec {spec}..., funded with {funding} DEMO")
        return int(task["task"])

    def play(self, task: int, shards: Mapping[str, Path], display: Display) -> None:
        """Start every role and wait until all have ended by themselves."""
        for verifier in self._scenario.verifiers:
            self._start(verifier, ["verifier", "run", "--task", str(task)])
        for trainer in self._scenario.trainers:
            arguments = ["--task", str(task), "--data", str(shards[trainer.shard])]
            if trainer.honest:
                self._start(trainer, ["trainer", "run", *arguments])
            else:
                self._start(trainer, arguments, module="deltaproof.demo.cheat")
        trainers, verifiers = self._scenario.trainers, self._scenario.verifiers
        enrolled = ["--trainers", str(len(trainers)), "--verifiers", str(len(verifiers))]
        self._start(SPONSOR, ["sponsor", "run", "--task", str(task), *enrolled])
        names = [p.name for p in (SPONSOR, *trainers, *verifiers)]
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

    def introduce(self, task: int) -> None:
        """Everybody signs the name that it has here, so that pages show it beside its address."""
        people = [SPONSOR, *self._scenario.trainers, *self._scenario.verifiers]
        with ThreadPoolExecutor(len(people)) as asked:
            said = [("profile", "set", "--task", str(task), "--name", one.name) for one in people]
            list(asked.map(lambda words, one: self._run(*words, by=one), said, people))

    def ask(self, *arguments: str, may_fail: bool = False, outside: bool = False) -> dict[str, Any]:
        """The JSON answer of a command that only reads; `outside`: on a machine where nobody holds the full model."""
        environment = {**self._environment, **self._machine(inside=not outside)}
        return self._commands.run(arguments[0], arguments, timeout=900, environment=environment, may_fail=may_fail)

    def ask_together(self, *commands: Sequence[str]) -> list[dict[str, Any]]:
        """The answers of several commands that only read, side by side: most of each is done by one processor.

        An audit that found something exits with an error and has an answer all the same.
        """
        with ThreadPoolExecutor(len(commands)) as asked:
            answers = [asked.submit(self.ask, *words, may_fail=words[0] == "audit") for words in commands]
        return [answer.result() for answer in answers]

    def _pump(self, display: Display) -> None:
        try:
            while True:
                display.show(self._commands.events.get(timeout=0.25))
        except queue.Empty:
            display.refresh()

    def _start(self, participant: Participant, arguments: Sequence[str], *, module: str = "deltaproof") -> None:
        arguments = [*arguments, "--home", str(self.home(participant))]
        self._commands.start(participant.name, arguments, self._of(participant), module=module)

    def _run(self, *arguments: str, by: Participant, told: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
        return self._commands.run(by.name, arguments, timeout=600, environment={**self._of(by), **told})

    def _of(self, participant: Participant) -> dict[str, str]:
        inside = participant not in self._scenario.trainers or participant.owner
        key = {"DELTAPROOF_KEY": str(self._keys[participant.name].path)}
        return {**self._environment, **self._machine(inside=inside), **key}

    def _machine(self, *, inside: bool) -> dict[str, str]:
        """A home directory and a cache: with the full model inside, or without."""
        if self._scenario.machines is None:
            return {}
        home = self._options.folder / "machines" / self._scenario.machines[0 if inside else 1]
        return {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A participant's private key on disk, and its address."""

    path: Path
    address: str


def write_keys(folder: Path, participants: Sequence[Participant]) -> dict[str, KeyFile]:
    """A key file per participant, from the chain's well-known development accounts."""
    from eth_account import Account

    keys = development_keys(len(participants))
    (folder / "keys").mkdir(parents=True, exist_ok=True)
    written = {}
    for participant in participants:
        path = folder / "keys" / f"{participant.name}.key"
        path.touch(mode=0o600)
        path.write_text(keys[participant.account] + "\n")
        written[participant.name] = KeyFile(path, str(Account.from_key(keys[participant.account]).address))
    return written


def claim_folder(options: DemoOptions) -> None:
    """Make the run's folder, or recognise it. Raises UsageError if it was made with other options."""
    options.folder.mkdir(parents=True, exist_ok=True)
    note = options.folder / "demo.json"
    wanted = {"seed": options.seed, "chain": options.chain, "scenario": options.scenario.name}
    if options.scenario.rounds != ROUNDS:
        wanted["rounds"] = options.scenario.rounds
    if note.is_file():
        found = json.loads(note.read_text())
        if found != wanted:
            raise UsageError(f"{options.folder} was made with {found}; choose another --name, or remove the folder")
    note.write_text(json.dumps(wanted))
