"""A hub on this machine: the endpoints that the Hugging Face hub's library asks, over real files, with its faults."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

__all__ = ["COMMIT", "Hub", "point_at", "serve_hub"]

COMMIT = "0123456789abcdef" * 2 + "01234567"
BRANCHES = ("main", COMMIT[:7])


@dataclass
class Hub:
    """Repositories by type and name, each a folder at one commit; what was asked, and what goes wrong."""

    url: str
    repositories: dict[str, Path] = field(default_factory=dict)
    """By `models/org/name` or `datasets/org/name`."""
    asked: list[str] = field(default_factory=list)
    """Method and path of every request."""
    gated: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    """That may write."""
    pushed: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Files of each repository that somebody published, by `org/name`."""
    down: bool = False
    breaks_off: int = 0
    """So many answers more end after half of the file."""

    @property
    def bodies(self) -> list[str]:
        """Files whose content was asked for."""
        return [
            line.partition("/resolve/")[2].partition("/")[2]
            for line in self.asked
            if line.startswith("GET /") and "/resolve/" in line
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        """Publishing: a repository is made, files are announced, and come within a commit."""
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.hub.tokens:
            return self._send(401, b"", {})
        told: dict[str, object] = {}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.hub.pushed.setdefault(name, {})
            told = {"url": f"{self.hub.url}/{name}"}
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            told = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif "/commit/" in path:
            name = "/".join(path.split("/")[3:5])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.hub.pushed[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            told = {"commitUrl": f"{self.hub.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT}
        return self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.down:
            return self._send(503, b"", {})
        if path.startswith("/api/"):
            return self._api(path.removeprefix("/api/").split("/"))
        where, _, file = path.strip("/").partition("/resolve/")
        name = where if where.startswith("datasets/") else f"models/{where}"
        revision, _, inside = file.partition("/")
        if (folder := self._repository(name, revision)) is None:
            return None
        if not (folder / inside).is_file():
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        data = (folder / inside).read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return self._send(200, data, headers)

    def _api(self, parts: list[str]) -> None:
        name, action, revision = "/".join(parts[:3]), *(parts[3:5] or ["revision", "main"])
        if (folder := self._repository(name, revision)) is None:
            return
        if action == "tree":
            files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
            told: object = [
                {"type": "file", "path": f.relative_to(folder).as_posix(), "size": f.stat().st_size, "oid": "0" * 40}
                for f in files
            ]
        else:
            told = {"id": name.partition("/")[2], "sha": COMMIT, "siblings": [], "tags": [], "private": False}
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _repository(self, name: str, revision: str) -> Path | None:
        folder = self.hub.repositories.get(name)
        if folder is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif name in self.hub.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        elif revision not in (COMMIT, *BRANCHES):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            return folder
        return None

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        began, _, ends = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if status == 200 and began:
            status, whole = 206, len(body)
            body = body[int(began) : int(ends) + 1 if ends else whole]
            headers = {**headers, "Content-Range": f"bytes {began}-{int(began) + len(body) - 1}/{whole}"}
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.breaks_off and "/resolve/" in self.path and len(body) > 1:
            self.hub.breaks_off -= 1
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A hub without repositories, until the block ends."""
    handler = type("_HubHandler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub = handler.hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def point_at(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library ask this hub, as for a user who has not set HF_HUB_OFFLINE, and keep files in `cache`."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    # The library waits half a minute before it gives an outage up.
    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None}))
