"""A small protocol world for the contract tests: participants with real keys, and a round played step by step.

Hashes, trees, payouts and BLS signatures come from the product's own Python (`protocol`, `incentives`), so every test
that passes a round also shows that Python and Solidity agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from brownie import accounts, chain

from deltaproof.chain.abi.enums import Outcome, Phase, Role
from deltaproof.protocol.commit.bls import (
    SETTLEMENT_DOMAIN,
    PublicKey,
    SecretKey,
    Signature,
    aggregate_keys,
    aggregate_signatures,
)
from deltaproof.protocol.commit.commitments import (
    RoundDomain,
    attestation_hash,
    commitment_hash,
    validation_commitment,
)
from deltaproof.protocol.outcome.settlement import (
    Settlement,
    SettlementLeaf,
    Verdict,
    build_settlement,
    leaves_tree,
    scores_tree,
)
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount, address_bytes
from incentives.payouts import PayoutEntry, PayoutTerms, compute_payouts
from scripts.deploy import DeployedContracts, deploy

UNIT = 10**18
DIRECT = (0, 0, 0, 0, [])
"""`CommitmentRef` of a direct commitment."""


def digest(*parts: object) -> Digest32:
    """A digest that names itself."""
    return Digest32(sha256(repr(parts).encode()).digest())


def secret_key(name: object) -> SecretKey:
    """A BLS key from a name."""
    return SecretKey.from_seed(digest("bls key", name))


@dataclass(frozen=True)
class TaskTerms:
    """`TaskParams` with small defaults; amounts in the token's smallest unit."""

    token: str = ""
    spec_hash: bytes = field(default_factory=lambda: digest("spec"))
    start_digest: bytes = field(default_factory=lambda: digest("start adapter"))
    constants_root: bytes = field(default_factory=lambda: digest("constants"))
    budget: int = 1_000 * UNIT
    fee_bps: int = 1_000
    target_nanos: int = 0
    floor_bps: int = 0
    cap_bps: int = 10_000
    base_bps: int = 2_000
    trainer_stake: int = 100 * UNIT
    commit_bond: int = 10 * UNIT
    verifier_stake: int = 200 * UNIT
    slash_bps: int = 5_000
    prover_bps: int = 2_000
    absence_bps: int = 100
    quorum_bps: int = 6_667
    min_trainers: int = 1
    min_verifiers: int = 1
    tolerance_nanos: int = 1_000
    rounds: int = 3
    steps: int = 4
    parameters: int = 600
    optimizer: int = 2
    float32_delta: bool = True
    samples: int = 2
    phase_seconds: tuple[int, ...] = (600, 600, 600, 600, 600, 600, 600)
    slash_seconds: int = 3_600
    claim_seconds: int = 86_400
    activation_seconds: int = 0

    def params(self, token: str) -> tuple[Any, ...]:
        """In the order of the contract's struct."""
        return (
            self.token or token,
            self.spec_hash,
            self.start_digest,
            self.constants_root,
            (self.budget, self.fee_bps, self.target_nanos, self.floor_bps, self.cap_bps, self.base_bps),
            (
                self.trainer_stake,
                self.commit_bond,
                self.verifier_stake,
                self.slash_bps,
                self.prover_bps,
                self.absence_bps,
            ),
            (self.quorum_bps, self.min_trainers, self.min_verifiers, self.tolerance_nanos),
            (self.rounds, self.steps, self.parameters, self.optimizer, self.float32_delta, self.samples),
            (*self.phase_seconds, self.slash_seconds, self.claim_seconds, self.activation_seconds),
        )

    @property
    def fee(self) -> int:
        return self.budget * self.fee_bps // 10_000


@dataclass(frozen=True)
class Work:
    """What a trainer commits."""

    delta_digest: Digest32
    transcript_root: Digest32
    salt: Digest32

    @property
    def data(self) -> tuple[bytes, bytes, bytes]:
        return (self.delta_digest, self.transcript_root, self.salt)


