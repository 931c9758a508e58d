"""Whether two trainers' data have rows in common, from what both had to open: evidence about alike deltas.

Every trainer opens the batches of its first and last step to every verifier. Honest trainers of the same few rows
come to nearly the same delta, and that is no copy: each computed its own, step by step. So where opened rows are
common, data explain the likeness. Rows count as common if they hold nearly the same words, so that whoever has learnt
a trainer's rows gains nothing by changing a letter of each.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import parse_row
from deltaproof.protocol.rules import COMMON_WORDS

__all__ = ["have_common_rows", "words_of"]

_WORD = re.compile(r"\w+")


def have_common_rows(first: Iterable[bytes], second: Iterable[bytes]) -> bool:
    """Whether any canonical row of one is, nearly, a row of the other. Rows without text have to be the same bytes."""
    mine, theirs = set(first), set(second)
    if mine & theirs:
        return True
    others = [words for row in sorted(theirs) if (words := words_of(row))]
    return any(_alike(words, other) for row in sorted(mine) if (words := words_of(row)) for other in others)


def words_of(row: bytes) -> frozenset[str]:
    """Words of a canonical row's texts, case folded, without accents and invisible characters; none without text."""
    try:
        fields = parse_row(row)
    except EncodingError:
        return frozenset()
    texts = (value for value in fields.values() if isinstance(value, str))
    return frozenset(word for text in texts for word in _WORD.findall(_plain(text)))


def _plain(text: str) -> str:
    """As compatible characters (NFKD) without marks (Mn) and format characters (Cf)."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if unicodedata.category(letter) not in ("Mn", "Cf"))


def _alike(first: frozenset[str], second: frozenset[str]) -> bool:
    """Jaccard similarity of the words."""
    return len(first & second) >= COMMON_WORDS * len(first | second)
