"""Random draws that everybody repeats from a seed.

numpy promises the raw output of a bit generator, but not its shuffles and bounded integers, across versions. So only
raw 64-bit words of Philox (Salmon et al. 2011) are used, keyed by a hash of the seed and a label, and everything else
is derived here with integer arithmetic and stable sorts.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from incentives.semivalues._result import Bools, Floats, Ints

_DOMAIN = b"deltaproof/semivalues/v1\x00"


class Stream:
    """One stream per (seed, label); a method's draws never move another method's."""

    def __init__(self, seed: bytes, label: str) -> None:
        digest = sha256(_DOMAIN + len(seed).to_bytes(8, "big") + seed + label.encode()).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest[:16], "big"))

    def words(self, *shape: int) -> NDArray[np.uint64]:
        """Raw uint64 words of the given shape."""
        count = int(np.prod(shape))
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64).reshape(shape)

    def uniforms(self, *shape: int) -> Floats:
        """Floats in [0, 1) with 53 random bits."""
        return (self.words(*shape) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def permutations(self, count: int, players: int) -> Ints:
        """Uniform permutations, int64 [count, players]; ties of 64-bit keys fall to the lower index."""
        return np.argsort(self.words(count, players), axis=1, kind="stable")

    def coalitions(self, sizes: Ints, players: int) -> Bools:
        """Uniform coalitions of the given sizes, bool [len(sizes), players]."""
        order = self.permutations(len(sizes), players)
        members = np.zeros((len(sizes), players), dtype=np.bool_)
        np.put_along_axis(members, order, np.arange(players)[None, :] < sizes[:, None], axis=1)
        return members

    def choices(self, probabilities: Floats, count: int) -> Ints:
        """Independent draws from range(len(probabilities)), int64 [count]."""
        edges = np.cumsum(probabilities)
        found = np.searchsorted(edges, self.uniforms(count) * edges[-1], side="right")
        return np.asarray(np.minimum(found, len(edges) - 1), dtype=np.int64)