@dataclass
class World:
    """One deployment with a sponsor, trainers and verifiers, all staked."""

    contracts: DeployedContracts
    sponsor: Any
    trainers: list[Any]
    verifiers: list[Any]
    keys: dict[str, SecretKey]
    public: dict[str, PublicKey]
    outsider: Any

    # Tasks.

    def create_task(self, terms: TaskTerms | None = None, funding: int | None = None) -> Task:
        """A funded task, nobody enrolled."""
        terms = terms or TaskTerms()
        funding = terms.rounds * (terms.budget + terms.fee) if funding is None else funding
        salts = [digest("validation salt", i) for i in range(terms.rounds + 1)]
        digests = [digest("validation set", i) for i in range(terms.rounds + 1)]
        commitments = [validation_commitment(d, s) for d, s in zip(digests, salts, strict=True)]
        params = terms.params(self.contracts.token.address)
        tx = self.contracts.terms.createTask(params, commitments, funding, {"from": self.sponsor})
        return Task(self, tx.events["TaskCreated"]["taskId"], terms, list(zip(digests, salts, strict=True)))

    def start_task(
        self, terms: TaskTerms | None = None, trainers: int = 3, verifiers: int = 3, stakes: Sequence[int] | None = None
    ) -> Task:
        """A task with participants enrolled."""
        task = self.create_task(terms)
        for trainer in self.trainers[:trainers]:
            task.enrol_trainer(trainer)
        for i, verifier in enumerate(self.verifiers[:verifiers]):
            task.enrol_verifier(verifier, stakes[i] if stakes else task.terms.verifier_stake)
        return task

    def sign(self, verifier: Any, message: bytes) -> Signature:
        return self.keys[str(verifier)].sign(SETTLEMENT_DOMAIN, Digest32(bytes(message)))


