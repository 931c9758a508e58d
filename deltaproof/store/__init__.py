"""Content-addressed artifacts in a local folder or any remote file system that fsspec reaches."""

from deltaproof.store.artifacts import ArtifactStore, open_store

__all__ = ["ArtifactStore", "open_store"]
