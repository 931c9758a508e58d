"""Whether two trainers' data have rows in common, from what both had to open: evidence about alike deltas.

Every trainer opens the batches of its first and last step to every verifier. Honest trainers of the same few rows
come to nearly the same delta, and that is no copy: each computed its own, step by step. So where opened rows are
common, data explain the likeness. Rows count as common if they hold nearly the same words, so that whoever has learnt
a trainer's rows gains nothing by changing a letter of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import parse_row
from deltaproof.protocol.rules import COMMON_WORDS

__all__ = ["have_common_rows"]

_WORD = re.compile(r"\w+")


def have_common_rows(first: Iterable[bytes], second: Iterable[bytes]) -> bool:
    """Whether any canonical row of one is, nearly, a row of the other. Rows without text have to be the same bytes."""
    mine, theirs = set(first), set(second)
    if mine & theirs:
        return True
    others = [words for row in sorted(theirs) if (words := _words(row))]
    return any(_alike(words, other) for row in sorted(mine) if (words := _words(row)) for other in others)


def _words(row: bytes) -> frozenset[str]:
    try:
        fields = parse_row(row)
    except EncodingError:
        return frozenset()
    texts = (value for value in fields.values() if isinstance(value, str))
    return frozenset(word for text in texts for word in _WORD.findall(text.casefold()))


def _alike(first: frozenset[str], second: frozenset[str]) -> bool:
    """Jaccard similarity of the words."""
    return len(first & second) >= COMMON_WORDS * len(first | second)
