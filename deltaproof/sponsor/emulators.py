"""The `[federation]` table of a draft: from recipes to emulators that lie in the artifact store.

A sponsor who keeps the full model writes

    [federation]
    source = "path:full-model"          # where those who may hold it find it
    first = 1                           # adapter layers at the bottom and the top
    last = 1
    [[federation.emulators]]
    name = "small"
    [federation.emulators.recipe]
    ratio = 0.25
    bits = 8

    [sponsor]
    public = "public.jsonl"             # rows that everybody may see: emulators are made and measured with them

and leaves `[model]` without a source. Digests, kept layers and fidelity are computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from deltaproof.errors import UsageError
from deltaproof.protocol.terms.federation import Recipe
from deltaproof.protocol.terms.spec import ModelSection, TaskSpec
from deltaproof.protocol.types import hex_of
from deltaproof.protocol.wire.encoding import canonical_json, sha256

__all__ = ["PreparedFederation", "Progress", "check_methods", "prepare_federation"]

Progress = Callable[[str], None]
"""Told each line of what is going on."""


@dataclass(frozen=True, slots=True)
class PreparedFederation:
    """What a task's federation comes to: its tables for the spec, and what the sponsor publishes."""

    federation: dict[str, object]
    model: dict[str, object]
    """Completes `[model]`: the first emulator."""
    blobs: tuple[bytes, ...] = field(repr=False)


def prepare_federation(
    federation: Mapping[str, object],
    model: Mapping[str, object],
    rows: Sequence[bytes],
    progress: Progress = lambda _: None,
) -> PreparedFederation:
    """Make the emulators of a draft with its public rows. Raises UsageError for a table that is wrong, ModelError for
    a model that is."""
    from deltaproof.tuning.base_models.digests import weights_digest
    from deltaproof.tuning.base_models.layers import layer_list
    from deltaproof.tuning.base_models.loading import resolve_source
    from deltaproof.tuning.emulators.deriving import FullModel, derive

    source, emulators = federation.get("source"), federation.get("emulators")
    if not isinstance(source, str):
        raise UsageError("federation.source must say where the full model is")
    if not isinstance(emulators, list) or not emulators:
        raise UsageError("add at least one table [[federation.emulators]] with a name and a recipe")
    digest = hex_of(weights_digest(resolve_source(source)))
    section = _section({**model, "source": source, "weights_digest": digest})
    full = FullModel(section, _count(federation, "first"), _count(federation, "last"))
    described, blobs = [], [_as_blob(rows)]
    for number, table in enumerate(emulators):
        name, recipe = _recipe(table, number)
        emulator = derive(full, recipe, rows, lambda line, name=name: progress(f"emulator {name}: {line}"))  # type: ignore[misc]
        described.append(emulator.described(name).model_dump(mode="json"))
        blobs.append(emulator.data)
        progress(
            f"emulator {name}: {len(emulator.data):,} bytes, {emulator.ratio:.0%} of the middle, hidden distance "
            f"{emulator.fidelity.hidden:.3g}, output divergence {emulator.fidelity.output:.3g} nats"
        )
    complete = {
        **federation,
        "first": full.first,
        "last": full.last,
        "weights_digest": digest,
        "depth": len(layer_list(full.load().model)),
        "public_rows": hex_of(sha256(blobs[0])),
        "emulators": described,
    }
    first = {key: described[0][key] for key in ("source", "weights_digest")}
    return PreparedFederation(complete, first, tuple(blobs))


def check_methods(spec: TaskSpec) -> None:
    """Raises MethodError unless what is tuned on each emulator plugs into the full model."""
    from deltaproof.tuning.training.federation import check_plug_in, each_emulator, plugged
    from deltaproof.tuning.training.workbench import Workbench

    full = Workbench.from_spec(plugged(spec), precision="float32")
    for emulator in each_emulator(spec):
        check_plug_in(Workbench.from_spec(emulator, precision="float32"), full)


def _recipe(table: object, number: int) -> tuple[str, Recipe]:
    where = f"federation.emulators[{number}]"
    if not isinstance(table, Mapping) or set(table) != {"name", "recipe"}:
        raise UsageError(f"{where} has the keys name and recipe; the rest is computed")
    try:
        return str(table["name"]), Recipe.model_validate_json(canonical_json(table["recipe"]))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in ("recipe", *first["loc"]))
        raise UsageError(f"{where}.{place}: {first['msg']}") from error


def _section(table: dict[str, object]) -> ModelSection:
    try:
        return ModelSection.model_validate_json(canonical_json(table))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"model.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


def _count(table: Mapping[str, object], key: str) -> int:
    value = table.get(key, 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(f"federation.{key} must be a number of layers, not {value!r}")
    return value


def _as_blob(rows: Sequence[bytes]) -> bytes:
    return b"".join(row + b"\n" for row in rows)
