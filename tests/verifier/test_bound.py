"""A verifier signs one set of verdicts an attempt, whatever history of the chain it sees, also after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict, build_settlement
from deltaproof.protocol.types import RoundIndex, TokenAmount
from tests.worlds.roles import RoleWorld, build_world, silent
from verifier.bound import BoundVerdicts
from verifier.life import Verifier

FIRST = RoundIndex(1)


def test_verifier_that_was_started_anew_signs_no_other_verdicts_in_the_same_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reorganisation takes a reveal away; what follows then has other verdicts, and is right as well."""
    with start_node("anvil", accounts=8) as node:
        world = build_world(node, tmp_path, rounds=1, honest=1, verifiers=1)
        verifier = world.verifiers[0]
        world.open_round()
        world.work()
        world.attest()
        world.until(Phase.SETTLE)
        verifier._sign(FIRST, 0)
        first = verifier._signed[FIRST, 0]
        assert signed(world, first)

        again = Verifier(verifier.gateway, world.store, world.task, verifier.home, silent, poll_seconds=0.01)
        other = elsewhere(first)
        monkeypatch.setattr(again.quorum, "compose", lambda _round, patient: other)
        monkeypatch.setattr(again.quorum, "objections", lambda *_: [])
        again._sign(FIRST, 0)
        assert not signed(world, other), "with the first it would be an equivocation"
        again._sign(FIRST, 1)
        assert signed(world, other, attempt=1), "another attempt is another question"
        monkeypatch.undo()
        again._sign(FIRST, 0)
        assert again._signed[FIRST, 0] == first, "the same verdicts are signed again"
        world.close()


def test_damaged_record_of_what_was_signed_allows_nothing(tmp_path: Path) -> None:
    bound, one, other = BoundVerdicts(tmp_path), *(bytes([number]) * 32 for number in (1, 2))
    assert bound.allows(FIRST, 0, one)  # type: ignore[arg-type]
    bound.bind(FIRST, 0, one)  # type: ignore[arg-type]
    bound.bind(FIRST, 0, other)  # type: ignore[arg-type]
    assert bound.allows(FIRST, 0, one)  # type: ignore[arg-type]
    assert not bound.allows(FIRST, 0, other)  # type: ignore[arg-type]
    (record,) = tmp_path.iterdir()
    record.write_bytes(b"")
    assert not bound.allows(FIRST, 0, one)  # type: ignore[arg-type]


def elsewhere(proposal: SettlementProposal) -> SettlementProposal:
    """The same round where the first trainer's reveal fell out."""
    gone = proposal.leaves[0].model_copy(
        update={"verdict": Verdict.UNREVEALED, "score_nanos": 0, "payout": TokenAmount(0)}
    )
    leaves, s = (gone, *proposal.leaves[1:]), proposal.settlement
    settlement = build_settlement(leaves, s.next_start_digest, s.improvement_nanos, s.artifact_digest)
    return SettlementProposal(settlement=settlement, leaves=leaves)


def signed(world: RoleWorld, proposal: SettlementProposal, attempt: int = 0) -> bool:
    """Whether a signature of the verifier over it is in the store."""
    digest = proposal.settlement.signing_digest(world.gateway.domain(world.task, FIRST), attempt)
    return (world.store_folder / "signatures" / digest.hex() / world.verifiers[0].account.lower()).is_file()
