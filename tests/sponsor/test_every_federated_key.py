"""No key of `[federation]`, nor of the tables that only a draft has, is accepted and then ignored."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from deltaproof.auditor.audit.check import Subject
from deltaproof.auditor.audit.emulators import derivation_checks
from deltaproof.errors import DeltaproofError, SpecError
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.protocol.terms.control import ControlSection
from deltaproof.protocol.terms.federation import FederationSection, Recipe
from deltaproof.protocol.terms.spec import ModelSection, TaskSpec, parse_spec
from deltaproof.protocol.types import address, hex_of
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.sponsor.checking import check_draft
from deltaproof.sponsor.control import CONTROL_KEYS, PreparedControl, prepare_control
from deltaproof.sponsor.drafts import prepare_task
from deltaproof.sponsor.files import SPONSOR_KEYS
from deltaproof.store import ArtifactStore, open_store
from deltaproof.tuning.base_models.digests import weights_digest
from deltaproof.tuning.base_models.loading import resolve_source
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.control.checks import check_decision
from deltaproof.tuning.control.devices import device_states
from deltaproof.tuning.control.observing import features
from deltaproof.tuning.emulators.deriving import FullModel, derive
from deltaproof.tuning.emulators.fetching import fetch_models
from deltaproof.tuning.training.federation import as_held_by, plugged
from deltaproof.tuning.training.workbench import Workbench
from tests.protocol.test_every_key import keys_of
from tests.sponsor.test_checking import DRAFT, ROWS

DEPTH = 6
PUBLIC = tuple(canonical_row({"text": word * 3, "label": i % 2}) for i, word in enumerate(("good ", "bad ", "fine ")))
PEOPLE = tuple(address(bytes([n]) * 20) for n in (1, 2, 3))
OTHER = "0x" + "5b" * 32
RECIPES = {
    "small": Recipe(ratio=0.25, select="importance", prune=0.5, bits=16, distill_steps=2, distill_batch=2),
    "large": Recipe(ratio=0.5, rank_share=0.25, bits=16),
}


@dataclass(frozen=True)
class World:
    """A federated task on a minimal model, with its emulators in a store."""

    tables: dict[str, Any]
    store: ArtifactStore
    folder: Path
    seen: dict[str, object] = field(default_factory=dict)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("federated-keys")
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    source = f"path:{minimal_model(folder / 'full', 'bert', layers=DEPTH)}"
    digest = weights_digest(resolve_source(source))
    section = ModelSection(
        kind="sequence-classification", source=source, weights_digest=digest, num_labels=2, max_tokens=16
    )
    store = open_store(str(folder / "store"))
    made = {name: derive(FullModel(section, 1, 1), recipe, PUBLIC) for name, recipe in RECIPES.items()}
    for emulator in made.values():
        store.put_blob(emulator.data)
    federation = {
        "source": source,
        "weights_digest": hex_of(digest),
        "depth": DEPTH,
        "public_rows": hex_of(store.put_blob(b"".join(row + b"\n" for row in PUBLIC))),
        "emulators": [emulator.described(name).model_dump(mode="json") for name, emulator in made.items()],
        "assignments": [{"trainer": PEOPLE[0], "emulator": "small"}, {"trainer": PEOPLE[1], "emulator": "large"}],
        "server": {"trainer": PEOPLE[2], "paid": True},
    }
    held = {key: federation["emulators"][0][key] for key in ("source", "weights_digest")}  # type: ignore[index]
    sections = {"": {"federation": federation}, "model": {**held, "max_tokens": 16}}
    spec = complete_spec(source, "sequence-classification", sections)
    yield World(spec.to_json_value(), store, folder)
    patch.undo()


def told(action: Callable[[], object]) -> object:
    try:
        return action()
    except DeltaproofError as error:
        return f"{type(error).__name__}: {error}"


# Observers.


def derived(world: World, spec: TaskSpec) -> object:
    """What an audit says of the emulators."""
    return [str(check) for check in derivation_checks(world.store, spec, Subject(1))]


def made(world: World, spec: TaskSpec) -> object:
    """The first emulator's file, to the bit: two steps of distilling are within what an audit takes for rounding."""
    assert spec.federation is not None
    return derive(FullModel(plugged(spec).model, 1, 1), spec.federation.emulators[0].recipe, PUBLIC).data


