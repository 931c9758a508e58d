"""A sponsor whose home has lost a hidden set: no round is opened that would be paid for in equal parts."""

from __future__ import annotations

from pathlib import Path

from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.types import RoundIndex
from deltaproof.sponsor.life import Sponsor
from tests.worlds.roles import build_world

FIRST = RoundIndex(1)


def test_lost_set_opens_no_round_and_ends_nothing(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    with start_node("anvil", accounts=8) as node:
        world = build_world(node, tmp_path, rounds=1, honest=1, verifiers=1)
        sponsor = Sponsor(
            world.sponsor.gateway, world.store, world.task, world.sponsor.home,
            lambda event, message, **_fields: told.append((event, message)),
        )  # fmt: skip
        commitments = [commitment.hex() for commitment in sponsor.spec.validation.commitments]
        hidden, test = (sponsor.home / "validation" / name for name in commitments)
        whole, vault = hidden.read_bytes(), world.gateway.vault

        for damaged in (b"", test.read_bytes(), whole[:40]):
            hidden.write_bytes(damaged)
            sponsor.open_round(FIRST)
            assert world.gateway.tasks.phase(world.task).phase is Phase.IDLE
        assert "round 1 is not opened" in dict(told)["lost"]

        hidden.write_bytes(whole)
        sponsor.open_round(FIRST)
        assert world.gateway.tasks.phase(world.task).round == FIRST

        world.until(Phase.COMMIT)
        hidden.unlink()
        world.work()
        sponsor.reveal(FIRST)
        assert "round 1 is not scored" in dict(told)["lost"]
        world.attest()
        world.settle()
        test.unlink()
        sponsor.finish()
        assert vault.account(world.task).balance == 0, "what was not earned is taken back"
        world.close()
