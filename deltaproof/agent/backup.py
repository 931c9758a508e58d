"""A home in one encrypted file: secret, transcripts, attestations, validation sets; without logs and status.

    "deltaproof/home/v1" ‖ 0x00 ‖ salt (16) ‖ nonce (12) ‖ tag (16) ‖ AES-256-GCM(tar.gz)

The key is scrypt(password, salt, N = 2^17, r = 8, p = 1), RFC 7914.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

from Crypto.Cipher import AES
from Crypto.Protocol.KDF import scrypt
from Crypto.Random import get_random_bytes

from deltaproof.errors import UsageError
from deltaproof.folders import sync_folder, sync_tree, write_whole
from deltaproof.protocol.commit.secrets import UNFINISHED

__all__ = ["backup_home", "restore_home"]

MAGIC = b"deltaproof/home/v1\x00"
SALT_BYTES, NONCE_BYTES, TAG_BYTES = 16, 12, 16
LEFT_OUT = ("logs", "status-")
MAX_BYTES = 8 * 2**30


def backup_home(home: Path, out: Path, password: str) -> int:
    """Write the home's content to a new file, readable by its owner only; returns its size in bytes.

    Raises UsageError if there is no home, or it is larger than a backup may be, or a file is in the way.
    """
    if not home.is_dir():
        raise UsageError(f"{home} is no home: nothing to back up")
    if (home / UNFINISHED).exists():
        raise UsageError(f"{home} was restored in part: restore it again before it is backed up")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz") as archive:
        for path in sorted(home.rglob("*")):
            name = path.relative_to(home).as_posix()
            if path.is_file() and not path.is_symlink() and not name.startswith(LEFT_OUT):
                archive.add(path, arcname=name, recursive=False)
    salt, nonce = get_random_bytes(SALT_BYTES), get_random_bytes(NONCE_BYTES)
    sealed, tag = AES.new(_key(password, salt), AES.MODE_GCM, nonce=nonce).encrypt_and_digest(plain.getvalue())
    data = MAGIC + salt + nonce + tag + sealed
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{home} would be a backup of {len(data) / 2**30:.1f} GiB, and {MAX_BYTES / 2**30:g} are restored at most: "
            "copy the folder instead, or move what no deadline needs out of it"
        )
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return len(data)


def restore_home(backup: Path, home: Path, password: str) -> int:
    """Fill an empty or new home from a backup; returns the number of files.

    Raises UsageError for another kind of file, a wrong password, an altered file, or a home that holds something:
    two machines must not play one trainer.
    """
    if home.exists() and any(home.iterdir()) and not (home / UNFINISHED).exists():
        raise UsageError(f"{home} is not empty; restore into a new folder")
    try:
        if backup.stat().st_size > MAX_BYTES:
            raise UsageError(f"{backup} is too large for a backup of a home")
        data = backup.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {backup}: {error.strerror}") from error
    head = len(MAGIC) + SALT_BYTES + NONCE_BYTES + TAG_BYTES
    if not data.startswith(MAGIC) or len(data) < head:
        raise UsageError(f"{backup} is no backup of a home")
    salt, nonce, tag = (
        data[len(MAGIC) :][:SALT_BYTES],
        data[len(MAGIC) + SALT_BYTES :][:NONCE_BYTES],
        data[head - TAG_BYTES : head],
    )
    try:
        plain = AES.new(_key(password, salt), AES.MODE_GCM, nonce=nonce).decrypt_and_verify(data[head:], tag)
    except ValueError as error:
        raise UsageError(f"{backup} does not open: wrong password, or the file was altered") from error
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Accident: the disk is full, or somebody interrupts. A home without its secret would make another one, and one that
    # does not know what it signed could sign again.
    write_whole(home / UNFINISHED, b"")
    for left in home.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != UNFINISHED:
            left.unlink()
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:gz") as archive:
        members = archive.getmembers()
        for member in members:
            _restore(archive, member, home)
    sync_tree(home)
    sync_folder(home.absolute().parent)
    (home / UNFINISHED).unlink()
    sync_folder(home)
    return len(members)


def _restore(archive: tarfile.TarFile, member: tarfile.TarInfo, home: Path) -> None:
    """Write one file. By hand, because Python before 3.11.4 has no filter that keeps an archive inside a folder."""
    path, content = home / member.name, archive.extractfile(member) if member.isreg() or member.islnk() else None
    if content is None or not path.resolve().is_relative_to(home.resolve()):
        raise UsageError(f"the backup holds {member.name!r}, which is no file of a home")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, member.mode & 0o700)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(content, file)


def _key(password: str, salt: bytes) -> bytes:
    key = scrypt(password, salt, 32, N=2**17, r=8, p=1)  # type: ignore[arg-type]
    assert isinstance(key, bytes)
    return key
