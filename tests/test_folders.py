"""What must not be lost is on disk before anybody acts on it: the file, its name, and the folders that are new."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaproof import folders
from deltaproof.agent.backup import backup_home, restore_home
from deltaproof.chain.rpc.journal import Pending, TransactionJournal
from deltaproof.folders import settle_folder, write_whole
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.types import Address, Digest32, RoundIndex
from deltaproof.store.backend import LocalBackend
from deltaproof.store.depots import FolderDepot
from verifier.bound import BoundVerdicts

DIGEST = Digest32(bytes(32))


def journal(home: Path) -> None:
    TransactionJournal(home, DIGEST, Address("0x" + "11" * 20)).write(Pending("x", {"nonce": 1}, ()))


def bound(home: Path) -> None:
    BoundVerdicts(home / "task-1").bind(RoundIndex(1), 0, DIGEST)


def taken(home: Path) -> None:
    (home / "body").write_bytes(b"data")
    FolderDepot(home / "store").take("openings/a/b/0", home / "body")


def filled(home: Path) -> None:
    (home / "work" / "inside").mkdir(parents=True)
    (home / "work" / "inside" / "weights").write_bytes(b"data")
    settle_folder(home / "work", home / "model")


def restored(home: Path) -> None:
    (home / "body").mkdir()
    HomeSecret.of(home / "body")
    backup_home(home / "body", home / "backup.lock", "a password")
    shutil.rmtree(home / "body")
    restore_home(home / "backup.lock", home / "other", "a password")


WRITERS: dict[str, Callable[[Path], object]] = {
    "secret": lambda home: HomeSecret.of(home / "new"),
    "what was signed": bound,
    "store": lambda home: LocalBackend(home / "store").write("openings/a/b/0", b"data"),
    "gateway": taken,
    "journal": journal,
    "a model in the cache": filled,
    "a restored home": restored,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_was_written_outlives_a_loss_of_power(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renamed and not yet on disk, a file may be empty afterwards, or have no name: a verifier that cannot show what it
    sealed is charged as absent, and an opening that a gateway took is withheld."""
    synced: dict[int, set[str]] = {}
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(status.st_mode)
        names = set(os.listdir(f"/proc/self/fd/{descriptor}")) if is_folder else {str(status.st_size)}
        synced.setdefault(status.st_ino, set()).update(names)

    monkeypatch.setattr(os, "fsync", seen)
    there = set(tmp_path.rglob("*"))
    WRITERS[writer](tmp_path)
    made = {path for path in set(tmp_path.rglob("*")) - there if path.suffix != ".lock" and path.name != "body"}
    assert made
    for path in made:
        assert path.name in synced.get(path.parent.stat().st_ino, set()), f"the name of {path} may be lost"
        if path.is_file():
            assert str(path.stat().st_size) in synced.get(path.stat().st_ino, set()), f"{path} may be empty"


def test_file_system_that_cannot_do_so_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refusing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(folders.os, "fsync", refusing)
    write_whole(tmp_path / "new" / "file", b"data")
    assert (tmp_path / "new" / "file").read_bytes() == b"data"
