"""What a running role can be seen to do: a status file, rotating logs, `/health` and Prometheus metrics.

All of it listens to what the role reports. Nothing here can make the role fail: a disk that is full costs log lines.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from deltaproof.reporting import Reporter

__all__ = ["Observed", "serve_health"]

LOG_BYTES = 5 * 1024 * 1024
LOG_FILES = 4
KEPT_ERRORS = 10
STALE_SECONDS = 180.0
"""An agent that has not looked at the chain for so long is not healthy."""
TROUBLE = ("delayed", "unusable", "disagreed", "stranded", "late", "witness")


class Observed:
    """A reporter that passes everything on, and keeps log, status and metrics of it."""

    def __init__(self, report: Reporter, role: str, home: Path) -> None:
        """Logs go to `home/logs`, the status to `home/status-ROLE.json`."""
        self._report, self.role, self.home = report, role, home
        self._lock = threading.Lock()
        self._errors: deque[dict[str, object]] = deque(maxlen=KEPT_ERRORS)
        self._status: dict[str, object] = {"role": role}
        self._seen_at = time.monotonic()
        self._log = _open_log(role, home / "logs")
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
        self._report(event, message, **fields)
        line = {"at": round(time.time(), 2), "event": event, "message": message, **_plain(fields)}
        self._events.labels(self.role, event).inc()
        with self._lock:
            if event in TROUBLE:
                self._errors.append(line)
            elif event != "trained-step":
                self._status["last"] = line
        self._log.info(json.dumps(line))
        self.save()

    def counted_call(self, method: str, answered: bool) -> None:
        """See `CallCounter`."""
        self._calls.labels(self.role, method, str(answered).lower()).inc()

    def looked(self, moment: dict[str, Any]) -> None:
        """The role looked at the chain: `task`, `block`, `round`, `phase`, `phase_number`, `deadline`,
        `seconds_left`, `at_stake`."""
        shown = {self._block: "block", self._round: "round", self._phase: "phase_number", self._left: "seconds_left"}
        for gauge, key in shown.items():
            gauge.labels(self.role).set(moment[key])
        with self._lock:
            self._seen_at = time.monotonic()
            changed = any(self._status.get(key) != moment[key] for key in ("round", "phase", "deadline"))
            self._status |= moment
        if changed:
            self.save()

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"deltaproof_{name}", meaning, ["role"], registry=self.registry)

    def status(self) -> dict[str, object]:
        """What the role does, what is at stake until when, and its last errors."""
        with self._lock:
            silent = time.monotonic() - self._seen_at
            healthy = silent < STALE_SECONDS
            return {
                **self._status, "healthy": healthy, "seconds_since_chain": round(silent, 1), "at": round(time.time()),
                "errors": list(self._errors),
            }  # fmt: skip

    def save(self) -> None:
        """Write the status file, whole or not at all; a disk that refuses is told in the log only."""
        path = self.home / f"status-{self.role}.json"
        try:
            partial = path.with_suffix(".part")
            partial.write_text(json.dumps(self.status()))
            partial.replace(path)
        except OSError as error:
            self._log.warning(json.dumps({"event": "disk", "message": f"status not saved: {error}"}))


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


def _open_log(role: str, folder: Path) -> logging.Logger:
    log = logging.Logger(f"deltaproof.{role}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(folder / f"{role}.jsonl", maxBytes=LOG_BYTES, backupCount=LOG_FILES)
        handler.handleError = lambda record: None  # type: ignore[method-assign]
        log.addHandler(handler)
    except OSError:
        log.addHandler(logging.NullHandler())
    return log


def _plain(fields: dict[str, object]) -> dict[str, object]:
    return {name: "0x" + value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
