"""How well-conditioned a gradient is: what rounding to float32 everywhere would do to it, and which zeros stay.

Bounds that a calibration found hold for the states it saw. Where numbers cancel inside a row (a low-rank factor whose
gradient is nearly orthogonal to the other one, a learnt batch), honest rounding is larger, and nobody can list such
places. So in doubt the verifier measures it where it is, by Monte Carlo arithmetic (Parker 1997). The gradient is
computed in float64 once more, with every operation's result changed by a random rounding, forward and backward. What
that does to the gradient is what rounding can do to it.

A coordinate that stays exactly zero is zero by structure: a word that no row holds, a value that is masked. No honest
machine has anything else there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from deltaproof.protocol.rules import FLOAT32_UNIT, ROUNDED_UP_TO

__all__ = ["rounded_at_random"]


@contextmanager
def rounded_at_random(seed: int, unit: float = FLOAT32_UNIT) -> Iterator[None]:
    """Whatever torch computes inside is rounded as float32 would, but at random; equal seeds round alike.

    `unit` is the largest relative error; below that of float64 nothing would change.
    """
    with _Rounding(seed, unit):
        yield


class _Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves this class untyped
    """Each value of every new floating tensor gets a relative error drawn evenly from -unit to unit."""

    def __init__(self, seed: int, unit: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seed, self._unit = seed, unit
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(returned.alias_info is not None for returned in func._schema.returns):
            return result  # a view, or written in place: no new values
        if isinstance(result, (tuple, list)):
            return type(result)(self._rounded(value) for value in result)
        return self._rounded(result)

    def _rounded(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        generator = self._generators.get(value.device)
        if generator is None:
            generator = self._generators[value.device] = torch.Generator(value.device).manual_seed(self._seed)
        error = torch.empty_like(value).uniform_(-self._unit, self._unit, generator=generator)
        # A mask is a constant, the same on every machine. Where all of a row is masked (padding beyond a sliding
        # window, an empty text), errors in it would choose one masked token, or leave no number at all.
        return torch.where(value.abs() > ROUNDED_UP_TO, value, value * (1.0 + error))
