"""Sparse selection: a few entries of the weights are trained, the same for everybody.

`shira` takes the entries of largest magnitude in each weight. `sensitivity` takes those to which the loss is most
sensitive over all weights: the gradient is computed in float64 on rows that the task spec holds, so anybody with the
spec computes the same mask, and the mask stays the same in every round. A boundary that float64 noise could turn is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deltaproof.protocol.terms.spec import ModelSection, OptionValue
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.base_models.loading import BaseModel
from deltaproof.tuning.base_models.loss import loss_sum
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods._sparse_linear import SparseLinear, largest, load_sparse, sparse_tensors
from deltaproof.tuning.methods._targets import linears, query_and_value
from deltaproof.tuning.methods.adapters import replace_module
from deltaproof.tuning.methods.base import Options
from deltaproof.tuning.methods.deliverable import trainable, write_deliverable
from deltaproof.tuning.methods.own import OwnMethod
from deltaproof.tuning.numerics.precision import computing_in

__all__ = ["MagnitudeSelection", "SensitivitySelection", "sensitivities"]

Masks = dict[str, NDArray[np.int64]]
"""Flat indices by module, sorted by module."""


class _SparseMethod(OwnMethod):
    family = "specification"
    aggregation = "mean of the values; the mask is everybody's, so it is the mean of the weights"
    defaults: ClassVar[Options] = {"fraction": 0.01, "target_modules": ()}

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        super().__init__(options)
        if not 0.0 < self.number("fraction") <= 1.0:
            raise MethodError(f"{self.name}: fraction {self.options['fraction']} must lie above 0 and not above 1")

    def prepare(self, base: nn.Module, seed: bytes) -> None:
        for name, indices in self.masks(base).items():
            module = base.get_submodule(name)
            assert isinstance(module, nn.Linear)  # `places` finds nothing else
            replace_module(base, name, SparseLinear(module, indices))

    def masks(self, base: nn.Module) -> Masks:
        raise NotImplementedError

    def places(self, base: nn.Module) -> list[str]:
        return linears(base, self.words("target_modules") or query_and_value(base))

    def export(self, model: nn.Module, folder: Path, source: str) -> None:
        write_deliverable(folder, self.name, self.options, source, {**trainable(model), **sparse_tensors(model)})

    @classmethod
    def load(cls, base: nn.Module, folder: Path, options: Mapping[str, OptionValue]) -> nn.Module:
        return load_sparse(base, folder)


class MagnitudeSelection(_SparseMethod):
    """The `fraction` of largest entries of each targeted weight."""

    name = "shira"
    paper = "Bhardwaj et al. 2024 (SHiRA-WM)"

    def masks(self, base: nn.Module) -> Masks:
        found = {}
        for name in self.places(base):
            module = base.get_submodule(name)
            assert isinstance(module, nn.Linear)  # `places` finds nothing else
            weight = module.weight.detach().float().abs().cpu().numpy().reshape(-1)
            found[name] = largest(weight, max(1, round(self.number("fraction") * weight.size)))
        return found


class SensitivitySelection(_SparseMethod):
    """The `fraction` of all targeted entries with the largest `score`: "fisher" (sum over rows of g^2) or "saliency"
    (|g w| of the rows' mean loss), on `rows`, canonical rows as text."""

    name = "sensitivity"
    paper = "Sung et al. 2021 (FISH mask); Lee et al. 2019 (SNIP)"
    calibrated = True
    defaults: ClassVar[Options] = {**_SparseMethod.defaults, "score": "fisher", "rows": ()}

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        super().__init__(options)
        if self.options["score"] not in ("fisher", "saliency"):
            raise MethodError(f"sensitivity: score must be fisher or saliency, not {self.options['score']!r}")
        if not self.words("rows"):
            raise MethodError("sensitivity: `rows` must hold the canonical rows that sensitivities are measured on")
        self._masks: Masks | None = None

    def calibrate(self, base: BaseModel, section: ModelSection) -> None:
        scores = sensitivities(
            base, section, self.places(base.model), [row.encode() for row in self.words("rows")],
            squared=self.options["score"] == "fisher",
        )  # fmt: skip
        flat = np.concatenate([values.reshape(-1) for values in scores.values()])
        chosen = largest(flat, max(1, round(self.number("fraction") * flat.size)), noisy=True)
        self._masks, start = {}, 0
        for name, values in scores.items():
            inside = chosen[(chosen >= start) & (chosen < start + values.size)] - start
            start += values.size
            if inside.size:
                self._masks[name] = inside

    def masks(self, base: nn.Module) -> Masks:
        if self._masks is None:
            raise MethodError("sensitivity: the mask was not calibrated")
        return self._masks


def sensitivities(
    base: BaseModel, section: ModelSection, modules: list[str], rows: list[bytes], *, squared: bool
) -> dict[str, NDArray[np.float64]]:
    """Of each entry of the modules' weights, float64 of the weight's shape: the mean over rows of the squared gradient,
    or the absolute product of the mean gradient with the entry. `base` is in float64."""
    weights = [base.model.get_submodule(name).weight for name in modules]
    totals = [torch.zeros_like(weight) for weight in weights]  # type: ignore[arg-type]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with computing_in("float64"):
            for row in rows:
                batch = make_batch(
                    [row], section, tokenizer=base.tokenizer, config=getattr(base.model, "config", None), parts=1
                )
                loss = loss_sum(base.model, batch.parts[0], section.kind) / batch.count
                gradients = torch.autograd.grad(loss, weights, materialize_grads=True, allow_unused=True)  # type: ignore[arg-type]
                parts = [(g * g if squared else g) / len(rows) for g in gradients]
                totals = [total + part for total, part in zip(totals, parts, strict=True)]
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    with torch.no_grad():
        found = totals if squared else [(t * w).abs() for t, w in zip(totals, weights, strict=True)]  # type: ignore[operator]
    return {name: values.numpy() for name, values in zip(modules, found, strict=True)}
