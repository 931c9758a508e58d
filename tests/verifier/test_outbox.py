"""What a store refuses is kept and tried again."""

from __future__ import annotations

import pytest

from deltaproof.errors import ArtifactMissing, StoreUnavailable
from deltaproof.protocol.types import RoundIndex
from tests.disputing.conftest import Heard
from verifier.outbox import MOST, Outbox

FIRST = RoundIndex(1)


def test_what_is_refused_is_shown_when_the_store_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, tries, away = Heard(), list[str](), True
    outbox = Outbox(heard)

    def write() -> None:
        tries.append("tried")
        if away:
            raise StoreUnavailable("path", "refused")

    outbox.put(FIRST, "the attestation", write)
    outbox.mind()
    assert tries == ["tried"], "a pause comes first"
    monkeypatch.setattr("verifier.outbox.Patience.ready", True)
    outbox.mind()
    away = False
    outbox.mind()
    outbox.mind()
    assert (len(tries), heard.names()) == (3, ["unshown", "republished"])


def test_another_error_is_the_callers_and_only_so_much_is_kept() -> None:
    outbox = Outbox(Heard())

    def refused() -> None:
        raise StoreUnavailable("path", "refused")

    def wrong() -> None:
        raise ArtifactMissing("path", "gone")

    with pytest.raises(ArtifactMissing):
        outbox.put(FIRST, "the attestation", wrong)
    for number in range(MOST + 3):
        outbox.put(RoundIndex(number), "the attestation", refused)
    assert len(outbox._waiting) == MOST