def held(world: World, spec: TaskSpec) -> object:
    return [told(lambda person=person: as_held_by(spec, person).model) for person in PEOPLE]  # type: ignore[misc]


def full(world: World, spec: TaskSpec) -> object:
    return plugged(spec).model


def tuned(world: World, spec: TaskSpec) -> object:
    return Workbench.from_spec(spec, precision="float32").layout.names


def fetched(world: World, spec: TaskSpec) -> object:
    return told(lambda: fetch_models(_without_cache(world), spec))


def _without_cache(world: World) -> ArtifactStore:
    for file in (world.folder / "cache").rglob("*"):
        if file.is_file():
            file.unlink()
    for folder in sorted((world.folder / "cache").rglob("*"), reverse=True):
        folder.rmdir()
    return world.store


def paid(world: World, spec: TaskSpec) -> object:
    return spec.discount_bps(PEOPLE[2])


Observer = Callable[[World, TaskSpec], object]
FIRST, SECOND = ("emulators", 0), ("emulators", 1)
READERS: Mapping[str, tuple[tuple[object, ...], Any, Observer | None]] = {
    "source": (("source",), "path:nowhere", full),
    "weights_digest": (("weights_digest",), OTHER, full),
    "depth": (("depth",), 4, None),
    "first": (("first",), 0, tuned),
    "last": (("last",), 0, tuned),
    "public_rows": (("public_rows",), OTHER, derived),
    "emulators.name": ((*SECOND, "name"), "another", None),
    "emulators.source": ((*SECOND, "source"), "emulator:" + "5b" * 32, held),
    "emulators.weights_digest": ((*SECOND, "weights_digest"), OTHER, held),
    "emulators.file_bytes": ((*SECOND, "file_bytes"), 10, fetched),
    "emulators.layers": ((*SECOND, "layers"), [0, 1, 5], derived),
    "emulators.recipe.ratio": ((*FIRST, "recipe", "ratio"), 0.5, derived),
    "emulators.recipe.select": ((*FIRST, "recipe", "select"), "uniform", made),
    "emulators.recipe.distill_steps": ((*FIRST, "recipe", "distill_steps"), 6, made),
    "emulators.recipe.distill_rate": ((*FIRST, "recipe", "distill_rate"), 0.1, made),
    "emulators.recipe.distill_batch": ((*FIRST, "recipe", "distill_batch"), 1, made),
    "emulators.recipe.prune": ((*FIRST, "recipe", "prune"), 0.9, derived),
    "emulators.recipe.rank_share": ((*SECOND, "recipe", "rank_share"), 0.5, derived),
    "emulators.recipe.bits": ((*FIRST, "recipe", "bits"), 4, derived),
    "emulators.fidelity.hidden": ((*FIRST, "fidelity", "hidden"), 7.0, derived),
    "emulators.fidelity.output": ((*FIRST, "fidelity", "output"), 7.0, derived),
    "assignments.trainer": (("assignments", 1, "trainer"), address(bytes([9]) * 20), held),
    "assignments.emulator": (("assignments", 1, "emulator"), "small", held),
    "server.trainer": (("server", "trainer"), address(bytes([9]) * 20), held),
    "server.paid": (("server", "paid"), False, paid),
}
"""Where in `[federation]` a value changes, to what, and who sees it; None: the rules, which refuse it."""


def changed(tables: Any, place: tuple[object, ...], value: Any) -> Any:
    made = copy.deepcopy(tables)
    table = made
    for part in place[:-1]:
        table = table[part]
    table[place[-1]] = value
    return made


def test_every_key_of_a_federation_has_a_row() -> None:
    keys = {key for key in keys_of(FederationSection) if not key.startswith("control.")}
    assert keys == set(READERS)


