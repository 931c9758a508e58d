"""One of two mirrors that stalls or is away: no work waits for it, and it gets later what it lacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaproof.errors import StoreUnavailable
from deltaproof.store import behind, http, waiting
from deltaproof.store.backend import LocalBackend, Mirrors
from deltaproof.store.http import HttpBackend
from tests.store.test_waiting import STARTS, tarpit

OPENINGS = 40


class Refusing(LocalBackend):
    """A folder that takes nothing while it is away."""

    away = True

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        if self.away:
            raise StoreUnavailable(path, "away")
        super().write(path, data)


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


class _Anybody:
    """Signs whatever is written."""

    def permit(self, path: str, data: bytes) -> tuple[object, bytes]:
        class Permit:
            task, size, digest, expires = 1, len(data), bytes(32), 0

        return Permit, bytes(65)
