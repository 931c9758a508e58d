"""What every call costs, measured on a private Anvil; writes docs/results/data/gas.json and docs/results/gas.md.

    python -m benchmarks.chain.gas

Whole rounds are played with 3, 30 and 300 verifiers (real BLS signatures) and claims are made from settlement trees of
10, 1,000 and 100,000 leaves. The large trees hold leaves of trainers who do not exist beside the few who do: a claim's
cost depends on the length of its proof alone. Fault proofs and disputes come from forge's gas report of their tests.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_utils.crypto import keccak
from py_ecc.optimized_bn128 import optimized_curve as bn
from web3 import HTTPProvider, Web3

from benchmarks.shared.places import FIGURES, PAGES, ROOT
from deltaproof.chain import DeployParams
from deltaproof.chain.abi.codec import encode
from deltaproof.chain.abi.compiled import compiled
from deltaproof.protocol.commit.bls import POP_DOMAIN, SETTLEMENT_DOMAIN, SecretKey, pop_message
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, Verdict, leaves_tree
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address_bytes
from deltaproof.protocol.wire.leaftree import LeafTree, double_hash
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

IMPROVEMENT_NANOS = 10**9
PHASE_SECONDS = Terms.phase_seconds
VERIFIER_COUNTS = (3, 30, 300)
LEAF_COUNTS = (10, 1_000, 100_000)
CLAIMED_TOGETHER = (2, 10)
BATCH = 50
LEAF_TYPES = ("address", "uint8", "int64", "uint64", "uint16", "uint128")

# Uniswap/merkle-distributor, test/MerkleDistributor.spec.ts: average gas of claims in a tree of 100,000 leaves.
UNISWAP_RANDOM, UNISWAP_SEQUENTIAL = 78_600, 62_300
COMMIT_AIM, BATCH_AIM = 50_000, 10_000


@dataclass
class Bench:
    """A chain, one deployment on it, and the gas of every call made, by label."""

    web3: Web3
    contracts: dict[str, Any] = field(default_factory=dict)
    gas: dict[str, int] = field(default_factory=dict)

    def send(self, sender: str, call: Any, label: str | None = None) -> Any:
        """Send and wait. Raises RuntimeError if the call reverted."""
        transaction = {"from": sender, "gas": 29_000_000, "gasPrice": 0}
        receipt = self.web3.eth.wait_for_transaction_receipt(call.transact(transaction), poll_latency=0.002)
        if receipt["status"] != 1:
            raise RuntimeError(f"{label or call} reverted")
        if label:
            self.gas[label] = receipt["gasUsed"]
        return receipt

    def deploy(self, name: str, *arguments: Any, sender: str) -> Any:
        made = compiled(name)
        factory = self.web3.eth.contract(abi=made.abi, bytecode=made.bytecode)
        receipt = self.send(sender, factory.constructor(*arguments), f"deploy {name}")
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=made.abi)

    def wait(self, seconds: int = PHASE_SECONDS + 1) -> None:
        self.web3.provider.make_request("evm_increaseTime", [seconds])
        self.mine()

    def mine(self) -> None:
        self.web3.provider.make_request("evm_mine", [])

    def deploy_all(self, sender: str) -> None:
        token = self.deploy("DemoToken", sender=sender)
        nonce = self.web3.eth.get_transaction_count(sender)
        names = ("registry", "beacon", "tasks", "trainers", "verifiers", "vault", "court", "faults")
        modules = tuple(created(sender, nonce + i) for i in range(len(names)))
        params = DeployParams(guardian=Address(sender))
        made = (
            self.deploy(
                "StakeRegistry",
                modules,
                token.address,
                params.unbonding_seconds,
                params.min_committee_stake,
                sender=sender,
            ),
            self.deploy("BlockhashBeacon", params.beacon_delay_blocks, sender=sender),
            self.deploy("TaskManager", modules, params.guardian, sender=sender),
            self.deploy("TrainerPool", modules, sender=sender),
            self.deploy("VerifierPool", modules, sender=sender),
            self.deploy("RewardVault", modules, sender=sender),
            self.deploy("DisputeCourt", modules, encode(params.court), sender=sender),
            self.deploy("FaultProver", modules, sender=sender),
        )
        self.contracts = dict(zip(names, made, strict=True)) | {"token": token}


def main() -> int:
    with anvil() as url:
        bench = Bench(Web3(HTTPProvider(url, request_kwargs={"timeout": 60})))
        sponsor = bench.web3.eth.accounts[0]
        bench.deploy_all(sponsor)
        prepare(bench, sponsor)
        keys = verifier_keys(max(VERIFIER_COUNTS))
        measure_registration(bench, sponsor, keys)
        for leaves, verifiers in zip(LEAF_COUNTS, VERIFIER_COUNTS, strict=True):
            measure_rounds(bench, sponsor, keys[:verifiers], leaves)
        measure_batch(bench, sponsor, keys[0])
        measure_claims_together(bench, sponsor, keys[0])
        measure_penalties(bench, sponsor, keys[0])
        ecrecover = measure_ecrecover(bench, sponsor)
    proofs = forge_gas()
    results = {"calls": bench.gas, "ecrecover_loop": ecrecover, "proofs_and_disputes": proofs}
    (FIGURES / "gas.json").write_text(json.dumps(results, indent=1) + "\n")
    report = render(bench.gas, ecrecover, proofs)
    (PAGES / "gas.md").write_text(report)
    print(report)
    return 0


# Set-up.


@contextmanager
def anvil() -> Any:
    """A private chain that signs for anybody, one block per transaction."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = ROOT / "node_modules/.bin/anvil"
    options = ["--auto-impersonate", "--gas-price", "0", "--block-base-fee-per-gas", "0", "--gas-limit", "30000000"]
    process = subprocess.Popen(
        [program, "--port", str(port), "--hardfork", "paris", "--silent", *options], stdout=subprocess.DEVNULL
    )
    try:
        web3 = Web3(HTTPProvider(f"http://127.0.0.1:{port}"))
        for _ in range(200):
            if web3.is_connected():
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def created(deployer: str, nonce: int) -> str:
    """Address of a contract made by CREATE."""
    import rlp

    return Web3.to_checksum_address(keccak(rlp.encode([bytes.fromhex(deployer[2:]), nonce]))[12:])


