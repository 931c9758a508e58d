"""Emulators: what travels, what it holds, and that what is tuned on one plugs into the full model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deltaproof.errors import EncodingError, SpecError, UsageError
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.terms.federation import FederationSection, Recipe
from deltaproof.protocol.terms.spec import ModelSection, TaskSpec
from deltaproof.protocol.types import hex_of
from deltaproof.store import ArtifactStore, open_store
from deltaproof.tuning.base_models.digests import weights_digest
from deltaproof.tuning.base_models.frozen import FrozenLinear
from deltaproof.tuning.base_models.layers import layer_of
from deltaproof.tuning.base_models.loading import emulator_folder, resolve_source
from deltaproof.tuning.base_models.packed import PACKED_FILE, read_packed, write_packed
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.emulators.compression import compress, compressed_size, decompress
from deltaproof.tuning.emulators.deriving import Emulator, FullModel, check_derivation, derive
from deltaproof.tuning.emulators.fetching import fetch_models
from deltaproof.tuning.emulators.packing import unpack
from deltaproof.tuning.errors import MethodError, ModelError
from deltaproof.tuning.numerics import memory
from deltaproof.tuning.training.federation import as_held_by, check_plug_in, plugged
from deltaproof.tuning.training.workbench import Workbench

DEPTH = 6
ROWS = tuple(canonical_row({"text": word * 3, "label": i % 2}) for i, word in enumerate(("good ", "bad ", "fine ")))
RECIPES = {
    "quantised": Recipe(ratio=0.1, bits=8),
    "pruned": Recipe(ratio=0.5, prune=0.5, bits=16, select="importance"),
    "factorised": Recipe(ratio=0.25, rank_share=0.25, bits=16),
    "distilled": Recipe(ratio=0.25, bits=8, distill_steps=3),
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> FullModel:
    folder = minimal_model(tmp_path_factory.mktemp("full") / "model", "bert", layers=DEPTH)
    source = f"path:{folder}"
    section = ModelSection(
        kind="sequence-classification",
        source=source,
        weights_digest=weights_digest(resolve_source(source)),
        num_labels=2,
        max_tokens=16,
    )
    return FullModel(section, first=1, last=1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def spec_of(full: FullModel, *emulators: Emulator, method: str = "lora", **options: object) -> TaskSpec:
    named = [e.described(f"e{i}").model_dump(mode="json") for i, e in enumerate(emulators)]
    federation = {
        "source": full.section.source,
        "weights_digest": hex_of(full.section.weights_digest),
        "depth": DEPTH,
        "public_rows": hex_of(bytes(32)),
        "emulators": named,
    }
    sections = {
        "": {"federation": federation},
        "model": {"source": named[0]["source"], "weights_digest": named[0]["weights_digest"], "max_tokens": 16},
        "method": {"name": method, "options": options},
    }
    return complete_spec(full.section.source, "sequence-classification", sections)


def federation_of(spec: TaskSpec) -> FederationSection:
    assert spec.federation is not None
    return spec.federation


@pytest.mark.parametrize("name", RECIPES)
def test_derive_gives_a_smaller_model_that_can_be_derived_again(full: FullModel, name: str) -> None:
    emulator = derive(full, RECIPES[name], ROWS)
    assert {0, DEPTH - 1} <= set(emulator.layers)
    assert emulator.ratio <= RECIPES[name].ratio + 0.05
    assert emulator.fidelity.hidden > 0
    spec = spec_of(full, emulator)
    federation = federation_of(spec)
    assert check_derivation(full, federation.emulators[0], ROWS) is None
    other = federation.emulators[0].model_copy(update={"recipe": Recipe(ratio=0.5, bits=4)})
    assert check_derivation(full, other, ROWS) is not None


@pytest.mark.parametrize("name", RECIPES)
def test_emulator_holds_no_weight_of_the_middle(full: FullModel, name: str) -> None:
    emulator = derive(full, RECIPES[name], ROWS)
    folder = emulator_folder(emulator.source.partition(":")[2])
    received = [*load_file(folder / "model.safetensors").values(), *unpack(emulator.data).disclosed.values()]
    held = {tensor.contiguous().numpy().tobytes() for tensor in received}
    middle = range(1, DEPTH - 1)
    for stored, tensor in load_file(full.folder / "model.safetensors").items():
        if layer_of(stored) in middle and tensor.ndim == 2:
            assert tensor.contiguous().numpy().tobytes() not in held, stored


def test_recipe_that_shows_the_middle_as_it_is_is_refused() -> None:
    with pytest.raises(ValueError, match="as they are"):
        Recipe(ratio=0.5)


def test_adapter_of_an_emulator_is_the_same_tensors_in_the_full_model(full: FullModel) -> None:
    small, large = derive(full, RECIPES["quantised"], ROWS), derive(full, Recipe(ratio=0.5, bits=16), ROWS)
    spec = spec_of(full, small, large, r=2, lora_alpha=4)
    on_full = Workbench.from_spec(plugged(spec), precision="float32")
    on_emulator = Workbench.from_spec(spec, precision="float32")
    check_plug_in(on_emulator, on_full)
    layers = {layer_of(name.removeprefix("base_model.model.bert.")) for name in on_full.layout.names}
    assert layers == {None, 0, DEPTH - 1}
    assert sum(p.numel() for p in on_emulator.model.parameters()) < sum(p.numel() for p in on_full.model.parameters())
    theta = on_emulator.initial_state() + np.float32(0.01)
    on_full.load(theta)
    assert all(torch.isfinite(p).all() for p in on_full.parameters)


def test_method_that_chooses_by_weights_does_not_plug_in(full: FullModel) -> None:
    spec = spec_of(full, derive(full, RECIPES["quantised"], ROWS), method="shira")
    bench = Workbench.from_spec(plugged(spec), precision="float32")
    if bench.method.calibrated:
        with pytest.raises(MethodError, match="chooses what it tunes"):
            check_plug_in(bench, bench)


def test_fetch_puts_the_named_model_into_the_cache(
    full: FullModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: ArtifactStore = open_store(str(tmp_path / "store"))
    emulator = derive(full, RECIPES["quantised"], ROWS)
    spec = spec_of(full, emulator)
    store.put_blob(emulator.data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(ModelError, match="not here yet"):
        resolve_source(spec.model.source)
    fetch_models(store, spec)
    assert weights_digest(resolve_source(spec.model.source)) == emulator.weights_digest


def test_emulator_that_comes_to_more_than_the_memory_is_refused_before_it_is_expanded(
    full: FullModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: name an emulator that is small in the store and fills the memory of whoever takes its task."""
    emulator = derive(full, RECIPES["factorised"], ROWS)
    store: ArtifactStore = open_store(str(tmp_path / "store"))
    store.put_blob(emulator.data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:       3 kB\n")
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "meminfo")
    spec = spec_of(full, emulator)
    with pytest.raises(UsageError, match=r"comes to .* GB of memory are free"):
        fetch_models(store, spec)
    assert not any((tmp_path / "elsewhere").rglob("*.safetensors"))
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "none")
    fetch_models(store, spec)


