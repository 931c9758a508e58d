"""Models of a task into the local cache: emulators from the artifact store, others from a hub."""

from __future__ import annotations

from collections.abc import Iterable

from deltaproof.errors import EncodingError
from deltaproof.protocol.terms.federation import EmulatorSection
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, digest32, hex_of
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore
from deltaproof.tuning.base_models.digests import weights_digest
from deltaproof.tuning.base_models.loading import emulator_folder, resolve_source
from deltaproof.tuning.emulators.packing import expand
from deltaproof.tuning.errors import ModelError

__all__ = ["fetch_models"]


def fetch_models(
    store: ArtifactStore, spec: TaskSpec, trainer: Address | None = None, report: Reporter | None = None
) -> None:
    """Download a hub's model, expand the emulator that the trainer works on, or all emulators of the task.

    `report` hears of a download. Raises ArtifactError if a file is missing or altered, ModelError if an emulator does
    not expand to what the spec names, or the hub does not give the model. Its digest is checked when it is loaded.
    """
    if spec.model.source.startswith("hub:"):
        resolve_source(spec.model.source, report)
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
