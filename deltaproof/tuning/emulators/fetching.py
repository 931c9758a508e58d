"""Emulators of a task from the artifact store into the local cache, checked before they are used."""

from __future__ import annotations

from collections.abc import Iterable

from deltaproof.errors import EncodingError
from deltaproof.protocol.terms.federation import EmulatorSection
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, digest32, hex_of
from deltaproof.store import ArtifactStore
from deltaproof.tuning.base_models.loading import emulator_folder, weights_digest
from deltaproof.tuning.emulators.packing import expand
from deltaproof.tuning.errors import ModelError

__all__ = ["fetch_emulators"]


def fetch_emulators(store: ArtifactStore, spec: TaskSpec, trainer: Address | None = None) -> None:
    """Expand what the trainer works on, or all emulators of the task; nothing for a task without.

    Raises ArtifactError if a file is missing or altered, ModelError if it does not expand to what the spec names.
    """
    for emulator in _wanted(spec, trainer):
        kind, _, sha256 = emulator.source.partition(":")
        if kind != "emulator" or emulator_folder(sha256).is_dir():
            continue
        data = store.get_blob(digest32("0x" + sha256), emulator.file_bytes)
        try:
            expand(data, emulator_folder(sha256))
        except EncodingError as error:
            raise ModelError(f"emulator {emulator.name!r} of this task cannot be used: {error}") from error
        found = weights_digest(emulator_folder(sha256))
        if found != emulator.weights_digest:
            raise ModelError(
                f"emulator {emulator.name!r} expands to a model with digest {hex_of(found)}; "
                f"the task names {hex_of(emulator.weights_digest)}"
            )


def _wanted(spec: TaskSpec, trainer: Address | None) -> Iterable[EmulatorSection]:
    if spec.federation is None:
        return ()
    if trainer is None:
        return spec.federation.emulators
    own = spec.federation.emulator_of(trainer)
    return () if own is None else (own,)
