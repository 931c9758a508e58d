"""Pauses between attempts, and who an error belongs to."""

from __future__ import annotations

import pytest

from deltaproof.agent.patience import HOPELESS, Patience, insist, owner_of
from deltaproof.errors import ChainUnavailable, SigningKeyError, StoreUnavailable


def test_pauses_double_up_to_a_minute_and_are_the_same_in_every_run() -> None:
    first, second = Patience("a"), Patience("a")
    pauses = [first.failed() for _ in range(12)]
    assert pauses == [second.failed() for _ in range(12)]
    assert pauses != [Patience("b").failed() for _ in range(1)] * 12
    assert all(0.75 * 2**i <= pause <= 2**i for i, pause in enumerate(pauses[:6]))
    assert all(45 <= pause <= 60 for pause in pauses[6:])
    assert not first.ready
    first.succeeded()
    assert first.ready


def test_short_phase_is_not_slept_through() -> None:
    patience = Patience("a")
    assert max(patience.failed(longest_seconds=2.0) for _ in range(10)) <= 2.0


def test_insist_waits_for_the_network_and_ends_where_nothing_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaproof.agent.patience.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    told: list[str] = []
    troubles: list[Exception] = [ChainUnavailable("down"), OSError("disk full"), ValueError("nobody foresaw")]

    def action() -> str:
        if troubles:
            raise troubles.pop(0)
        return "done"

    def report(event: str, message: str, **fields: object) -> None:
        told.append(f"{fields['owner']}: {message}")

    assert insist(action, "reaching the chain", "me", report, HOPELESS) == "done"
    assert [line.split(":")[0] for line in told] == ["network", "machine", "program"]

    def hopeless() -> str:
        raise SigningKeyError("wrong key")

    with pytest.raises(SigningKeyError):
        insist(hopeless, "reaching the chain", "me", report, HOPELESS)


def test_owner_of_an_error() -> None:
    assert owner_of(StoreUnavailable("x", "away")) == "network"
    assert owner_of(OSError()) == owner_of(MemoryError()) == "machine"
    assert owner_of(KeyError()) == "program"
