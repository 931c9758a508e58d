"""Commitments shown where they do not belong, against the real contracts: two deployments on one chain, one on another.

The other chain's contracts stand at the same addresses as the first deployment's, so that nothing but the chain's
number tells them apart. Controls: the same work, sealed for the place where it is revealed, is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_utils.crypto import keccak

from deltaproof.chain import Connection, Gateway, connect, load_account
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import RevealData, SignedCommit
from deltaproof.chain.local_node import Node, start_node
from deltaproof.errors import ContractRevert
from deltaproof.protocol.commit.commitments import RoundDomain, typehash
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId
from tests.worlds.gateways import running_world
from tests.worlds.simulated import Terms, digest, seal_work

ROUND, TASK = RoundIndex(1), TaskId(1)
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


TEST_CHAINS = (31_337, 1_337)
"""The chains on which the contracts allow phases of minutes."""


def replayed_commitments(folder: Path) -> list[str]:
    """Every replay must be refused. Raises AssertionError for one that is not."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(start_node("anvil", chain_id=number, accounts=12)) for number in TEST_CHAINS]
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
        "another trainer (copied)": seal_work(first, names[0], work[0]),
        "another contract": seal_work(contract.domain, names[2], work[2]),
        "another chain": seal_work(chain.domain, names[3], work[3]),
        "another task": seal_work(RoundDomain(first.chain_id, first.tasks, TaskId(2), ROUND), names[4], work[4]),
        "another round": seal_work(RoundDomain(first.chain_id, first.tasks, TASK, RoundIndex(2)), names[5], work[5]),
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
        place: left_out(here.trainers[0].trainers.commit_batch(TASK, [signed(ground, node, 6)])[0])
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
    how = ", ".join(sorted(set(relayed.values())))
    return [
        f"commitments sealed for another place, committed and revealed on chain: {len(refused)} of {len(seals)} "
        f"refused ({listed}); the same work revealed where it belongs was accepted on each of three deployments",
        "a relayed (EIP-712) commitment, signed for another contract or chain: "
        f"{len(relayed)} of 2 had no effect ({how})",
        f"a second commitment in one round, after looking at the order: refused ({again})",
    ]


def refusal(action: Callable[[], object]) -> str:
    """Name of the error by which the contract refuses. Raises AssertionError if it does not."""
    try:
        action()
    except ContractRevert as revert:
        return revert.name
    raise AssertionError("the contract accepted what belongs elsewhere")


def left_out(batch_id: int) -> str:
    """How a batch passes over a commitment that does not count. Raises AssertionError if it counted."""
    if batch_id:
        raise AssertionError("the contract accepted what belongs elsewhere")
    return "left out of the batch"


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
    accounts = [load_account(key) for key in (node.private_keys[deployer], *node.private_keys[2 : 3 + TRAINERS])]
    with running_world(connect(node.rpc_url), accounts, folder, Terms(rounds=2), trainers=TRAINERS) as world:
        play = world.start_task()
        play.open()
        opened = Ground(world.connection, world.trainers)
        opened.until(Phase.COMMIT)
        yield opened
