"""One of two mirrors that stalls or is away: no work waits for it, and it gets later what it lacks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deltaproof.errors import ChainUnavailable, StoreUnavailable
from deltaproof.store import behind, http, waiting
from deltaproof.store.backend import LocalBackend, Mirrors, RemoteBackend
from deltaproof.store.http import HttpBackend
from tests.store.test_waiting import STARTS, tarpit

OPENINGS = 40
SLOW_SECONDS = 0.2


class Refusing(LocalBackend):
    """A folder that takes nothing while it is away."""

    away = True

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        if self.away:
            raise StoreUnavailable(path, "away")
        super().write(path, data)


class Slow(LocalBackend):
    """A folder that does all that is asked, and late."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        time.sleep(SLOW_SECONDS)
        return super().read(path, max_bytes)

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        time.sleep(SLOW_SECONDS)
        super().write(path, data)

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        time.sleep(SLOW_SECONDS)
        return super().exists(path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(behind, "LONGEST_PAUSE_SECONDS", 0.1)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_mirror_that_was_away_gets_what_it_lacks_when_it_is_back(tmp_path: Path) -> None:
    """Verifiers may read from that one alone: what is missing there counts as withheld."""
    first, second = Refusing(tmp_path / "one"), LocalBackend(tmp_path / "two")
    mirrors = Mirrors([first, second])
    mirrors.write("blob/a", b"old")
    mirrors.write("blob/a", b"new")
    mirrors.write("blob/b", b"b")
    assert not first.exists("blob/a")
    first.away = False
    until(lambda: first.exists("blob/b") and not mirrors._behind[0].paths)
    assert first.read("blob/a", 9) == second.read("blob/a", 9) == b"new"


def test_what_no_place_took_is_the_writers_and_nobody_tries_it_again(tmp_path: Path) -> None:
    first, second = Refusing(tmp_path / "one"), Refusing(tmp_path / "two")
    mirrors = Mirrors([first, second])
    with pytest.raises(StoreUnavailable):
        mirrors.write("blob/a", b"a")
    assert not mirrors._behind[0].paths


def test_mirror_whose_bucket_is_gone_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    """Attack: name two stores, and take one of them away altogether when the openings are due."""
    (tmp_path / "gone").write_text("a file where the bucket was")
    gone, good = RemoteBackend(f"file://{tmp_path}/gone", pause_seconds=0.01), LocalBackend(tmp_path / "good")
    mirrors = Mirrors([gone, good])
    mirrors.write("openings/0", b"opening")
    assert good.read("openings/0", 9) == b"opening"
    (tmp_path / "gone").unlink()
    until(lambda: gone.exists("openings/0"))


def test_signer_that_is_away_for_a_moment_keeps_nothing_from_a_mirror_for_good(tmp_path: Path) -> None:
    """What is written behind is signed anew each time, also while a remote signer does not answer."""
    with answering(201) as (url, taken):
        writer = _Anybody(refuses=3)
        mirrors = Mirrors([LocalBackend(tmp_path), HttpBackend(url, writer, pause_seconds=0.01)])  # type: ignore[arg-type]
        for number in range(3):
            mirrors.write(f"openings/{number}", b"opening")
        until(lambda: len(taken) == 3)


def test_what_waits_is_bounded_in_bytes_and_in_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(behind, "MOST_BYTES", 10)
    late = behind.Behind(Refusing(tmp_path).write)
    for number in range(5):
        late.put(f"blob/{number}", bytes(4))
    assert late.paths == ("blob/3", "blob/4")
    monkeypatch.setattr(behind, "KEPT_SECONDS", 0.0)
    until(lambda: not late.paths)


def test_stalling_mirror_makes_nothing_late_at_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: a sponsor names two stores, of which one stalls at each of a hundred openings. What is written to one
    after the other comes late to both, counts as withheld, and costs an honest trainer half of its stake."""
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(http, "STALLED_SECONDS", 0.5)
    with tarpit(STARTS["silent"]) as url:
        good = LocalBackend(tmp_path)
        stalling = HttpBackend(url, _Anybody())  # type: ignore[arg-type]
        mirrors, began = Mirrors([stalling, good]), time.monotonic()
        for number in range(OPENINGS):
            mirrors.write(f"openings/{number}", b"opening")
        assert good.exists(f"openings/{OPENINGS - 1}")
        for number in range(OPENINGS):
            assert mirrors.read(f"openings/{number}", 9) == b"opening"
        assert time.monotonic() - began < OPENINGS / 4, "a second for each would be too late"
        with pytest.raises(StoreUnavailable, match="did not answer before"):
            stalling.read("openings/0", 9)


def test_mirror_that_takes_everything_late_makes_nothing_late_at_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: answer rightly, each time shortly before it counts as a stall."""
    monkeypatch.setattr(behind, "PATIENCE_SECONDS", 2 * SLOW_SECONDS)
    late, good = Slow(tmp_path / "late"), LocalBackend(tmp_path / "good")
    mirrors, began = Mirrors([late, good]), time.monotonic()
    for number in range(OPENINGS):
        mirrors.write(f"openings/{number}", b"opening")
        assert good.exists(f"openings/{number}")
    for number in range(OPENINGS):
        assert mirrors.read(f"openings/{number}", 9) == b"opening"
    assert time.monotonic() - began < OPENINGS * SLOW_SECONDS, "each waited for the late one"
    until(lambda: late.exists(f"openings/{OPENINGS - 1}") and not mirrors._behind[0].paths)
    assert all(late.exists(f"openings/{number}") for number in range(OPENINGS))


def test_mirror_that_says_late_what_it_has_is_asked_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "PATIENCE_SECONDS", 2 * SLOW_SECONDS)
    good = LocalBackend(tmp_path)
    good.write("openings/0", b"opening")
    mirrors, began = Mirrors([Slow(tmp_path / "late"), good]), time.monotonic()
    assert all(mirrors.exists("openings/0") for _ in range(OPENINGS))
    assert time.monotonic() - began < OPENINGS * SLOW_SECONDS / 2


