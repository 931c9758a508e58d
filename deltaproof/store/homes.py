"""A verifier's home as one more place of settlements: what a store lost or hides, whoever kept it still has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deltaproof.errors import ArtifactMissing, ArtifactTooLarge, StoreUnavailable
from deltaproof.store.paths import Kind

__all__ = ["HomeLeaves"]


class HomeLeaves:
    """See `Backend`; only read, and only settlements (`deltaproof.agent.proposals` writes them)."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        for file in self._files(path):
            try:
                with file.open("rb") as opened:
                    data = opened.read(max_bytes + 1)
            except FileNotFoundError:
                continue  # pruned meanwhile
            except OSError as error:
                raise StoreUnavailable(path, f"{file} cannot be read: {error.strerror or error}") from error
            if len(data) > max_bytes:
                raise ArtifactTooLarge(path, f"more than the {max_bytes} bytes it may have")
            return data
        raise ArtifactMissing(path, f"not kept in {self._home}")

    def write(self, path: str, data: bytes) -> None:
        """Raises StoreUnavailable."""
        raise StoreUnavailable(path, f"{self._home} is a home, which is only read")

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        return any(self._files(path))

    def published(self, path: str) -> float | None:
        """A home says nothing of times. Raises ArtifactMissing."""
        raise ArtifactMissing(path, f"{self._home} does not say when it was published")

    def _files(self, path: str) -> Iterator[Path]:
        kind, _, digest = path.partition("/")
        if kind == Kind.PROPOSAL.value and digest.isalnum():
            yield from sorted(self._home.glob(f"task-*/proposal-*-{digest[:16]}"))
