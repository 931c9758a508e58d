"""What a gateway serves from: a folder or a file system of fsspec, with whole files in and ranges out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

from deltaproof.errors import ArtifactMissing, StoreUnavailable, UsageError
from deltaproof.folders import made_folder, settle
from deltaproof.store.backend import Backend, LocalBackend, RemoteBackend, open_backend

__all__ = ["Depot", "FolderDepot", "RemoteDepot", "open_depot"]


class Depot(Backend, Protocol):
    """A backend whose artifacts need not fit into memory."""

    piece_bytes: int
    """How much is best read at once, by as many readers as there are: each holds one piece."""

    def size(self, path: str) -> int:
        """Bytes of an artifact. Raises ArtifactMissing or StoreUnavailable."""

    def read_range(self, path: str, start: int, count: int) -> bytes:
        """Bytes `start` to `start + count`, fewer at the end. Raises ArtifactMissing or StoreUnavailable."""

    def take(self, path: str, file: Path) -> None:
        """Put or replace an artifact with a file's content. Raises StoreUnavailable."""

    def remove(self, path: str) -> None:
        """Take an artifact away, if it is there. Raises StoreUnavailable."""


class FolderDepot(LocalBackend):
    """A folder on this machine."""

    piece_bytes = 256 * 1024

    def size(self, path: str) -> int:
        """See `Depot`."""
        try:
            return (self.root / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(path) from error
        except OSError as error:
            raise StoreUnavailable(path, f"cannot be looked up: {error.strerror or error}") from error

    def read_range(self, path: str, start: int, count: int) -> bytes:
        """See `Depot`."""
        try:
            with (self.root / path).open("rb") as file:
                file.seek(start)
                return file.read(count)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(path) from error
        except OSError as error:
            raise StoreUnavailable(path, f"cannot be read: {error.strerror or error}") from error

    def take(self, path: str, file: Path) -> None:
        """See `Depot`."""
        target = self.root / path
        partial = target.parent / f".part-{file.name}"
        try:
            made_folder(target.parent)
            try:
                # Another name of the same bytes costs nothing; on another disk they are copied.
                try:
                    os.link(file, partial)
                except OSError:
                    shutil.copyfile(file, partial)
                _to_disk(partial)
                os.chmod(partial, 0o644)
                settle(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailable(path, f"cannot be written below {self.root}: {error.strerror or error}") from error

    def remove(self, path: str) -> None:
        """See `Depot`."""
        try:
            (self.root / path).unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailable(path, f"cannot be removed: {error.strerror or error}") from error


class RemoteDepot(RemoteBackend):
    """Any fsspec file system that can be written."""

    piece_bytes = 1024 * 1024  # each costs a request

    def size(self, path: str) -> int:
        """See `Depot`."""
        return int(self._retried(path, "looked up", lambda: self._fs.info(self._at(path)))["size"])

    def read_range(self, path: str, start: int, count: int) -> bytes:
        """See `Depot`."""
        return bytes(
            self._retried(path, "read", lambda: self._fs.cat_file(self._at(path), start=start, end=start + count))
        )

    def take(self, path: str, file: Path) -> None:
        """See `Depot`."""

        def whole() -> None:
            self._fs.makedirs(self._fs._parent(self._at(path)), exist_ok=True)
            self._fs.put_file(str(file), self._at(path))

        self._retried(path, "written", whole)

    def remove(self, path: str) -> None:
        """See `Depot`."""
        try:
            self._retried(path, "removed", lambda: self._fs.rm_file(self._at(path)))
        except ArtifactMissing:
            return


def open_depot(url: str) -> Depot:
    """The depot at a folder or fsspec URL. Raises StoreUnavailable; UsageError if a gateway cannot serve from it."""
    if "," in url:
        raise UsageError("a gateway serves from one store; for mirrors start one gateway for each")
    if url.startswith(("http://", "https://")):
        raise UsageError("a gateway serves from a folder or bucket, not from another gateway")
    backend = open_backend(url)
    return FolderDepot(backend.root) if isinstance(backend, LocalBackend) else RemoteDepot(url)


def _missing(path: str) -> ArtifactMissing:
    return ArtifactMissing(path, "not in the store")


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
