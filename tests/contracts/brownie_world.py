"""The contracts driven through brownie: participants with real keys, and a round played step by step.

What they commit, find and sign comes from `tests.worlds.simulated`, and so from the product's own Python: every test
that passes a round also shows that Python and Solidity agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from brownie import accounts, chain

from deltaproof.chain.abi.codec import encode
from deltaproof.chain.abi.enums import Outcome, Phase, Role
from deltaproof.chain.abi.structs import G2Point, RevealData
from deltaproof.protocol.commit.bls import SETTLEMENT_DOMAIN, SecretKey, Signature
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, Verdict, leaves_tree
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from scripts.deploy import DeployedContracts, deploy
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

DIRECT = (0, 0, 0, 0, [])
"""`CommitmentRef` of a direct commitment."""


@dataclass
class BrownieWorld:
    """One deployment with a sponsor, trainers and verifiers, all staked."""

    contracts: DeployedContracts
    sponsor: Any
    trainers: list[Any]
    verifiers: list[Any]
    keys: dict[Address, SecretKey]
    outsider: Any

    # Tasks.

    def create_task(self, terms: Terms | None = None, funding: int | None = None) -> BrownieTask:
        """A funded task, nobody enrolled."""
        terms = terms or Terms()
        funding = terms.funding if funding is None else funding
        sets, commitments = validation_sets(terms.rounds + 1)
        params = encode(terms.params(Address(self.contracts.token.address)))
        tx = self.contracts.terms.createTask(params, commitments, funding, {"from": self.sponsor})
        return BrownieTask(self, tx.events["TaskCreated"]["taskId"], terms, sets)

    def start_task(
        self, terms: Terms | None = None, trainers: int = 3, verifiers: int = 3, stakes: Sequence[int] | None = None
    ) -> BrownieTask:
        """A task with participants enrolled."""
        task = self.create_task(terms)
        for trainer in self.trainers[:trainers]:
            task.enrol_trainer(trainer)
        for i, verifier in enumerate(self.verifiers[:verifiers]):
            task.enrol_verifier(verifier, stakes[i] if stakes else task.terms.verifier_stake)
        return task

    def sign(self, verifier: Any, message: bytes) -> Signature:
        return self.keys[name(verifier)].sign(SETTLEMENT_DOMAIN, Digest32(bytes(message)))


@dataclass
class BrownieTask:
    """One task and the round that runs in it."""

    world: BrownieWorld
    id: int
    terms: Terms
    validation: list[tuple[Digest32, Digest32]]
    trainers: list[Any] = field(default_factory=list)
    verifiers: list[Any] = field(default_factory=list)

    @property
    def contracts(self) -> DeployedContracts:
        return self.world.contracts

    @property
    def round(self) -> int:
        return int(self.contracts.tasks.phaseOf(self.id)[0])

    @property
    def phase(self) -> Phase:
        return Phase(self.contracts.tasks.phaseOf(self.id)[1])

    @property
    def domain(self) -> RoundDomain:
        return RoundDomain(chain.id, Address(self.contracts.tasks.address), TaskId(self.id), RoundIndex(self.round))

    def outcome(self, round_: int) -> Outcome:
        return Outcome(self.contracts.tasks.roundOf(self.id, round_)[0])

    # Enrolment.

    def enrol_trainer(self, trainer: Any) -> Any:
        self.trainers.append(trainer)
        return self.contracts.trainers.enrol(self.id, digest("data", str(trainer)), 100, {"from": trainer})

    def enrol_verifier(self, verifier: Any, stake: int | None = None) -> Any:
        self.verifiers.append(verifier)
        return self.contracts.verifiers.enrol(self.id, stake or self.terms.verifier_stake, {"from": verifier})

    # Phases.

    def open_round(self) -> None:
        """Through `Draw` into `Commit`."""
        self.contracts.tasks.openRound(self.id, {"from": self.world.sponsor})
        self.draw()

    def draw(self) -> None:
        """Let the blocks come that decide the seed."""
        waiting = self.phase
        assert waiting in (Phase.DRAW, Phase.CHALLENGE)
        for _ in range(4):
            self.contracts.tasks.advance(self.id, {"from": self.world.outsider})
            if self.phase is not waiting:
                return
        raise AssertionError("the seed was not decided")

    def expire(self) -> Any:
        """Let the phase time out and move on."""
        chain.sleep(self.terms.phase_seconds + 1)
        return self.contracts.tasks.advance(self.id, {"from": self.world.outsider})

    def work(self, trainer: Any) -> RevealData:
        """What this trainer did in this round, by name."""
        return work_of(self.domain, name(trainer))

    def commit(self, trainer: Any) -> Any:
        return self.contracts.trainers.commit(self.id, seal_work(self.domain, name(trainer)), {"from": trainer})

    def reveal(self, trainer: Any, work: RevealData | None = None) -> Any:
        return self.contracts.trainers.reveal(self.id, *encode(work or self.work(trainer)), {"from": trainer})

    def reveal_validation(self) -> Any:
        digest_, salt = self.validation[self.round - 1]
        return self.contracts.tasks.revealValidation(self.id, digest_, salt, {"from": self.world.sponsor})

    def publish_openings(self, trainer: Any) -> Any:
        return self.contracts.trainers.openingsPublished(self.id, {"from": trainer})

    # Judgement.

    def leaves(
        self,
        verdicts: dict[Address, Verdict] | None = None,
        scores: dict[Address, int] | None = None,
        improvement_nanos: int = 10**9,
        trainers: Sequence[Any] | None = None,
    ) -> list[SettlementLeaf]:
        """Leaves with payouts by the rule; everyone accepted with scores 1,000, 2,000, ... unless said otherwise."""
        acting = [name(trainer) for trainer in (self.trainers if trainers is None else trainers)]
        scored = bool(self.contracts.tasks.roundOf(self.id, self.round)[3])
        return leaves_of(acting, self.terms.payouts(improvement_nanos, scored=scored), verdicts, scores)

    def settlement(self, leaves: Sequence[SettlementLeaf], improvement_nanos: int = 10**9) -> Settlement:
        return settlement_of(self.domain, leaves, improvement_nanos)

    def commit_attestation(self, verifier: Any, leaves: Sequence[SettlementLeaf]) -> Any:
        sealed = seal_attestation(self.domain, leaves, name(verifier))
        return self.contracts.verifiers.commitAttestation(self.id, sealed, {"from": verifier})

    def reveal_attestation(self, verifier: Any, leaves: Sequence[SettlementLeaf]) -> Any:
        fields = attestation_of(self.domain, leaves, name(verifier)).values()
        return self.contracts.verifiers.revealAttestation(self.id, *fields, {"from": verifier})

    def signed(self, settlement: Settlement, signers: Sequence[Any]) -> tuple[Any, ...]:
        """`QuorumProof` of these signers, over real signatures."""
        keys = {name(verifier): self.world.keys[name(verifier)] for verifier in self.verifiers}
        proof: tuple[Any, ...] = encode(quorum_proof(self.domain, settlement, keys, [name(v) for v in signers]))
        return proof

    def settle(self, settlement: Settlement, signers: Sequence[Any] | None = None) -> Any:
        proof = self.signed(settlement, self.verifiers if signers is None else signers)
        return self.contracts.tasks.settle(self.id, settlement.fields(), proof, {"from": self.world.outsider})

    # Whole stretches.

    def play_to_opening(self, trainers: Sequence[Any] | None = None, validation: bool = True) -> None:
        """Everyone commits and reveals; the challenge is drawn."""
        acting = self.trainers if trainers is None else trainers
        self.open_round()
        for trainer in acting:
            self.commit(trainer)
        if self.phase is Phase.COMMIT:
            self.expire()
        for trainer in acting:
            self.reveal(trainer)
        if self.phase is Phase.REVEAL:
            self.expire()
        self.draw()
        assert self.phase is Phase.OPENING
        if validation:
            self.reveal_validation()

    def play_to_settle(
        self, leaves_of: Any = None, trainers: Sequence[Any] | None = None, validation: bool = True
    ) -> list[SettlementLeaf]:
        """Everything before the settlement; all verifiers attest the same leaves, which are returned."""
        acting = list(self.trainers if trainers is None else trainers)
        self.play_to_opening(acting, validation)
        for trainer in acting:
            self.publish_openings(trainer)
        if self.phase is Phase.OPENING:
            self.expire()
        leaves = leaves_of() if leaves_of else self.leaves(trainers=acting)
        for verifier in self.verifiers:
            self.commit_attestation(verifier, leaves)
        for verifier in self.verifiers:
            self.reveal_attestation(verifier, leaves)
        assert self.phase is Phase.SETTLE
        return list(leaves)

    def play_round(self, **options: Any) -> list[SettlementLeaf]:
        """A whole settled round, finalised."""
        leaves = self.play_to_settle(**options)
        self.settle(self.settlement(leaves))
        self.finalize()
        return leaves

    def finalize(self) -> Any:
        chain.sleep(self.terms.window_seconds + 1)
        return self.contracts.tasks.finalize(self.id, {"from": self.world.outsider})

    def claim(self, round_: int, leaves: Sequence[SettlementLeaf], index: int) -> Any:
        return self.contracts.vault.claim(
            self.id,
            round_,
            index,
            len(leaves),
            leaves[index].fields(),
            list(leaves_tree(leaves).proof(index)),
            {"from": self.world.outsider},
        )


def name(person: Any) -> Address:
    """Of an account of brownie's."""
    return Address(str(person))


