"""One honest history for all tests of the auditor: two rounds, three honest trainers, a cheat, three verifiers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.session import open_index
from deltaproof.chain.local_node import Node, start_node
from tests.auditor.colluding import Collusion
from tests.auditor.leaning import Lean
from tests.worlds.roles import RoleWorld, build_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    """Played once; tests read it, or work on copies."""
    with start_node("anvil", accounts=12) as node:
        built = build_world(node, tmp_path_factory.mktemp("world"), rounds=3)
        built.play(2)
        yield built
        built.close()


@pytest.fixture(scope="session")
def database(world: RoleWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The honest index, as a file to copy."""
    path = tmp_path_factory.mktemp("index") / "index.sqlite"
    index, _ = open_index(world.rpc, world.contract, str(path))
    index.engine.dispose()
    return path


@pytest.fixture
def index(world: RoleWorld) -> Index:
    """A fresh index of the history, in memory."""
    return open_index(world.rpc, world.contract)[0]


def play_contested(node: Node, folder: Path) -> RoleWorld:
    """A round in its dispute window: bounded arithmetic, three honest trainers, and one that leans inside the bound."""
    training = 'numeric = "bounded"\ndrift_sigmas = 3.0'
    world = build_world(node, folder, rounds=1, training=training, steps=10, cheat=Lean())
    world.open_round()
    world.work()
    world.attest()
    world.post()
    return world


@pytest.fixture(scope="session")
def contested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    """See `play_contested`; tests work on copies."""
    with start_node("anvil", accounts=12) as node:
        built = play_contested(node, tmp_path_factory.mktemp("contested"))
        yield built
        built.close()


@pytest.fixture(scope="session")
def contested_database(contested: RoleWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the contested round, as a file to copy."""
    path = tmp_path_factory.mktemp("contested-index") / "index.sqlite"
    index, _ = open_index(contested.rpc, contested.contract, str(path))
    index.engine.dispose()
    return path


@pytest.fixture
def collusion(contested: RoleWorld, contested_database: Path, tmp_path: Path) -> Collusion:
    """The contested round in the hands of its verifiers."""
    return Collusion(contested, contested_database, tmp_path)