def person(kind: str, i: int) -> Any:
    """An account with a known key."""
    return Account.from_key(digest("key", kind, i))


@dataclass(frozen=True)
class VerifierKey:
    """An account and its BLS key with a small secret, so that sums are cheap to make."""

    account: str
    secret: int
    g1: tuple[int, int]
    g2: tuple[tuple[int, int], tuple[int, int]]


def verifier_keys(count: int) -> list[VerifierKey]:
    keys, sum1, sum2 = [], bn.Z1, bn.Z2
    for i in range(1, count + 1):
        sum1, sum2 = bn.add(sum1, bn.G1), bn.add(sum2, bn.G2)
        keys.append(VerifierKey(person("verifier", i).address, i, wire1(sum1), wire2(sum2)))
    return keys


def wire1(point: Any) -> tuple[int, int]:
    x, y = bn.normalize(point)
    return (int(x), int(y))


def wire2(point: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    x, y = bn.normalize(point)
    return ((int(x.coeffs[1]), int(x.coeffs[0])), (int(y.coeffs[1]), int(y.coeffs[0])))


def prepare(bench: Bench, sponsor: str) -> None:
    token, registry, vault = (bench.contracts[name] for name in ("token", "registry", "vault"))
    bench.send(sponsor, token.functions.mint(sponsor, 10**9 * UNIT))
    bench.send(sponsor, token.functions.approve(registry.address, 2**256 - 1))
    bench.send(sponsor, token.functions.approve(vault.address, 2**256 - 1))


def measure_registration(bench: Bench, sponsor: str, keys: Sequence[VerifierKey]) -> None:
    registry = bench.contracts["registry"]
    chain_id = bench.web3.eth.chain_id
    for i, key in enumerate(keys):
        suffix = {0: " (first)", 1: " (next)"}.get(i)
        bench.send(
            sponsor,
            registry.functions.depositFor(key.account, 1, 10_000 * UNIT),
            suffix and f"StakeRegistry.depositFor{suffix}",
        )
        message = pop_message(chain_id, Address(registry.address), Address(key.account))
        possession = SecretKey(key.secret).sign(POP_DOMAIN, message)
        bench.send(
            key.account,
            registry.functions.registerKey(key.g1, key.g2, possession.point),
            suffix and f"StakeRegistry.registerKey{suffix}",
        )


# Tasks.


@dataclass
class MeasuredTask:
    """A task of the benchmark with its participants."""

    bench: Bench
    id: int
    sponsor: str
    keys: Sequence[VerifierKey]
    trainers: Sequence[Any]
    terms: Terms

    @property
    def round(self) -> int:
        return int(self.bench.contracts["tasks"].functions.phaseOf(self.id).call()[0])

    @property
    def phase(self) -> int:
        return int(self.bench.contracts["tasks"].functions.phaseOf(self.id).call()[1])

    @property
    def domain(self) -> RoundDomain:
        tasks = self.bench.contracts["tasks"].address
        return RoundDomain(self.bench.web3.eth.chain_id, Address(tasks), TaskId(self.id), RoundIndex(self.round))

    def call(
        self, module: str, function: str, *arguments: Any, sender: str | None = None, label: str | None = None
    ) -> Any:
        method = getattr(self.bench.contracts[module].functions, function)
        return self.bench.send(sender or self.sponsor, method(self.id, *arguments), label)

    def draw(self, label: str | None = None) -> None:
        self.bench.mine()
        self.bench.mine()
        self.call("tasks", "advance", label=label)

    def expire(self, label: str | None = None) -> None:
        self.bench.wait()
        self.call("tasks", "advance", label=label)

    def work(self, trainer: Any) -> tuple[Digest32, ...]:
        return tuple(encode(work_of(self.domain, Address(trainer.address))))

    def sealed(self, trainer: Any) -> Digest32:
        return seal_work(self.domain, Address(trainer.address))

    def leaves(self, rejected: Sequence[str] = ()) -> list[SettlementLeaf]:
        verdicts = {Address(name): Verdict.REJECTED for name in rejected}
        scores = {Address(t.address): 0 if t.address in rejected else 10**6 for t in self.trainers}
        return leaves_of(scores, self.terms.payouts(IMPROVEMENT_NANOS), verdicts, scores)

    def settlement(self, leaves: Sequence[SettlementLeaf], root: bytes | None = None) -> Settlement:
        """Under another root, that of a larger tree, where one is given."""
        made = settlement_of(self.domain, leaves, IMPROVEMENT_NANOS)
        return made.model_copy(update={"leaves_root": Digest32(root)}) if root else made

    def attest(self, leaves: Sequence[SettlementLeaf], keys: Sequence[VerifierKey], labels: dict[int, str]) -> None:
        for i, key in enumerate(keys):
            sealed = seal_attestation(self.domain, leaves, Address(key.account))
            label = f"VerifierPool.commitAttestation{labels[i]}" if i in labels else None
            self.call("verifiers", "commitAttestation", sealed, sender=key.account, label=label)
        if self.phase == 6:
            self.expire()
        for i, key in enumerate(keys):
            label = f"VerifierPool.revealAttestation{labels[i]}" if i in labels else None
            self.call("verifiers", "revealAttestation", *self.attestation(leaves, key), sender=key.account, label=label)

    def attestation(self, leaves: Sequence[SettlementLeaf], key: VerifierKey) -> tuple[Digest32, ...]:
        return tuple(attestation_of(self.domain, leaves, Address(key.account)).values())

    def settle(self, settlement: Settlement, absent: Sequence[VerifierKey], label: str | None) -> None:
        signers = [key for key in self.keys if key not in absent]
        total = sum(key.secret for key in signers)
        signature = SecretKey(total).sign(SETTLEMENT_DOMAIN, settlement.signing_digest(self.domain, attempt=0))
        listed = sorted((key.account for key in absent), key=lambda a: address_bytes(Address(a)))
        proof = (listed, wire2(bn.multiply(bn.G2, total)), signature.point)
        self.call("tasks", "settle", settlement.fields(), proof, label=label)


def new_task(
    bench: Bench, sponsor: str, keys: Sequence[VerifierKey], trainers: Sequence[Any], name: str, rounds: int = 3
) -> MeasuredTask:
    terms = Terms(
        rounds=rounds, steps=100, parameters=147_456, samples=10, quorum_bps=6_600, tolerance_nanos=10**6,
        claim_seconds=10**8,
    )  # fmt: skip
    _, commitments = validation_sets(rounds + 1)
    params = encode(terms.params(Address(bench.contracts["token"].address)))
    call = bench.contracts["tasks"].functions.createTask(params, commitments, (rounds + 1) * 1_000 * UNIT)
    bench.send(sponsor, call, f"TaskManager.createTask ({name})")
    task = MeasuredTask(bench, bench.contracts["tasks"].functions.taskCount().call(), sponsor, keys, trainers, terms)
    for i, trainer in enumerate(trainers):
        bench.send(sponsor, bench.contracts["registry"].functions.depositFor(trainer.address, 0, 1_000 * UNIT))
        label = {0: "TrainerPool.enrol (first)", 1: "TrainerPool.enrol (next)"}.get(i)
        task.call("trainers", "enrol", digest("data"), 1_000, sender=trainer.address, label=label)
    for i, key in enumerate(keys):
        label = {0: "VerifierPool.enrol (first)", len(keys) - 1: f"VerifierPool.enrol ({len(keys)}th)"}.get(i)
        task.call("verifiers", "enrol", 200 * UNIT, sender=key.account, label=label)
    return task


def play_to_opening(task: MeasuredTask, suffix: str | None) -> None:
    """Open, commit, reveal, draw; labels end in `suffix` (None: nothing recorded)."""

    def named(text: str) -> str | None:
        return None if suffix is None else f"{text} {suffix}"

    task.call("tasks", "openRound", label=named("TaskManager.openRound"))
    task.draw(named("TaskManager.advance, order seed"))
    for i, trainer in enumerate(task.trainers):
        last = i == len(task.trainers) - 1
        label = named("TrainerPool.commit, last of all,") if last else named("TrainerPool.commit") if i == 0 else None
        task.call("trainers", "commit", task.sealed(trainer), sender=trainer.address, label=label)
    pair = validation_sets(task.round)[0][-1]
    task.call("tasks", "revealValidation", *pair, label=named("TaskManager.revealValidation"))
    for i, trainer in enumerate(task.trainers):
        last = i == len(task.trainers) - 1
        label = named("TrainerPool.reveal, last of all,") if last else named("TrainerPool.reveal") if i == 0 else None
        task.call("trainers", "reveal", *task.work(trainer), sender=trainer.address, label=label)
    task.draw(named("TaskManager.advance, challenge seed"))


def measure_rounds(bench: Bench, sponsor: str, keys: Sequence[VerifierKey], leaf_count: int) -> None:
    """Two rounds: everyone signs, then a third is absent; claims from a tree of `leaf_count` leaves."""
    trainers = [person("trainer", 1_000 * len(keys) + i) for i in range(3)]
    task = new_task(bench, sponsor, keys, trainers, f"{len(keys)} verifiers")
    name = f"{len(keys)} verifiers"
    for number, absent in ((1, keys[:0]), (2, keys[: len(keys) // 3])):
        play_to_opening(task, f"(round {number}, {name})")
        for i, trainer in enumerate(trainers):
            label = f"TrainerPool.openingsPublished (round {number})" if i == 0 else None
            task.call("trainers", "openingsPublished", sender=trainer.address, label=label)
        leaves = task.leaves()
        hashes = [double_hash(LEAF_TYPES, leaf.fields()) for leaf in leaves]
        strangers = [digest("leaf", i) for i in range(leaf_count - len(leaves))]
        tree = LeafTree([*hashes, *strangers])
        # All of them attest in the first round; later only some, which settlement does not depend on.
        acting = list(keys) if number == 1 else list(keys[:3])
        task.attest(leaves, acting, {0: f" (first, {name})", 1: f" (next, {name})"} if number == 1 else {})
        if task.phase == 7:
            task.expire()
        settlement = task.settlement(leaves, tree.root)
        word = "all sign" if not absent else f"{len(absent)} absent"
        task.settle(settlement, absent, f"TaskManager.settle ({name}, {word})")
        bench.wait()
        task.call("tasks", "finalize", label=f"TaskManager.finalize (round {number}, {name})")
        for i in range(3):
            order = "first" if number == 1 else "next"
            balance = " of a payee without balance" if number == 1 else ""
            if number == 1 and i == 2:
                bench.send(sponsor, bench.contracts["token"].functions.mint(leaves[i].trainer, 1))
                balance = ""
            label = f"RewardVault.claim, {order}{balance} ({leaf_count} leaves)"
            task.call("vault", "claim", number, leaves[i].fields(), list(tree.proof(i)), label=label)
    task.call("verifiers", "claimFees", [1], keys[0].account, label=f"VerifierPool.claimFees ({name})")


def measure_batch(bench: Bench, sponsor: str, key: VerifierKey) -> None:
    """Commitments and reveals of many trainers in one transaction, and a claim over several rounds."""
    trainers = [person("batched", i) for i in range(BATCH)]
    task = new_task(bench, sponsor, [key], trainers, "1 verifier")
    pool = bench.contracts["trainers"]
    typehash, domain = pool.functions.COMMIT_TYPEHASH().call(), pool.functions.domainSeparator().call()
    for number, groups in ((1, ((0, 1), (1, 2), (2, BATCH))), (2, ((0, BATCH),))):
        task.call("tasks", "openRound")
        task.draw()
        for low, high in groups:
            signed = []
            for trainer in trainers[low:high]:
                sealed = task.sealed(trainer)
                encoded = bench.web3.codec.encode(
                    ["bytes32", "uint64", "uint32", "bytes32"], [typehash, task.id, number, sealed]
                )
                signature = Account.unsafe_sign_hash(keccak(b"\x19\x01" + domain + keccak(encoded)), trainer.key)
                vs = signature.s | (signature.v - 27) << 255
                signed.append((sealed, signature.r.to_bytes(32, "big"), vs.to_bytes(32, "big")))
            label = f"TrainerPool.commitBatch of {high - low} (round {number}, batch from {low})"
            task.call("trainers", "commitBatch", signed, label=label)
        pair = validation_sets(number)[0][-1]
        task.call("tasks", "revealValidation", *pair)
        for batch, (low, high) in enumerate(groups, start=1):
            entries = [(t.address, *task.work(t)) for t in trainers[low:high]]
            label = f"TrainerPool.revealBatch of {high - low} (round {number}, batch from {low})"
            task.call("trainers", "revealBatch", batch, entries, label=label)
        task.draw()
        task.expire()
        leaves = task.leaves()
        task.attest(leaves, [key], {})
        task.settle(task.settlement(leaves), [], f"TaskManager.settle (1 verifier, {BATCH} trainers)")
        bench.wait()
        task.call("tasks", "finalize")
    leaves = task.leaves()
    tree = leaves_tree(leaves)
    claims = [(task.id, number, leaves[0].fields(), list(tree.proof(0))) for number in (1, 2)]
    bench.send(sponsor, bench.contracts["vault"].functions.claimBatch(claims), "RewardVault.claimBatch of 2 rounds")


def measure_claims_together(bench: Bench, sponsor: str, key: VerifierKey) -> None:
    """One payee's rewards of several rounds in one transaction, each from the largest tree."""
    trainers = [person("patient", i) for i in range(2)]
    task = new_task(bench, sponsor, [key], trainers, "1 verifier", rounds=max(CLAIMED_TOGETHER))
    leaf_count, claims = max(LEAF_COUNTS), []
    for number in range(1, max(CLAIMED_TOGETHER) + 1):
        play_to_opening(task, None)
        task.expire()
        leaves = task.leaves()
        hashes = [double_hash(LEAF_TYPES, leaf.fields()) for leaf in leaves]
        tree = LeafTree([*hashes, *(digest("leaf", i) for i in range(leaf_count - len(leaves)))])
        task.attest(leaves, [key], {})
        task.settle(task.settlement(leaves, tree.root), [], None)
        bench.wait()
        task.call("tasks", "finalize")
        claims.append([(task.id, number, leaf.fields(), list(tree.proof(i))) for i, leaf in enumerate(leaves)])
    for payee, rounds in enumerate(CLAIMED_TOGETHER):
        bench.send(sponsor, bench.contracts["token"].functions.mint(claims[0][payee][2][0], 1))
        together = bench.contracts["vault"].functions.claimBatch([claims[i][payee] for i in range(rounds)])
        bench.send(sponsor, together, together_label(rounds))


def together_label(rounds: int) -> str:
    return f"RewardVault.claimBatch of {rounds} rounds ({max(LEAF_COUNTS)} leaves)"


def measure_penalties(bench: Bench, sponsor: str, key: VerifierKey) -> None:
    trainers = [person("penalty", i) for i in range(3)]
    task = new_task(bench, sponsor, [key], trainers, "penalties")
    play_to_opening(task, None)
    task.expire()
    leaves = task.leaves(rejected=[trainers[0].address])
    task.attest(leaves, [key], {})
    task.settle(task.settlement(leaves), [], None)
    bench.wait()
    task.call("tasks", "finalize")
    index = [leaf.trainer for leaf in leaves].index(trainers[0].address)
    task.call(
        "trainers",
        "slash",
        1,
        leaves[index].fields(),
        list(leaves_tree(leaves).proof(index)),
        label="TrainerPool.slash",
    )
    task.call("trainers", "topUp", sender=trainers[0].address, label="TrainerPool.topUp")
    task.call("tasks", "openRound")
    task.draw()
    task.call("trainers", "commit", digest("never shown"), sender=trainers[1].address)
    task.expire()
    task.expire("TaskManager.advance, nobody revealed")
    task.call("trainers", "forfeitBond", 2, trainers[1].address, label="TrainerPool.forfeitBond")
    task.call("trainers", "resign", sender=trainers[2].address, label="TrainerPool.resign")
    bench.wait(3_601)
    task.call("trainers", "release", trainers[2].address, label="TrainerPool.release")
    registry = bench.contracts["registry"]
    bench.send(trainers[2].address, registry.functions.requestUnbond(0, 10 * UNIT), "StakeRegistry.requestUnbond")
    bench.wait(8 * 86_400)
    bench.send(trainers[2].address, registry.functions.withdraw(0), "StakeRegistry.withdraw")


def measure_ecrecover(bench: Bench, sponsor: str) -> dict[int, int]:
    """A quorum check with one ECDSA signature per signer, second call (nothing written for the first time)."""
    source = Path(__file__).with_name("EcrecoverQuorum.sol")
    request = {
        "language": "Solidity",
        "sources": {"EcrecoverQuorum.sol": {"content": source.read_text()}},
        "settings": {
            "optimizer": {"enabled": True, "runs": 200},
            "evmVersion": "paris",
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
        },
    }
    compiler = ROOT / "scripts/solc/solc-v0.8.37"
    done = subprocess.run([compiler, "--standard-json"], input=json.dumps(request), text=True, check=True, stdout=-1)
    made = json.loads(done.stdout)["contracts"]["EcrecoverQuorum.sol"]["EcrecoverQuorum"]
    factory = bench.web3.eth.contract(abi=made["abi"], bytecode=made["evm"]["bytecode"]["object"])
    receipt = bench.send(sponsor, factory.constructor())
    contract = bench.web3.eth.contract(address=receipt["contractAddress"], abi=made["abi"])
    signers = sorted((person("signer", i) for i in range(max(VERIFIER_COUNTS))), key=lambda s: address_bytes(s.address))
    bench.send(sponsor, contract.functions.enrol([s.address for s in signers]))
    message, gas = digest("message"), {}
    for count in VERIFIER_COUNTS:
        signatures = []
        for signer in signers[:count]:
            made_ = Account.unsafe_sign_hash(message, signer.key)
            signatures.append((made_.r.to_bytes(32, "big"), (made_.s | (made_.v - 27) << 255).to_bytes(32, "big")))
        for _ in range(2):
            gas[count] = bench.send(sponsor, contract.functions.check(message, signatures))["gasUsed"]
    return gas


def forge_gas() -> dict[str, dict[str, int]]:
    """Largest gas of each call to the court and the fault prover in forge's tests (execution only, no call data)."""
    command = [
        str(ROOT / "node_modules/.bin/forge"), "test", "--match-contract", "FaultsTest|CourtTest",
        "--gas-report", "--json",
    ]  # fmt: skip
    environment = os.environ | {"PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE)
    found: dict[str, dict[str, int]] = {}
    for report in json.loads(done.stdout[done.stdout.index("[") :]):
        name = report["contract"].split(":")[-1]
        if name not in {"DisputeCourt", "FaultProver"}:
            continue
        for signature, figures in report["functions"].items():
            function = signature.split("(")[0]
            if figures["max"] > 30_000:
                found[f"{name}.{function}"] = {"median": figures["median"], "max": figures["max"]}
    return dict(sorted(found.items()))


# Report.


def render(gas: dict[str, int], ecrecover: dict[int, int], proofs: dict[str, dict[str, int]]) -> str:
    largest = max(LEAF_COUNTS)
    first = gas[f"RewardVault.claim, first ({largest} leaves)"]
    later = gas[f"RewardVault.claim, next ({largest} leaves)"]
    batch = gas[f"TrainerPool.commitBatch of {BATCH} (round 2, batch from 0)"]
    single = gas["TrainerPool.commitBatch of 1 (round 1, batch from 0)"]
    reveals = gas[f"TrainerPool.revealBatch of {BATCH} (round 2, batch from 0)"]
    per_commit, per_reveal = (batch - single) // (BATCH - 1), reveals // BATCH
    commit = max(value for label, value in gas.items() if label.startswith("TrainerPool.commit ("))
    largest_code = max(code_sizes().items(), key=lambda item: item[1])
    lines = [
        "# Gas",
        "",
        "Measured by `python -m benchmarks.chain.gas` on a private Anvil (rules of Paris), compiler and optimiser as",
        "in `brownie-config.yaml`. Whole transactions, call data included; real BLS signatures.",
        "",
        "## Aims",
        "",
        "| what | measured | aim | |",
        "|---|--:|--:|---|",
        row("commit, one trainer", commit, COMMIT_AIM, "at most"),
        row(f"commit in a batch of {BATCH}, each beyond the first", per_commit, BATCH_AIM, "less than"),
        row(f"claim, first of a trainer, {largest:,} leaves", first, UNISWAP_RANDOM, "Uniswap, random claims"),
        row(f"claim, later rounds, {largest:,} leaves", later, UNISWAP_SEQUENTIAL, "Uniswap, sequential claims"),
        *(
            row(
                f"claim, {rounds} rounds at once, each, {largest:,} leaves",
                gas[together_label(rounds)] // rounds,
                UNISWAP_SEQUENTIAL,
                "Uniswap, sequential claims",
            )
            for rounds in CLAIMED_TOGETHER
        ),
        row(f"largest contract, bytes ({largest_code[0]})", largest_code[1], 24_576, "EIP-170"),
        "",
        f"A reveal in a batch of {BATCH} costs {per_reveal:,} a trainer. Uniswap's figures are what the tests of its",
        "MerkleDistributor assert for a tree of 100,000 leaves; their payee already holds the token, and so do ours in",
        "these rows. A claim by itself pays 7,100 gas for what a distributor of one fixed token and tree does not",
        "have: reading the round's root (2,100), and reading and lowering what its pot still holds (2,100 and",
        "2,900). The first is the price of one contract for every task, without code per round; the second keeps a",
        "wrong tree that a quorum has signed from paying out the money of another round, and tells how much goes",
        "back at expiry. We keep both: who claims often claims several rounds at once, which costs less than",
        "Uniswap's cheapest claim from two on.",
        "Large trees here hold the leaves of a few real trainers beside those of strangers: the cost of a claim",
        "depends on the length of its proof alone.",
        "",
        "## Settlement and quorum",
        "",
        "| verifiers | settle, all sign | settle, a third absent | the same signers one by one (`ecrecover`) |",
        "|--:|--:|--:|--:|",
    ]
    for count in VERIFIER_COUNTS:
        absent = next(
            v for k, v in gas.items() if k.startswith(f"TaskManager.settle ({count} verifiers,") and "absent" in k
        )
        everyone = gas[f"TaskManager.settle ({count} verifiers, all sign)"]
        lines.append(f"| {count} | {everyone:,} | {absent:,} | {ecrecover[count]:,} |")
    lines += [
        "",
        "Settling also writes the settlement and starts the dispute window; the `ecrecover` column checks signatures",
        "and stakes only. Every round has its own record, so a later settlement costs what the first one does.",
        "",
        "## Every call",
        "",
        "| call | gas |",
        "|---|--:|",
        *(f"| {label} | {value:,} |" for label, value in sorted(gas.items())),
        "",
        "## Proofs and disputes",
        "",
        "From forge's report of `tests/forge/Faults.t.sol` and `Court.t.sol` (execution without call data; a chunk",
        "adds about 17,000 gas of call data).",
        "",
        "| call | median | largest |",
        "|---|--:|--:|",
        *(f"| {name} | {figures['median']:,} | {figures['max']:,} |" for name, figures in proofs.items()),
        "",
    ]
    return "\n".join(lines)


def row(what: str, measured: int, aim: int, against: str) -> str:
    verdict = "yes" if measured <= aim else f"no, {measured / aim - 1:+.1%}"
    return f"| {what} | {measured:,} | {aim:,} ({against}) | {verdict} |"


def code_sizes() -> dict[str, int]:
    folder = ROOT / "deltaproof/chain/artifacts"
    sizes = {}
    for file in folder.glob("*.json"):
        content = json.loads(file.read_text())
        sizes[content["contractName"]] = (len(content["deployedBytecode"]) - 2) // 2
    return sizes


if __name__ == "__main__":
    sys.exit(main())