@pytest.mark.parametrize("key", READERS)
def test_federated_key_changes_what_the_product_does(key: str, world: World) -> None:
    place, value, observe = READERS[key]
    tables = changed(world.tables, ("federation", *place), value)
    if observe is None:
        with pytest.raises(SpecError, match="federation"):
            parse_spec(tables)
        return
    if observe.__name__ not in world.seen:
        world.seen[observe.__name__] = observe(world, parse_spec(world.tables))
    assert observe(world, parse_spec(tables)) != world.seen[observe.__name__]


# The control of a federation.

SEED = sha256(b"trace").digest()
KNOBS = {"steps": [1, 4], "ranks": [2, 4], "codecs": ["float32", "int8"]}
CONTROL: dict[str, Any] = {
    "policy_seed": hex_of(SEED),
    "trace_seed": hex_of(SEED),
    "devices": list(PEOPLE[:2]),
    "classes": ["phone", "laptop"],
    "knobs": KNOBS,
    "previous_task": 4,
    "observation": {
        "step": 3, "horizon": 6, "gained_nanos": 12345, "last_nanos": -7,
        "devices": [state.model_dump() for state in device_states(SEED, ("phone", "laptop"), 3)],
    },
    "action": [1, 2, 0, 0, 1],
}  # fmt: skip


def control_of(tables: dict[str, Any]) -> ControlSection:
    return ControlSection.model_validate_json(canonical_json(tables))


def decision(control: ControlSection) -> object:
    return check_decision(control, 2, b"weights")


def written(control: ControlSection) -> object:
    tables: dict[str, Any] = {"federation": {}}
    PreparedControl(control, ("small", "large"), ()).write_into(tables)
    del tables["federation"]["control"]
    return tables


def seen(control: ControlSection) -> object:
    return features(control.observation).tolist()


DEVICE = ("observation", "devices", 0)
CONTROLLED: Mapping[str, tuple[tuple[object, ...], Any, Callable[[ControlSection], object] | None]] = {
    "policy_digest": (("policy_digest",), OTHER, None),
    "policy_seed": (("policy_seed",), OTHER, decision),
    "fixed_action": (("fixed_action",), [0, 0, 0, 0, 0], None),
    "trace_seed": (("trace_seed",), OTHER, decision),
    "devices": (("devices",), list(PEOPLE[1:]), written),
    "classes": (("classes",), ["phone", "phone"], decision),
    "knobs.steps": (("knobs", "steps"), [2, 4], written),
    "knobs.ranks": (("knobs", "ranks"), [3, 4], written),
    "knobs.alpha_per_rank": (("knobs", "alpha_per_rank"), 4.0, written),
    "knobs.codecs": (("knobs", "codecs"), ["float32", "int4"], written),
    "previous_task": (("previous_task",), None, None),
    "observation.step": (("observation", "step"), 4, decision),
    "observation.horizon": (("observation", "horizon"), 7, seen),
    "observation.gained_nanos": (("observation", "gained_nanos"), 10**9, seen),
    "observation.last_nanos": (("observation", "last_nanos"), 10**9, seen),
    "observation.devices.speed_milli": ((*DEVICE, "speed_milli"), 1, decision),
    "observation.devices.memory_bytes": ((*DEVICE, "memory_bytes"), 1, decision),
    "observation.devices.up_bytes_per_second": ((*DEVICE, "up_bytes_per_second"), 1, decision),
    "observation.devices.down_bytes_per_second": ((*DEVICE, "down_bytes_per_second"), 1, decision),
    "action": (("action",), [2, 1, 1, 0, 1], written),
}


def test_every_key_of_a_control_has_a_row() -> None:
    assert set(keys_of(ControlSection)) == set(CONTROLLED)


@pytest.mark.parametrize("key", CONTROLLED)
def test_controlled_key_changes_what_the_product_does(key: str) -> None:
    place, value, observe = CONTROLLED[key]
    tables = changed(CONTROL, place, value)
    if observe is None:
        with pytest.raises(ValueError, match=r"exactly one of policy_digest|names the task before it"):
            control_of(tables)
        return
    assert observe(control_of(tables)) != observe(control_of(CONTROL))


