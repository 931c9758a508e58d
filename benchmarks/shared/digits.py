"""Handwritten digits: a small vision transformer trained here on one half of them, and shifted tasks from the other.

    python -m benchmarks.shared.digits

trains the transformer (a minute on one thread, once; kept under build/) and prints what it reads of digits it has not
seen, upright and shifted. scikit-learn's 1,797 digits have 8 x 8 pixels from 0 to 16.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification

from benchmarks.shared.places import BUILD
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.tuning.numerics.randomness import SeededFills, normal

__all__ = ["SHIFTS", "digits_model", "digits_rows"]

Images = NDArray[np.int64]
"""[N, 8, 8], values 0 to 255."""

FOLDER = BUILD / "digits-vit"
_SEED = sha256(b"deltaproof/digits-vit/v1").digest()
_EPOCHS, _BATCH, _RATE = 60, 64, 1e-3
_NOISE = 80.0
"""Standard deviation of the pixels' noise."""


def _noisy(images: Images) -> Images:
    noise = normal(_SEED, 1_000_000, images.size, 0.0, _NOISE).reshape(images.shape)
    return np.clip(images + np.rint(noise).astype(np.int64), 0, 255)


SHIFTS: dict[str, Callable[[Images], Images]] = {
    "upright": lambda images: images,
    "rotated": lambda images: np.rot90(images, axes=(1, 2)),
    "inverted": lambda images: 255 - images,
    "noisy": _noisy,
    "mirrored": lambda images: images[:, :, ::-1],
    "rolled": lambda images: np.roll(images, 3, axis=2),
}
"""What the transformer has not seen in training."""


def digits_rows(shift: str, label: Callable[[int], int] = int) -> list[bytes]:
    """Canonical rows of the half that the transformer was not trained on, in an order that the pixels draw."""
    images, labels = _half(1)
    shifted = SHIFTS[shift](images).reshape(len(images), -1)
    return [
        canonical_row({"pixels": [int(v) for v in pixels], "label": label(int(digit))})
        for pixels, digit in zip(shifted, labels, strict=True)
    ]


@cache
def digits_model() -> Path:
    """Folder of the transformer without its head: four layers, width 64, patches of 2 x 2, 0.2 M parameters."""
    if not (FOLDER / "config.json").is_file():
        unfinished = FOLDER.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        _train().vit.save_pretrained(unfinished)
        unfinished.rename(FOLDER)
    return FOLDER


def _train() -> ViTForImageClassification:
    config = ViTConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=8,
        patch_size=2,
        num_channels=1,
        num_labels=10,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with SeededFills(_SEED):
        model = ViTForImageClassification(config)
    images, labels = _half(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.05)
    steps = _EPOCHS * (len(images) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for rows in _batches(len(images), steps):
        loss = model(pixel_values=_pixels(images[rows]), labels=torch.from_numpy(labels[rows])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    read = _accuracy(model, *_half(1))
    print(f"vision transformer: reads {read:.3f} of the digits it has not seen", flush=True)
    for name, shift in SHIFTS.items():
        print(f"  {name}: {_accuracy(model, shift(_half(1)[0]), _half(1)[1]):.3f}", flush=True)
    return model.eval()


def _batches(count: int, steps: int) -> Iterator[NDArray[np.int64]]:
    """Rows of each step: each epoch in an order of its own, from the seed."""
    each = count // _BATCH
    for step in range(steps):
        epoch, place = divmod(step, each)
        order = np.argsort(normal(_SEED, 2_000_000 + epoch, count, 0.0, 1.0), kind="stable")
        yield order[place * _BATCH : (place + 1) * _BATCH]


def _half(number: int) -> tuple[Images, NDArray[np.int64]]:
    """Half 0 to train the transformer on, half 1 for tasks; the pixels decide which half a digit is in."""
    pixels, labels = _digits()
    keys = [sha256(image.tobytes()).digest() for image in pixels]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    chosen = order[number * len(order) // 2 : (number + 1) * len(order) // 2]
    return pixels[chosen], labels[chosen]


@cache
def _digits() -> tuple[Images, NDArray[np.int64]]:
    found = load_digits()
    return np.minimum(255, found.images.astype(np.int64) * 16), found.target.astype(np.int64)


def _pixels(images: Images) -> Tensor:
    """As `deltaproof.tuning.base_models.batches` scales them."""
    return torch.from_numpy(np.ascontiguousarray(images)).float().unsqueeze(1) / 127.5 - 1.0


def _accuracy(model: ViTForImageClassification, images: Images, labels: Sequence[int] | NDArray[np.int64]) -> float:
    with torch.no_grad():
        found = model(pixel_values=_pixels(images)).logits.argmax(-1).numpy()
    return float((found == np.asarray(labels)).mean())


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(digits_model())
