"""Folders of this machine: where it keeps what can be made again, and how what cannot be is sure to stay.

A file that is renamed into its place is whole or not there, and after a loss of power either: its name is on disk only
when its folder is. So is the name of a folder.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["cache_root", "made_folder", "settle", "settle_folder", "sync_folder", "sync_tree", "write_whole"]

CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)
"""What file systems say that take no such wish, and folders that their writers may not list."""


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/deltaproof`, by default `~/.cache/deltaproof`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deltaproof"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, and its folder if that is new, on disk before this returns; whoever is killed meanwhile leaves the
    file as it was. Raises OSError."""
    made_folder(path.parent)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    settle(partial, path)


def settle(file: Path, path: Path) -> None:
    """Give a file that is on disk its name, in place of what had it, on disk before this returns. Raises OSError."""
    file.replace(path)
    sync_folder(path.parent)


def settle_folder(work: Path, folder: Path) -> None:
    """Give a folder that was filled under another name its own, which nothing or an empty folder has, with all that is
    in it on disk before this returns. Raises OSError."""
    sync_tree(work)
    settle(work, folder)


def made_folder(folder: Path) -> Path:
    """The folder, made with all above it if it is new, on disk before this returns. Raises OSError."""
    if not folder.is_dir():
        above = made_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(above)
    return folder


def sync_tree(folder: Path) -> None:
    """Let a folder with all that is in it be on disk before this returns. Raises OSError."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder be on disk before this returns, where the file system can. Raises OSError."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
