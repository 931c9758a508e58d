"""Who a reader says to be, to a store that anybody may have announced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deltaproof.chain.rpc.relays import network_at
from deltaproof.errors import EncodingError, StoreUnavailable, UsageError
from deltaproof.store.http import HttpBackend
from trainer.relay import _Request

PATH = "blob/" + "0" * 64


class Listener(HTTPServer):
    """Answers every question with one byte, and keeps the logins that came with them."""

    heard: list[str | None]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.heard = []


class Answer(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        self.server.heard.append(self.headers.get("Authorization"))
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/here")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"x")

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the standard library would write to the terminal."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_logins_of_a_home_are_not_told_to_a_store(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: announce a store, and read what the `default` entry of a visitor's `.netrc` says."""
    (tmp_path / "netrc").write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    place = f"127.0.0.1:{listener.server_port}"
    assert HttpBackend(f"http://{place}").read(PATH, 1) == b"x"
    assert listener.heard == [None]
    assert HttpBackend(f"http://me:mine@{place}").read(PATH, 1) == b"x"
    assert listener.heard[1:] == ["Basic bWU6bWluZQ=="]


def test_logins_of_a_home_are_not_told_to_a_relay(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: bring commitments for free, or rounds of drand, and read logins that are for others; or send whoever asks
    on to where they are read."""
    (tmp_path / "netrc").write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    place = f"http://127.0.0.1:{listener.server_port}"
    _Request(f"{place}/commitments", {}, 1)._send()
    for path in ("", "/moved"):
        with pytest.raises((EncodingError, UsageError)):
            network_at(place + path)
    assert listener.heard == [None] * 4


def test_login_of_a_store_is_in_no_error() -> None:
    """Errors of a store come into logs, and into audits that are published."""
    with pytest.raises(StoreUnavailable) as caught:
        HttpBackend("http://me:mine@127.0.0.1:9/prefix", attempts=1).read(PATH, 1)
    assert "http://127.0.0.1:9/prefix" in str(caught.value)
    assert "mine" not in str(caught.value)
    with pytest.raises(StoreUnavailable, match="not a gateway's URL") as caught:
        HttpBackend("https://me:mine@host/?query")
    assert "mine" not in str(caught.value)
