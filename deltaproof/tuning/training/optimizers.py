"""The optimisers: element-wise float32, one rounding per operation, in a fixed order (docs/protocol.md, section 2).

Each line below is one IEEE operation per torch call; no fused kernels, no `alpha=`, no in-place tricks that would let a
compiler contract a multiplication and an addition. That makes an update bit-identical on every CPU and GPU, and lets a
contract recompute one element in integer arithmetic (`contracts/libraries/OptimizerStep.sol`).
Constants come from a table of float32 values, one row per step, computed in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deltaproof.protocol.rules import CLIP_EPSILON, OPTIMIZER_CONSTANTS
from deltaproof.protocol.terms.spec import OptimizerSection
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire import merkle

__all__ = [
    "CONSTANT_NAMES",
    "OPTIMIZER_IDS",
    "State",
    "clip_scale",
    "constants_of",
    "constants_root",
    "constants_table",
    "correctly_rounded_sqrt",
    "exact_square_sum",
    "optimizer_id",
    "slots_of",
    "update",
]

CONSTANT_NAMES = (
    "lr",
    "beta1",
    "one_minus_beta1",
    "beta2",
    "one_minus_beta2",
    "ib1",
    "ib2",
    "eps",
    "l2",
    "decay",
    "momentum",
)
"""Columns of the constants table that are used (docs/protocol/training.md)."""
OPTIMIZER_IDS = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}
"""The contracts' numbers, by name."""
_SLOTS = {0: ("theta",), 1: ("theta", "m"), 2: ("theta", "m", "v")}

State = dict[str, Tensor]
"""Components by slot name, float32, shape (P,)."""


def optimizer_id(section: OptimizerSection) -> int:
    """The contracts' number of a task's optimiser."""
    return OPTIMIZER_IDS[section.name]


def slots_of(section: OptimizerSection) -> tuple[str, ...]:
    """The state's components that the optimiser uses."""
    return _SLOTS[optimizer_id(section)]


def update(optimizer: int, constants: Mapping[str, float], state: State, gradient: Tensor, scale: float) -> State:
    """The state after one step. `gradient`: float32, shape (P,); `scale`: clip scale, a float32 value."""
    k, theta = constants, state["theta"]
    g1 = gradient * scale
    g2 = g1 + theta * k["l2"]
    decayed = theta * k["decay"]
    if optimizer == 0:
        return {"theta": decayed - g2 * k["lr"]}
    if optimizer == 1:
        m = state["m"] * k["momentum"] + g2
        return {"theta": decayed - m * k["lr"], "m": m}
    m = state["m"] * k["beta1"] + g2 * k["one_minus_beta1"]
    v = state["v"] * k["beta2"] + (g2 * g2) * k["one_minus_beta2"]
    denominator = correctly_rounded_sqrt(v * k["ib2"]) + k["eps"]
    step = (m * k["ib1"]) / denominator
    return {"theta": decayed - step * k["lr"], "m": m, "v": v}


def correctly_rounded_sqrt(values: Tensor) -> Tensor:
    """Square root of float32 values, correctly rounded as IEEE 754 asks.

    torch's own float32 root on CPU comes from a vector library and is one step off for every sixth value. The root of a
    24-bit number is at least 2^-51 (relative) away from any midpoint of float32, more than a float64 root can be off.
    """
    return torch.sqrt(values.to(torch.float64)).to(torch.float32)


def constants_table(section: OptimizerSection, steps: int) -> NDArray[np.float32]:
    """One row of sixteen float32 constants per step, shape (steps, 16)."""
    table = np.zeros((steps, OPTIMIZER_CONSTANTS), dtype=np.float64)
    power1 = power2 = 1.0
    adaptive = optimizer_id(section) == OPTIMIZER_IDS["adam"]
    decoupled = section.name == "adamw"
    for t in range(steps):
        rate = section.learning_rate * _schedule(section, t, steps)
        power1, power2 = power1 * section.beta1, power2 * section.beta2
        table[t, :11] = (
            rate,
            section.beta1 if adaptive else 0.0,
            1.0 - section.beta1 if adaptive else 0.0,
            section.beta2 if adaptive else 0.0,
            1.0 - section.beta2 if adaptive else 0.0,
            1.0 / (1.0 - power1) if adaptive else 0.0,
            1.0 / (1.0 - power2) if adaptive else 0.0,
            section.eps if adaptive else 0.0,
            0.0 if decoupled else section.weight_decay,
            1.0 - rate * section.weight_decay if decoupled else 1.0,
            section.momentum if section.name == "momentum" else 0.0,
        )
    return table.astype(np.float32)


def constants_of(table: NDArray[np.float32], step: int) -> dict[str, float]:
    """Row `step` by name; every value is a float32 value."""
    return dict(zip(CONSTANT_NAMES, (float(value) for value in table[step]), strict=False))


def constants_root(table: NDArray[np.float32]) -> Digest32:
    """Ordered root over the table's rows (raw leaves of 64 bytes)."""
    return merkle.root(merkle.leaf(row.astype("<f4").tobytes()) for row in table)


def clip_scale(gradient: NDArray[np.float32], clip_norm: float) -> float:
    """Factor of gradient clipping to L2 norm `clip_norm` (0: none), a float32 value in [0, 1]."""
    if clip_norm == 0.0:
        return 1.0
    norm = math.sqrt(exact_square_sum(gradient))
    return float(np.float32(min(1.0, clip_norm / (norm + CLIP_EPSILON))))


def exact_square_sum(values: NDArray[np.float32]) -> float:
    """The sum of squares, correctly rounded to float64: what `math.fsum` gives, without a loop over values.

    A float32 square is exact in float64. Mantissas are summed per exponent as integers; each half stays below 2^53.
    """
    squares = values.astype(np.float64) ** 2
    mantissas, exponents = np.frexp(squares)
    whole = np.ldexp(mantissas, 53).astype(np.int64)
    lowest = int(exponents.min())
    bins = exponents - lowest
    high = np.bincount(bins, weights=whole >> 27)
    low = np.bincount(bins, weights=whole & (2**27 - 1))
    total = sum((int(h) << 27) + int(part) << i for i, (h, part) in enumerate(zip(high, low, strict=True)))
    shift = lowest - 53
    return float(total << shift) if shift >= 0 else total / (1 << -shift)  # integer division rounds correctly


def _schedule(section: OptimizerSection, t: int, steps: int) -> float:
    """Learning-rate factor of step t = 0..steps-1: linear warm-up, then constant, linear or cosine decay."""
    warmup = section.warmup_steps
    if t < warmup:
        return (t + 1) / warmup
    if section.schedule == "constant" or steps == warmup:
        return 1.0
    progress = (t - warmup) / (steps - warmup)
    return 1.0 - progress if section.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
