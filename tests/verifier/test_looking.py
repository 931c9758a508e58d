"""A verifier that misses something looks again before it says so: a store that lags costs nobody its stake."""

from __future__ import annotations

import shutil
from pathlib import Path

from deltaproof.chain.abi.enums import AttestationState
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.outcome.settlement import Verdict
from tests.worlds.roles import RoleWorld, build_world
from verifier.life import Verifier


def test_verifier_waits_for_a_lagging_store_and_calls_withheld_only_late(tmp_path: Path) -> None:
    with start_node("anvil", accounts=7) as node:
        world = build_world(node, tmp_path, rounds=1, honest=1, verifiers=2)
        openings, away = world.store_folder / "openings", tmp_path / "on its way"
        patient, unlucky = world.verifiers
        world.open_round()
        world.work()

        shutil.move(openings, away)
        assert _verdict(world, patient) is None
        shutil.move(away, openings)
        assert _verdict(world, patient) is Verdict.ACCEPTED

        shutil.move(openings, away)
        assert _verdict(world, unlucky) is None
        world.skip_time(301)
        assert _verdict(world, unlucky) is Verdict.WITHHELD
        world.close()


def _verdict(world: RoleWorld, verifier: Verifier) -> Verdict | None:
    """What a verifier has sealed of the honest trainer's work; None before it has."""
    round_ = world.gateway.tasks.phase(world.task).round
    verifier.attest_commit(round_)
    state = world.gateway.verifiers.attestation(world.task, round_, verifier.account).state
    own = verifier._own_attestation(round_)
    sealed = own is not None and state == AttestationState.COMMITTED
    return own.by_trainer()[world.trainers[0].account].verdict if own and sealed else None
