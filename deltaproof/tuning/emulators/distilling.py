"""Teach the kept middle of an emulator what the full model's middle gives (Xiao et al. 2023, offsite-tuning).

The loss is the squared distance of what enters the last adapter layers, relative to the full model's mean square. Rows
come in an order that derives from the rows themselves, so whoever has the full model can repeat it up to rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch

from deltaproof.protocol.draws.order import BatchOrder
from deltaproof.protocol.terms.federation import Recipe
from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.tuning.base_models.layers import layer_of
from deltaproof.tuning.base_models.loading import BaseModel
from deltaproof.tuning.emulators._passes import batches, run, tokens, watching

__all__ = ["distill"]

Progress = Callable[[int, int, float], None]


def distill(
    full: BaseModel,
    emulator: BaseModel,
    section: ModelSection,
    rows: Sequence[bytes],
    recipe: Recipe,
    *,
    adapter_layers: Sequence[int],
    boundary: int,
    depth: int,
    progress: Progress,
) -> float:
    """Train the emulator's middle in place, float32; returns the last step's relative squared distance."""
    middle = [
        parameter
        for name, parameter in emulator.model.named_parameters()
        if (number := layer_of(name)) is not None and number not in adapter_layers
    ]
    for parameter in middle:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(middle, lr=recipe.distill_rate)
    size = min(recipe.distill_batch, len(rows))
    order = BatchOrder(hashlib.sha256(b"deltaproof/distil/v1\x00" + b"\n".join(rows)).digest(), len(rows), size)
    last = 0.0
    with watching(full.model, depth) as theirs, watching(emulator.model, depth) as ours:
        for step in range(recipe.distill_steps):
            chosen = [rows[i] for i in order.batch(step)]
            distances, weights = [], []
            for inputs in batches(full, section, chosen):
                with torch.no_grad():
                    run(full, section, inputs)
                run(emulator, section, inputs)
                wanted, got = theirs.states[boundary], ours.states[boundary]
                mask = tokens(inputs)
                if mask is not None and mask.shape == wanted.shape[:2]:
                    wanted, got = wanted[mask], got[mask]
                distances.append((wanted - got).square().sum())
                weights.append(wanted.square().sum())
            loss = torch.stack(distances).sum() / torch.stack(weights).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            last = float(loss.detach())
            progress(step + 1, recipe.distill_steps, last)
    for parameter in middle:
        parameter.requires_grad_(False)
    return last
