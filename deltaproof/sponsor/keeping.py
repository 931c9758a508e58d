"""What a sponsor keeps at home: everything of its tasks, to be published at once or in time, and again if need be.

Strangers' stores take a task's files only from the task's sponsor, who is that from the task's creation on. So a task
is created first and published then; whatever comes between, the home can do it again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deltaproof.errors import ArtifactAltered, ArtifactMissing, EncodingError, UsageError
from deltaproof.folders import write_whole
from deltaproof.protocol.commit.sealing import AdapterSecret
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.commit.validation import ValidationSet, open_validation, seal_validation
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32, hex_of
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.readers import Keyring

if TYPE_CHECKING:
    from deltaproof.sponsor.drafts import PreparedTask

__all__ = ["check_store", "entered", "keep_task", "kept_validation", "publish_task"]


def entered(store: ArtifactStore, spec: TaskSpec, home: Path) -> ArtifactStore:
    """The store for the sponsor of a task, who opens what is sealed for its participants.

    Raises UsageError if the task was created from another home.
    """
    if spec.adapter.sealed is None:
        return store.of_task(spec)
    commitments = list(map(hex_of, spec.validation.commitments))
    secret = AdapterSecret.of_home(HomeSecret.of(home), hex_of(spec.method.seed), commitments)
    if secret.commitment != spec.adapter.sealed:
        raise UsageError(f"{home} is not the home that created this task: it does not hold the secret of its adapters")
    keyring = Keyring()
    keyring.know(secret)
    return store.reading_with(keyring).of_task(spec)


def keep_task(home: Path, prepared: PreparedTask) -> None:
    """Write everything of a task into the home, on disk before this returns: next comes what it costs money to lose."""
    kept = _kept(home)
    kept.put_document(prepared.spec)
    kept.put_tensors(prepared.start)
    for blob in prepared.blobs:
        kept.put_blob(blob)
    for rows, salt in prepared.validation:
        commitment, data = seal_validation(rows, salt)
        write_whole(home / "validation" / commitment.hex(), data)


def check_store(store: ArtifactStore, spec: TaskSpec) -> None:
    """Raises StoreUnavailable unless the store answers, before a task is funded that needs it."""
    with suppress(ArtifactMissing, ArtifactAltered):
        store.get_blob(spec.digest(), TaskSpec.MAX_BYTES)


def publish_task(home: Path, spec_hash: Digest32, parameters: int, store: ArtifactStore) -> None:
    """Publish what everybody needs from the start: the spec, the starting adapter of P values, emulators.

    In a private task the adapter is sealed. Raises ArtifactMissing if the home does not hold the task, StoreUnavailable
    if the store does not take it.
    """
    kept = _kept(home)
    spec = kept.get_document(TaskSpec, spec_hash)
    named = canonical_json(spec.to_json_value()).decode()
    store.put_document(spec)
    entered(store, spec, home).put_tensors(kept.get_tensors(spec.start_digest, parameters))
    for file in sorted((home / "published" / "blob").iterdir()):
        if file.name in named:
            store.put_blob(file.read_bytes())


def kept_validation(home: Path, spec: TaskSpec, index: int) -> tuple[ValidationSet, Digest32]:
    """Rows and salt of a task's set, by its place among the commitments. Raises UsageError if the home has lost it, or
    it is damaged."""
    commitment = spec.validation.commitments[index]
    path = home / "validation" / commitment.hex()
    try:
        rows, salt, found = open_validation(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} is missing; run this with the --home that created the task") from error
    except EncodingError as error:
        raise UsageError(f"{path} is damaged ({error}); restore it from a backup of this home") from error
    if found != commitment:
        raise UsageError(f"{path} is damaged: it is another set; restore it from a backup of this home")
    return rows, salt


def _kept(home: Path) -> ArtifactStore:
    return open_store(str(home / "published"))
