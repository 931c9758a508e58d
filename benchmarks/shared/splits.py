"""Training and test rows without common content: no test text is, or nearly is, one that was trained on.

Texts are compared by their runs of three words, lower case, without punctuation. Half of all runs in common (Jaccard)
is near: quotes of one mail, the same post with another ending. And they are compared by what a model reads of them
(`reading.py` here): mails of one template may differ only behind it.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from hashlib import sha256
from itertools import islice

__all__ = ["NEAR", "Seen", "apart", "rows_digest"]

NEAR = 0.5
_RUN = 3


class Seen:
    """Texts that were seen, asked for the nearest."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._runs = [_runs(text) for text in texts]
        self._holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, runs in enumerate(self._runs):
            for run in runs:
                self._holders[run].append(place)

    def likeness(self, text: str) -> float:
        """Share of runs in common with the nearest seen text, 0 to 1."""
        runs = _runs(text)
        common = Counter(place for run in runs for place in self._holders.get(run, ()))
        return max((count / len(runs | self._runs[place]) for place, count in common.items()), default=0.0)


def apart(rows: Sequence[bytes], seen: Sequence[bytes], count: int, reads: Callable[[bytes], Hashable]) -> list[bytes]:
    """The first `count` of the canonical text rows that are not near one of `seen`, and of which a model does not read
    what it `reads` of one."""
    trained, read = Seen(_text(row) for row in seen), {reads(row) for row in seen}
    found = (row for row in rows if trained.likeness(_text(row)) < NEAR and reads(row) not in read)
    return list(islice(found, count))


def rows_digest(*parts: Sequence[bytes]) -> str:
    """Names a split: what was trained on, and what was tested on, in order."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        for row in part:
            digest.update(sha256(row).digest())
    return digest.hexdigest()[:16]


def _text(row: bytes) -> str:
    text: str = json.loads(row)["text"]
    return text


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    if len(words) <= _RUN:
        return frozenset([tuple(words)])
    return frozenset(zip(words, words[1:], words[2:], strict=False))
