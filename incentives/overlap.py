"""Whether two trainers' data have rows in common, from what both had to open: evidence about alike deltas.

Every trainer opens the batches of its drawn steps to every verifier. Honest trainers of the same few rows
come to nearly the same delta, and that is no copy: each computed its own, step by step. So where opened rows are
common, data explain the likeness. Rows count as common if they hold nearly the same words, or images nearly the same
edges, so that whoever has learnt a trainer's rows gains nothing by changing a letter or the brightness of each.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from unicodedata import ucd_3_2_0

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import parse_row
from deltaproof.protocol.rules import COMMON_WORDS
from incentives.image_hash import edges_of

__all__ = ["have_common_rows", "words_of"]


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
    return frozenset(word for text in texts for word in _plain(text).split())


def _edges(row: bytes) -> frozenset[str]:
    try:
        return edges_of(parse_row(row).get("pixels"))
    except EncodingError:
        return frozenset()


def _plain(text: str) -> str:
    """Letters and digits, case folded and as compatible characters (NFKD), with spaces between words.

    By the tables of Unicode 3.2, which every Python has: those of two versions know other letters, and verifiers would
    count other rows. A character that 3.2 does not know is a word of its own.
    """
    return "".join(map(_folded, text))


@lru_cache(maxsize=2**14)
def _folded(character: str) -> str:
    category = ucd_3_2_0.category(character)
    if category == "Cn":
        return f" {character} "
    return "".join(map(_part, ucd_3_2_0.normalize("NFKD", character.casefold())))


def _part(character: str) -> str:
    """Of a word itself, nothing, or a space: marks, and what nobody sees, part no words."""
    if character.isspace():
        return " "
    category = ucd_3_2_0.category(character)
    return character if category[0] in "LN" else "" if category[0] in "MCZ" else " "


def _telling(words: frozenset[str], often: Counter[str]) -> list[str]:
    """So many of a row's rarest words that whatever row is alike has one of them among its own (prefix filtering:
    Chaudhuri, Ganti and Kaushik, ICDE 2006)."""
    rarest = sorted(words, key=lambda word: (often[word], word))
    return rarest[: len(words) - math.ceil(COMMON_WORDS * len(words)) + 1]


def _alike(first: frozenset[str], second: frozenset[str]) -> bool:
    """Jaccard similarity of the words."""
    return len(first & second) >= COMMON_WORDS * len(first | second)
