"""Commands whose libraries are loaded already: each is forked from one process that has imported them once.

A command that computes imports torch, transformers and web3 for some seven seconds before it does anything. Nine of
them on one machine would do so nine times. Forked from here, each is a process of its own all the same, with its own
environment, session and memory, and it runs the same command line.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import IO

from deltaproof.extras import LIBRARY_SETTINGS

__all__ = ["Forked", "Nursery", "environment_of_libraries"]

LIGHT = frozenset({"chain", "deploy", "faucet"})
"""Commands that need little of it: they have done their work before everything is loaded."""
READ_AT_IMPORT = ("CUDA", "HF_", "HOME", "HUGGINGFACE_", "LD_", "MKL", "OMP_", "OPENBLAS", "PYTHON", "TOKENIZERS_",
                  "TORCH", "TRANSFORMERS_", "XDG_")  # fmt: skip
"""Beginnings of variables that a library may read as it is imported; all others are read when they are needed."""

_loading_with: dict[str, str] | None = None
"""The environment of the one such process that Python keeps; None before it runs."""


class Forked:
    """A forked command, as far as `subprocess.Popen` shows one."""

    def __init__(self, process: ForkServerProcess, stdout: IO[str]) -> None:
        self.stdout = stdout
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """See `Popen`."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """See `Popen`."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """See `Popen`. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if (status := self._process.exitcode) is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """See `Popen`."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Nursery:
    """Forks commands for one environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Begin to load; this returns at once. `environment`: the whole of it, as commands have it by default."""
        global _loading_with  # noqa: PLW0603 - Python keeps one such process, so what it was started with is kept once
        self._context = multiprocessing.get_context("forkserver")
        self._environment = environment_of_libraries(environment)
        if _loading_with is None:
            self._context.set_forkserver_preload(["deltaproof.demo.preloaded"])
            with _as_environment({**LIBRARY_SETTINGS, **environment}):
                forkserver.ensure_running()
            _loading_with = self._environment

    def takes(self, arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Whether a command is forked: it needs the libraries, and what they read as they were imported is the same."""
        return arguments[0] not in LIGHT and environment_of_libraries(environment) == _loading_with

    def start(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Forked:
        """`python -m MODULE ARGUMENTS`, with all that it writes on one pipe."""
        reading, writing = self._context.Pipe(duplex=False)
        with writing:
            process = self._forked(module, arguments, environment, writing, writing)
        return Forked(process, _text(reading))

    def run(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """The same to its end. Raises subprocess.TimeoutExpired."""
        (out, to_out), (err, to_err) = (self._context.Pipe(duplex=False) for _ in range(2))
        with to_out, to_err:
            forked = Forked(self._forked(module, arguments, environment, to_out, to_err), _text(out))
        with ThreadPoolExecutor(2) as readers, forked.stdout, _text(err) as errors:
            written = [readers.submit(stream.read) for stream in (forked.stdout, errors)]
            try:
                status = forked.wait(timeout)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(forked.pid, signal.SIGKILL)
                raise
            return subprocess.CompletedProcess([*arguments], status, *(one.result() for one in written))

    def _forked(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], out: Connection, err: Connection
    ) -> ForkServerProcess:
        # Not a daemon, which could have no children of its own; whoever starts it ends it.
        life = (module, list(arguments), dict(environment), out, err)
        process = self._context.Process(target=_become, args=life, name=" ".join(arguments[:2]))
        process.start()
        return process


def environment_of_libraries(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that is read as libraries are imported, with what each command sets before it is."""
    known = {**LIBRARY_SETTINGS, **environment}
    return {name: value for name, value in known.items() if name.startswith(READ_AT_IMPORT)}


def _become(module: str, arguments: list[str], environment: dict[str, str], out: Connection, err: Connection) -> None:
    """In the fork: the command."""
    os.setsid()  # a group of its own, as its parent's other children have
    for number, pipe in enumerate((out, err), start=1):
        os.dup2(pipe.fileno(), number)
    for pipe in {out, err}:
        pipe.close()
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _text(pipe: Connection) -> IO[str]:
    """A pipe's end as a file of its own."""
    with pipe:
        return os.fdopen(os.dup(pipe.fileno()), "r", encoding="utf-8", errors="replace")


@contextmanager
def _as_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """This process's environment, for as long as another takes it over."""
    mine = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(mine)
