"""A played round, whose artifacts and roles are real, and gateways that serve its chain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from eth_account import Account

from deltaproof.chain.local_node import start_node
from deltaproof.gateway.server import GatewayOptions, StoreServer
from deltaproof.protocol.types import Address, TaskId, hex_of
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.store.http import HttpBackend
from deltaproof.store.permits import PermitDomain, WritePermit, Writer
from tests.worlds.roles import RoleWorld, build_world
from trainer.conduct import Honest

PATIENCE = 20.0


@dataclass(frozen=True)
class Scene:
    """A task after one settled round: who made what, and everybody's keys."""

    world: RoleWorld
    domain: PermitDomain
    files: dict[str, bytes]
    """Everything that was published, by path."""
    keys: dict[str, str]
    """Private keys by name: sponsor, ann, ben, vera, and mallory, who has no role."""

    @property
    def task(self) -> TaskId:
        return self.world.task

    def account(self, name: str) -> Address:
        return Address(Account.from_key(self.keys[name]).address)

    def writer(self, name: str) -> Writer:
        account = Account.from_key(self.keys[name])
        return Writer(lambda message: bytes(account.sign_message(message).signature), self.domain, self.task)

    def path(self, kind: str, of: str = "") -> str:
        """A published artifact of a kind; of an account, where the name says whose it is."""
        mark = self.account(of).lower() if of else ""
        return next(path for path in self.files if path.startswith(f"{kind}/") and mark in path)

    def maker(self, path: str) -> str:
        """Who published an artifact."""
        kind, name = path.split("/")[:2]
        params = self.world.gateway.terms.params(self.task)
        if kind == "validation" or name in (params.spec_hash.hex(), params.start_digest.hex()):
            return "sponsor"
        if kind in ("keys", "admissions"):
            account = path.split("/")[1 if kind == "keys" else 3]
            return next(who for who in self.keys if self.account(who).lower() == account)
        if kind in ("attestations", "proposals", "signatures", "signed"):
            return "vera"
        log = self.world.trainers[0].log
        log.refresh(self.world.gateway.tasks.phase(self.task).round)
        for trainer, reveal in log.reveals(self.world.gateway.tasks.phase(self.task).round).items():
            if name in (reveal.delta_digest.hex(), reveal.transcript_root.hex()):
                return next(who for who in ("ann", "ben") if self.account(who) == trainer)
        return "vera"  # the next adapter


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    with ExitStack() as stack:
        node = stack.enter_context(start_node("anvil"))
        world = build_world(node, folder, rounds=2, honest=1, cheat=Honest(), verifiers=1)
        stack.callback(world.close)
        world.play(1)
        yield scene_of(world)


def scene_of(world: RoleWorld) -> Scene:
    """What lies in the store of a world with two trainers, ann and ben, and one verifier, vera."""
    files = {
        file.relative_to(world.store_folder).as_posix(): file.read_bytes()
        for file in sorted(world.store_folder.rglob("*"))
        if file.is_file()
    }
    names = ("sponsor", "ann", "ben", "vera", "mallory")
    keys = {name: world.node.private_keys[number + 1] for number, name in enumerate(names)}
    return Scene(world, PermitDomain(world.gateway.connection.chain_id, world.contract), files, keys)


@dataclass(frozen=True)
class Served:
    """A running gateway."""

    url: str
    server: StoreServer
    scene: Scene

    def client(self, name: str = "") -> HttpBackend:
        writer = self.scene.writer(name) if name else None
        return HttpBackend(self.url, writer, attempts=2, pause_seconds=0.01)

    def signed(self, name: str, path: str, data: bytes, **changes: Any) -> dict[str, str]:
        """Headers of a write; `changes` to the permit before it is signed, `domain` to another deployment's."""
        domain = changes.pop("domain", self.scene.domain)
        fields = {
            "task": self.scene.task, "path": path, "size": len(data), "digest": sha256(data),
            "expires": int(time.time()) + 60, **changes,
        }  # fmt: skip
        permit = WritePermit(**fields)
        signature = Account.from_key(self.scene.keys[name]).sign_message(permit.message(domain)).signature
        return {
            "Deltaproof-Task": str(permit.task),
            "Deltaproof-Size": str(permit.size),
            "Deltaproof-Digest": hex_of(permit.digest),
            "Deltaproof-Expires": str(permit.expires),
            "Deltaproof-Signature": hex_of(bytes(signature)),
        }

    def put(self, name: str, path: str, data: bytes, **changes: Any) -> requests.Response:
        return requests.put(
            f"{self.url}/{path}", data, headers=self.signed(name, path, data, **changes), timeout=PATIENCE
        )

    def publish_spec(self) -> None:
        path = f"blob/{self.scene.world.gateway.terms.params(self.scene.task).spec_hash.hex()}"
        assert self.put("sponsor", path, self.scene.files[path]).status_code in (200, 201)


Serve = Callable[..., Served]


@pytest.fixture
def serve(scene: Scene, tmp_path: Path) -> Iterator[Serve]:
    """Start a gateway with an empty store, or with options; it stops at the end of the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> Served:
            options = {"store": str(tmp_path / "store"), "home": tmp_path / "gateway", "version": "test", **options}
            return stack.enter_context(serving(scene, GatewayOptions(**options)))

        yield start


@contextmanager
def serving(scene: Scene, options: GatewayOptions) -> Iterator[Served]:
    server = StoreServer(scene.world.gateway, options, "127.0.0.1", 0)
    ready: list[int] = []
    thread = threading.Thread(target=server.serve, args=(ready.append,), daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not ready and time.monotonic() < deadline:
        assert thread.is_alive(), "the gateway ended"
        time.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{ready[0]}", server, scene)
    finally:
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the gateway does not end"
