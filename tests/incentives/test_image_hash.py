"""Images that were changed a little have nearly the same edges, other images have others, and odd rows have none."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.rules import NEAR_IMAGE
from incentives.image_hash import edges_of
from incentives.row_evidence import RowClaim, count_rows

Image = NDArray[np.float64]
Change = Callable[[Image, np.random.Generator], Image]
CHANGES: dict[str, Change] = {
    "brighter": lambda image, _: image + 20,
    "less contrast": lambda image, _: (image - 128) * 0.8 + 128,
    "gamma": lambda image, _: 255 * (image / 255) ** 0.8,
    "noise": lambda image, draw: image + draw.normal(0, 3, image.shape),
}


def pixels_of(image: Image) -> list[int]:
    return [int(value) for value in np.clip(np.round(image), 0, 255).reshape(-1)]


def likeness(first: object, second: object) -> float:
    one, other = edges_of(first), edges_of(second)
    return len(one & other) / max(1, len(one | other))


@pytest.fixture(scope="module")
def digits() -> list[Image]:
    """Sixty scanned zeros: images as alike as different images of one label are."""
    data = load_digits()
    return [image * 15.0 for image, label in zip(data.images, data.target, strict=True) if label == 0][:60]


@pytest.fixture(scope="module")
def photo() -> Image:
    """Three channels of soft blobs, 32 x 32."""
    draw, places = np.random.default_rng(1), np.arange(32)
    image = np.zeros((3, 32, 32))
    for _ in range(12):
        x, y, width, height = (*draw.uniform(0, 32, 2), draw.uniform(3, 9), draw.uniform(10, 25))
        image += height * np.exp(-((places[:, None] - x) ** 2 + (places[None] - y) ** 2) / width**2)[None]
    return 30 + 180 * image / image.max()


@pytest.mark.parametrize("change", CHANGES)
def test_image_changed_a_little_is_the_same(digits: list[Image], photo: Image, change: str) -> None:
    draw = np.random.default_rng(0)
    alike = [likeness(pixels_of(i), pixels_of(CHANGES[change](i, draw))) >= NEAR_IMAGE for i in digits]
    assert sum(alike) >= 0.95 * len(alike)
    assert likeness(pixels_of(photo), pixels_of(CHANGES[change](photo, draw))) >= NEAR_IMAGE


def test_other_images_of_one_label_are_others(digits: list[Image]) -> None:
    made = [pixels_of(image) for image in digits]
    pairs = [(i, j) for i in range(len(made)) for j in range(i)]
    assert not [pair for pair in pairs if likeness(made[pair[0]], made[pair[1]]) >= NEAR_IMAGE]


def test_names_with_images_changed_a_little_bring_no_row(digits: list[Image]) -> None:
    def rows(change: Change) -> frozenset[bytes]:
        draw = np.random.default_rng(2)
        return frozenset(canonical_row({"pixels": pixels_of(change(i, draw)), "label": 0}) for i in digits)

    claims = [RowClaim(0, len(digits), rows(lambda image, _: image))]
    claims += [RowClaim(n, len(digits), rows(CHANGES[name])) for n, name in enumerate(("brighter", "noise"), start=1)]
    assert [count.counted for count in count_rows(claims)] == [len(digits), 0, 0]


@pytest.mark.parametrize(
    "pixels",
    [None, "pixels", [], [1], [1, 2, 3], [[1, 2], [3, 4]], [True] * 4, [1.5] * 4, [-1, 0, 0, 0], [256, 0, 0, 0],
     [10**30, 0, 0, 0], [7] * 64],
    ids=str,
)  # fmt: skip
def test_what_is_no_image_or_has_no_edges_has_none(pixels: object) -> None:
    assert edges_of(pixels) == frozenset()


def test_hash_is_of_whole_numbers_alone_and_pinned() -> None:
    """These very edges decide about pay: another machine or version may not find others."""
    draw = random.Random(3)
    found = edges_of([draw.randrange(256) for _ in range(3 * 11 * 11)])
    assert sorted(found)[:3] == ["down 0 0 +", "down 0 1 -", "down 0 2 +"]
    assert len(found) == 90
