"""A home that moves to another machine, and files that are none."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path

import pytest

from deltaproof.agent import backup
from deltaproof.agent.backup import _restore, backup_home, restore_home
from deltaproof.errors import SigningKeyError, UsageError
from deltaproof.protocol.commit.secrets import HomeSecret


def test_home_comes_back_whole_without_logs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    secret = HomeSecret.of(home).derive("x")
    (home / "task-1").mkdir()
    (home / "task-1" / "attestation-1-ab").write_bytes(b"document")
    (home / "logs").mkdir()
    (home / "logs" / "trainer.jsonl").write_text("{}")
    backup_home(home, tmp_path / "backup", "a password")
    assert b"document" not in (tmp_path / "backup").read_bytes()
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0
    restore_home(tmp_path / "backup", tmp_path / "other", "a password")
    assert HomeSecret.of(tmp_path / "other").derive("x") == secret
    assert (tmp_path / "other" / "task-1" / "attestation-1-ab").read_bytes() == b"document"
    assert not (tmp_path / "other" / "logs").exists()


def test_home_that_could_not_be_restored_is_not_backed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who believes in a backup removes the home."""
    HomeSecret.of(tmp_path / "home")
    (tmp_path / "home" / "round").write_bytes(os.urandom(4_000))
    monkeypatch.setattr(backup, "MAX_BYTES", 3_000)
    with pytest.raises(UsageError, match="copy the folder"):
        backup_home(tmp_path / "home", tmp_path / "backup", "a password")
    assert not (tmp_path / "backup").exists()


def test_home_that_was_restored_in_part_is_no_home_and_is_restored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accident: the disk is full in the middle. With a new secret a role reveals nothing of what it committed, and
    without what it signed it signs once more."""
    home, other = tmp_path / "home", tmp_path / "other"
    secret = HomeSecret.of(home).derive("x")
    (home / "a").write_bytes(b"first")
    backup_home(home, tmp_path / "backup", "a password")

    def full(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
        if member.name != "a":
            raise OSError(errno.ENOSPC, "No space left on device")
        _restore(archive, member, place)

    monkeypatch.setattr(backup, "_restore", full)
    with pytest.raises(OSError, match="No space"):
        restore_home(tmp_path / "backup", other, "a password")
    monkeypatch.setattr(backup, "_restore", _restore)
    with pytest.raises(SigningKeyError, match="a part of a backup"):
        HomeSecret.of(other)
    with pytest.raises(UsageError, match="restored in part"):
        backup_home(other, tmp_path / "second", "a password")
    assert restore_home(tmp_path / "backup", other, "a password") == 2
    assert HomeSecret.of(other).derive("x") == secret
    assert sorted(path.name for path in other.iterdir()) == ["a", "secret"]


def test_restore_refuses_what_could_do_harm(tmp_path: Path) -> None:
    home, kept = tmp_path / "home", tmp_path / "backup"
    HomeSecret.of(home)
    backup_home(home, kept, "a password")
    with pytest.raises(UsageError, match="not empty"):
        restore_home(kept, home, "a password")
    with pytest.raises(UsageError, match="wrong password"):
        restore_home(kept, tmp_path / "new", "another")
    altered = bytearray(kept.read_bytes())
    altered[-1] ^= 1
    (tmp_path / "altered").write_bytes(altered)
    with pytest.raises(UsageError, match="altered"):
        restore_home(tmp_path / "altered", tmp_path / "new", "a password")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="no backup"):
        restore_home(tmp_path / "text", tmp_path / "new", "a password")
    with pytest.raises(UsageError, match="cannot write"):
        backup_home(home, kept, "a password")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../outside", tarfile.REGTYPE), ("/outside", tarfile.REGTYPE), ("a", tarfile.SYMTYPE), ("a", tarfile.FIFOTYPE)],
)
def test_backup_of_somebody_else_writes_nothing_but_files_and_none_outside(
    name: str, kind: bytes, tmp_path: Path
) -> None:
    made, member = io.BytesIO(), tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/outside"
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(member)
    home = tmp_path / "home"
    home.mkdir()
    with tarfile.open(fileobj=io.BytesIO(made.getvalue())) as archive:
        (found,) = archive.getmembers()
        with pytest.raises(UsageError, match="no file of a home"):
            _restore(archive, found, home)
    assert sorted(tmp_path.rglob("*")) == [home]
