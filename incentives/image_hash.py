"""A perceptual hash of an image row: on a coarse grid, where it gets lighter and where darker.

The image is averaged over the cells of a grid, and each pair of neighbouring cells is compared, as a difference hash
does (Krawetz 2013, "Kind of Like That"). Neighbours that differ by less than a part of the image's own range are flat
and left out, so that noise on an empty background says nothing. What is left does not change with brightness, contrast
or gamma, and hardly with a little noise or blur.

It is whole-number arithmetic on the row's own pixels, because a verdict hangs on it: hashes of image libraries go
through resampling and cosine transforms in floats, whose last bits differ between versions and machines.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deltaproof.protocol.rules import NEAR_FLAT, NEAR_GRID, NEAR_MEANS

__all__ = ["edges_of"]


def edges_of(pixels: object) -> frozenset[str]:
    """The edges of a square image of one or three channels, channel by channel and row by row, as words; none of
    anything else, nor of an image without any."""
    if not isinstance(pixels, list) or not all(type(pixel) is int and 0 <= pixel < 256 for pixel in pixels):
        return frozenset()
    for channels in (1, 3):
        side = math.isqrt(len(pixels) // channels)
        if side > 1 and channels * side * side == len(pixels):
            cells = _cells(np.array(pixels, dtype=np.int64).reshape(channels, side, side).sum(axis=0))
            return frozenset([*_signs("right", cells), *_signs("down", cells.T)])
    return frozenset()


def _cells(image: NDArray[np.int64]) -> NDArray[np.int64]:
    """Means over at most NEAR_GRID x NEAR_GRID cells that are as large as one another as whole pixels allow."""
    side = len(image)
    grid = min(NEAR_GRID, side)
    edges = np.array([i * side // grid for i in range(grid)])
    sizes = np.diff([*edges, side])
    sums = np.add.reduceat(np.add.reduceat(image, edges, axis=0), edges, axis=1)
    return np.asarray(sums * NEAR_MEANS // np.outer(sizes, sizes), dtype=np.int64)


def _signs(name: str, cells: NDArray[np.int64]) -> list[str]:
    """A word for each neighbour to the right that is lighter or darker by more than the flat part of the range."""
    range_ = int(cells.max() - cells.min())
    found = []
    for (row, column), change in np.ndenumerate(np.diff(cells, axis=1)):
        if abs(int(change)) * NEAR_FLAT > range_:
            found.append(f"{name} {row} {column} {'+' if change > 0 else '-'}")
    return found
