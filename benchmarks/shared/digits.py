"""Handwritten digits: a small vision transformer trained here on one half of them, and shifted tasks from the other.

    python -m benchmarks.shared.digits

trains the transformer anew (a minute on one thread), prints what it reads of digits it has not seen, upright and
shifted, and writes digits_vit.safetensors beside this file, float16. Training gives other bits on another machine, so
figures are made with the file, and DIGEST names it. scikit-learn's 1,797 digits have 8 x 8 pixels from 0 to 16.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save_file
from sklearn.datasets import load_digits
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification

from benchmarks.shared.places import BUILD
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.tuning.numerics.randomness import SeededFills, normal

__all__ = ["SHIFTS", "digits_model", "digits_rows"]

Images = NDArray[np.int64]
"""[N, 8, 8], values 0 to 255."""

WEIGHTS = Path(__file__).with_name("digits_vit.safetensors")
DIGEST = "a072c6a496de1892e143b8103ac25bcce21645796fa600559d06e26931c44b73"
"""SHA-256 of the file."""
FOLDER = BUILD / f"digits-vit-{DIGEST[:8]}"
_SEED = sha256(b"deltaproof/digits-vit/v1").digest()
_EPOCHS, _BATCH, _RATE = 60, 64, 1e-3
_SAVED = "model.safetensors"
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
    "overturned": lambda images: images[:, ::-1, :],
    "covered": lambda images: np.where(np.arange(8)[None, None, :] < 3, 0, images),
    "faint": lambda images: images // 6,
    "transposed": lambda images: images.swapaxes(1, 2),
    "turned": lambda images: images[:, ::-1, ::-1],
}
"""What the transformer has not seen in training."""


def digits_rows(shift: str, label: Callable[[int], int] = int, half: int = 1) -> list[bytes]:
    """Canonical rows of a half, in an order that the pixels draw; the transformer was trained on half 0, upright."""
    images, labels = _half(half)
    shifted = SHIFTS[shift](images).reshape(len(images), -1)
    return [
        canonical_row({"pixels": [int(v) for v in pixels], "label": label(int(digit))})
        for pixels, digit in zip(shifted, labels, strict=True)
    ]


@cache
def digits_model() -> Path:
    """Folder of the transformer without its head: four layers, width 64, patches of 2 x 2, 0.2 M parameters."""
    if not (FOLDER / "config.json").is_file():
        data = WEIGHTS.read_bytes()
        if sha256(data).hexdigest() != DIGEST:
            raise ValueError(f"{WEIGHTS} is not the transformer that the figures were made with: its digest differs")
        unfinished = FOLDER.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        _config().save_pretrained(unfinished)
        weights = {name: values.float() for name, values in load(data).items()}
        save_file(weights, unfinished / _SAVED, metadata={"format": "pt"})
        unfinished.rename(FOLDER)
    return FOLDER


def _config() -> ViTConfig:
    return ViTConfig(
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


def _train() -> ViTForImageClassification:
    with SeededFills(_SEED):
        model = ViTForImageClassification(_config())
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
    with tempfile.TemporaryDirectory() as folder:
        _train().vit.save_pretrained(folder)
        trained = load((Path(folder) / _SAVED).read_bytes())
    save_file({name: values.half() for name, values in trained.items()}, WEIGHTS)
    print(f"{WEIGHTS}: set DIGEST to {sha256(WEIGHTS.read_bytes()).hexdigest()}")
