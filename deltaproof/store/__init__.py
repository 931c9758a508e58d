"""Content-addressed artifacts in a local folder or any remote file system that fsspec reaches."""

from typing import TYPE_CHECKING

from deltaproof.lazy import names_of

if TYPE_CHECKING:
    from deltaproof.store.artifacts import ArtifactStore, open_store

__all__ = ["ArtifactStore", "open_store"]

__getattr__ = names_of(
    __name__,
    {"ArtifactStore": "artifacts", "open_store": "artifacts"},
)
