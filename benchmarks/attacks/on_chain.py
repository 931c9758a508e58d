"""Commitments shown where they do not belong, against the real contracts: two deployments on one chain, one on another.

The other chain's contracts stand at the same addresses as the first deployment's, so that nothing but the chain's
number tells them apart. Controls: the same work, sealed for the place where it is revealed, is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_utils.crypto import keccak

from deltaproof.chain import Connection, DeployParams, Gateway, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.abi.enums import Optimizer, Phase, Role
from deltaproof.chain.abi.structs import (
    PhaseSeconds,
    QuorumTerms,
    RevealData,
    RewardTerms,
    SignedCommit,
    StakeTerms,
    TaskParams,
    TrainingTerms,
)
from deltaproof.chain.local_node import Node, start_node
from deltaproof.errors import ContractRevert
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.commitments import RoundDomain, commitment_hash, typehash, validation_commitment
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount

STAKE, ROUND, TASK = TokenAmount(1_000), RoundIndex(1), TaskId(1)
TRAINERS = 7


@dataclass(frozen=True)
class Ground:
    """A deployment with one task in its first round. Trainers are the same accounts everywhere."""

    connection: Connection
    trainers: tuple[Gateway, ...]

    @property
    def domain(self) -> RoundDomain:
        return self.trainers[0].domain(TASK, ROUND)

    def commit(self, number: int, sealed: Digest32) -> None:
        self.trainers[number].trainers.commit(TASK, sealed)

    def reveal(self, number: int, data: RevealData) -> None:
        self.trainers[number].trainers.reveal(TASK, data)

    def until(self, phase: Phase) -> None:
        """Let blocks pass. Phases end early here, because everybody commits."""
        tasks = self.trainers[0].tasks
        while tasks.phase(TASK).phase is not phase:
            self.connection.web3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
            tasks.advance(TASK)


def replayed_commitments(folder: Path) -> list[str]:
    """Every replay must be refused. Raises AssertionError for one that is not."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(start_node("anvil", chain_id=31337 + i, accounts=12)) for i in range(2)]
        here, contract, chain = (
            stack.enter_context(ground(nodes[at], folder / name, deployer))
            for at, deployer, name in ((0, 0, "here"), (0, 1, "contract"), (1, 0, "chain"))
        )
        if here.domain.tasks != chain.domain.tasks or here.domain.tasks == contract.domain.tasks:
            raise AssertionError("the contracts do not stand where this experiment needs them")
        return _replay(here, contract, chain, nodes[0])


def _replay(here: Ground, contract: Ground, chain: Ground, node: Node) -> list[str]:
    first, names = here.domain, [gateway.account for gateway in here.trainers]
    work = [RevealData(*(digest(what, i) for what in ("delta", "root", "salt"))) for i in range(TRAINERS)]
    seals = {
        "another trainer (copied)": seal(first, names[0], work[0]),
        "another contract": seal(contract.domain, names[2], work[2]),
        "another chain": seal(chain.domain, names[3], work[3]),
        "another task": seal(RoundDomain(first.chain_id, first.tasks, TaskId(2), ROUND), names[4], work[4]),
        "another round": seal(RoundDomain(first.chain_id, first.tasks, TASK, RoundIndex(2)), names[5], work[5]),
    }
    shown = [work[0], *work[2:6]]
    for elsewhere, number, source in ((contract, 2, "another contract"), (chain, 3, "another chain")):
        for trainer in range(TRAINERS):
            elsewhere.commit(trainer, seals[source] if trainer == number else digest("some work", trainer))
        elsewhere.until(Phase.REVEAL)
        elsewhere.reveal(number, work[number])  # control: this is where it belongs
    here.commit(0, seals["another trainer (copied)"])
    for number, sealed in enumerate(seals.values(), start=1):
        here.commit(number, sealed)
    again = refusal(lambda: here.commit(0, digest("second thoughts")))
    relayed = {
        place: refusal(lambda ground=ground: here.trainers[0].trainers.commit_batch(TASK, [signed(ground, node, 6)]))
        for place, ground in (("another contract", contract), ("another chain", chain))
    }
    here.trainers[0].trainers.commit_batch(TASK, [signed(here, node, 6)])  # control
    here.until(Phase.REVEAL)
    if here.trainers[0].tasks.round(TASK, ROUND).challenge_seed != bytes(32):
        raise AssertionError("the challenge can be known before reveals are over")
    here.reveal(0, work[0])  # control: after it, everybody knows what the copier would have to show
    refused = {
        source: refusal(lambda number=number, data=data: here.reveal(number, data))
        for number, (source, data) in enumerate(zip(seals, shown, strict=True), start=1)
    }
    listed = "; ".join(f"{source}: {name}" for source, name in refused.items())
    names_of = ", ".join(sorted(set(relayed.values())))
    return [
        f"commitments sealed for another place, committed and revealed on chain: {len(refused)} of {len(seals)} "
        f"refused ({listed}); the same work revealed where it belongs was accepted on each of three deployments",
        "a relayed (EIP-712) commitment, signed for another contract or chain: "
        f"{len(relayed)} of 2 refused ({names_of})",
        f"a second commitment in one round, after looking at the order: refused ({again})",
    ]


