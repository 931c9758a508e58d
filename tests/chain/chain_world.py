"""A deployment on Anvil with funded and staked participants, and the steps of a round that tests share."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from deltaproof.chain import (
    Connection,
    Deployment,
    DeployParams,
    Gateway,
    Receipt,
    TransactionSender,
    connect,
    deploy_all,
)
from deltaproof.chain.abi.enums import Optimizer, Role
from deltaproof.chain.abi.structs import (
    G1Point,
    G2Point,
    PhaseSeconds,
    QuorumProof,
    QuorumTerms,
    RewardTerms,
    StakeTerms,
    TaskParams,
    TrainingTerms,
)
from deltaproof.protocol.commit import bls
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.commitments import validation_commitment
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId, TokenAmount, address_bytes
from tests.chain.node_calls import funded_account, rpc

TOKENS = 10**18
STAKE = TokenAmount(100 * TOKENS)
BUDGET = TokenAmount(90 * TOKENS)
ROUND = RoundIndex(1)


def digest(*name: object) -> Digest32:
    return Digest32(sha256("/".join(map(str, name)).encode()).digest())


def as_amount(units: int) -> TokenAmount:
    return TokenAmount(units)


@dataclasses.dataclass(frozen=True)
class World:
    """A deployment and a gateway for each participant, all funded and staked."""

    connection: Connection
    deployment: Deployment
    sponsor: Gateway
    trainers: tuple[Gateway, ...]
    verifiers: tuple[Gateway, ...]
    keys: tuple[SecretKey, ...]


@contextlib.contextmanager
def running_world(url: str, state: Path) -> Iterator[World]:
    """Deploy on the node at `url`; senders keep their state in the folder `state`."""
    connection = connect(url)
    senders: list[TransactionSender] = []

    def sender() -> TransactionSender:
        senders.append(TransactionSender(connection, funded_account(connection), state_folder=state))
        return senders[-1]

    deployer = sender()
    deployment = deploy_all(connection, deployer, DeployParams(guardian=deployer.address))
    sponsor = Gateway(connection, deployment, deployer)
    people = [Gateway(connection, deployment, sender()) for _ in range(6)]
    for person, role in zip(people, [Role.TRAINER] * 3 + [Role.VERIFIER] * 3, strict=True):
        token = person.token(person.registry.token())
        token.mint(person.account, as_amount(1_000 * TOKENS))
        token.approve(person.registry.address, as_amount(1_000 * TOKENS))
        person.registry.deposit(role, as_amount(500 * TOKENS))
    keys = tuple(SecretKey.from_seed(digest("bls", i)) for i in range(3))
    for person, key in zip(people[3:], keys, strict=True):
        possession = key.prove_possession(connection.chain_id, person.registry.address, person.account)
        person.registry.register_key(key.public_key(), possession)
    yield World(connection, deployment, sponsor, tuple(people[:3]), tuple(people[3:]), keys)
    for each in senders:
        each.close()


def create_task(world: World) -> TaskId:
    sponsor = world.sponsor
    token = sponsor.token(sponsor.registry.token())
    funding = as_amount(2 * 100 * TOKENS)
    token.mint(sponsor.account, funding)
    token.approve(sponsor.vault.address, funding)
    params = TaskParams(
        token=token.address,
        spec_hash=digest("spec"),
        start_digest=digest("start"),
        constants_root=digest("constants"),
        rewards=RewardTerms(BUDGET, 1_000, 0, 0, 10_000, 2_000),
        stakes=StakeTerms(STAKE, as_amount(10 * TOKENS), STAKE, 5_000, 2_000, 100),
        quorum=QuorumTerms(6_000, 1, 1, 1_000),
        training=TrainingTerms(2, 12, 1_000, Optimizer.ADAM, True, 2),
        phases=PhaseSeconds(600, 600, 600, 600, 600, 600, 2, 600, 86_400, 0),
    )
    commitments = [validation_commitment(digest("validation", i), digest("salt", i)) for i in range(3)]
    task_id, _ = sponsor.terms.create_task(params, commitments, funding)
    view = sponsor.task(task_id)
    assert view.params == params
    assert view.sponsor == sponsor.account
    assert sponsor.terms.validation_commitments(task_id) == tuple(commitments)
    assert sponsor.vault.account(task_id).balance == funding
    return task_id


def draw(world: World, task_id: TaskId) -> None:
    rpc(world.connection, "evm_mine")
    world.sponsor.tasks.advance(task_id)


def settle(world: World, task_id: TaskId, settlement: Settlement, signers: Sequence[int]) -> Receipt:
    signed = settlement.signing_digest(world.sponsor.domain(task_id, ROUND), attempt=0)
    assert signed == world.sponsor.tasks.settlement_digest(task_id, ROUND, 0, settlement)
    absent = [world.verifiers[i].account for i in range(3) if i not in signers]
    proof = QuorumProof(
        non_signers=tuple(sorted(absent, key=address_bytes)),
        signers_key=G2Point.of(bls.aggregate_keys(world.keys[i].public_key() for i in signers).g2),
        signature=G1Point.of(
            bls.aggregate_signatures(world.keys[i].sign(bls.SETTLEMENT_DOMAIN, signed) for i in signers).point
        ),
    )
    return world.sponsor.tasks.settle(task_id, settlement, proof)
