"""How close an emulator is to the full model, on rows that everybody may see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deltaproof.protocol.terms.federation import Fidelity
from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.tuning.base_models.loading import BaseModel
from deltaproof.tuning.emulators._passes import batches, run, tokens, watching

__all__ = ["measure_fidelity"]

_DIGITS = 6


def measure_fidelity(
    full: BaseModel, emulator: BaseModel, section: ModelSection, rows: Sequence[bytes], *, depth: int, last: int
) -> Fidelity:
    """Distances on canonical `rows` of the task's kind; `depth` and `last` are the federation's.

    Both models are in one precision. Figures are rounded to six significant digits: more would differ between machines.
    """
    boundary = depth - last
    hidden, divergence, predictions = 0.0, 0.0, 0
    with torch.inference_mode(), watching(full.model, depth) as theirs, watching(emulator.model, depth) as ours:
        for inputs in batches(full, section, rows):
            logits, guesses = run(full, section, inputs), run(emulator, section, inputs)
            mask = tokens(inputs)
            hidden += _distance(theirs.states[boundary], ours.states[boundary], mask)
            each = _divergence(logits, guesses)
            if each.ndim == 2 and mask is not None:
                each = each[mask]
            divergence, predictions = divergence + float(each.sum()), predictions + each.numel()
    return Fidelity(hidden=_rounded(hidden / len(rows)), output=_rounded(max(0.0, divergence / predictions)))


def _distance(theirs: Tensor, ours: Tensor, mask: Tensor | None) -> float:
    """Relative L2 distance of each row's states, summed over rows."""
    if mask is not None and mask.shape == theirs.shape[:2]:
        theirs, ours = theirs * mask[..., None], ours * mask[..., None]
    difference = (theirs - ours).double().flatten(1).norm(dim=1)
    return float((difference / theirs.double().flatten(1).norm(dim=1)).sum())


def _divergence(logits: Tensor, guesses: Tensor) -> Tensor:
    """KL(full || emulator) of each prediction, nats."""
    wanted, got = logits.double().log_softmax(-1), guesses.double().log_softmax(-1)
    return (wanted.exp() * (wanted - got)).sum(-1)


def _rounded(value: float) -> float:
    return value if value == 0.0 else round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))
