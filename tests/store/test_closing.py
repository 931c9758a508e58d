"""What came too late is not there, whoever looks when; and no honest work is called late by a clock that is wrong."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaproof.errors import ArtifactAltered, ArtifactError, ArtifactMissing, StoreUnavailable
from deltaproof.protocol.outcome.reads import given_up_from, in_time_until, judging_seconds, withheld_from
from deltaproof.protocol.outcome.reports import reports_until
from deltaproof.protocol.terms.spec import parse_spec
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import Backend, LocalBackend, Mirrors
from deltaproof.store.closing import Closing
from deltaproof.store.http import HttpBackend, Taken
from tests.protocol.test_spec import TOML

DATA = b"an opening"
SECONDS = 1_200
"""Of the phase; its margin is a minute."""
DAY = 86_400.0


class Gateway(HttpBackend):
    """One that holds some bytes, says when it took them, and whose clock may be wrong."""

    def __init__(self, data: bytes | ArtifactError, age: float | None, ahead: float = 0.0) -> None:
        super().__init__("http://gateway.example")
        self.data, self.age, self.ahead = data, age, ahead
        self.asked = 0

    def read(self, path: str, max_bytes: int) -> bytes:
        if isinstance(self.data, ArtifactError):
            raise self.data
        return self.data

    def taken(self, path: str) -> Taken | None:
        self.asked += 1
        if isinstance(self.data, ArtifactError):
            raise self.data
        now = time.time() + self.ahead
        return None if self.age is None else Taken(now - self.age, now)


def closing(ahead: float = 0.0) -> Closing:
    """Three quarters of a phase that goes on now; the chain's clock may be ahead of the world's."""
    found = Closing()
    now = time.time() + ahead
    found.set(int(now + SECONDS / 4), SECONDS, int(now))
    return found


def read(place: Backend, until: Closing) -> bytes:
    return ArtifactStore(place).in_time(until).get_blob(sha256(DATA), 100)


IN_TIME, LATE = SECONDS / 4, SECONDS / 4 - 90
"""Seconds ago: when it counted as withheld, a margin before it was too late, and half a margin after that."""
AWAY = StoreUnavailable("path", "away")


def test_what_a_gateway_took_too_late_is_not_there() -> None:
    assert read(Gateway(DATA, IN_TIME), closing()) == DATA
    with pytest.raises(ArtifactMissing, match="counted as withheld already"):
        read(Gateway(DATA, LATE), closing())


def test_gateway_that_is_slow_to_say_when_it_took_something_is_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: of two mirrors, let verifiers wait for this word at each opening, until they are late."""
    monkeypatch.setattr("deltaproof.store.behind.PATIENCE_SECONDS", 0.1)
    slow = Gateway(DATA, IN_TIME)
    monkeypatch.setattr(slow, "taken", lambda path: time.sleep(0.2) or Gateway.taken(slow, path))
    store = ArtifactStore(Mirrors([slow, Gateway(DATA, IN_TIME)])).in_time(closing())
    for _ in range(20):
        assert store.get_blob(sha256(DATA), 100) == DATA
    assert slow.asked == 1


def test_honest_work_is_not_called_late_by_a_clock_within_the_margin_and_everybody_sees_what_is_in_time() -> None:
    deadline, margin = 10_000, 60
    missed_from = withheld_from(deadline, SECONDS)
    for ahead in (-margin, margin):
        assert missed_from + ahead <= in_time_until(deadline, SECONDS), "what was there before anybody may miss it"
        latest = in_time_until(deadline, SECONDS) - ahead
        assert latest <= given_up_from(deadline, SECONDS), "what is in time is there when the first gives up"
    spec = parse_spec(tomllib.loads(TOML))
    spec = spec.model_copy(update={"phases": spec.phases.model_copy(update={"attest_commit": SECONDS})})
    left = deadline - given_up_from(deadline, SECONDS)
    assert judging_seconds(spec) == left
    drawn = spec.verification.model_copy(update={"committee": 3})
    with_committees = spec.model_copy(update={"verification": drawn})
    assert judging_seconds(with_committees) == left // 2 == deadline - reports_until(deadline, SECONDS)


@pytest.mark.parametrize("ahead", [DAY, 61.0 + 5, -61.0 - 5, -DAY])
def test_clock_that_is_wrong_calls_nothing_late(ahead: float) -> None:
    assert read(Gateway(DATA, LATE, ahead), closing()) == DATA


@pytest.mark.parametrize("ahead", [DAY, -DAY])
def test_chain_whose_clock_is_not_the_worlds_calls_nothing_late(ahead: float) -> None:
    """As a test chain's is whose time was moved on."""
    assert read(Gateway(DATA, LATE), closing(ahead)) == DATA


def test_places_that_do_not_say_when_something_came_first_call_nothing_late(tmp_path: Path) -> None:
    assert read(Gateway(DATA, None), closing()) == DATA
    folder = LocalBackend(tmp_path)
    ArtifactStore(folder).put_blob(DATA)
    assert read(folder, closing()) == DATA


def test_mirror_that_had_the_right_bytes_in_time_counts() -> None:
    assert read(Mirrors([Gateway(DATA, LATE), Gateway(DATA, IN_TIME)]), closing()) == DATA
    with pytest.raises(ArtifactAltered):
        read(Mirrors([Gateway(b"something else", IN_TIME), Gateway(DATA, LATE)]), closing())
    with pytest.raises(ArtifactMissing, match="already"):
        read(Mirrors([Gateway(DATA, LATE), Gateway(ArtifactMissing("path", "not in the store"), 0.0)]), closing())


def test_mirror_that_is_away_may_have_had_it_in_time() -> None:
    assert read(Mirrors([Gateway(DATA, LATE), Gateway(AWAY, 0.0)]), closing()) == DATA
    with pytest.raises(StoreUnavailable):
        read(Gateway(AWAY, 0.0), closing())


@pytest.mark.parametrize("change", [Closing.lift, lambda each: each.set(int(time.time()) + 1_000, SECONDS, 0)])
def test_nothing_is_late_and_nobody_is_asked_where_nobody_may_miss_anything_yet(
    change: Callable[[Closing], None],
) -> None:
    place, until = Gateway(DATA, LATE), closing()
    change(until)
    assert read(place, until) == DATA
    assert place.asked == 0


def test_nothing_is_late_when_the_phase_is_over() -> None:
    place, over = Gateway(DATA, LATE), Closing()
    over.set(int(time.time()) - 1, SECONDS, int(time.time()))
    assert read(place, over) == DATA
