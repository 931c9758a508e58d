"""Base models: their digest, what is refused, float64 throughout, seeded initialisation."""

from __future__ import annotations

import json
import os
import pickle
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.tuning.base_models import digests
from deltaproof.tuning.base_models.batches import unfit_rows
from deltaproof.tuning.base_models.digests import TOKENISER_FILES, weights_digest
from deltaproof.tuning.base_models.loading import resolve_source
from deltaproof.tuning.base_models.presets import Architecture, minimal_model
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.errors import MethodError, ModelError, NarrowingError, RowError
from deltaproof.tuning.numerics.precision import assert_wide, computing_in, wide
from deltaproof.tuning.numerics.randomness import CounterDropout, SeededFills, normal, uniform
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import minimal_spec, some_rows

# Digests


def test_digest_is_of_content_not_of_files(tmp_path: Path) -> None:
    folder = minimal_model(tmp_path / "one", "bert")
    digest = weights_digest(folder)
    assert weights_digest(minimal_model(tmp_path / "two", "bert")) == digest
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    (folder / "model.safetensors").unlink()
    save_file({n: tensors[n] for n in names[::2]}, folder / "b.safetensors", {"note": "other files, other metadata"})
    save_file({n: tensors[n] for n in names[1::2]}, folder / "a.safetensors")
    assert weights_digest(folder) == digest


@pytest.mark.parametrize("what", ["value", "name", "dtype", "config", "tokenizer"])
def test_digest_sees_every_change(tmp_path: Path, what: str) -> None:
    folder = minimal_model(tmp_path / "model", "bert")
    digest = weights_digest(folder)
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[0]
    match what:
        case "value":
            tensors[name].view(-1)[0] += 1e-6
        case "name":
            tensors["other"] = tensors.pop(name)
        case "dtype":
            tensors[name] = tensors[name].to(torch.bfloat16)
        case "config":
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-6}))
        case _:
            with (folder / "tokenizer.json").open("a") as file:
                file.write("\n")
    save_file(tensors, folder / "model.safetensors")
    assert weights_digest(folder) != digest