def build_world(trainers: int = 5, verifiers: int = 4) -> BrownieWorld:
    """Deploy, mint, stake and register keys."""
    contracts = deploy(accounts[0])
    people = list(accounts[1:])
    world = BrownieWorld(
        contracts=contracts,
        sponsor=people[0],
        trainers=people[1 : 1 + trainers],
        verifiers=people[1 + trainers : 1 + trainers + verifiers],
        keys={},
        outsider=people[-1],
    )
    token, registry = contracts.token, contracts.registry
    for person in (world.sponsor, *world.trainers, *world.verifiers, world.outsider):
        token.mint(person, 1_000_000 * UNIT, {"from": person})
        token.approve(registry, 2**256 - 1, {"from": person})
    token.approve(contracts.vault, 2**256 - 1, {"from": world.sponsor})
    for trainer in world.trainers:
        registry.deposit(Role.TRAINER, 1_000 * UNIT, {"from": trainer})
    for verifier in world.verifiers:
        registry.deposit(Role.VERIFIER, 2_000 * UNIT, {"from": verifier})
        register_key(world, verifier, bls_key(str(verifier)))
    registry.deposit(Role.CHALLENGER, 1_000 * UNIT, {"from": world.outsider})
    return world


def register_key(world: BrownieWorld, owner: Any, key: SecretKey) -> Any:
    """Register a BLS key with its proof of possession."""
    public = key.public_key()
    possession = key.prove_possession(chain.id, name(world.contracts.registry), name(owner))
    world.keys[name(owner)] = key
    return world.contracts.registry.registerKey(
        public.g1, encode(G2Point.of(public.g2)), possession.point, {"from": owner}
    )
