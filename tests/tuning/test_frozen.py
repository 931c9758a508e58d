"""Frozen matrices that are held as they are stored, or in few bits: the same products, in a fraction of the memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deltaproof.errors import SpecError
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.condition import rounded_at_random
from deltaproof.replaying.replay import Judge
from deltaproof.tuning.base_models.frozen import FrozenEmbedding, FrozenLinear, StoredMatrix, widened
from deltaproof.tuning.base_models.packed import PackedMatrix
from deltaproof.tuning.base_models.presets import Architecture, complete_spec, minimal_model
from deltaproof.tuning.codecs._wire import PayloadReader
from deltaproof.tuning.codecs.values import BlockIntegers
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods import load_adapter
from deltaproof.tuning.methods.adapters import Houlsby
from deltaproof.tuning.methods.lora import Lora
from deltaproof.tuning.methods.scaling import Ia3, LayerNormTuning
from deltaproof.tuning.methods.selection import BitFit
from deltaproof.tuning.numerics.precision import computing_in
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.method_cases import method_section
from tests.tuning.rehearsal import KINDS, minimal_spec, rehearse, some_rows
from tests.tuning.test_lean_loading import stored_as

BESIDE = ("lora", "rslora", "ia3", "bitfit", "layer_norm", "houlsby", "pfeiffer")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models by architecture, stored in bfloat16."""
    root = tmp_path_factory.mktemp("frozen")
    for architecture in KINDS:
        stored_as(minimal_model(root / architecture, architecture), torch.bfloat16)  # type: ignore[arg-type]
    return root


def held_whole(monkeypatch: pytest.MonkeyPatch, spec: TaskSpec, **options: Any) -> Workbench:
    """A workbench that holds every weight in the type that it computes in."""
    with monkeypatch.context() as patch:
        for method in (Lora, Ia3, BitFit, LayerNormTuning, Houlsby.__mro__[1]):
            patch.setattr(method, "leaves_matrices", False)
        bench = Workbench.from_spec(spec, **options)
    assert not frozen(bench)
    return bench


def frozen(bench: Workbench) -> list[torch.nn.Module]:
    return [m for m in bench.model.modules() if isinstance(m, FrozenLinear | FrozenEmbedding)]


def gradient(bench: Workbench, seed: int | None = None) -> tuple[bytes, float]:
    bench.load(bench.start + np.float32(0.01))
    rows = some_rows(bench.spec.model.kind, 4)
    if seed is None:
        values, loss = bench.gradient(rows, b"\x05" * 32)
    else:
        with rounded_at_random(seed):
            values, loss = bench.gradient(rows, b"\x05" * 32)
    return values.numpy().tobytes(), loss


