"""Gradient checkpointing changes what is kept in memory, never a bit of what is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from deltaproof.tuning.base_models.presets import Architecture
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.method_cases import CASES, method_section
from tests.tuning.rehearsal import minimal_spec, rehearse, some_rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpointing")


@pytest.mark.parametrize("name", sorted(set(CASES) - {"prefix"}))
def test_gradient_of_every_method_has_the_same_bits(name: str, place: Path) -> None:
    spec = minimal_spec(place / "bert", method=method_section(name, place / "bert"), training={"numeric": "bounded"})
    assert_same_gradient(Workbench.from_spec(spec), Workbench.from_spec(spec, checkpointing=True))


@pytest.mark.parametrize("architecture", ["bert", "llama", "vit"])
@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_gradient_under_dropout_and_accumulation_has_the_same_bits(
    architecture: Architecture, numeric: str, place: Path
) -> None:
    spec = minimal_spec(
        place / architecture, architecture, training={"numeric": numeric, "dropout": True, "accumulation": 2}
    )
    kept = Workbench.from_spec(spec)
    assert_same_gradient(kept, Workbench.from_spec(spec, checkpointing=True))
    without = Workbench.from_spec(minimal_spec(place / architecture, architecture, training={"numeric": numeric}))
    if architecture == "bert":  # the other two have no dropout in their configuration
        assert not torch.equal(gradient(kept), gradient(without)), "dropout took part"


def test_round_has_the_same_root(place: Path, tmp_path: Path) -> None:
    spec = minimal_spec(place / "bert", training={"dropout": True})
    kept = rehearse(spec, tmp_path / "kept")
    again = rehearse(spec, tmp_path / "again", Workbench.from_spec(spec, checkpointing=True))
    assert again.trained.transcript_root == kept.trained.transcript_root
    assert again.trained.theta_digest == kept.trained.theta_digest


def test_less_is_kept_for_the_backward_pass(place: Path) -> None:
    spec = minimal_spec(place / "bert")
    kept, again = (bytes_kept(Workbench.from_spec(spec, checkpointing=on)) for on in (False, True))
    assert again < kept / 2


def test_model_is_left_as_it_was(place: Path) -> None:
    spec, rows = minimal_spec(place / "bert"), some_rows("sequence-classification", 4)
    bench = Workbench.from_spec(spec, checkpointing=True)
    gradient(bench)
    assert not any("forward" in vars(module) for module in bench.model.modules())
    plain = Evaluator(Workbench.from_spec(spec), rows).evaluate(bench.start)
    assert Evaluator(bench, rows).evaluate(bench.start) == plain


def test_layers_that_add_to_a_cache_are_refused(place: Path) -> None:
    spec = minimal_spec(place / "bert", method=method_section("prefix", place / "bert"))
    with pytest.raises(MethodError, match="cache"):
        Workbench.from_spec(spec, checkpointing=True)


def assert_same_gradient(kept: Workbench, again: Workbench) -> None:
    assert torch.equal(gradient(kept), gradient(again))
    assert torch.count_nonzero(gradient(again))


def gradient(bench: Workbench) -> Tensor:
    return bench.gradient(some_rows(bench.spec.model.kind, 4), bytes([7]) * 32)[0]


def bytes_kept(bench: Workbench) -> int:
    """What one gradient keeps for its backward pass: tensors by storage, parameters aside."""
    parameters = {p.untyped_storage().data_ptr() for p in bench.model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        gradient(bench)
    return sum(kept.values())