def refusal(action: Callable[[], object]) -> str:
    """Name of the error by which the contract refuses. Raises AssertionError if it does not."""
    try:
        action()
    except ContractRevert as revert:
        return revert.name
    raise AssertionError("the contract accepted what belongs elsewhere")


def seal(domain: RoundDomain, trainer: Address, data: RevealData) -> Digest32:
    return commitment_hash(domain, trainer, data.delta_digest, data.transcript_root, data.salt)


def signed(place: Ground, node: Node, number: int) -> SignedCommit:
    """A trainer's commitment for a relayer, bound to the contract of `place`."""
    pool = place.trainers[0].trainers.address
    domain = keccak(
        abi_encode(
            ("bytes32", "bytes32", "bytes32", "uint256", "address"),
            (
                typehash("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak(text="deltaproof"), keccak(text="1"), place.connection.chain_id, pool,
            ),
        )
    )  # fmt: skip
    sealed = digest("relayed")
    commit = typehash("Commit(uint64 taskId,uint32 round,bytes32 commitment)")
    struct = keccak(abi_encode(("bytes32", "uint64", "uint32", "bytes32"), (commit, TASK, ROUND, sealed)))
    signature = Account.unsafe_sign_hash(keccak(b"\x19\x01" + domain + struct), node.private_keys[2 + number])
    vs = signature.s | (signature.v - 27) << 255
    return SignedCommit(sealed, Digest32(signature.r.to_bytes(32, "big")), Digest32(vs.to_bytes(32, "big")))


@contextmanager
def ground(node: Node, folder: Path, deployer: int) -> Iterator[Ground]:
    """Deploy with account `deployer`, create a task, enrol everybody, and open its first round."""
    connection = connect(node.rpc_url)
    with ExitStack() as stack:
        senders = [
            stack.enter_context(TransactionSender(connection, load_account(key), state_folder=folder))
            for key in (node.private_keys[deployer], *node.private_keys[2 : 3 + TRAINERS])
        ]
        deployment = deploy_all(connection, senders[0], DeployParams(guardian=senders[0].address))
        sponsor, *people = (Gateway(connection, deployment, sender) for sender in senders)
        trainers, verifier = people[:TRAINERS], people[TRAINERS]
        _create_task(sponsor)
        for person in people:
            role = Role.VERIFIER if person is verifier else Role.TRAINER
            token = person.token(person.registry.token())
            token.mint(person.account, STAKE)
            token.approve(person.registry.address, STAKE)
            person.registry.deposit(role, STAKE)
        for number, trainer in enumerate(trainers):
            trainer.trainers.enrol(TASK, digest("data", number), 100)
        key = SecretKey.from_seed(digest("bls"))
        possession = key.prove_possession(connection.chain_id, verifier.registry.address, verifier.account)
        verifier.registry.register_key(key.public_key(), possession)
        verifier.verifiers.enrol(TASK, STAKE)
        sponsor.tasks.open_round(TASK)
        opened = Ground(connection, tuple(trainers))
        opened.until(Phase.COMMIT)
        yield opened


def _create_task(sponsor: Gateway) -> None:
    token, funding = sponsor.token(sponsor.registry.token()), TokenAmount(2_200)
    token.mint(sponsor.account, funding)
    token.approve(sponsor.vault.address, funding)
    params = TaskParams(
        token=token.address,
        spec_hash=digest("spec"),
        start_digest=digest("start"),
        constants_root=digest("constants"),
        rewards=RewardTerms(TokenAmount(1_000), 1_000, 0, 0, 10_000, 2_000),
        stakes=StakeTerms(STAKE, TokenAmount(10), STAKE, 5_000, 2_000, 100),
        quorum=QuorumTerms(6_000, 1, 1, 1_000),
        training=TrainingTerms(2, 12, 1_000, Optimizer.ADAM, True, 2),
        phases=PhaseSeconds(600, 600, 600, 600, 600, 600, 2, 600, 86_400, 0),
    )
    commitments = [validation_commitment(digest("validation", i), digest("salt", i)) for i in range(3)]
    sponsor.terms.create_task(params, commitments, funding)


def digest(*name: object) -> Digest32:
    return Digest32(sha256("/".join(map(str, name)).encode()).digest())