@dataclass
class Task:
    """One task and the round that runs in it."""

    world: World
    id: int
    terms: TaskTerms
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
        self.contracts.tasks.openRound(self.id, {"from": self.world.outsider})
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
        chain.sleep(max(self.terms.phase_seconds) + 1)
        return self.contracts.tasks.advance(self.id, {"from": self.world.outsider})

    def work(self, trainer: Any) -> Work:
        """What this trainer did in this round, by name."""
        return Work(*(digest(part, str(trainer), self.id, self.round) for part in ("delta", "transcript", "salt")))

    def commit(self, trainer: Any, work: Work | None = None) -> Any:
        work = work or self.work(trainer)
        sealed = commitment_hash(self.domain, Address(str(trainer)), *work.data)
        return self.contracts.trainers.commit(self.id, sealed, {"from": trainer})

    def reveal(self, trainer: Any, work: Work | None = None) -> Any:
        return self.contracts.trainers.reveal(self.id, *(work or self.work(trainer)).data, {"from": trainer})

    def reveal_validation(self) -> Any:
        digest_, salt = self.validation[self.round - 1]
        return self.contracts.tasks.revealValidation(self.id, digest_, salt, {"from": self.world.sponsor})

    def publish_openings(self, trainer: Any) -> Any:
        return self.contracts.trainers.openingsPublished(self.id, {"from": trainer})

    # Judgement.

    def leaves(
        self,
        verdicts: dict[str, Verdict] | None = None,
        scores: dict[str, int] | None = None,
        improvement_nanos: int = 10**9,
        trainers: Sequence[Any] | None = None,
    ) -> list[SettlementLeaf]:
        """Leaves with payouts by the rule; everyone accepted with scores 1,000, 2,000, ... unless said otherwise."""
        listed = sorted(self.trainers if trainers is None else trainers, key=lambda t: address_bytes(Address(str(t))))
        verdict = {str(t): (verdicts or {}).get(str(t), Verdict.ACCEPTED) for t in listed}
        score = {str(t): (scores or {}).get(str(t), 1_000 * (i + 1)) for i, t in enumerate(listed)}
        scored = bool(self.contracts.tasks.roundOf(self.id, self.round)[3])
        terms = self.terms
        payouts = compute_payouts(
            PayoutTerms(
                terms.budget,
                improvement_nanos,
                terms.target_nanos,
                terms.floor_bps,
                terms.cap_bps,
                scored,
                terms.base_bps,
            ),
            [PayoutEntry(verdict[str(t)] is Verdict.ACCEPTED, score[str(t)]) for t in listed],
        )
        return [
            SettlementLeaf(
                trainer=Address(str(t)),
                verdict=verdict[str(t)],
                score_nanos=score[str(t)],
                stderr_nanos=7,
                payout=TokenAmount(amount),
            )
            for t, amount in zip(listed, payouts.amounts, strict=True)
        ]

    def settlement(self, leaves: Sequence[SettlementLeaf], improvement_nanos: int = 10**9) -> Settlement:
        return build_settlement(
            leaves, digest("adapter after", self.id, self.round), improvement_nanos, digest("evidence")
        )

    def attestation(self, leaves: Sequence[SettlementLeaf], verifier: Any) -> tuple[bytes, bytes, bytes, bytes]:
        """Verdicts digest, scores root, artifact digest, salt."""
        settlement = self.settlement(leaves)
        return (
            settlement.verdicts_digest,
            scores_tree(leaves).root,
            digest("artifact", str(verifier)),
            digest("attestation salt", str(verifier), self.round),
        )

    def commit_attestation(self, verifier: Any, leaves: Sequence[SettlementLeaf]) -> Any:
        verdicts, scores, artifact, salt = self.attestation(leaves, verifier)
        sealed = attestation_hash(
            self.domain,
            Address(str(verifier)),
            verdicts_digest=Digest32(verdicts),
            scores_root=Digest32(scores),
            artifact_digest=Digest32(artifact),
            salt=Digest32(salt),
        )
        return self.contracts.verifiers.commitAttestation(self.id, sealed, {"from": verifier})

    def reveal_attestation(self, verifier: Any, leaves: Sequence[SettlementLeaf]) -> Any:
        return self.contracts.verifiers.revealAttestation(
            self.id, *self.attestation(leaves, verifier), {"from": verifier}
        )

    def signed(self, settlement: Settlement, signers: Sequence[Any]) -> tuple[Any, ...]:
        """`QuorumProof` of these signers, over real signatures."""
        message = settlement.signing_digest(self.domain, attempt=0)
        signature = aggregate_signatures([self.world.sign(v, message) for v in signers])
        key = aggregate_keys([self.world.public[str(v)] for v in signers])
        absent = {str(v) for v in self.verifiers} - {str(v) for v in signers}
        ordered = sorted(absent, key=lambda a: address_bytes(Address(a)))
        return (ordered, g2(key), signature.point)

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
        chain.sleep(max(self.terms.phase_seconds) + 1)
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


def g2(key: PublicKey) -> tuple[tuple[int, int], tuple[int, int]]:
    """A key's G2 part as the contract's struct."""
    x_imaginary, x_real, y_imaginary, y_real = key.g2
    return ((x_imaginary, x_real), (y_imaginary, y_real))


def build_world(trainers: int = 5, verifiers: int = 4) -> World:
    """Deploy, mint, stake and register keys."""
    contracts = deploy(accounts[0])
    people = list(accounts[1:])
    world = World(
        contracts=contracts,
        sponsor=people[0],
        trainers=people[1 : 1 + trainers],
        verifiers=people[1 + trainers : 1 + trainers + verifiers],
        keys={},
        public={},
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
        register_key(world, verifier, secret_key(str(verifier)))
    registry.deposit(Role.CHALLENGER, 1_000 * UNIT, {"from": world.outsider})
    return world


def register_key(world: World, owner: Any, key: SecretKey) -> Any:
    """Register a BLS key with its proof of possession."""
    public = key.public_key()
    possession = key.prove_possession(chain.id, Address(world.contracts.registry.address), Address(str(owner)))
    world.keys[str(owner)], world.public[str(owner)] = key, public
    return world.contracts.registry.registerKey(public.g1, g2(public), possession.point, {"from": owner})


__all__ = [
    "DIRECT",
    "UNIT",
    "Outcome",
    "Phase",
    "Role",
    "Task",
    "TaskTerms",
    "Work",
    "World",
    "build_world",
    "digest",
    "g2",
    "register_key",
    "replace",
    "secret_key",
]