def test_trainer_without_an_assignment_holds_no_model(full: FullModel) -> None:
    spec = spec_of(full, derive(full, RECIPES["quantised"], ROWS))
    federation = federation_of(spec)
    someone, other = "0x" + "11" * 20, "0x" + "22" * 20
    value = spec.to_json_value()
    value["federation"] = {
        **federation.model_dump(mode="json"),
        "assignments": [{"trainer": someone, "emulator": "e0"}],
    }
    assigned = TaskSpec.from_document(TaskSpec.model_validate_json(json.dumps(value)).to_document())
    assert as_held_by(assigned, federation_of(assigned).assignments[0].trainer).model == spec.model
    with pytest.raises(ModelError, match="assigns"):
        as_held_by(assigned, other)  # type: ignore[arg-type]


def test_model_that_is_not_the_first_emulator_is_refused(full: FullModel) -> None:
    federation = federation_of(spec_of(full, derive(full, RECIPES["quantised"], ROWS))).model_dump(mode="json")
    with pytest.raises(SpecError, match="must name the first"):
        complete_spec(full.section.source, "sequence-classification", {"": {"federation": federation}})


@pytest.mark.parametrize("name", ["quantised", "pruned", "factorised"])
@pytest.mark.parametrize("shape", [(12, 20), (70, 3), (33,)])
def test_compress_takes_the_bytes_it_says_and_comes_back(name: str, shape: tuple[int, ...]) -> None:
    recipe = RECIPES[name]
    values = np.sin(np.arange(math.prod(shape), dtype=np.float32)).reshape(shape)
    data = compress(values, recipe)
    assert len(data) == compressed_size(shape, recipe)
    again = decompress(data, shape, recipe)
    assert again.shape == shape
    assert decompress(compress(values, recipe), shape, recipe).tobytes() == again.tobytes()
    with pytest.raises(EncodingError):
        decompress(data[:-1], shape, recipe)


@pytest.mark.parametrize("cut", [0, 7, 200, -1])
def test_hostile_file_is_refused(full: FullModel, cut: int) -> None:
    data = derive(full, RECIPES["quantised"], ROWS).data
    with pytest.raises(EncodingError):
        unpack(data[:cut])


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_packed_middle_computes_the_bits_of_the_expanded_one(full: FullModel, bits: int) -> None:
    recipe = Recipe.model_validate({"ratio": 1.0, "bits": bits})
    spec = spec_of(full, derive(full, recipe, ROWS), r=2, lora_alpha=4)
    packed = Workbench.from_spec(spec, precision="float32")
    kept = [module for module in packed.model.modules() if isinstance(module, FrozenLinear)]
    assert len(kept) == 6 * (DEPTH - 2)
    (resolve_source(spec.model.source) / PACKED_FILE).unlink()
    expanded = Workbench.from_spec(spec, precision="float32")
    assert not any(isinstance(module, FrozenLinear) for module in expanded.model.modules())
    theta = packed.initial_state() + np.float32(0.01)
    results = []
    for bench in (packed, expanded):
        bench.load(theta)
        gradient, loss = bench.gradient(list(ROWS), bytes(32))
        results.append((gradient.numpy().tobytes(), loss))
    assert results[0] == results[1]


def test_packed_middle_that_is_not_the_stored_one_is_refused(full: FullModel) -> None:
    spec = spec_of(full, derive(full, RECIPES["quantised"], ROWS))
    folder = resolve_source(spec.model.source)
    matrices = read_packed(folder)
    name = min(matrices)
    matrices[name].codes[0] ^= 1
    write_packed(folder, matrices)
    for precision in ("float32", "float64"):
        with pytest.raises(ModelError, match="remove the folder"):
            Workbench.from_spec(spec, precision=precision)
