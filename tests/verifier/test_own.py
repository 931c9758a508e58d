"""A verifier's own attestations: one that is damaged is found again, and keeps no other from being shown."""

from __future__ import annotations

from pathlib import Path

from deltaproof.chain.abi.enums import AttestationState, Phase
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.types import RoundIndex
from tests.worlds.roles import build_world

FIRST = RoundIndex(1)


def test_damaged_attestation_is_found_again_and_hides_no_other(tmp_path: Path) -> None:
    """A disk that lost what was written: the verifier would seal nothing, and be charged as absent."""
    with start_node("anvil", accounts=8) as node:
        world = build_world(node, tmp_path, rounds=1, honest=1, verifiers=1)
        verifier = world.verifiers[0]
        world.open_round()
        world.work()
        world.until(Phase.ATTEST_COMMIT)
        judged = verifier.attesting.judged(FIRST)
        (kept,) = verifier._folder.glob("attestation-1-*")
        for damaged in (kept, kept.with_name("attestation-1-0000000000000000")):
            damaged.write_bytes(kept.read_bytes()[:100])

        verifier.attest_commit(FIRST)
        assert verifier.own.of(FIRST) == judged
        world.until(Phase.ATTEST_REVEAL)
        verifier.attest_reveal(FIRST)
        found = verifier.gateway.verifiers.attestation(world.task, FIRST, verifier.account)
        assert found.state is AttestationState.REVEALED
        world.close()
