"""A server that answers one byte at a time: nobody waits for it longer than its bytes are worth."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deltaproof.agent.heavy import OnThread
from deltaproof.errors import StoreUnavailable
from deltaproof.store import waiting
from deltaproof.store.http import HttpBackend

PATH = "blob/" + "0" * 64
STARTS = {
    "silent": b"",
    "head": b"HTTP/1.1 200 OK\r\nContent-",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "answer to a write": b"HTTP/1.1 201 Created\r\n",
}
PATIENCE = 20.0


@contextmanager
def tarpit(at_once: bytes, *, closes: bool = False) -> Iterator[str]:
    """The URL of a server that sends a few bytes at once, and then one every tenth of a second, or `closes`."""

    def drip(line: socket.socket) -> None:
        with line:
            try:
                line.recv(65_536)
                line.sendall(at_once)
                while not closes and not over.wait(0.1):
                    line.sendall(b"x")
            except OSError:
                return  # nobody listens any more

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return  # it is closed
            threading.Thread(target=drip, args=(line,), daemon=True).start()

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()


@pytest.mark.parametrize("start", STARTS)
def test_server_that_never_finishes_is_away(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: each byte comes in time, and the answer never does."""
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 0.5)
    with tarpit(STARTS[start]) as url:
        store = HttpBackend(url)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="too slow"):
            store.read(PATH, 200_000)
        assert time.monotonic() - began < PATIENCE


def test_threads_that_were_left_to_a_server_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    with tarpit(STARTS["body"]) as url:
        store, before = HttpBackend(url), threading.active_count()
        for _ in range(3 * waiting.MOST_LEFT_BEHIND):
            with pytest.raises(StoreUnavailable):
                store.read(PATH, 200_000)
        mine = [thread for thread in threading.enumerate() if thread.name == "line"]
        assert len(mine) <= before + waiting.MOST_LEFT_BEHIND


def test_threads_that_were_left_to_a_server_are_few_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: bring a case about such a store, so that a new thread asks it at each look."""
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    with tarpit(STARTS["head"]) as url:
        store, before = HttpBackend(url), {thread for thread in threading.enumerate() if thread.name == "line"}

        def ask() -> None:
            with pytest.raises(StoreUnavailable):
                store.read(PATH, 200_000)

        for _ in range(2 * waiting.MOST_LEFT_BEHIND):
            asking = threading.Thread(target=ask)
            asking.start()
            asking.join()
        left = {thread for thread in threading.enumerate() if thread.name == "line"} - before
        assert len(left) <= waiting.MOST_LEFT_BEHIND


def test_what_is_urgent_does_not_queue_up_behind_a_long_transfer() -> None:
    """A demand that is answered while a large adapter comes slowly."""
    line, come = waiting.Line(), threading.Event()

    def urgent() -> None:
        with waiting.between_waits(None):
            assert line.run(lambda _: "small") == "small"
        come.set()

    with waiting.between_waits(urgent):
        assert line.run(lambda _: come.wait(PATIENCE))


def test_slow_but_steady_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.05)
    moved: list[int] = []

    def work(transfer: waiting.Transfer) -> str:
        for _ in range(10):
            time.sleep(0.1)
            transfer.moved(8_192)
            moved.append(8_192)
        return "whole"

    assert waiting.Line().run(work) == "whole"
    assert len(moved) == 10


def test_work_that_waits_for_a_store_gives_way_to_what_is_wanted_now() -> None:
    """Attack: have a juror judge a case whose store answers one byte at a time, and its own round waits behind it."""
    heavy = OnThread(lambda: None)
    try:
        with tarpit(STARTS["body"]) as url:
            store = HttpBackend(url)
            assert heavy.result("case", lambda: store.read(PATH, 200_000)) is None
            time.sleep(0.2)
            assert heavy.urgent(lambda: "answered") == "answered"
            until = time.monotonic() + PATIENCE
            while heavy.result("own round", lambda: "attested") is None:
                assert time.monotonic() < until
                time.sleep(0.01)
    finally:
        heavy.close()
