"""Whether two trainers' data have rows in common, from what both had to open: evidence about alike deltas.

Every trainer opens the batches of its drawn steps to every verifier. Honest trainers of the same few rows
come to nearly the same delta, and that is no copy: each computed its own, step by step. So where opened rows are
common, data explain the likeness. Rows count as common if they hold nearly the same words, or images nearly the same
edges, so that whoever has learnt a trainer's rows gains nothing by changing a letter or the brightness of each.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import parse_row
from deltaproof.protocol.rules import COMMON_WORDS
from incentives.image_hash import edges_of

__all__ = ["have_common_rows", "words_of"]

_WORD = re.compile(r"\w+")


def have_common_rows(first: Iterable[bytes], second: Iterable[bytes]) -> bool:
    """Whether any canonical row of one is, nearly, a row of the other. Rows that have neither text nor the edges of an
    image have to be the same bytes."""
    mine, theirs = set(first), set(second)
    if mine & theirs:
        return True
    worded = [[words for row in sorted(rows) if (words := words_of(row) or _edges(row))] for rows in (mine, theirs)]
    often = Counter(word for words in (*worded[0], *worded[1]) for word in words)
    holders: dict[str, list[frozenset[str]]] = defaultdict(list)
    for words in worded[1]:
        for word in _telling(words, often):
            holders[word].append(words)
    return any(
        _alike(words, other)
        for words in worded[0]
        for word in _telling(words, often)
        for other in holders.get(word, ())
    )


def words_of(row: bytes) -> frozenset[str]:
    """Words of a canonical row's texts, case folded, without accents and invisible characters; none without text."""
    try:
        fields = parse_row(row)
    except EncodingError:
        return frozenset()
    texts = (value for value in fields.values() if isinstance(value, str))
    return frozenset(word for text in texts for word in _WORD.findall(_plain(text)))


def _edges(row: bytes) -> frozenset[str]:
    try:
        return edges_of(parse_row(row).get("pixels"))
    except EncodingError:
        return frozenset()


def _plain(text: str) -> str:
    """As compatible characters (NFKD) without marks (Mn) and format characters (Cf)."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if unicodedata.category(letter) not in ("Mn", "Cf"))


def _telling(words: frozenset[str], often: Counter[str]) -> list[str]:
    """So many of a row's rarest words that whatever row is alike has one of them among its own (prefix filtering:
    Chaudhuri, Ganti and Kaushik, ICDE 2006)."""
    rarest = sorted(words, key=lambda word: (often[word], word))
    return rarest[: len(words) - math.ceil(COMMON_WORDS * len(words)) + 1]


def _alike(first: frozenset[str], second: frozenset[str]) -> bool:
    """Jaccard similarity of the words."""
    return len(first & second) >= COMMON_WORDS * len(first | second)
