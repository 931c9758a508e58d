"""Pauses between attempts, and who an error belongs to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deltaproof.agent.patience import HOPELESS, MISSING_SECONDS, Patience, insist, owner_of
from deltaproof.errors import ChainUnavailable, ContractMissing, DeploymentError, SigningKeyError, StoreUnavailable


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


def test_what_a_lagging_node_does_not_show_is_waited_for_some_minutes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    hopeless = (*HOPELESS, DeploymentError)

    def ended_at(trouble: Callable[[float], Exception | None]) -> float:
        def action() -> None:
            if error := trouble(clock[0]):
                raise error

        insist(action, "reaching the chain", "me", lambda event, message, **fields: None, hopeless)
        return clock[0]

    missing = ContractMissing("there is no contract")
    assert 100 <= ended_at(lambda now: missing if now < 100 else None) < MISSING_SECONDS
    with pytest.raises(ContractMissing):
        ended_at(lambda now: missing)
    told = clock[0]
    # An outage in between says nothing about what the node knows.
    away = ChainUnavailable("down")
    assert ended_at(lambda now: (away, missing)[now % 240 < 120] if now < told + 3_600 else None) >= told + 3_600
    began = clock[0]
    with pytest.raises(DeploymentError):
        ended_at(lambda now: DeploymentError("the contract there is another"))
    assert clock[0] == began


def test_owner_of_an_error() -> None:
    assert owner_of(StoreUnavailable("x", "away")) == "network"
    assert owner_of(OSError()) == owner_of(MemoryError()) == "machine"
    assert owner_of(KeyError()) == "program"
