"""Which changes of an image its perceptual hash sees through, and how often it takes two images for one.

    python -m benchmarks.gaming.images

Scanned digits of 8 x 8, and pieces of two photographs that scikit-learn carries, 3 x 32 x 32. Results:
docs/results/images.md and its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_sample_images

from benchmarks.shared.replay_tasks import machine_facts, table, write_results
from deltaproof.protocol.rules import NEAR_FLAT, NEAR_GRID, NEAR_IMAGE
from incentives.image_hash import edges_of

Image = NDArray[np.float64]
Images = list[tuple[Image, int]]
"""[C, H, W] from 0 to 255, with labels."""
DRAWN, PIECE, SIDE = 200, 64, 32
CHANGES: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "20 levels brighter": lambda image, _: image + 20,
    "40 levels brighter": lambda image, _: image + 40,
    "four fifths of the contrast": lambda image, _: (image - 128) * 0.8 + 128,
    "gamma 0.8": lambda image, _: 255 * (image / 255) ** 0.8,
    "noise of 3 levels": lambda image, draw: image + draw.normal(0, 3, image.shape),
    "noise of 8 levels": lambda image, draw: image + draw.normal(0, 8, image.shape),
    "noise of 16 levels": lambda image, draw: image + draw.normal(0, 16, image.shape),
    "blurred": lambda image, _: sum((np.roll(image, s, a) for a in (1, 2) for s in (1, -1)), image) / 5,
    "moved by a pixel": lambda image, _: np.roll(image, 1, 2),
    "mirrored": lambda image, _: image[:, :, ::-1],
}


def main() -> None:
    """Measure and write the page."""
    grounds = {"scanned digits": _digits(), "pieces of photographs": _photographs()}
    rows = [_measure(name, images) for name, images in grounds.items()]
    write_results("images", {"machine": machine_facts(), "rows": rows}, _page(rows))


def _digits() -> Images:
    data = load_digits()
    return [(image[None] * (255 / 16), int(label)) for image, label in zip(data.images, data.target, strict=True)]


def _photographs() -> Images:
    pieces = []
    for photograph in load_sample_images().images:
        for top in range(0, photograph.shape[0] - PIECE, PIECE):
            for left in range(0, photograph.shape[1] - PIECE, PIECE):
                piece = photograph[top : top + PIECE, left : left + PIECE].astype(np.float64)
                halved = piece.reshape(SIDE, 2, SIDE, 2, 3).mean(axis=(1, 3))
                pieces.append((halved.transpose(2, 0, 1), 0))
    return pieces


def _pixels(image: Image) -> list[int]:
    return [int(value) for value in np.clip(np.round(image), 0, 255).reshape(-1)]


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one) and len(one & other) >= NEAR_IMAGE * len(one | other)


def _measure(name: str, images: Images) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    hashes = [edges_of(_pixels(image)) for image, _ in images]
    drawn = draw.permutation(len(images))[:DRAWN]
    pairs = [(i, j) for i in drawn for j in range(len(images)) if j != i and images[i][1] == images[j][1]]
    seen = {
        change: float(np.mean([_alike(edges_of(_pixels(make(images[i][0], draw))), hashes[i]) for i in drawn]))
        for change, make in CHANGES.items()
    }
    mistaken = sum(_alike(hashes[i], hashes[j]) for i, j in pairs)
    return {"ground": name, "images": len(drawn), "pairs": len(pairs), "mistaken": mistaken, "seen": seen}


def _page(rows: Sequence[dict[str, Any]]) -> str:
    head = f"""# Images that were changed

Distinct rows compare images by a perceptual hash: edges of a grid of {NEAR_GRID} cells, flat below a {NEAR_FLAT}th of
the range, alike from a Jaccard similarity of {NEAR_IMAGE} on ([scores](../protocol/scores.md#distinct-rows)). How many
images are recognised after a change, and how many pairs of different images of one label are taken for one. Made by
`python -m benchmarks.gaming.images`."""
    lines = [(change, *(f"{row['seen'][change]:.0%}" for row in rows)) for change in CHANGES]
    lines.append(("pairs taken for one", *(f"{row['mistaken']} of {row['pairs']:,}" for row in rows)))
    header = ("", *(f"{row['ground']} ({row['images']})" for row in rows))
    return "\n\n".join([head, table(header, lines), f"Machine: {machine_facts()}"])


if __name__ == "__main__":
    main()
