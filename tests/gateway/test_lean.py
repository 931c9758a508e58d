"""A verifier behind a gateway reads of openings what it cannot compute, and finds what it finds of whole ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.local_node import start_node
from deltaproof.demo.cheat import SkipHalf
from deltaproof.errors import ArtifactMissing, StoreUnavailable
from deltaproof.gateway.server import GatewayOptions
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import RoundIndex
from deltaproof.store import ArtifactStore, lean
from deltaproof.store.http import HttpBackend
from tests.gateway.conftest import scene_of, serving
from tests.worlds.roles import build_world

FIRST = RoundIndex(1)


def roots_of(store: Path) -> list[str]:
    return [folder.name for folder in (store / "openings").iterdir()]


def test_a_round_is_judged_from_parts_of_openings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "HEAD_BYTES", 256)
    read: list[tuple[str, int]] = []
    whole, part = HttpBackend.read, HttpBackend.read_range

    def read_whole(self: HttpBackend, path: str, max_bytes: int) -> bytes:
        data = whole(self, path, max_bytes)
        read.append((path, len(data)))
        return data

    def read_part(self: HttpBackend, path: str, start: int, size: int) -> bytes:
        data = part(self, path, start, size)
        read.append((path, len(data)))
        return data

    monkeypatch.setattr(HttpBackend, "read", read_whole)
    monkeypatch.setattr(HttpBackend, "read_range", read_part)
    with start_node("anvil") as node:
        world = build_world(
            node, tmp_path / "world", rounds=1, honest=1, cheat=SkipHalf(), verifiers=1, steps=14,
            samples=6, verification="run = 6",
        )  # fmt: skip
        options = GatewayOptions(store=str(world.store_folder), home=tmp_path / "gateway", version="test")
        try:
            with serving(scene_of(world), options) as served:
                (verifier,) = world.verifiers
                for store in (verifier.store, verifier.examiner.store, verifier.examiner._shown):
                    store._backend = served.client("vera")
                for name, trainer in zip(("ann", "ben"), world.trainers, strict=True):
                    for store in (trainer.store, trainer.workshop.store):
                        store._backend = served.client(name)
                world.open_round()
                world.work()
                verifier.attest_commit(FIRST)
                verifier.disputes.works.store = ArtifactStore(served.client("vera"))
                world.until(Phase.ATTEST_REVEAL)
                own = verifier.own.of(FIRST)
                assert own is not None
                found = own.by_trainer()
                honest, cheat = world.trainers
                assert found[honest.account].verdict is Verdict.ACCEPTED
                assert found[cheat.account].verdict is Verdict.REJECTED
                own_openings = [f"openings/{root}/{honest.account.lower()}/" for root in roots_of(world.store_folder)]
                mine = [(path, size) for path, size in read if path.startswith(tuple(own_openings))]
                paths = {path for path, _ in mine}
                assert len(paths) == 8, "the first, the last, and a run of six"
                stored = sum((world.store_folder / path).stat().st_size for path in paths)
                assert sum(size for _, size in mine) < 0.55 * stored
                _check_parts(served.client(), world.store_folder, sorted(paths))
        finally:
            world.close()


def _check_parts(client: HttpBackend, stored: Path, paths: list[str]) -> None:
    """Ranges of what the gateway took; of nothing else."""
    some = paths[0]
    folder = some.rpartition("/")[0]
    assert client.read_range(some, 3, 5) == (stored / some).read_bytes()[3:8]
    with pytest.raises(ArtifactMissing):
        client.read_range(f"{folder}/9999", 0, 5)
    with pytest.raises(StoreUnavailable):
        client.read_range(some, 10**9, 5)
    undrawn = next(f"{folder}/{step}" for step in range(14) if f"{folder}/{step}" not in paths)
    (stored / undrawn).write_bytes(b"put there behind the gateway's back")
    with pytest.raises(StoreUnavailable, match="does not say that it took it"):
        client.read_range(undrawn, 0, 5)
