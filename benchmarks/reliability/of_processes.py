"""Roles as processes that run `deltaproof` commands, and what an operating system does to processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.reliability.kinds import Kind, Stage, Undo
from deltaproof.protocol.evidence.rows import write_shard
from tests.chaos.chaos_world import ChaosWorld, Lived, distinct_rows

__all__ = ["PROCESSES", "as_processes"]

PRELOADED = [
    "deltaproof.cli.roles", "deltaproof.api.living", "deltaproof.sponsor.life", "trainer.life", "verifier.life",
    "torch", "transformers", "benchmarks.reliability.__main__",
]  # fmt: skip
"""Imported once by the process that all commands are forked from: a start takes a second instead of eight."""


class Commanded(Lived):
    """A role that lives in a process of its own; `start` after `kill` is what a service manager does."""

    process: BaseProcess | None = None
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = {}
    down = False
    """Killed, and about to be started again."""

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        """Run the command."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self.process = context.Process(
            target=run_command, args=(list(self.arguments), dict(self.environment), str(self.log)), daemon=True
        )
        self.process.start()
        self.down = False

    @property
    def living(self) -> bool:
        """Whether it runs, or soon will again; notes how it ended otherwise."""
        if self.down:
            return True
        assert self.process is not None
        if self.process.is_alive():
            return True
        if self.process.exitcode:
            self.error = RuntimeError(f"exit code {self.process.exitcode}: {self.log.read_text()[-600:]}")
        return False

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.down = True
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        """End it if it has not ended, and read what it told."""
        if self.process is not None and self.process.is_alive():
            self.process.kill()
            self.process.join()
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                told = json.loads(line)
                self.events.append((told["event"], told["message"]))
                if told.get("owner") == "program":
                    self.traces.append(told["trace"])


def run_command(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """In the new process: the command line, with its output in a file."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(environment)
    sys.argv = ["deltaproof", *arguments]
    from deltaproof.cli import main

    main()


def as_processes(world: ChaosWorld, folder: Path) -> None:
    """Let every role of a world run as a command instead of on a thread."""
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    trainers = sum(role.name.startswith("trainer") for role in world.roles)
    commanded: list[Lived] = []
    for number, role in enumerate(world.roles):
        kind = role.name.partition("-")[0]
        arguments = [
            kind,
            "run",
            "--task",
            str(world.task),
            "--home",
            str(folder / role.name),
            "--poll",
            "0.5",
            "--json",
        ]
        if kind == "trainer":
            data = folder / f"{role.name}.jsonl"
            write_shard(data, distinct_rows(number - 1))
            arguments += ["--data", str(data)]
        elif kind == "sponsor":
            verifiers = len(world.roles) - 1 - trainers
            arguments += ["--trainers", str(trainers), "--verifiers", str(verifiers)]
        new = Commanded(role.name, role.agent, role.proxy, role.store, [], role.again, folder)
        new.arguments = arguments
        new.environment = {
            "DELTAPROOF_RPC": role.proxy.url,
            "DELTAPROOF_CONTRACT": world.gateway.tasks.address,
            "DELTAPROOF_KEY": world.node.private_keys[1 + number],
            "DELTAPROOF_STORE": str(world.store_folder),
            "DELTAPROOF_STATE": str(folder / "states"),
        }
        commanded.append(new)
    world.roles[:] = commanded


def running(stage: Stage) -> Commanded:
    """One of the processes, as drawn."""
    able = [role for role in stage.living() if isinstance(role, Commanded) and not role.down]
    return stage.draw.choice(able)


def kill(stage: Stage) -> Undo:
    """SIGKILL; started again when the fault ends."""
    role = running(stage)
    role.kill()
    return role.start


def freeze(stage: Stage) -> Undo:
    """SIGSTOP, as a laptop that is closed; SIGCONT when the fault ends."""
    role = running(stage)
    assert role.process is not None
    pid = role.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    def end() -> None:
        with suppress(ProcessLookupError):  # it was at its end already, or was killed meanwhile
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)

    return end


PROCESSES = [
    Kind(
        "SIGKILL",
        "process",
        "killed, started again up to 3 s later",
        kill,
        lasts=(0.0, 3.0),
        gap=(3.0, 8.0),
        processes=True,
    ),
    Kind(
        "frozen",
        "process",
        "stopped for 1 to 15 s, then goes on",
        freeze,
        lasts=(1.0, 15.0),
        gap=(1.0, 4.0),
        processes=True,
    ),
]
