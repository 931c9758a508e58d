"""The contracts driven through the product's gateway: funded and staked participants, and a round phase by phase.

Nobody trains here (`simulated` says what each commits); for real training see `roles`, for real processes `market`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from deltaproof.chain import (
    Connection,
    Deployment,
    DeployParams,
    Gateway,
    LocalAccount,
    Receipt,
    TransactionSender,
    connect,
    deploy_all,
)
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, Verdict
from deltaproof.protocol.types import Address, RoundIndex, TaskId, TokenAmount
from tests.chain.node_calls import funded_account
from tests.worlds.simulated import (
    UNIT,
    Terms,
    attestation_of,
    bls_key,
    digest,
    leaves_of,
    quorum_proof,
    seal_attestation,
    seal_work,
    settlement_of,
    validation_sets,
    work_of,
)

__all__ = ["GatewayWorld", "Play", "running_world", "world_alone", "world_of"]

IMPROVEMENT_NANOS = 10**9
DEPOSIT = TokenAmount(4_000 * UNIT)
"""What each participant holds, and half of it stakes."""


@dataclasses.dataclass(frozen=True)
class GatewayWorld:
    """A deployment and a gateway for each participant, all funded and staked."""

    connection: Connection
    deployment: Deployment
    sponsor: Gateway
    trainers: tuple[Gateway, ...]
    verifiers: tuple[Gateway, ...]
    keys: Mapping[Address, SecretKey]
    """BLS keys of the verifiers."""
    terms: Terms

    def create_task(self) -> TaskId:
        """A funded task."""
        sponsor = self.sponsor
        token = sponsor.token(sponsor.registry.token())
        funding = TokenAmount(self.terms.funding)
        token.mint(sponsor.account, funding)
        token.approve(sponsor.vault.address, funding)
        params = self.terms.params(token.address)
        _, commitments = validation_sets(self.terms.rounds + 1)
        task_id, _ = sponsor.terms.create_task(params, commitments, funding)
        view = sponsor.task(task_id)
        assert view.params == params
        assert view.sponsor == sponsor.account
        assert sponsor.terms.validation_commitments(task_id) == tuple(commitments)
        assert sponsor.vault.account(task_id).balance == funding
        return task_id

    def start_task(self) -> Play:
        """A task with everybody enrolled."""
        play = Play(self, self.create_task())
        for i, trainer in enumerate(self.trainers):
            trainer.trainers.enrol(play.task, digest("data", i), 100)
        for verifier in self.verifiers:
            verifier.verifiers.enrol(play.task, TokenAmount(self.terms.verifier_stake))
        return play

    def node(self, method: str, *arguments: object) -> None:
        """A call that only development nodes understand."""
        answer = self.connection.web3.provider.make_request(method, list(arguments))  # type: ignore[arg-type]
        assert "error" not in answer, answer


@dataclasses.dataclass(frozen=True)
class Play:
    """One task, and the phases of the round that runs in it."""

    world: GatewayWorld
    task: TaskId

    @property
    def round(self) -> RoundIndex:
        return self.world.sponsor.tasks.phase(self.task).round

    @property
    def phase(self) -> Phase:
        return self.world.sponsor.tasks.phase(self.task).phase

    @property
    def domain(self) -> RoundDomain:
        return self.world.sponsor.domain(self.task, self.round)

    def open(self) -> None:
        """Through `Draw` into `Commit`."""
        self.world.sponsor.tasks.open_round(self.task)
        self.draw()

    def draw(self) -> None:
        """Let the block come that decides the seed."""
        assert self.phase in (Phase.DRAW, Phase.CHALLENGE)
        self.world.node("evm_mine")
        self.world.sponsor.tasks.advance(self.task)

    def commit(self) -> None:
        for trainer in self.world.trainers:
            trainer.trainers.commit(self.task, seal_work(self.domain, trainer.account))

    def reveal(self) -> None:
        """Everybody's work."""
        domain = self.domain
        for trainer in self.world.trainers:
            trainer.trainers.reveal(self.task, work_of(domain, trainer.account))

    def show_validation(self) -> None:
        sets, _ = validation_sets(self.world.terms.rounds + 1)
        self.world.sponsor.tasks.reveal_validation(self.task, *sets[self.round - 1])

    def publish(self) -> None:
        """What the challenge drew, and the validation set."""
        self.show_validation()
        for trainer in self.world.trainers:
            trainer.trainers.openings_published(self.task)

    def leaves(self, verdicts: Mapping[Address, Verdict] | None = None) -> list[SettlementLeaf]:
        """What follows if all but those in `verdicts` worked honestly."""
        terms = self.world.terms.payouts(IMPROVEMENT_NANOS)
        return leaves_of([trainer.account for trainer in self.world.trainers], terms, verdicts)

    def attest(self, leaves: Sequence[SettlementLeaf]) -> None:
        """Every verifier seals the same findings, then reveals them."""
        for verifier in self.world.verifiers:
            sealed = seal_attestation(self.domain, leaves, verifier.account)
            verifier.verifiers.commit_attestation(self.task, sealed)
        for verifier in self.world.verifiers:
            fields = attestation_of(self.domain, leaves, verifier.account)
            verifier.verifiers.reveal_attestation(self.task, **fields)

    def settlement(self, leaves: Sequence[SettlementLeaf]) -> Settlement:
        return settlement_of(self.domain, leaves, IMPROVEMENT_NANOS)

    def settle(self, settlement: Settlement, signers: Collection[Address] | None = None) -> Receipt:
        """Post it under the signatures of `signers`, by default all."""
        tasks = self.world.sponsor.tasks
        signed = settlement.signing_digest(self.domain, attempt=0)
        assert signed == tasks.settlement_digest(self.task, self.round, 0, settlement)
        signers = self.world.keys.keys() if signers is None else signers
        return tasks.settle(self.task, settlement, quorum_proof(self.domain, settlement, self.world.keys, signers))

    def finalize(self) -> None:
        """Let the dispute window pass."""
        self.world.node("evm_increaseTime", self.world.terms.window_seconds + 1)
        self.world.node("evm_mine")
        self.world.sponsor.tasks.finalize(self.task)

    def play_to_opening(self) -> None:
        """Everybody commits and reveals; the challenge is drawn."""
        self.open()
        self.commit()
        self.reveal()
        self.draw()

    def play_round(self, verdicts: Mapping[Address, Verdict] | None = None) -> list[SettlementLeaf]:
        """A whole settled round; returns its leaves."""
        self.play_to_opening()
        self.publish()
        leaves = self.leaves(verdicts)
        self.attest(leaves)
        self.settle(self.settlement(leaves))
        self.finalize()
        return leaves