def test_folder_is_read_again_only_if_a_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: put other weights of the same size there, and set the clock of the file back."""
    folder = minimal_model(tmp_path / "model", "bert")
    weights = folder / "model.safetensors"
    digest, written = weights_digest(folder), weights.stat()
    read: list[Path] = []
    reads = digests._read_digest
    monkeypatch.setattr(digests, "_read_digest", lambda place: (read.append(place), reads(place))[1])
    assert weights_digest(folder) == digest
    assert read == [folder], "it has just been written: it could change without a later time of its change"
    monkeypatch.setattr(digests, "_AT_REST_NANOS", 0)
    time.sleep(0.05)
    assert [weights_digest(folder) for _ in range(3)] == [digest] * 3
    assert read == [folder] * 2
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert weights_digest(folder) != digest


def test_digest_is_of_every_file_that_a_tokeniser_reads() -> None:
    """Attack: a folder whose vocabulary the digest does not cover is another model for whoever gets another file."""
    read: set[str] = set()
    for source in Path(transformers.__file__).parent.glob("models/*/tokenization_*.py"):
        for table in re.findall(r"VOCAB_FILES_NAMES = \{([^}]*)\}", source.read_text("utf-8")):
            read |= set(re.findall(r'"([^"]+\.[a-z]+)"', table))
    assert len(read) > 5
    assert read <= set(TOKENISER_FILES)


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_token_that_the_model_does_not_know_makes_a_row_that_it_cannot_use(
    tmp_path: Path, architecture: Architecture
) -> None:
    """Tokens are added to a tokeniser alone, and read wherever a text names them. Attack: one validation row of such a
    text ended every verifier, so that all work of a round was had for the base."""
    folder = minimal_model(tmp_path / "model", architecture)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(folder)
    bench = Workbench.from_spec(minimal_spec(folder, architecture))
    label = {"label": 1} if architecture == "bert" else {}
    rows = [canonical_row({"text": text, **label}) for text in ("a fine film", "an <extra> film")]
    with pytest.raises(RowError, match="row 1: its text has a token that the model does not know"):
        bench.gradient(rows, bytes(32))
    section, config = bench.spec.model, bench.model.config
    assert len(list(unfit_rows(rows, section, tokenizer=bench.tokenizer, config=config))) == 1
    both, first = (Evaluator(bench, some).evaluate(bench.start) for some in (rows, rows[:1]))
    assert both == first


def test_tokeniser_that_draws_how_it_reads_a_text_is_refused(tmp_path: Path) -> None:
    """Dropout of merges makes other tokens each time: every step of an honest trainer was refused."""
    folder = minimal_model(tmp_path / "model", "bert")
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    for merged, unused in (("fi", "\u0123"), ("lm", "\u0124")):
        vocabulary[merged] = vocabulary.pop(unused)
    tokenizer["model"] |= {"merges": [["f", "i"], ["l", "m"]], "dropout": 0.1}
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match="draws how it reads a text"):
        Workbench.from_spec(minimal_spec(folder))
    tokenizer["model"]["dropout"] = None
    file.write_text(json.dumps(tokenizer))
    Workbench.from_spec(minimal_spec(folder))


def test_altered_weights_are_refused_before_loading(tmp_path: Path) -> None:
    spec = minimal_spec(tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    tensors[sorted(tensors)[3]].view(-1)[0] += 1.0
    save_file(tensors, tmp_path / "model" / "model.safetensors")
    with pytest.raises(ModelError, match="digest"):
        Workbench.from_spec(spec)


def test_pickled_weights_are_not_weights(tmp_path: Path) -> None:
    folder = minimal_model(tmp_path / "model", "bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors"):
        weights_digest(folder)
    (folder / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelError):
        weights_digest(folder)


@pytest.mark.parametrize(
    "source", ["package:no_such_package/model", "path:/no/such/folder", "nonsense", "package:json"]
)
def test_missing_source_is_said(source: str) -> None:
    with pytest.raises(ModelError):
        resolve_source(source)


def test_unknown_method_or_option_is_said(bert_folder: Path) -> None:
    for method, message in (
        ({"name": "lorra"}, "known: .*lora"),
        ({"options": {"rr": 4}}, "no option 'rr'"),
        ({"options": {"r": 4, "target_modules": ["nothing_here"]}}, "does not fit"),
    ):
        with pytest.raises(MethodError, match=message):
            Workbench.from_spec(minimal_spec(bert_folder, method=method))


@pytest.mark.parametrize(
    "row", [b'{"text":"x"}', b'{"label":2,"text":"x"}', b'{"label":true,"text":"x"}', b'{"label":0,"text":5}']
)
def test_bad_row_is_said(bert_folder: Path, row: bytes) -> None:
    bench = Workbench.from_spec(minimal_spec(bert_folder))
    with pytest.raises(RowError, match="row 0"):
        bench.gradient([row], bytes(32), parts=1)


# Float64 throughout


@pytest.mark.parametrize("architecture", ["bert", "llama", "vit"])
def test_wide_gradient_is_float64_and_agrees_with_float32(tmp_path: Path, architecture: str) -> None:
    spec = minimal_spec(tmp_path / "model", architecture)  # type: ignore[arg-type]
    rows = some_rows(spec.model.kind)[:4]
    reference = Workbench.from_spec(spec, precision="float64")
    narrow = Workbench.from_spec(spec, precision="float32")
    expected, found = (bench.gradient(rows, bytes(32))[0] for bench in (reference, narrow))
    assert (expected.dtype, found.dtype) == (torch.float64, torch.float32)
    difference = float((expected - found).norm() / expected.norm())
    assert 1e-9 < difference < 1e-4


def test_double_alone_is_not_float64(tmp_path: Path) -> None:
    """Llama narrows in its normalisation: without `wide`, a model loaded in float64 computes less."""
    spec = minimal_spec(tmp_path / "model", "llama")
    bench = Workbench.from_spec(spec)
    inputs = bench.tokenizer(["some text"], return_tensors="pt")
    with torch.no_grad():
        naive = bench.model(**inputs).logits
        with computing_in("float64"):
            kept = bench.model(**inputs).logits
    assert naive.dtype == kept.dtype == torch.float64
    assert 1e-12 < float((naive - kept).abs().max() / kept.abs().max()) < 1e-4


@pytest.mark.parametrize(
    "narrow",
    [
        lambda x: x.type("torch.FloatTensor"),
        lambda x: x.to(torch.from_numpy(np.ones(1, np.float32))),
        lambda x: torch.from_numpy(x.numpy().astype(np.float32)) * x,
    ],
    ids=["by name", "by example", "through numpy"],
)
def test_narrowing_that_cannot_be_kept_wide_is_refused(narrow: Callable[[torch.Tensor], torch.Tensor]) -> None:
    values = torch.randn(4, 4, dtype=torch.float64)

    def step() -> None:
        with wide():
            narrow(values).sum()

    with pytest.raises(NarrowingError, match="float32"):
        assert_wide(step)


def test_wide_restores_the_default_dtype() -> None:
    before = torch.get_default_dtype()
    with wide():
        assert torch.zeros(1).dtype == torch.float64
        assert torch.ones(2, dtype=torch.float32).float().half().to(torch.bfloat16).dtype == torch.float64
    assert torch.get_default_dtype() == before


def test_threads_that_compute_at_once_leave_the_default_dtype_alone() -> None:
    """The first to enter leaves first: without a lock the second would restore what the first had set."""
    before = torch.get_default_dtype()
    inside, leave = threading.Event(), threading.Event()
    seen: list[torch.dtype] = []

    def first() -> None:
        with wide():
            inside.set()
            leave.wait(10)

    def second() -> None:
        inside.wait(10)
        with computing_in("float32"):
            seen.append(torch.zeros(1).dtype)
        with wide():
            seen.append(torch.zeros(1).dtype)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    time.sleep(0.1)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert seen == [torch.float32, torch.float64]
    assert torch.get_default_dtype() == before


# Random numbers


def test_initial_adapter_depends_on_the_seed_alone(bert_folder: Path) -> None:
    spec = minimal_spec(bert_folder)
    torch.manual_seed(1)
    first = Workbench.from_spec(spec).initial_state()
    torch.manual_seed(2)
    torch.rand(17)
    assert (Workbench.from_spec(spec, precision="float32").initial_state() == first).all()
    other = minimal_spec(bert_folder, method={"seed": "0x" + "01" * 32})
    assert (Workbench.from_spec(other).initial_state() != first).any()


def test_construction_leaves_the_global_generator_alone(bert_folder: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    Workbench.from_spec(minimal_spec(bert_folder))
    assert torch.equal(torch.rand(3), expected)


def test_draws_have_the_moments_they_should() -> None:
    flat = uniform(b"key", 0, 200_000, -2.0, 3.0)
    assert flat.min() >= -2.0
    assert flat.max() < 3.0
    assert flat.mean() == pytest.approx(0.5, abs=0.02)
    bell = normal(b"key", 1, 200_000, 1.0, 2.0)
    assert bell.mean() == pytest.approx(1.0, abs=0.03)
    assert bell.std() == pytest.approx(2.0, rel=0.02)
    assert not (normal(b"key", 2, 100, 0, 1) == normal(b"key", 1, 100, 0, 1)).any()


def test_known_draws() -> None:
    """Guards against a change of numpy's stream, which would change every adapter."""
    assert uniform(b"key", 0, 3, 0.0, 1.0).tolist() == [0.32313263416290283, 0.22701041400432587, 0.18478092551231384]


def test_unknown_random_operator_is_refused() -> None:
    with pytest.raises(MethodError, match="randperm"), SeededFills(b"key"):
        torch.randperm(5)


def test_counter_dropout_keeps_the_expectation_and_the_rate() -> None:
    values = torch.ones(400, 500)
    with CounterDropout(b"key"):
        first = torch.nn.functional.dropout(values, 0.1)
        second = torch.nn.functional.dropout(values, 0.1)
        assert torch.equal(torch.nn.functional.dropout(values, 0.1, training=False), values)
    assert not torch.equal(first, second)
    assert float((first == 0).float().mean()) == pytest.approx(0.1, abs=0.005)
    assert float(first.mean()) == pytest.approx(1.0, abs=0.01)
    with pytest.raises(MethodError, match="dropout2d"), CounterDropout(b"key"):
        torch.nn.functional.dropout2d(torch.ones(1, 2, 3, 3))
