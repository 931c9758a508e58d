"""A whole round whose seeds are rounds of drand, on Anvil with a network of one: played, audited, and lied about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.auditor.session import open_index
from deltaproof.chain.abi.structs import BeaconNetwork
from deltaproof.chain.drand_node import DrandNode, serving
from deltaproof.chain.local_node import start_node
from deltaproof.chain.rpc.relays import Relays
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.drand import randomness_of, sign_round
from tests.auditor.forgery import Forgery, one_more
from tests.worlds.roles import RoleWorld, build_world

SECRET = SecretKey(0xD1CE)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RoleWorld, Path]]:
    """A played round, and its index."""
    folder = tmp_path_factory.mktemp("drand")
    with start_node("anvil", accounts=12) as chain:
        now = chain_time(chain.rpc_url)
        node = DrandNode(SECRET, now, 1, clock=lambda: chain_time(chain.rpc_url))
        with serving(node) as url:
            network = BeaconNetwork.of(node.network, 2, 600)
            built = build_world(chain, folder, rounds=1, honest=1, verifiers=2, drand=network)
            built.gateway.relays = Relays([url])
            built.play(1)
            index, _ = open_index(built.rpc, built.contract, str(folder / "index.sqlite"))
            index.engine.dispose()
            yield built, folder / "index.sqlite"
            built.close()


def chain_time(url: str) -> int:
    return int(Rpc(url).call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)


def test_audit_of_a_round_with_drand_checks_its_seeds_again(drawn: tuple[RoleWorld, Path]) -> None:
    world, _ = drawn
    index, _ = open_index(world.rpc, world.contract)
    report = run_audit(AuditSource(index, world.store, world.rpc), AuditOptions())
    assert not [str(check) for check in report.checks if check.status is Status.FAIL]
    passed = {check.name for check in report.checks if check.status is Status.PASS}
    for seed in ("order seed", "challenge seed"):
        assert {seed, f"{seed} signature", f"{seed} round"} <= passed
    assert "challenge after reveals" in passed
    unsure = {check.name for check in report.checks if check.status is Status.NOT_CHECKABLE}
    assert {"order seed network", "challenge seed network"} <= unsure, "the key is nobody's we know"


def _other_round_signed(forgery: Forgery) -> None:
    point = sign_round(SECRET, 10**6).point
    forgery.edit("SignaturePublished", "signature", {"x": point[0], "y": point[1]}, None)


LIES: dict[str, tuple[Callable[[Forgery], None], str]] = {
    "another round's signature": (_other_round_signed, "order seed signature"),
    "a point off the curve": (
        lambda forgery: forgery.edit("SignaturePublished", "signature.x", one_more, None),
        "order seed signature",
    ),
    "another round was asked for": (
        lambda forgery: forgery.edit("SeedRequested", "target", one_more, None),
        "order seed",
    ),
    "the signature is missing": (lambda forgery: forgery.drop("SignaturePublished", None), "order seed"),
    "another seed": (
        lambda forgery: forgery.edit("OrderSeedDrawn", "order_seed", "0x" + randomness_of(sign_round(SECRET, 1)).hex()),
        "order seed",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_lie_about_a_seed_of_drand_is_found(lie: str, drawn: tuple[RoleWorld, Path], tmp_path: Path) -> None:
    world, database = drawn
    tell, found = LIES[lie]
    forgery = Forgery(world, database, tmp_path)
    tell(forgery)
    assert found in {check.name for check in forgery.audit(offline=True)}