@contextlib.contextmanager
def world_alone(state: Path, people: int, trainers: int) -> Iterator[GatewayWorld]:
    """`world_of` on a chain of its own."""
    with start_node("anvil") as node, world_of(connect(node.rpc_url), state, Terms(), people, trainers) as running:
        yield running


@contextlib.contextmanager
def world_of(
    connection: Connection, state: Path, terms: Terms, people: int = 6, trainers: int = 3
) -> Iterator[GatewayWorld]:
    """A world of its own on Anvil: a sponsor and `people` who train or verify, whose accounts nobody else has."""
    accounts = [funded_account(connection) for _ in range(1 + people)]
    with running_world(connection, accounts, state, terms, trainers) as running:
        yield running


@contextlib.contextmanager
def running_world(
    connection: Connection, accounts: Sequence[LocalAccount], state: Path, terms: Terms, trainers: int = 3
) -> Iterator[GatewayWorld]:
    """Deploy. The first of the funded `accounts` is deployer and sponsor, the next train, the rest verify.

    Senders keep their state in the folder `state`.
    """
    with contextlib.ExitStack() as open_senders:
        senders = [
            open_senders.enter_context(TransactionSender(connection, account, state_folder=state))
            for account in accounts
        ]
        deployment = deploy_all(connection, senders[0], DeployParams(guardian=senders[0].address))
        sponsor, *people = (Gateway(connection, deployment, sender) for sender in senders)
        for i, person in enumerate(people):
            token = person.token(person.registry.token())
            token.mint(person.account, DEPOSIT)
            token.approve(person.registry.address, DEPOSIT)
            person.registry.deposit(Role.TRAINER if i < trainers else Role.VERIFIER, TokenAmount(DEPOSIT // 2))
        keys = {person.account: bls_key(i) for i, person in enumerate(people[trainers:])}
        for person in people[trainers:]:
            key = keys[person.account]
            possession = key.prove_possession(connection.chain_id, person.registry.address, person.account)
            person.registry.register_key(key.public_key(), possession)
        yield GatewayWorld(
            connection, deployment, sponsor, tuple(people[:trainers]), tuple(people[trainers:]), keys, terms
        )
