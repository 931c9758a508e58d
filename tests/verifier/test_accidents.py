"""What a trainer or another verifier leaves behind must not stop a verifier, nor a trainer who was away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.local_node import start_node
from deltaproof.chain.participation import settled_leaves
from deltaproof.errors import StoreUnavailable
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import RoundIndex
from tests.worlds.roles import RoleWorld, build_world
from verifier import closing

FIRST, SECOND = RoundIndex(1), RoundIndex(2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    with start_node("anvil", accounts=12) as node:
        built = build_world(node, tmp_path_factory.mktemp("world"), rounds=2, honest=2, verifiers=1)
        yield built
        built.close()


def test_missed_reveal_then_a_later_commit_stops_nobody(world: RoleWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer gives its bond up by itself and commits again; verifiers who come back later are not confused.

    In the first round, judging the other trainer raises something that nobody foresaw: it alone is rejected.
    """
    late, hostile, verifier = world.trainers[0], world.trainers[1], world.verifiers[0]
    world.open_round()
    for trainer in world.trainers:
        trainer.commit(FIRST)
    world.until(Phase.REVEAL)
    for trainer in world.trainers[1:]:
        trainer.reveal(FIRST)
    world.sponsor.reveal(FIRST)
    world.until(Phase.OPENING)
    for trainer in world.trainers[1:]:
        trainer.opening(FIRST)
    world.until(Phase.ATTEST_COMMIT)
    judges = type(verifier.examiner.judges)
    of = judges.of

    def raising(self: object, trainer: str) -> object:
        if trainer == hostile.account:
            raise ZeroDivisionError("nobody foresaw this")
        return of(self, trainer)  # type: ignore[arg-type]

    monkeypatch.setattr(judges, "of", raising)
    world.attest()
    monkeypatch.undo()
    world.post()
    leaves = verdicts(world, FIRST)
    assert leaves[late.account] is Verdict.UNREVEALED
    assert leaves[hostile.account] is Verdict.REJECTED
    world.skip_time(11)
    world.gateway.tasks.finalize(world.task)

    # Nobody has taken the bond yet: the trainer comes back first.
    late._settle_bond(SECOND)
    assert world.gateway.trainers.enrolment(world.task, late.account).stake < late.params.stakes.trainer_stake
    late.mind_stake()
    world.open_round()
    late.commit(SECOND)
    assert world.gateway.trainers.has_committed(world.task, SECOND, late.account)
    # Nor does a quorum that calls the unrevealed rejected: the chain slashes nobody who did not reveal.
    view = world.gateway.tasks.round(world.task, FIRST)
    told = settled_leaves(world.gateway, world.store, world.task, FIRST, view)
    assert told is not None
    missed = next(leaf for leaf in told.leaves if leaf.trainer == late.account)
    lied = told.model_copy(update={"leaves": (missed.model_copy(update={"verdict": Verdict.REJECTED}),)})
    monkeypatch.setattr(closing, "settled_leaves", lambda *_: lied)
    closing.close_round(verifier.gateway, world.store, world.task, FIRST, view, verifier.report)
    monkeypatch.undo()
    verifier.close_rounds(FIRST)
    assert FIRST in verifier._closed


def test_outage_of_the_store_is_no_verdict(world: RoleWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    verifier = world.verifiers[0]

    def away(*_arguments: object) -> bytes:
        raise StoreUnavailable("blobs/x", "away")

    world.until(Phase.REVEAL)
    world.trainers[0].reveal(SECOND)
    world.until(Phase.OPENING)
    world.trainers[0].opening(SECOND)
    world.until(Phase.ATTEST_COMMIT)
    monkeypatch.setattr(type(verifier.store), "get_tensors", away)
    with pytest.raises(StoreUnavailable):
        verifier.attest_commit(SECOND)
    monkeypatch.undo()
    verifier.attest_commit(SECOND)
    world.until(Phase.ATTEST_REVEAL)
    verifier.attest_reveal(SECOND)
    world.until(Phase.SETTLE)
    world.post()
    assert verdicts(world, SECOND) == {world.trainers[0].account: Verdict.ACCEPTED}


def verdicts(world: RoleWorld, round_: RoundIndex) -> dict[str, Verdict]:
    view = world.gateway.tasks.round(world.task, round_)
    proposal = settled_leaves(world.gateway, world.store, world.task, round_, view)
    assert proposal is not None
    return {leaf.trainer: leaf.verdict for leaf in proposal.leaves}
