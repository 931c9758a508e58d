"""One of two mirrors is away, or lies, when a round is to be settled: it settles by what the other holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.chain import Gateway, TransactionSender, load_account
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.local_node import Node
from deltaproof.errors import StoreUnavailable
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.types import Address, RoundIndex, TokenAmount, digest32
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import LocalBackend, Mirrors, Nowhere
from tests.worlds.moments import Moment, played_once
from tests.worlds.roles import FUND, RoleWorld, build_world, silent
from verifier.life import Verifier

FIRST = RoundIndex(1)


class Away(Nowhere):
    """A mirror that does not answer."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        raise StoreUnavailable(path, "away")


class Liar(Nowhere):
    """A mirror with signatures of nobody, which are points all the same."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        if not path.startswith("signatures/"):
            return super().read(path, max_bytes)
        return SecretKey(7).sign(b"another domain", b"another digest").to_bytes()


def to_be_settled(node: Node, folder: Path) -> RoleWorld:
    """Three verifiers have revealed what they found, and two of them sign, who are a quorum."""
    built = build_world(node, folder, rounds=1, honest=1, verifiers=3)
    built.open_round()
    built.work()
    built.attest()
    assert built.gateway.tasks.phase(built.task).phase is Phase.SETTLE
    return built


@pytest.fixture(scope="module")
def attested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moment]:
    with played_once(tmp_path_factory.mktemp("attested"), 10, to_be_settled) as moment:
        yield moment


@pytest.fixture
def world(attested: Moment) -> RoleWorld:
    """The same round for each test, as if no other had been."""
    return attested.again()


def behind(world: RoleWorld, mirror: Nowhere) -> list[Verifier]:
    """Two verifiers who read from a mirror first, and then from the folder where all lies."""
    for verifier in world.verifiers[:2]:
        verifier.quorum.store = ArtifactStore(Mirrors([mirror, LocalBackend(world.store_folder)]))
    return world.verifiers[:2]


@pytest.mark.parametrize("mirror", [Away(), Liar()])
def test_quorum_settles_though_a_mirror_is_away_or_lies_and_one_verifier_never_signs(
    world: RoleWorld, mirror: Nowhere
) -> None:
    """Attack: a sponsor who names two stores, and wants the work for the base."""
    signers = behind(world, mirror)
    for verifier in signers:
        verifier._sign(FIRST, 0)
    proposal = signers[0]._signed[FIRST, 0]
    digest = proposal.settlement.signing_digest(world.gateway.domain(world.task, FIRST), 0)
    proof = signers[0].quorum.proof(FIRST, digest, all_signers=False)
    assert proof is not None
    assert proof.non_signers == (world.verifiers[2].account,)


def test_document_that_is_nowhere_is_not_waited_for_to_the_end_where_a_mirror_is_away(world: RoleWorld) -> None:
    """Attack: reveal a document and show it to nobody, with a mirror that is away."""
    (own,) = [world.verifiers[2].own.of(FIRST)]
    assert own is not None
    (world.store_folder / "attestations" / own.digest().hex()).unlink()
    first, _ = behind(world, Away())
    with pytest.raises(StoreUnavailable):
        first.quorum.compose(FIRST)
    proposal = first.quorum.compose(FIRST, patient=False)
    assert proposal.settlement.leaf_count == len(world.trainers)
    assert not first.quorum.complete


def test_neither_documents_of_other_rounds_nor_ever_more_lies_are_kept(
    world: RoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: show another wrong signature at each look, for as long as a verifier lives."""
    quorum, own = world.verifiers[0].quorum, world.verifiers[0].own.of(FIRST)
    assert own is not None
    quorum._documents[digest32("ab" * 32)] = own
    quorum.compose(FIRST)
    assert set(quorum._documents) == {one.own.of(FIRST).digest() for one in world.verifiers}  # type: ignore[union-attr]

    monkeypatch.setattr("verifier.quorum.WRONG_REMEMBERED", 2)
    behind(world, Liar())
    for number in range(5):
        assert quorum._valid_signature(world.verifiers[1].account, digest32(f"{number:064x}")) is None
        assert 1 <= len(quorum._wrong) <= 2


def test_verifier_joins_though_a_mirror_is_away(world: RoleWorld, tmp_path: Path) -> None:
    """Attack: name two stores of which one answers nothing, so that nobody but one's own verifiers ever enrols."""
    connection, deployment = world.gateway.connection, world.gateway.deployment
    key = load_account(world.node.private_keys[9])
    with TransactionSender(connection, key, state_folder=tmp_path / "state") as sender:
        gateway = Gateway(connection, deployment, sender)
        gateway.token(gateway.registry.token()).mint(Address(key.address), TokenAmount(FUND))
        store = ArtifactStore(Mirrors([Away(), LocalBackend(world.store_folder)]))
        verifier = Verifier(gateway, store, world.task, tmp_path / "stranger", silent)
        verifier.join()
        assert verifier.joined()
        with pytest.raises(StoreUnavailable):
            verifier.show_reading_key()  # a duty of its own, which tries again
