"""Diff pruning (Guo et al. 2021): W + z * w with a trained change w and hard-concrete gates z (Louizos et al. 2018).

In training z = clamp((zeta - gamma) sigmoid((log u - log(1-u) + a) / beta) + gamma, 0, 1), with u drawn from the
step's key. Outside of training z = clamp((zeta - gamma) sigmoid(a) + gamma, 0, 1). The loss has the expected share of
open gates times `l0`. The state is w and a / GATE_SPEED: a has to move by whole units within a round, w by thousandths,
and one optimiser with one rate moves both.

Deltas become one as changes z * w. Of their mean the `fraction` of largest magnitude over all weights stays, as the
paper prunes to its target after training, and w is zero elsewhere: so the aggregate, and with it the deliverable, is as
sparse as the task says. What is pruned may come back in a later round. A gate becomes the mean of a; but where a change
stays it is at least half open (the union of the masks), and w makes up for it. All of it follows from committed
deltas. For equal bits everywhere the sigmoid is computed from IEEE operations alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from deltaproof.protocol.terms.spec import OptionValue
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods._sparse_linear import largest, load_sparse
from deltaproof.tuning.methods._targets import linears, query_and_value
from deltaproof.tuning.methods.adapters import replace_module
from deltaproof.tuning.methods.base import Options, Shapes
from deltaproof.tuning.methods.deliverable import trainable, write_deliverable
from deltaproof.tuning.methods.own import OwnMethod
from deltaproof.tuning.numerics.products import Tensors, narrowed
from deltaproof.tuning.numerics.randomness import uniform

__all__ = ["DiffPruning", "gate_values"]

BETA, GAMMA, ZETA = 2.0 / 3.0, -0.1, 1.1
_OPEN_SHIFT = BETA * math.log(-GAMMA / ZETA)
_START = 1.0
GATE_SPEED = 256.0
"""Of a trained value in units of a; a power of two, so that no bit is lost."""
_HALF_OPEN = 0.5
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_NOISE_EDGE = 1e-6


class _GatedLinear(nn.Module):
    """(W + z w) x + b."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.diff = nn.Parameter(torch.zeros_like(base.weight))
        self.gates = nn.Parameter(torch.full_like(base.weight, _START / GATE_SPEED))
        self.noise: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        logits = GATE_SPEED * self.gates
        if self.noise is not None:
            logits = (logits + self.noise) / BETA
        gates = (torch.sigmoid(logits) * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)
        return linear(inputs, self.base.weight + gates * self.diff, self.base.bias)