@pytest.mark.parametrize("numeric", ["exact", "bounded"])
@pytest.mark.parametrize("method", BESIDE)
def test_gradient_has_the_bits_of_a_model_held_whole(
    method: str, numeric: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = minimal_spec(place / "bert", method=method_section(method, place / "bert"), training={"numeric": numeric})
    bench, whole = Workbench.from_spec(spec), held_whole(monkeypatch, spec)
    assert frozen(bench)
    assert bench.layout == whole.layout
    assert bench.start.tobytes() == whole.start.tobytes()
    assert gradient(bench) == gradient(whole)


@pytest.fixture(scope="module")
def tied(place: Path) -> Path:
    """A language model whose head is its table."""
    folder = minimal_model(place / "tied", "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file({n: t.bfloat16() for n, t in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("model", ["bert", "llama", "vit", "tied"])
def test_every_architecture_has_the_same_bits_in_every_pass_of_a_judge(
    model: str, place: Path, tied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture: Architecture = "llama" if model == "tied" else model  # type: ignore[assignment]
    training = {"numeric": "exact", "accumulation": 2, "dropout": True}
    spec = minimal_spec(place / model, architecture, training=training)
    bench, whole = Workbench.from_spec(spec), held_whole(monkeypatch, spec)
    again = Workbench.from_spec(spec, checkpointing=True)
    assert frozen(bench)
    assert gradient(bench) == gradient(again) == gradient(whole)
    assert gradient(bench, seed=3) == gradient(whole, seed=3), "random roundings fall on the same operators"


def test_float64_holds_one_matrix_wide_not_the_model(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = minimal_spec(place / "llama", "llama")
    bench, whole = Workbench.from_spec(spec), held_whole(monkeypatch, spec)
    stored = (place / "llama" / "model.safetensors").stat().st_size
    assert bytes_held(bench) < 1.2 * stored + 8 * bench.layout.size
    assert bytes_held(whole) > 3.5 * stored


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_judge_of_bounded_mode_holds_float32_weights_once_and_finds_the_same_bits(
    architecture: Architecture, tmp_path: Path
) -> None:
    spec = minimal_spec(minimal_model(tmp_path / "model", architecture), architecture, training={"numeric": "bounded"})
    mirror, reference = Workbench.from_spec(spec), Workbench.from_spec(spec, precision="float64")
    apart = [gradient(mirror), gradient(reference)]
    del mirror, reference
    judge = Judge.from_spec(spec)
    assert judge.mirror is not None
    assert [gradient(judge.mirror), gradient(judge.reference)] == apart
    own = {parameter.data_ptr() for parameter in judge.mirror.model.parameters()}
    linear = [m.matrix for m in frozen(judge.reference) if isinstance(m, FrozenLinear)]
    assert linear
    assert all(isinstance(matrix, StoredMatrix) and matrix.values.data_ptr() in own for matrix in linear)


def bytes_held(bench: Workbench) -> int:
    tensors = [*bench.model.parameters(), *bench.model.buffers()]
    tensors += [m.matrix.values for m in frozen(bench) if isinstance(m.matrix, StoredMatrix)]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def test_mixtures_are_merged_into_frozen_matrices_and_leave_them_as_they_were(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = minimal_spec(place / "bert")
    found = []
    for bench in (Workbench.from_spec(spec, precision="float32"), held_whole(monkeypatch, spec, precision="float32")):
        evaluator = Evaluator(bench, some_rows("sequence-classification", 6))
        assert evaluator.mixes_exactly
        thetas = [bench.start + np.float32(step) for step in (0.01, 0.02, -0.03)]
        shares = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
        results = evaluator.evaluate_means(thetas, shares)
        found.append((results.losses.tobytes(), gradient(bench)))
    assert found[0] == found[1]


@pytest.mark.parametrize(("frozen_dtype", "bits"), [("int8", 8), ("int4", 4)])
def test_matrices_are_rounded_as_the_emulators_codec_rounds(frozen_dtype: str, bits: int, place: Path) -> None:
    draw = np.random.Generator(np.random.PCG64(5))
    values = (draw.standard_normal((33, 70)) * 10.0 ** draw.uniform(-42, 2, (33, 70))).astype(np.float32)
    values[3] = 0.0
    codec = BlockIntegers(64, bits)
    expected = codec.read(PayloadReader(codec.write(values.reshape(-1), b"")), values.size).reshape(values.shape)
    packed = PackedMatrix.quantised(torch.from_numpy(values), bits)  # type: ignore[arg-type]
    assert packed.expanded().numpy().tobytes() == expected.tobytes()
    with computing_in("float64"):
        wide = widened(packed, torch.float64)
    assert torch.equal(wide, torch.from_numpy(expected).double()), "rounded to float32 once, then widened"
    spec = minimal_spec(place / "bert", model={"frozen_dtype": frozen_dtype})
    linears = [m for m in frozen(Workbench.from_spec(spec)) if isinstance(m, FrozenLinear)]
    assert len(linears) == 6 * 2
    assert all(isinstance(m.matrix, PackedMatrix) and m.matrix.bits == bits for m in linears)


@pytest.mark.parametrize("frozen_dtype", ["bfloat16", "int8", "int4"])
@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_honest_round_on_a_rounded_base_is_accepted_and_another_base_is_not(
    frozen_dtype: str, numeric: str, bert_folder: Path, tmp_path: Path
) -> None:
    sections = {"training": {"numeric": numeric, "steps": 3, "batch_size": 4}}
    spec = minimal_spec(bert_folder, model={"frozen_dtype": frozen_dtype}, **sections)
    round_ = rehearse(spec, tmp_path / "round")
    judge = round_.judge()
    assert all(judge.judge_step(o, t, round_.replay_context).accepted for t, o in enumerate(round_.openings(range(3))))
    sparing = Judge.from_spec(spec, checkpointing=True)
    found = [j.judge_step(round_.openings([1])[0], 1, round_.replay_context) for j in (judge, sparing)]
    assert found[0] == found[1], "layers computed twice judge alike"
    stored = rehearse(minimal_spec(bert_folder, **sections), tmp_path / "stored")
    other = judge.judge_step(stored.openings([0])[0], 0, stored.replay_context)
    assert other.failed == "gradient", other.message


def test_adapter_on_a_rounded_base_is_deployable(place: Path, tmp_path: Path) -> None:
    import transformers

    spec = minimal_spec(place / "bert", model={"frozen_dtype": "int4"})
    bench = Workbench.from_spec(spec)
    bench.export(bench.start + np.float32(0.01), tmp_path / "adapter")
    base = transformers.AutoModelForSequenceClassification.from_pretrained(place / "bert", num_labels=2)
    loaded = load_adapter(base, tmp_path / "adapter")
    names = {name: p for name, p in loaded.named_parameters() if "lora_" in name}
    assert names
    values = {n: bench.start[bench.layout.slices[n]] + np.float32(0.01) for n in bench.layout.names if "lora_" in n}
    assert all(np.array_equal(names[n].detach().float().numpy().reshape(-1), v) for n, v in values.items())


def test_method_that_tunes_matrices_is_refused_on_a_rounded_base(place: Path) -> None:
    spec = minimal_spec(place / "bert", model={"frozen_dtype": "int8"}, method=method_section("full", place / "bert"))
    with pytest.raises(MethodError, match="frozen_dtype"):
        Workbench.from_spec(spec)
    dense = {"name": "lora", "options": {"r": 4, "lora_alpha": 8, "modules_to_save": ["dense"]}}
    with pytest.raises(MethodError, match="frozen_dtype"):
        Workbench.from_spec(minimal_spec(place / "bert", model={"frozen_dtype": "int8"}, method=dense))
    with pytest.raises(SpecError, match="frozen_dtype"):
        complete_spec(f"path:{place / 'bert'}", KINDS["bert"], {"model": {"frozen_dtype": "int3"}})
