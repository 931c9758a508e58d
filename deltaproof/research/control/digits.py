"""What the environment's federation learns: digits turned by a right angle, on a model that has read them upright.

scikit-learn's 1,797 digits, shrunk to 4 x 4 pixels, are halved by their pixels' digests. The owner's model, a vision
transformer of five layers, is trained on upright digits of one half; the other half, turned, is validation, public rows
and the devices' shards, where each device has mostly some of the digits.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaproof.extras import need
from deltaproof.protocol.evidence.rows import Shard, canonical_row
from deltaproof.protocol.types import ZERO_DIGEST
from deltaproof.tuning.base_models.loading import cache_folder
from deltaproof.tuning.numerics.randomness import SeededFills, normal

__all__ = ["LAYERS", "Digits"]

Images = NDArray[np.int64]
"""[N, 4, 4], values 0 to 255."""

_SEED = sha256(b"deltaproof/research/control-digits/v2").digest()
_BATCH, _RATE = 64, 2e-3
LAYERS = 5
"""Transformer layers of the owner's model."""
_OWN_SHARE = 0.7
"""Of a shard's rows, those of the device's own digits."""


@dataclass(frozen=True)
class Digits:
    """The data and the owner's model. `epochs` is how long that model is trained on upright digits."""

    devices: int = 3
    epochs: int = 40
    validation_rows: int = 100
    public_rows: int = 32
    shard_rows: int = 192

    @cached_property
    def validation(self) -> tuple[bytes, ...]:
        """Rows that adapters are measured on."""
        return self._rows[: self.validation_rows]

    @cached_property
    def public(self) -> tuple[bytes, ...]:
        """Rows that everybody may see; emulators are made with them."""
        return self._rows[self.validation_rows : self.validation_rows + self.public_rows]

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """One for each device; no row is in two."""
        pool = list(range(self.validation_rows + self.public_rows, len(self._rows)))
        labels = self._half(1)[1]
        chosen = []
        for device in range(self.devices):
            own = [i for i in pool if labels[i] * self.devices // 10 == device][: round(_OWN_SHARE * self.shard_rows)]
            left = sorted(set(pool) - set(own))
            mixed = left[device :: self.devices][: self.shard_rows - len(own)]
            chosen.append([*own, *mixed])
            pool = sorted(set(pool) - set(chosen[-1]))
        return tuple(Shard(tuple(self._rows[i] for i in rows), ZERO_DIGEST) for rows in chosen)

    @cached_property
    def model(self) -> Path:
        """Folder of the owner's model without its head: five layers of width 32, trained once and cached."""
        folder = cache_folder() / "control" / f"digits-vit-{LAYERS}-{self.epochs}"
        if not (folder / "config.json").is_file():
            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            self._trained().vit.save_pretrained(unfinished)
            unfinished.rename(folder)
        return folder

    @cached_property
    def _rows(self) -> tuple[bytes, ...]:
        images, labels = self._half(1)
        turned = np.rot90(images, axes=(1, 2)).reshape(len(images), -1)
        return tuple(
            canonical_row({"pixels": [int(v) for v in pixels], "label": int(label)})
            for pixels, label in zip(turned, labels, strict=True)
        )

    def _trained(self) -> Any:
        import torch
        from transformers import ViTConfig, ViTForImageClassification

        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
        plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        config = ViTConfig(**sizes, **plain, image_size=4, patch_size=2, num_channels=1, num_labels=10)
        with SeededFills(_SEED):
            model = ViTForImageClassification(config)
        images, labels = self._half(0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.05)
        for epoch in range(self.epochs):
            order = np.argsort(normal(_SEED, 1_000_000 + epoch, len(images), 0.0, 1.0), kind="stable")
            for start in range(0, len(order) - _BATCH + 1, _BATCH):
                rows = order[start : start + _BATCH]
                pixels = torch.from_numpy(images[rows]).float().unsqueeze(1) / 127.5 - 1.0
                loss = model(pixel_values=pixels, labels=torch.from_numpy(labels[rows])).loss
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return model.eval()

    def _half(self, number: int) -> tuple[Images, NDArray[np.int64]]:
        """The pixels decide which half a digit is in, and where."""
        pixels, labels = self._digits
        keys = [sha256(image.tobytes()).digest() for image in pixels]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        chosen = order[number * len(order) // 2 : (number + 1) * len(order) // 2]
        return pixels[chosen], labels[chosen]

    @cached_property
    def _digits(self) -> tuple[Images, NDArray[np.int64]]:
        found = need("sklearn.datasets").load_digits()
        shrunk = found.images.astype(np.int64).reshape(-1, 4, 2, 4, 2).sum(axis=(2, 4))
        return np.minimum(255, shrunk * 4), found.target.astype(np.int64)