class DiffPruning(OwnMethod):
    """Options: `l0`, the price of an open gate, `fraction`, the share of changes that stay, and `target_modules`."""

    name = "diff_pruning"
    family = "specification"
    paper = "Guo et al. 2021"
    aggregation = "mean of the changes z w, of which the largest stay; union of the masks"
    shortened = (".diff",)
    adds_up = False
    defaults: ClassVar[Options] = {"l0": 0.1, "fraction": 0.1, "target_modules": ()}

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        super().__init__(options)
        if not 0.0 < self.number("fraction") <= 1.0:
            raise MethodError(f"{self.name}: fraction {self.options['fraction']} must lie above 0 and not above 1")

    def prepare(self, base: nn.Module, seed: bytes) -> None:
        for name in linears(base, self.words("target_modules") or query_and_value(base)):
            module = base.get_submodule(name)
            assert isinstance(module, nn.Linear)  # `linears` finds nothing else
            replace_module(base, name, _GatedLinear(module))

    def penalty(self, model: nn.Module) -> Tensor:
        gates = [module.gates for module in _gated(model)]
        count = sum(gate.numel() for gate in gates)
        open_ = [torch.sigmoid(GATE_SPEED * gate - _OPEN_SHIFT).sum() for gate in gates]
        return self.number("l0") / count * torch.stack(open_).sum()

    @contextmanager
    def sampling(self, model: nn.Module, key: bytes) -> Iterator[None]:
        modules = list(_gated(model))
        for index, module in enumerate(modules):
            drawn = uniform(key, 2**31 + index, module.gates.numel(), _NOISE_EDGE, 1.0 - _NOISE_EDGE)
            u = drawn.astype(np.float64)
            module.noise = torch.from_numpy(np.log(u) - np.log1p(-u)).to(module.gates).view(module.gates.shape)
        try:
            yield
        finally:
            for module in modules:
                module.noise = None

    def unfold(self, tensors: Tensors) -> Tensors:
        """w becomes z w, float64."""
        return {**tensors, **_changes(tensors)}

    def fold(self, combined: Tensors, members: Sequence[Tensors], shapes: Shapes) -> Tensors:
        result = dict(combined)
        for name, sparse in self._sparse({name: combined[name] for name in _diffs(combined)}).items():
            change, gates = sparse.astype(np.float64), combined[_gates_of(name)]
            shut = (change != 0) & (gate_values(gates) < _HALF_OPEN)
            gates = np.where(shut, np.float32(0.0), gates)  # the gate of 0 is exactly half open
            open_ = gate_values(gates)
            result[_gates_of(name)] = gates
            result[name] = narrowed(np.where(change != 0, change / np.where(open_ > 0, open_, 1.0), 0.0))
        return super().fold(result, members, shapes)

    def export(self, model: nn.Module, folder: Path, source: str) -> None:
        """The changes that stay, as indices and values of each weight."""
        tensors = trainable(model)
        found = _changes({name: values.numpy() for name, values in tensors.items()})
        for name, sparse in self._sparse(found).items():
            del tensors[name], tensors[_gates_of(name)]
            change = sparse.astype(np.float32)
            indices = np.flatnonzero(change)
            place = name.removesuffix(".diff")
            tensors[f"{place}.indices"] = torch.from_numpy(indices.astype(np.int64))
            tensors[f"{place}.values"] = torch.from_numpy(change.reshape(-1)[indices])
        write_deliverable(folder, self.name, self.options, source, tensors)

    def _sparse(self, changes: Tensors) -> dict[str, NDArray[Any]]:
        """The changes with zeros for all but the largest of all weights together; of equal ones the first stay."""
        flat = np.concatenate([values.reshape(-1) for values in changes.values()])
        kept = largest(np.abs(flat), max(1, round(self.number("fraction") * flat.size)))
        sparse = np.zeros_like(flat)
        sparse[kept] = flat[kept]
        ends = np.cumsum([values.size for values in changes.values()])[:-1]
        parts = np.split(sparse, ends)
        return {name: part.reshape(changes[name].shape) for name, part in zip(changes, parts, strict=True)}

    @classmethod
    def load(cls, base: nn.Module, folder: Path, options: Mapping[str, OptionValue]) -> nn.Module:
        return load_sparse(base, folder)


def gate_values(trained: NDArray[np.float32]) -> NDArray[np.float64]:
    """Gates outside of training from trained values a / GATE_SPEED, the same bits on every IEEE machine."""
    values = np.clip(GATE_SPEED * trained.astype(np.float64), -60.0, 60.0)
    return np.clip((ZETA - GAMMA) / (1.0 + _exp(-values)) + GAMMA, 0.0, 1.0)


def _exp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """e^x by range reduction and a Taylor polynomial: library exponentials differ in the last bit between machines."""
    halvings = np.rint(values / math.log(2.0))
    rest = (values - halvings * _LN2_HIGH) - halvings * _LN2_LOW
    total = np.ones_like(rest)
    for degree in range(14, 0, -1):
        total = 1.0 + total * rest / degree
    return np.ldexp(total, halvings.astype(np.int64))


def _gated(model: nn.Module) -> Iterator[_GatedLinear]:
    return (module for module in model.modules() if isinstance(module, _GatedLinear))


def _diffs(tensors: Mapping[str, object]) -> list[str]:
    return sorted(name for name in tensors if name.endswith(".diff"))


def _changes(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """z w of every weight, float64, by the name of its w."""
    return {name: gate_values(tensors[_gates_of(name)]) * tensors[name] for name in _diffs(tensors)}


def _gates_of(name: str) -> str:
    return name.removesuffix(".diff") + ".gates"