@pytest.mark.parametrize("policy", [{"policy_digest": OTHER}, {"fixed_action": [0, 0, 0, 0, 0]}])
def test_policy_that_a_control_names_decides(policy: dict[str, Any]) -> None:
    others = {key: value for key, value in CONTROL.items() if key != "policy_seed"}
    assert decision(control_of({**others, **policy})) != decision(control_of(CONTROL))


# Tables that only a draft has.

DRAFTED: dict[str, Any] = {
    "random": True, "trace_seed": hex_of(SEED), "devices": list(PEOPLE[:2]), "classes": ["phone", "laptop"],
    "horizon": 6, "knobs": KNOBS, "step": 3, "previous_task": 4, "gained_nanos": 12345, "last_nanos": -7,
}  # fmt: skip
DRAFT_CHANGES: Mapping[str, Any] = {
    "policy": "nowhere.safetensors", "fixed": [0, 0, 0, 0, 0], "random": True, "trace_seed": OTHER,
    "devices": list(PEOPLE[1:]), "classes": ["phone", "phone"], "horizon": 7, "knobs": {**KNOBS, "steps": [2, 4]},
    "step": 4, "previous_task": 5, "gained_nanos": 1, "last_nanos": 1,
}  # fmt: skip


def test_every_key_of_a_drafted_control_has_a_row() -> None:
    assert set(DRAFT_CHANGES) == CONTROL_KEYS


@pytest.mark.parametrize("key", DRAFT_CHANGES)
def test_drafted_control_key_changes_what_is_prepared(key: str, tmp_path: Path) -> None:
    def prepared(drafted: dict[str, Any]) -> object:
        tables = {"federation": {"emulators": [{"name": "small"}, {"name": "large"}], "control": drafted}}
        try:
            return prepare_control(tables, tmp_path).control
        except (DeltaproofError, OSError) as error:
            return str(error)

    others = {name: v for name, v in DRAFTED.items() if key not in {"fixed", "policy"} or name != "random"}
    base = {**DRAFTED, "fixed": [1, 0, 0, 0, 0]} if key == "random" else DRAFTED
    assert prepared({**others, key: DRAFT_CHANGES[key]} if key != "random" else DRAFTED) != prepared(base)


SPONSORED = {
    "validation": 'validation = "other.jsonl"',
    "test": 'test = "other.jsonl"',
    "shards": 'shards = ["rows.jsonl"]',
}


@pytest.mark.parametrize("key", SPONSORED)
def test_sponsor_key_changes_the_task(key: str, tmp_path: Path) -> None:
    minimal_model(tmp_path / "bert", "bert")
    write_shard(tmp_path / "rows.jsonl", ROWS)
    write_shard(tmp_path / "other.jsonl", ROWS[::-1])
    text = DRAFT.format(model=tmp_path / "bert")
    (tmp_path / "draft.toml").write_text(text)
    kept = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
    (tmp_path / "other.toml").write_text("\n".join([*kept, SPONSORED[key]]))
    secret = HomeSecret(bytes(32))
    digests = {prepare_task(tmp_path / name, secret).spec.digest() for name in ("draft.toml", "other.toml")}
    assert len(digests) == 2


@pytest.mark.parametrize("key", sorted(set(SPONSOR_KEYS) - set(SPONSORED)))
def test_sponsor_key_of_a_federation_names_a_file_that_is_read(key: str, tmp_path: Path) -> None:
    write_shard(tmp_path / "rows.jsonl", ROWS)
    text = DRAFT.format(model=tmp_path / "bert") + '[federation]\nsource = "path:nowhere"\n'
    (tmp_path / "draft.toml").write_text(text.replace("[sponsor]", f'[sponsor]\n{key} = "not-there"'))
    assert any("not-there" in problem.what for problem in check_draft(tmp_path / "draft.toml").problems)