def test_slow_mirror_is_waited_for_where_more_would_wait_behind_than_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An honest one is only slow: what is dropped for it would be missing there."""
    monkeypatch.setattr(behind, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(behind, "MOST_BYTES", 10)
    slow = Slow(tmp_path / "slow")
    mirrors = Mirrors([slow, LocalBackend(tmp_path / "quick")])
    for number in range(6):
        mirrors.write(f"openings/{number}", bytes(6))
    until(lambda: not mirrors._behind[0].paths)
    assert all(slow.exists(f"openings/{number}") for number in range(6))


def test_what_was_tried_behind_never_replaces_what_came_after_it(tmp_path: Path) -> None:
    on_its_way, go_on, came = threading.Event(), threading.Event(), threading.Event()

    class Stalling(Refusing):
        def write(self, path: str, data: bytes) -> None:
            if data == b"old" and not self.away:
                on_its_way.set()
                assert go_on.wait(20)
            super().write(path, data)
            if go_on.is_set() and data == b"old":
                came.set()

    first = Stalling(tmp_path / "one")
    mirrors = Mirrors([first, LocalBackend(tmp_path / "two")])
    mirrors.write("profiles/a", b"old")
    first.away = False
    assert on_its_way.wait(20)
    mirrors.write("profiles/a", b"new")
    go_on.set()
    assert came.wait(20)
    until(lambda: not mirrors._behind[0].paths)
    until(lambda: first.read("profiles/a", 9) == b"new")


def test_artifact_at_which_a_mirror_stalls_keeps_it_from_no_other() -> None:
    came: set[str] = set()
    away = False

    def write(path: str, data: bytes) -> None:
        nonlocal away
        if path == "large":
            away = True
        if away:
            raise StoreUnavailable(path, "is not asked for")
        came.add(path)

    late = behind.Behind(write)
    for path in ("large", "a", "b"):
        late.put(path, path.encode())

    def back() -> bool:
        nonlocal away
        away = False
        time.sleep(0.05)
        return came == {"a", "b"}

    until(back)


def test_refusal_is_an_answer_however_late_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large upload that is refused at its end would keep the next opening from the gateway."""
    monkeypatch.setattr(http, "STALLED_SECONDS", 0.1)
    with answering(409, 0.3) as (url, _):
        gateway = HttpBackend(url, _Anybody())  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="refuses"):
                gateway.write("openings/0", b"opening")


@contextmanager
def answering(status: int, seconds: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """The URL of a server that answers each write so, after a while, and the paths of those writes."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            time.sleep(seconds)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


class _Anybody:
    """Signs whatever is written, after so many refusals."""

    def __init__(self, refuses: int = 0) -> None:
        self._refuses = refuses

    def permit(self, path: str, data: bytes, ahead: int = 0) -> tuple[object, bytes]:
        if self._refuses:
            self._refuses -= 1
            raise ChainUnavailable("the signer does not answer")

        class Permit:
            task, size, digest, expires = 1, len(data), bytes(32), 0

        return Permit, bytes(65)
