"""How fast a long history is indexed, audited and shown: real transactions of real contracts on Anvil.

    python -m benchmarks.chain.audit --rounds 1000 --trainers 20 --out docs/results/data/audit.json

Every round is played on chain (commit, reveal, openings, attestations, a quorum's signature, claims, fees); only the
training is left out: digests are hashes. Keys are Anvil's impersonated accounts, so that signing is no bottleneck.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Status, count
from deltaproof.auditor.audit.parallel import Origin, ProcessPool
from deltaproof.auditor.audit.run import one_process
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.history import Historian
from deltaproof.auditor.index.follower import Follower
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.auditor.index.schema import open_database
from deltaproof.chain import Deployment, DeployParams, Gateway, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.abi.codec import encode
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.abi.structs import G1Point, G2Point, QuorumProof
from deltaproof.chain.contracts.tasks import task_params
from deltaproof.chain.local_node import Node, start_node
from deltaproof.pages.data import PageData
from deltaproof.protocol.commit.bls import (
    CURVE_ORDER,  # type: ignore[attr-defined]
    SETTLEMENT_DOMAIN,
    SecretKey,
    aggregate_keys,
)
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict, leaves_tree
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount, address, address_bytes
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.training.optimizers import constants_root, constants_table
from incentives.settling import payouts_of
from tests.worlds.simulated import (
    attestation_of,
    bls_key,
    digest,
    seal_attestation,
    seal_work,
    settlement_of,
    validation_sets,
    work_of,
)

GAS = hex(3_000_000)
STAKE = 10**20
INTERFACES = {
    "tasks": "ITaskManager",
    "trainers": "ITrainerPool",
    "verifiers": "IVerifierPool",
    "vault": "IRewardVault",
}


@dataclass
class PlayedHistory:
    """One task whose rounds are played as fast as the node takes them."""

    node: Node
    rounds: int
    trainers: list[Address]
    verifiers: list[Address]
    folder: Path
    leaves: dict[bytes, tuple[SettlementLeaf, ...]] = field(default_factory=dict)
    transactions: int = 0

    def __post_init__(self) -> None:
        self.rpc = Rpc(self.node.rpc_url)
        self.connection = connect(self.node.rpc_url)
        self.keys = [bls_key(verifier) for verifier in self.verifiers]
        self.everybody = SecretKey(sum(key.scalar for key in self.keys) % CURVE_ORDER)
        self.signers_key = G2Point.of(aggregate_keys(key.public_key() for key in self.keys).g2)

    def prepare(self) -> None:
        """Deploy, create the task, stake and enrol everybody."""
        account = load_account(self.node.private_keys[0])
        self.rpc.call("anvil_autoImpersonateAccount", True)
        with TransactionSender(self.connection, account, state_folder=self.folder / "state") as sender:
            deployment = deploy_all(self.connection, sender, DeployParams(guardian=sender.address))
            self.gateway = Gateway(self.connection, deployment, sender)
            self.token = self.gateway.token(self.gateway.registry.token())
            self.token.mint(sender.address, TokenAmount(10**24))
            self.token.approve(self.gateway.vault.address, TokenAmount(10**24))
            self.spec = self._spec()
            params = task_params(
                self.spec,
                token=self.token.address,
                parameters=1000,
                constants_root=constants_root(constants_table(self.spec.optimizer, self.spec.training.steps)),
            )
            commitments = self.spec.validation.commitments
            self.task, _ = self.gateway.terms.create_task(params, commitments, TokenAmount(2 * 10**6 * self.rounds))
        self._enrol(deployment)
        self.rpc.call("evm_setAutomine", False)

    def play(self, round_: RoundIndex) -> None:
        """One round, in as few blocks as its phases allow."""
        domain = RoundDomain(self.connection.chain_id, self.gateway.tasks.address, self.task, round_)
        anyone = self.trainers[0]
        self.send([(self.gateway.account, "tasks", "openRound", (self.task,))])
        self.send([])
        self.send([(anyone, "tasks", "advance", (self.task,))])
        self.send([(t, "trainers", "commit", (self.task, seal_work(domain, t))) for t in self.trainers])
        self.send(
            [
                *((t, "trainers", "reveal", (self.task, *encode(work_of(domain, t)))) for t in self.trainers),
            ]
        )
        self.send([])
        self.send([(anyone, "tasks", "advance", (self.task,))])
        self.send(
            [
                (anyone, "tasks", "revealValidation", (self.task, *validation_sets(round_)[0][-1])),
                *((t, "trainers", "openingsPublished", (self.task,)) for t in self.trainers),
            ]
        )
        self._attest_and_settle(round_, domain)

    def _attest_and_settle(self, round_: RoundIndex, domain: RoundDomain) -> None:
        ordered = sorted(self.trainers, key=address_bytes)
        scores = [int.from_bytes(digest("score", round_, t)[:3], "big") - 2**22 for t in ordered]
        found = [
            SettlementLeaf(trainer=t, verdict=Verdict.ACCEPTED, score_nanos=s, stderr_nanos=1000, payout=TokenAmount(0))
            for t, s in zip(ordered, scores, strict=True)
        ]
        paid = payouts_of(self.spec.rewards, found, 10**6, scored=True).amounts
        leaves = tuple(x.model_copy(update={"payout": TokenAmount(p)}) for x, p in zip(found, paid, strict=True))
        settlement = settlement_of(domain, leaves, 10**6)
        self.leaves[settlement.leaves_root] = leaves
        sealed = {v: seal_attestation(domain, leaves, v) for v in self.verifiers}
        self.send([(v, "verifiers", "commitAttestation", (self.task, sealed[v])) for v in self.verifiers])
        shown = {v: attestation_of(domain, leaves, v).values() for v in self.verifiers}
        self.send([(v, "verifiers", "revealAttestation", (self.task, *shown[v])) for v in self.verifiers])
        signature = self.everybody.sign(SETTLEMENT_DOMAIN, settlement.signing_digest(domain, attempt=0))
        proof = QuorumProof((), self.signers_key, G1Point.of(signature.point))
        self.send([(self.trainers[0], "tasks", "settle", (self.task, encode(settlement), encode(proof)))])
        self.rpc.call("evm_increaseTime", 61)
        self.send([])
        self.send([(self.trainers[0], "tasks", "finalize", (self.task,))])
        tree = leaves_tree(leaves)
        claims = [
            (x.trainer, "vault", "claim", (self.task, round_, i, len(leaves), encode(x), tree.proof(i)))
            for i, x in enumerate(leaves)
            if x.payout
        ]
        fees = [(v, "fees", "claimFees", (self.task, [round_], v)) for v in self.verifiers]
        self.send([*claims, *fees])

    def send(self, calls: list[tuple[Address, str, str, tuple[Any, ...]]]) -> None:
        """All calls in one block. Raises if any of them failed."""
        batch: list[tuple[str, list[Any]]] = []
        for sender, contract, function, arguments in calls:
            place = getattr(self.gateway, contract).address
            data = call_data(INTERFACES[contract], function, arguments)
            batch.append(("eth_sendTransaction", [{"from": sender, "to": place, "data": data, "gas": GAS}]))
        hashes = self.rpc.batch(batch)
        self.rpc.call("evm_mine")
        self.transactions += len(hashes)
        for (_, _, function, _), receipt in zip(calls, receipts_of(self.rpc, hashes), strict=True):
            if receipt["status"] != "0x1":
                raise RuntimeError(f"{function} failed: {receipt}")

    def _spec(self) -> TaskSpec:
        model = minimal_model(self.folder / "model", "bert")
        commitments = ["0x" + commitment.hex() for commitment in validation_sets(self.rounds + 1)[1]]
        return complete_spec(
            f"path:{model}",
            "sequence-classification",
            {
                "validation": {"commitments": commitments, "rows": 8},
                "rewards": {"rounds": self.rounds, "floor_bps": 1000},
                "": {"start_digest": "0x" + digest("adapter", 0).hex()},
            },
        )

    def _enrol(self, deployment: Deployment) -> None:
        registry, modules = self.gateway.registry, deployment.modules
        for account in (*self.trainers, *self.verifiers):
            self.rpc.call("anvil_setBalance", account, hex(10**22))
            own = Impersonated(self.rpc, account)
            own.send(self.token.address, raw("mint(address,uint256)", ("address", "uint256"), (account, STAKE)))
            own.send(
                self.token.address, raw("approve(address,uint256)", ("address", "uint256"), (registry.address, STAKE))
            )
            role = 0 if account in self.trainers else 1
            own.send(registry.address, call_data("IStakeRegistry", "deposit", (role, 10**6)))
            if role == 0:
                shard = (self.task, digest("data", account), 100)
                own.send(modules.trainers, call_data("ITrainerPool", "enrol", shard))
                continue
            key = self.keys[self.verifiers.index(account)]
            possession = key.prove_possession(self.connection.chain_id, registry.address, account)
            public = key.public_key()
            points = (
                encode(G1Point.of(public.g1)),
                encode(G2Point.of(public.g2)),
                encode(G1Point.of(possession.point)),
            )
            own.send(registry.address, call_data("IStakeRegistry", "registerKey", points))
            own.send(modules.verifiers, call_data("IVerifierPool", "enrol", (self.task, 100)))


@dataclass
class Impersonated:
    """An account that the node sends for without its key."""

    rpc: Rpc
    account: Address

    def send(self, to: Address, data: str) -> None:
        sent = self.rpc.call("eth_sendTransaction", {"from": self.account, "to": to, "data": data, "gas": GAS})
        if receipts_of(self.rpc, [sent])[0]["status"] != "0x1":
            raise RuntimeError(f"a transaction of {self.account} failed")


def receipts_of(rpc: Rpc, hashes: list[str], patience_seconds: float = 30.0) -> list[dict[str, Any]]:
    """Receipts of transactions that are about to be mined."""
    deadline = time.monotonic() + patience_seconds
    while hashes:
        receipts = rpc.batch([("eth_getTransactionReceipt", [one]) for one in hashes])
        if None not in receipts:
            return receipts
        if time.monotonic() > deadline:
            raise RuntimeError("a transaction was not mined")
        time.sleep(0.01)
    return []


def call_data(interface: str, function: str, arguments: tuple[Any, ...]) -> str:
    entry = next(e for e in compiled(interface).abi if e["type"] == "function" and e["name"] == function)
    types = [collapse_if_tuple(item) for item in entry["inputs"]]
    return "0x" + (keccak(text=abi_to_signature(entry))[:4] + abi_encode(types, arguments)).hex()  # type: ignore[arg-type]


def raw(signature: str, types: tuple[str, ...], arguments: tuple[Any, ...]) -> str:
    return "0x" + (keccak(text=signature)[:4] + abi_encode(types, arguments)).hex()


def timed(name: str, results: dict[str, Any], action: Callable[[], Any]) -> Any:
    """Wall time, and the processor time of this process and its finished workers (the node's is not in it)."""
    started, busy = time.perf_counter(), processor_seconds()
    value = action()
    results[f"{name}, s"] = round(time.perf_counter() - started, 3)
    results[f"{name}, CPU s"] = round(processor_seconds() - busy, 3)
    print(f"  {name:<30} {results[f'{name}, s']:>9.2f} s {results[f'{name}, CPU s']:>9.2f} CPU s", flush=True)
    return value


def processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--trainers", type=int, default=20)
    parser.add_argument("--verifiers", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    accounts = [
        address(sha256(f"account {n}".encode()).digest()[:20]) for n in range(options.trainers + options.verifiers)
    ]
    results: dict[str, Any] = {"rounds": options.rounds, "trainers": options.trainers, "workers": options.workers}
    with tempfile.TemporaryDirectory() as name, start_node("anvil") as node:
        folder = Path(name)
        history = PlayedHistory(
            node, options.rounds, accounts[: options.trainers], accounts[options.trainers :], folder
        )
        print(f"{options.rounds} rounds x {options.trainers} trainers, {options.verifiers} verifiers", flush=True)
        timed("deploy and enrol", results, history.prepare)
        timed("play on chain", results, lambda: [history.play(RoundIndex(n + 1)) for n in range(options.rounds)])
        measure(history, folder, results, options.workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results["peak memory of this process, MiB"] = round(peak)
    print(json.dumps(results, indent=1))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def measure(history: PlayedHistory, folder: Path, results: dict[str, Any], workers: int) -> None:
    database = str(folder / "index.sqlite")
    engine = open_database(database)
    follower = Follower(engine, history.rpc, history.gateway.tasks.address)
    synced = timed("index", results, follower.sync)
    index = Index(engine)
    results |= {f"indexed {table}": rows for table, rows in index.counts().items()}
    results["index events per second"] = round(synced.events / results["index, s"])
    results["index events per CPU second"] = round(synced.events / results["index, CPU s"])
    timed("nothing new", results, follower.sync)
    for root, leaves in history.leaves.items():
        index.keep_leaves(Digest32(root), leaves)

    source = AuditSource(index, None, history.rpc)
    options = AuditOptions(replays=0)
    pool = ProcessPool(Origin(database, None, history.rpc.url), workers) if workers > 1 else one_process
    report = timed("event-level audit", results, lambda: run_audit(source, options, pool=pool))
    totals = count(report.checks)
    results["checks"] = len(report.checks)
    results["failed checks"] = totals[Status.FAIL]
    for check in [c for c in report.checks if c.status is Status.FAIL][:5]:
        print("   FAIL", check)
    data = PageData(index, None)
    page = timed("participant's page", results, lambda: data.at(f"account/{history.trainers[0]}"))
    results["rounds on the participant's page"] = len(page["rounds"])
    timed("task's page", results, lambda: data.at(f"task/{history.task}"))
    timed("round's page", results, lambda: data.at(f"round/{history.task}/1"))
    timed("history of one round", results, lambda: Historian(index).history([TaskId(history.task)], [1]))


if __name__ == "__main__":
    sys.exit(main())
