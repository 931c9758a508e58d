"""A measured task: its participants, and what they do in a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from py_ecc.optimized_bn128 import optimized_curve as bn

from benchmarks.chain.gas.bench import Bench, person
from deltaproof.chain.abi.codec import encode
from deltaproof.chain.abi.enums import Phase
from deltaproof.protocol.commit.bls import POP_DOMAIN, SETTLEMENT_DOMAIN, SecretKey, pop_message
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address_bytes
from tests.worlds.simulated import (
    UNIT,
    Terms,
    attestation_of,
    digest,
    leaves_of,
    seal_attestation,
    seal_work,
    settlement_of,
    validation_sets,
    work_of,
)

__all__ = ["MeasuredTask", "VerifierKey", "register", "verifier_keys"]

IMPROVEMENT_NANOS = 10**9


@dataclass(frozen=True)
class VerifierKey:
    """An account and its BLS key with a small secret, so that sums are cheap to make."""

    account: str
    secret: int
    g1: tuple[int, int]
    g2: tuple[tuple[int, int], tuple[int, int]]


def verifier_keys(count: int) -> list[VerifierKey]:
    """Keys with the secrets 1, 2, ..."""
    keys, sum1, sum2 = [], bn.Z1, bn.Z2
    for i in range(1, count + 1):
        sum1, sum2 = bn.add(sum1, bn.G1), bn.add(sum2, bn.G2)
        x, y = bn.normalize(sum1)
        keys.append(VerifierKey(person("verifier", i).address, i, (int(x), int(y)), _wire2(sum2)))
    return keys


def register(bench: Bench, keys: Sequence[VerifierKey]) -> None:
    """Stake and keys of all verifiers."""
    registry, chain_id = bench.contracts["registry"], bench.web3.eth.chain_id
    for i, key in enumerate(keys):
        suffix = {0: " (first)", 1: " (next)"}.get(i, "")
        label = f"StakeRegistry.depositFor{suffix}" if suffix else ""
        bench.call("registry", "depositFor", key.account, 1, 10_000 * UNIT, label=label)
        message = pop_message(chain_id, Address(registry.address), Address(key.account))
        possession = SecretKey(key.secret).sign(POP_DOMAIN, message)
        label = f"StakeRegistry.registerKey{suffix}" if suffix else ""
        bench.call("registry", "registerKey", key.g1, key.g2, possession.point, sender=key.account, label=label)


@dataclass
class MeasuredTask:
    """A task of the benchmark with its participants."""

    bench: Bench
    id: int
    keys: Sequence[VerifierKey]
    trainers: Sequence[Any]
    terms: Terms

    @classmethod
    def create(
        cls, bench: Bench, keys: Sequence[VerifierKey], trainers: Sequence[Any], name: str, rounds: int = 3
    ) -> MeasuredTask:
        """Funded twice, with everybody enrolled."""
        terms = Terms(
            rounds=rounds, steps=100, parameters=147_456, samples=10, quorum_bps=6_600, tolerance_nanos=10**6,
            claim_seconds=7_000_000,
        )  # fmt: skip
        _, commitments = validation_sets(rounds + 1)
        params = encode(terms.params(Address(bench.contracts["token"].address)))
        label = f"TaskTerms.createTask ({name})"
        bench.call("terms", "createTask", params, commitments, 2 * terms.funding, label=label)
        task = cls(bench, bench.contracts["terms"].functions.taskCount().call(), keys, trainers, terms)
        for i, trainer in enumerate(trainers):
            bench.call("registry", "depositFor", trainer.address, 0, 1_000 * UNIT)
            label = {0: "TrainerPool.enrol (first)", 1: "TrainerPool.enrol (next)"}.get(i, "")
            task.call("trainers", "enrol", digest("data"), 1_000, sender=trainer.address, label=label)
        for i, key in enumerate(keys):
            label = {0: "VerifierPool.enrol (first)", len(keys) - 1: f"VerifierPool.enrol ({len(keys)}th)"}.get(i, "")
            task.call("verifiers", "enrol", 200 * UNIT, sender=key.account, label=label)
        return task

    def call(self, module: str, function: str, *arguments: Any, sender: str | None = None, label: str = "") -> Any:
        """A call whose first argument is the task."""
        return self.bench.call(module, function, self.id, *arguments, sender=sender, label=label)

    @property
    def round(self) -> int:
        """The running round."""
        return int(self.bench.contracts["tasks"].functions.phaseOf(self.id).call()[0])

    @property
    def phase(self) -> Phase:
        """The running phase."""
        return Phase(self.bench.contracts["tasks"].functions.phaseOf(self.id).call()[1])

    @property
    def domain(self) -> RoundDomain:
        """What the round's commitments and signatures name."""
        tasks = self.bench.contracts["tasks"].address
        return RoundDomain(self.bench.web3.eth.chain_id, Address(tasks), TaskId(self.id), RoundIndex(self.round))

    def draw(self, label: str = "") -> None:
        """Let a seed be decided."""
        self.bench.mine()
        self.bench.mine()
        self.call("tasks", "advance", label=label)

    def expire(self, label: str = "") -> None:
        """End the phase by its deadline."""
        self.bench.wait()
        self.call("tasks", "advance", label=label)

    def finalize(self, label: str = "") -> None:
        """End the round after its window."""
        self.bench.wait()
        self.call("tasks", "finalize", label=label)

    def play_to_opening(self, suffix: str = "") -> None:
        """Open, commit, reveal, draw, show the validation set; labels end in `suffix` (empty: nothing recorded)."""

        def named(text: str) -> str:
            return f"{text} {suffix}" if suffix else ""

        def of(i: int, call: str) -> str:
            if i == len(self.trainers) - 1:
                return named(f"{call}, last of all,")
            return named(call) if i == 0 else named(f"{call}, next") if i == 1 else ""

        self.call("tasks", "openRound", label=named("TaskManager.openRound"))
        self.draw(named("TaskManager.advance, order seed"))
        for i, trainer in enumerate(self.trainers):
            label = of(i, "TrainerPool.commit")
            self.call("trainers", "commit", self.sealed(trainer), sender=trainer.address, label=label)
        for i, trainer in enumerate(self.trainers):
            label = of(i, "TrainerPool.reveal")
            self.call("trainers", "reveal", *self.work(trainer), sender=trainer.address, label=label)
        self.draw(named("TaskManager.advance, challenge seed"))
        self.show_validation(named("TaskManager.revealValidation"))

    def show_validation(self, label: str = "") -> None:
        """The round's validation set."""
        self.call("tasks", "revealValidation", *validation_sets(self.round)[0][-1], label=label)

    def work(self, trainer: Any) -> tuple[Digest32, ...]:
        """What a trainer reveals."""
        return tuple(encode(work_of(self.domain, Address(trainer.address))))

    def sealed(self, trainer: Any) -> Digest32:
        """What it commits before."""
        return seal_work(self.domain, Address(trainer.address))

    def leaves(self, rejected: Sequence[str] = ()) -> list[SettlementLeaf]:
        """Equal scores for everybody who is not rejected."""
        verdicts = {Address(name): Verdict.REJECTED for name in rejected}
        scores = {Address(t.address): 0 if t.address in rejected else 10**6 for t in self.trainers}
        return leaves_of(scores, self.terms.payouts(IMPROVEMENT_NANOS), verdicts, scores)

    def attest(self, leaves: Sequence[SettlementLeaf], keys: Sequence[VerifierKey], labels: dict[int, str]) -> None:
        """These verifiers commit and reveal that they found `leaves`; `labels` by their position."""
        for i, key in enumerate(keys):
            sealed = seal_attestation(self.domain, leaves, Address(key.account))
            label = f"VerifierPool.commitAttestation{labels[i]}" if i in labels else ""
            self.call("verifiers", "commitAttestation", sealed, sender=key.account, label=label)
        if self.phase is Phase.ATTEST_COMMIT:
            self.expire()
        for i, key in enumerate(keys):
            label = f"VerifierPool.revealAttestation{labels[i]}" if i in labels else ""
            shown = attestation_of(self.domain, leaves, Address(key.account)).values()
            self.call("verifiers", "revealAttestation", *shown, sender=key.account, label=label)
        if self.phase is Phase.ATTEST_REVEAL:
            self.expire()

    def settle(self, leaves: Sequence[SettlementLeaf], absent: Sequence[VerifierKey] = (), label: str = "") -> None:
        """Post what everybody but `absent` signs."""
        settlement = settlement_of(self.domain, leaves, IMPROVEMENT_NANOS)
        total = sum(key.secret for key in self.keys if key not in absent)
        signature = SecretKey(total).sign(SETTLEMENT_DOMAIN, settlement.signing_digest(self.domain, attempt=0))
        listed = sorted((key.account for key in absent), key=lambda a: address_bytes(Address(a)))
        proof = (listed, _wire2(bn.multiply(bn.G2, total)), signature.point)
        self.call("tasks", "settle", encode(settlement), proof, label=label)


def _wire2(point: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    x, y = bn.normalize(point)
    return ((int(x.coeffs[1]), int(x.coeffs[0])), (int(y.coeffs[1]), int(y.coeffs[0])))
