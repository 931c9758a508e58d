"""An opening that is shown when a part of the verifiers have sealed that it is missing: all find the same."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.sponsor.life import Sponsor
from deltaproof.store.backend import LocalBackend
from deltaproof.store.http import HttpBackend, Taken
from tests.chaos.chaos_world import FaultyBackend, chaos_world
from tests.chaos.test_demands import FIRST, until, wait_for
from trainer.life import Trainer
from verifier.life import Verifier


class WriteOnce(FaultyBackend, HttpBackend):
    """A folder that says when something came there, as a gateway does."""

    def taken(self, path: str) -> Taken | None:
        """See `HttpBackend`."""
        at = LocalBackend.published(self, path)
        return None if at is None else Taken(at, time.time())


def test_opening_shown_between_two_seals_is_withheld_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: the verifiers find different things, the round has no quorum and ends with the base for everybody and no
    fee for verifiers, at no cost to the trainer."""
    monkeypatch.setattr("tests.chaos.chaos_world.FaultyBackend", WriteOnce)
    with start_node("anvil", accounts=12) as node, chaos_world(
        node, tmp_path, seconds=60, verifiers=2, kept_seconds=20
    ) as world:  # fmt: skip
        for verifier in world.of(Verifier):
            verifier.agent.join()
        world.start(Sponsor, Trainer)
        wait_for(world, "ATTEST_COMMIT")
        attacker = world.of(Trainer)[0].agent
        assert isinstance(attacker, Trainer)
        root = attacker._done[FIRST].trained.transcript_root
        place = min((world.store_folder / "openings" / root.hex() / attacker.account.lower()).iterdir())
        right = place.read_bytes()
        place.unlink()
        early, late = world.of(Verifier)
        early.start()
        until(world, lambda: any(event == "attested" for event, _ in early.events))
        place.write_bytes(right)
        late.start()
        world.wait_until_done(300)
        assert world.outcome() == Outcome.SETTLED, world.story()
        honest = world.of(Trainer)[1].agent
        assert world.verdicts() == {attacker.account: Verdict.WITHHELD, honest.account: Verdict.ACCEPTED}
