"""A transcript that somebody else reveals in a task of its own, to be the first to write under its names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deltaproof.chain import Gateway, TransactionSender, connect, load_account
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.abi.structs import RevealData
from deltaproof.chain.local_node import start_node
from deltaproof.chain.participation import lock_stake
from deltaproof.gateway.server import GatewayOptions
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.commitments import commitment_hash
from deltaproof.protocol.commit.sealing import ENVELOPE_BYTES, SEALED_MAGIC
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Digest32, RoundIndex, StepIndex, TaskId, TokenAmount
from deltaproof.store.paths import envelope_path, opening_path
from tests.gateway.conftest import Served, scene_of, serving
from tests.worlds.roles import FUND, RoleWorld, TaskDraft, build_world, fund_task
from trainer.conduct import Honest

FIRST = RoundIndex(1)
SEALED = 'visibility = "verifiers"'
GARBAGE = Digest32(b"\x01" * 32)


@contextmanager
def revealed(folder: Path, data: str) -> Iterator[tuple[RoleWorld, Served]]:
    """A round in which ann, who writes through a gateway, has revealed, and ben not yet."""
    with start_node("anvil") as node:
        world = build_world(node, folder / "world", rounds=1, honest=1, cheat=Honest(), verifiers=1, data=data)
        options = GatewayOptions(store=str(world.store_folder), home=folder / "gateway", version="test")
        try:
            with serving(scene_of(world), options) as served:
                ann = world.trainers[0]
                ann.store._backend = served.client("ann")
                world.open_round()
                for trainer in world.trainers:
                    trainer.commit(FIRST)
                world.until(Phase.REVEAL)
                ann.reveal(FIRST)
                yield world, served
        finally:
            world.close()


@pytest.mark.parametrize("data", [SEALED, ""], ids=["sealed", "open"])
def test_who_reveals_anothers_transcript_in_a_task_of_its_own_takes_none_of_its_names(
    tmp_path: Path, data: str
) -> None:
    """Attack: a gateway serves many tasks, and cannot look into what is sealed. Reveal a rival's transcript in a sealed
    task of one's own, put garbage under each of its names before the rival does, and have its work withheld and its
    stake slashed. It costs gas alone."""
    with revealed(tmp_path, data) as (world, served):
        ann, ben = world.trainers
        (vera,) = world.verifiers
        root = ann._done[FIRST].trained.transcript_root
        task = task_of_mallory(world, tmp_path / "mallory", root)
        mallory = served.scene.account("mallory")
        steps = [StepIndex(step) for step in range(ann.spec.training.steps)]
        keys = [record.key for record in world.store.get_keys(vera.gateway.permit_domain, vera.account)]
        for account, status in ((mallory, 201), (ann.account, 403)):
            sealed = SEALED_MAGIC + bytes(4_096)
            answers = [served.put("mallory", opening_path(root, account, step), sealed, task=task) for step in steps]
            envelopes = [envelope_path(root, account, key) for key in keys]
            answers += [served.put("mallory", path, bytes(ENVELOPE_BYTES), task=task) for path in envelopes]
            assert {answer.status_code for answer in answers} == {status}

        ben.reveal(FIRST)
        world.until(Phase.OPENING)
        world.sponsor.reveal(FIRST)
        for trainer in world.trainers:
            trainer.opening(FIRST)
        world.until(Phase.ATTEST_COMMIT)
        world.attest()
        world.settle()
        own = vera.own.of(FIRST)
        assert own is not None
        assert own.by_trainer()[ann.account].verdict is Verdict.ACCEPTED
        staked = world.gateway.registry.stake_of(ann.account, Role.TRAINER).total
        assert staked == ann.params.stakes.trainer_stake


def task_of_mallory(world: RoleWorld, folder: Path, root: Digest32) -> TaskId:
    """A sealed task of which mallory is sponsor, only trainer and only verifier, with a round that reveals `root`."""
    connection, key = connect(world.node.rpc_url), world.node.private_keys[5]
    sender = TransactionSender(connection, load_account(key), state_folder=folder / "state")
    world.senders.append(sender)
    mallory = Gateway(connection, world.gateway.deployment, sender)
    mallory.token(mallory.registry.token()).mint(mallory.account, TokenAmount(10 * FUND))
    task = fund_task(mallory, world.store, folder, TaskDraft(data=SEALED))
    secret = SecretKey.from_seed(b"\x05" * 32)
    possession = secret.prove_possession(connection.chain_id, mallory.registry.address, mallory.account)
    mallory.registry.register_key(secret.public_key(), possession)
    stakes = mallory.terms.params(task).stakes
    lock_stake(mallory, Role.TRAINER, stakes.trainer_stake)
    lock_stake(mallory, Role.VERIFIER, stakes.verifier_stake)
    mallory.trainers.enrol(task, GARBAGE, 20)
    mallory.verifiers.enrol(task, stakes.verifier_stake)
    mallory.tasks.open_round(task)
    while mallory.tasks.phase(task).phase is Phase.DRAW:
        world.raw("evm_mine")
        mallory.tasks.advance(task)
    work = RevealData(GARBAGE, root, GARBAGE)
    sealed = commitment_hash(mallory.domain(task, FIRST), mallory.account, GARBAGE, root, GARBAGE)
    mallory.trainers.commit(task, sealed)
    mallory.trainers.reveal(task, work)
    return task
