"""Rounds played by `deltaproof` commands, each a process of its own, started as a user would start it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from eth_account import Account

from deltaproof.chain.local_node import development_keys
from deltaproof.demo.processes import Supervisor, Worker, WorkerEvent
from scripts.play_task import TERMS, WORK

__all__ = ["DRAFT", "PATIENCE", "Market"]

PATIENCE = 120.0
"""Seconds that anything may take by default."""
DRAFT = (WORK + TERMS).replace("rows = 8", "rows = 4").replace("= 300\n", "= 60\n").replace("from a wheel", "tiny")
"""A task of one round; to be filled with the folder of a model."""
_PEOPLE = 8
_FUNDS = ("100000wei", "1100wei")
"""What each of them gets, and what the task is funded with."""


@dataclass(frozen=True)
class Market:
    """A chain, contracts and a funded task. The folder holds logs, store and homes."""

    commands: Supervisor
    folder: Path
    task: str
    environment: dict[str, str]
    patience: float = PATIENCE
    server: Worker | None = None
    """The gateway, if everybody shares one."""
    url: str = ""
    """Of the gateway."""

    @classmethod
    def open(
        cls,
        commands: Supervisor,
        folder: Path,
        *,
        patience: float = PATIENCE,
        deploying: Sequence[str] = (),
        gateway: Sequence[str] = (),
        behind: Mapping[str, str] = MappingProxyType({}),
        told: bool = True,
        node: str = "anvil",
    ) -> Market:
        """Start the chain, deploy, and create the task of `task.toml` in the folder.

        `deploying`: more for `deploy`. `gateway`: the arguments of a `store serve` that everybody shares, with `behind`
        in its environment. Unless `told`, nobody but the sponsor hears the store's URL. `node`: the chain's kind.
        """
        keys = development_keys(10)
        chain = commands.start("chain", ["chain", "up", "--kind", node])
        node_url = str(commands.wait_for(chain, "ready", patience).fields["rpc_url"])
        settings = {"DELTAPROOF_RPC": node_url, "DELTAPROOF_KEY": keys[0]}

        def run(*arguments: str) -> dict[str, object]:
            return commands.run(arguments[0], list(arguments), timeout=patience, environment=settings)

        each, funding = _FUNDS
        settings["DELTAPROOF_CONTRACT"] = str(run("deploy", *deploying)["tasks"])
        server = None
        if gateway:
            server = commands.start("gateway", ["store", "serve", "--port", "0", *gateway], {**settings, **behind})
            settings["DELTAPROOF_STORE"] = str(commands.wait_for(server, "ready", patience).fields["url"])
        run("faucet", *(str(Account.from_key(key).address) for key in keys[:_PEOPLE]), "--amount", each)
        home = str(folder / "homes" / "sponsor")
        task = run("task", "create", str(folder / "task.toml"), "--fund", funding, "--home", home, "--accept-risk")
        url = settings.get("DELTAPROOF_STORE", "")
        if not told:
            del settings["DELTAPROOF_STORE"]
        return cls(commands, folder, str(task["task"]), settings, patience, server, url)

    def create(self, draft: str, number: int, *arguments: str) -> str:
        """One more task, of DRAFT.toml, sponsored by another of the keys; returns its number."""
        home, key = str(self.folder / "homes" / f"sponsor-{number}"), {"DELTAPROOF_KEY": development_keys(10)[number]}
        command = ["task", "create", str(self.folder / f"{draft}.toml"), "--fund", _FUNDS[1], "--home", home]
        created = self.commands.run(
            "task", [*command, "--accept-risk", *arguments], timeout=self.patience, environment=self.environment | key
        )
        return str(created["task"])

    def run(self, name: str, *arguments: str) -> dict[str, object]:
        """A command of the sponsor's, to its end; what it says as JSON."""
        return self.commands.run(name, list(arguments), timeout=self.patience, environment=self.environment)

    def role(self, name: str, number: int, role: str, *arguments: str, task: str | None = "", key: str = "") -> Worker:
        """A role's working life with one of the chain's keys (0 is the sponsor's). `task`: the market's by default,
        None for one that looks for tasks itself; `key`: where it is, if elsewhere."""
        which = [] if task is None else ["--task", task or self.task]
        command = [role, "run", *which, "--home", str(self.folder / "homes" / name), *arguments]
        own = {"DELTAPROOF_KEY": key or development_keys(10)[number]}
        return self.commands.start(name, command, {**self.environment, **own})

    def trainer(self, name: str, number: int, *arguments: str, key: str = "") -> Worker:
        """A trainer of the rows in NAME.jsonl."""
        return self.role(name, number, "trainer", "--data", str(self.folder / f"{name}.jsonl"), *arguments, key=key)

    def wait(self, worker: Worker, event: str) -> WorkerEvent:
        """The next event of that name. Raises CommandError if it does not come."""
        return self.commands.wait_for(worker, event, self.patience)

    def ended(self, worker: Worker) -> int:
        """The exit code of a process, once it has ended by itself."""
        return worker.process.wait(self.patience)
