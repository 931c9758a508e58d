"""Starts `deltaproof` commands as separate processes, gathers their JSON events, and ends every one of them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from deltaproof.demo.nursery import Nursery
from deltaproof.errors import DeltaproofError

__all__ = ["CommandError", "Process", "Supervisor", "Worker", "WorkerEvent", "command"]

STOP_SECONDS = 15.0


class CommandError(DeltaproofError):
    """A command that the demo needs ended with an error."""


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """One JSON line of a worker."""

    worker: str
    name: str
    message: str
    fields: Mapping[str, object]


class Process(Protocol):
    """What of `subprocess.Popen` is needed of a command, however it was started."""

    pid: int

    @property
    def stdout(self) -> IO[str] | None: ...

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...


@dataclass(slots=True)
class Worker:
    """A running command."""

    name: str
    process: Process
    log: Path
    threads: list[threading.Thread] = field(default_factory=list)

    def tail(self, lines: int = 8) -> str:
        """The end of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Supervisor:
    """Owns the processes of one run. Leaving the context ends them all, in reverse order of their start."""

    def __init__(self, logs: Path, environment: Mapping[str, str], *, preload: bool = False) -> None:
        """`preload`: commands are forked from a process that has their libraries loaded (`Nursery`), where they can
        be."""
        self.logs = logs
        self.events: queue.Queue[WorkerEvent] = queue.Queue()
        self._environment = {**os.environ, **environment}
        self._nursery = Nursery(self._environment) if preload else None
        self._workers: dict[str, Worker] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        module: str = "deltaproof",
    ) -> Worker:
        """Run `deltaproof ARGUMENTS --json`, or another module's command line, in the background under a name."""
        worker = Worker(name, self._begun(arguments, module, environment), self.logs / f"{name}.log")
        reader = threading.Thread(target=self._read, args=(worker,), daemon=True)
        worker.threads.append(reader)
        self._workers[name] = worker
        reader.start()
        return worker

    def run(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        timeout: float,
        environment: Mapping[str, str] | None = None,
        may_fail: bool = False,
    ) -> dict[str, object]:
        """Run a command to its end and return its last JSON object.

        Raises CommandError with what it printed if it has no result, or, unless it `may_fail`, exits non-zero.
        """
        finished = self._finished(arguments, environment, timeout)
        with (self.logs / f"{name}.log").open("a") as log:
            log.write(finished.stdout + finished.stderr)
        if finished.returncode != 0 and not may_fail:
            raise CommandError(f"`deltaproof {' '.join(arguments)}` failed:\n{finished.stdout}{finished.stderr}")
        results = [value for value in map(_json_object, finished.stdout.splitlines()) if value is not None]
        if not results:
            raise CommandError(f"`deltaproof {' '.join(arguments)}` printed no result:\n{finished.stdout}")
        return results[-1]

    def wait_for(self, worker: Worker, event: str, timeout: float) -> WorkerEvent:
        """The next event of that name from that worker; other events stay queued. Raises CommandError."""
        deadline = time.monotonic() + timeout
        passed: list[WorkerEvent] = []
        try:
            while time.monotonic() < deadline:
                try:
                    seen = self.events.get(timeout=0.2)
                except queue.Empty:
                    if worker.process.poll() is not None:
                        break
                    continue
                if seen.worker == worker.name and seen.name == event:
                    return seen
                passed.append(seen)
        finally:
            for seen in passed:
                self.events.put(seen)
        raise CommandError(f"{worker.name} did not report {event!r} within {timeout:.0f} s:\n{worker.tail()}")

    def failed(self) -> Worker | None:
        """A worker that ended with an error."""
        return next((w for w in self._workers.values() if w.process.poll() not in (None, 0)), None)

    def running(self, names: Sequence[str]) -> list[str]:
        """Those of the named workers that have not ended."""
        return [name for name in names if self._workers[name].process.poll() is None]

    def stop(self) -> None:
        """End every worker: SIGINT, then after a bounded wait SIGKILL, each to its whole process group."""
        for worker in reversed(self._workers.values()):
            _signal(worker.process, signal.SIGINT)
            try:
                worker.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _signal(worker.process, signal.SIGKILL)
                worker.process.wait(STOP_SECONDS)
            for thread in worker.threads:
                thread.join(STOP_SECONDS)

    def _begun(self, arguments: Sequence[str], module: str, changes: Mapping[str, str] | None) -> Process:
        environment = {**self._environment, **(changes or {})}
        if self._nursery is not None and self._nursery.takes(arguments, environment):
            return self._nursery.start(module, [*arguments, "--json"], environment)
        return subprocess.Popen(
            command(arguments, module),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
            # A group of its own: Ctrl-C reaches the demo alone, which then ends its workers in order.
            start_new_session=True,
        )

    def _finished(
        self, arguments: Sequence[str], changes: Mapping[str, str] | None, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        environment = {**self._environment, **(changes or {})}
        if self._nursery is not None and self._nursery.takes(arguments, environment):
            return self._nursery.run("deltaproof", [*arguments, "--json"], environment, timeout)
        return subprocess.run(
            command(arguments),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            env=environment,
            start_new_session=True,
        )

    def _read(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        with worker.log.open("a") as log:
            for line in worker.process.stdout:
                log.write(line)
                log.flush()
                value = _json_object(line)
                if value is not None and isinstance(value.get("event"), str):
                    self.events.put(WorkerEvent(worker.name, str(value["event"]), str(value.get("message", "")), value))


def command(arguments: Sequence[str], module: str = "deltaproof") -> list[str]:
    """The command line of `deltaproof ARGUMENTS --json` in this Python environment."""
    return [sys.executable, "-m", module, *arguments, "--json"]


def _json_object(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        # A library's own output; it stays in the log.
        return None
    return value if isinstance(value, dict) else None


def _signal(process: Process, number: signal.Signals) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
