"""What a running role can be seen to do: a status file, rotating logs, `/health` and Prometheus metrics.

All of it listens to what the role reports. Nothing here can make the role fail: a disk that is full costs log lines,
and so does an output that nobody reads any more. Both are told once, and again when they are over.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from deltaproof.reporting import Reporter, counted, phase_line

__all__ = ["MOST_LOG_BYTES", "Observed", "serve_health"]

LOG_BYTES = 5 * 1024 * 1024
LOG_FILES = 4
MOST_LOG_BYTES = LOG_BYTES * (LOG_FILES + 1)
"""What the logs of a role take on disk, at most."""
KEPT_ERRORS = 10
STALE_SECONDS = 180.0
"""An agent that has not looked at the chain for so long is not healthy."""
TROUBLE = ("delayed", "dropped", "unusable", "disagreed", "stranded", "late", "witness", "disk")


class Observed:
    """A reporter that passes everything on, and keeps log, status and metrics of it. Safe to share between threads."""

    def __init__(self, report: Reporter, role: str, home: Path) -> None:
        """Logs go to `home/logs`, the status to `home/status-ROLE.json`."""
        self._report, self.role, self.home = report, role, home
        self._lock, self._writing = threading.Lock(), threading.RLock()
        self._errors: deque[dict[str, object]] = deque(maxlen=KEPT_ERRORS)
        self._tasks: dict[object, dict[str, object]] = {}
        self._others: Sequence[Mapping[str, object]] = ()
        self._last: dict[str, object] | None = None
        self._account: object = None
        self._seen_at = time.monotonic()
        self._log = _Log(home / "logs" / f"{role}.jsonl", _Trouble("the log", self._tell))
        self._saving = _Trouble("the status file", self._tell)
        self._saying = _Trouble("the output", self._write_down)
        self.registry = CollectorRegistry()
        self._events = Counter(
            "deltaproof_events_total", "What the role reported", ["role", "event"], registry=self.registry
        )
        self._calls = Counter(
            "deltaproof_rpc_calls_total", "RPC requests", ["role", "method", "answered"], registry=self.registry
        )
        self._block = self._gauge("block_number", "The block that was looked at last")
        self._round = self._gauge("round", "The task's round")
        self._phase = self._gauge("phase", "The task's phase, as the contract numbers them")
        self._left = self._gauge("phase_seconds_left", "Until the phase's deadline")

    def __call__(self, event: str, message: str, **fields: object) -> None:
        """See `Reporter`."""
        self._say(event, message, **fields)
        line = self._noted(event, message, **fields)
        self._log.line(json.dumps(line))
        self.save()

    def _say(self, event: str, message: str, **fields: object) -> None:
        """Pass it on. What is redirected to a full disk, piped to a program that has ended, or shown on a terminal that
        is gone costs the line, not the stake."""
        try:
            self._report(event, message, **fields)
        except (OSError, ValueError) as error:  # also of a stream that is closed, or lacks the characters
            self._saying.began(error)
        else:
            self._saying.over()

    def counted_call(self, method: str, answered: bool) -> None:
        """See `CallCounter`."""
        self._calls.labels(self.role, method, str(answered).lower()).inc()

    def looked(self, moment: dict[str, Any]) -> None:
        """The role looked at the chain: `task`, `account`, `block`, `round`, `phase`, `phase_number`, `deadline`,
        `seconds_left`, `at_stake`."""
        shown = {self._block: "block", self._round: "round", self._phase: "phase_number", self._left: "seconds_left"}
        task = moment["task"]
        for gauge, key in shown.items():
            gauge.labels(self.role, str(task)).set(moment[key])
        with self._lock:
            self._seen_at, self._account = time.monotonic(), moment["account"]
            before = self._tasks.get(task, {})
            changed = any(before.get(key) != moment[key] for key in ("round", "phase", "deadline"))
            self._tasks[task] = {key: value for key, value in moment.items() if key != "account"}
        if changed:
            where = {key: moment[key] for key in ("task", "round", "phase", "deadline", "seconds_left")}
            line = phase_line(task, moment["round"], moment["phase"], moment["deadline"], moment["seconds_left"])
            self("phase", line, **where)

    def saw_chain(self) -> None:
        """The role looked at the chain, in no task in particular."""
        with self._lock:
            self._seen_at = time.monotonic()

    def left(self, task: int) -> None:
        """The role has nothing to do in a task any more."""
        with self._lock:
            if self._tasks.pop(task, None) is None:
                return
        for gauge in (self._block, self._round, self._phase, self._left):
            gauge.remove(self.role, str(task))

    def beside(self, others: Sequence[Mapping[str, object]]) -> None:
        """Tasks that the role is not at work in: `task`, `state`, `why`."""
        with self._lock:
            self._others = others
        self.save()

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"deltaproof_{name}", meaning, ["role", "task"], registry=self.registry)

    def status(self) -> dict[str, object]:
        """What the role does in each of its tasks, what is at stake until when, and its last errors."""
        with self._lock:
            silent = time.monotonic() - self._seen_at
            return {
                "role": self.role, "account": self._account, "tasks": list(self._tasks.values()),
                "others": list(self._others), "last": self._last,
                "healthy": silent < STALE_SECONDS, "seconds_since_chain": round(silent, 1), "at": round(time.time()),
                "errors": list(self._errors),
            }  # fmt: skip

    def save(self) -> None:
        """Write the status file, whole or not at all; a disk that refuses is told once."""
        path = self.home / f"status-{self.role}.json"
        with self._writing:
            try:
                partial = path.with_suffix(".part")
                partial.write_text(json.dumps(self.status()))
                partial.replace(path)
            except OSError as error:
                self._saving.began(error)
            else:
                self._saving.over()

    def _noted(self, event: str, message: str, **fields: object) -> dict[str, object]:
        line = {"at": round(time.time(), 2), "event": event, "message": message, **_plain(fields)}
        self._events.labels(self.role, event).inc()
        with self._lock:
            if event in TROUBLE:
                self._errors.append(line)
            elif event not in ("phase", "trained-step"):
                self._last = line
        return line

    def _tell(self, message: str) -> None:
        """Trouble with log or status file itself: told and counted, but not written there."""
        self._say("disk", message)
        self._noted("disk", message)

    def _write_down(self, message: str) -> None:
        """Trouble with the output: not said there."""
        self._log.line(json.dumps(self._noted("disk", message)))


class _Trouble:
    """Tells that something cannot be written when it begins, and when it is over; not each time in between."""

    def __init__(self, what: str, tell: Callable[[str], None]) -> None:
        self._what, self._tell, self._lost = what, tell, 0

    def began(self, error: Exception) -> None:
        """It failed, now or once more."""
        self._lost += 1
        if self._lost == 1:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            self._tell(f"{self._what} cannot be written: {reason}; the role goes on, each line tries again")

    def over(self) -> None:
        """It worked."""
        lost, self._lost = self._lost, 0
        if lost:
            self._tell(
                f"{self._what} is written again; {counted(lost, 'line of it was lost', 'lines of it were lost')}"
            )


class _Log(RotatingFileHandler):
    """JSON lines in a rotating file, opened anew after each failure."""

    def __init__(self, path: Path, trouble: _Trouble) -> None:
        super().__init__(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, delay=True)
        self._trouble, self._failed = trouble, False

    def line(self, text: str) -> None:
        """Write one line; a failure is told by `_Trouble`, and costs this line."""
        assert self.lock is not None
        with self.lock:
            self._failed = False
            self.handle(logging.makeLogRecord({"msg": "%s", "args": (text,)}))
            failed = self._failed
        if not failed:
            self._trouble.over()

    def handleError(self, record: logging.LogRecord) -> None:
        """Called by `emit` where it caught an exception."""
        self._failed = True
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
        error = sys.exception()
        assert isinstance(error, Exception)
        self._trouble.began(error)

    def _open(self) -> TextIOWrapper:
        path = Path(self.baseFilename)
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = _is_torn(path)
        stream = path.open("a", encoding="utf-8", buffering=1)
        if torn:
            stream.write("\n")
        return stream


def _is_torn(path: Path) -> bool:
    """Whether the file ends within a line: a disk was full, or a process was killed."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def serve_health(observed: Observed, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """Serve `/health` (200 or 503, the status as JSON) and `/metrics` in the background until the process ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._send(200, "text/plain; version=0.0.4", generate_latest(observed.registry))
            elif self.path == "/health":
                status = observed.status()
                self._send(200 if status["healthy"] else 503, "application/json", json.dumps(status).encode())
            else:
                self._send(404, "text/plain", b"/health or /metrics\n")

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Requests are not worth a line each."""

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


def _plain(fields: dict[str, object]) -> dict[str, object]:
    return {name: "0x" + value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
