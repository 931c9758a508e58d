"""How many rows a trainer brought that nobody had enrolled before it, by the rows that openings show.

A row counts once in a round, for whoever enrolled it first. So ten names on one shard weigh as one, and whoever
enrols rows that it saw in another's openings comes later and gets no weight for them, while their owner loses nothing.

Openings are a sample of the rows that a trainer's steps read, so what they repeat is scaled up. How many of the rows
that were not opened are new to the shard follows from how many opened ones were met once and twice, as the number of
species does in a sample without replacement (Chao and Lin 2012): a shard of rows that repeat one another has few rows,
however many it enrols. A row that earlier names opened stands for its part of the distinct
rows of all names that such rows link, the *cluster*: this is the estimator of Petersen and Lincoln for marked and
recaptured animals (Seber 1982, chapter 3), with the cluster's opened rows as the marked ones. Where all read rows are
opened, the count is exact.

A name of which less than LEAST_NEW of the rows are new counts none: so little is what chance leaves of a shard that is
taken, and every name that counts has a part in what a round pays by heads (`incentives.payouts`, floor and base).

Rows with text are the same if the rest of their fields is the same and the Jaccard similarity of their words is at
least NEAR_ROW; candidates come from MinHash with banding (Broder 1997; Leskovec et al., Mining of Massive Datasets,
section 3.4). Words that most rows of a name have say nothing: rows of one prompt template, or under one system message
of a chat, are not the same for that, and a shard with a few words more in each row is no other shard. Images are
compared by a perceptual hash (`incentives.image_hash`), whose edges are words of which at least NEAR_IMAGE has to
agree. Other rows have to be the same bytes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaproof.errors import EncodingError
from deltaproof.protocol.draws.stream import HashStream
from deltaproof.protocol.evidence.rows import parse_row
from deltaproof.protocol.rules import (
    LEAST_NEW,
    NEAR_BANDS,
    NEAR_CANDIDATES,
    NEAR_HASHES,
    NEAR_IMAGE,
    NEAR_ROW,
    TEMPLATE_ROWS,
    TEMPLATE_SHARE,
)
from deltaproof.protocol.wire.encoding import canonical_json
from incentives.image_hash import edges_of
from incentives.overlap import words_of

if TYPE_CHECKING:
    from datasketch import MinHash

__all__ = ["RowClaim", "RowCount", "count_rows"]

_DOMAIN = b"deltaproof/near-rows/v1\x00"


@dataclass(frozen=True, slots=True)
class RowClaim:
    """One name's rows: when it enrolled them (a rank), how many the round's steps read, and those that it opened, each
    once, as the model reads them (`rows_as_read`): what is twice there are rows that differ in what no model sees."""

    enrolled: int
    rows: int
    opened: Collection[bytes]


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many of a claim's rows count. `repeated` of its `opened` rows are alike to another of its own, or to one of
    `earlier`, which are the places of claims that had them before."""

    counted: int
    opened: int
    repeated: int
    earlier: tuple[int, ...]


def count_rows(claims: Sequence[RowClaim]) -> list[RowCount]:
    """Rows of each claim that no earlier claim holds. A pure function of its arguments; raises ValueError for two
    claims of one rank."""
    if len({claim.enrolled for claim in claims}) != len(claims):
        raise ValueError("every claim needs a rank of its own")
    counts: list[RowCount | None] = [None] * len(claims)
    ledger = _Ledger()
    for place in sorted(range(len(claims)), key=lambda i: claims[i].enrolled):
        counts[place] = ledger.add(place, claims[place])
    return [count for count in counts if count is not None]


@dataclass(frozen=True, slots=True)
class _Features:
    """What two rows are compared by, and from which Jaccard similarity of the words on they are alike. Without words,
    `rest` is the whole row. `template` are those words that most rows of the same name have."""

    rest: bytes
    words: frozenset[str]
    least: float = NEAR_ROW
    template: frozenset[str] = frozenset()

    @classmethod
    def of(cls, row: bytes, words: frozenset[str], usual: Set[str]) -> _Features:
        """Of a canonical row with these words in its texts; `usual` are those of most rows of its name."""
        try:
            fields = parse_row(row)
        except EncodingError:  # no row that a step could have read
            return cls(row, frozenset())
        if words:
            least, template = NEAR_ROW, words & usual
        else:
            words, least, template = edges_of(fields.get("pixels")), NEAR_IMAGE, words
        if not words:
            return cls(row, words)
        rest = {k: v for k, v in fields.items() if not isinstance(v, str) and k != "pixels"}
        return cls(canonical_json(rest), words, least, template)

    @property
    def telling(self) -> frozenset[str]:
        """The words that tell a row from others of its name; all where none does."""
        return self.words - self.template or self.words

    def alike(self, other: _Features) -> bool:
        # Either's template is left out of both: else a shard with some words more in each row is another shard. Where
        # that leaves little, it says little: else who has every usual word in its rows has everybody's rows.
        template = self.template | other.template
        mine, theirs = self.words - template, other.words - template
        if 2 * len(mine) < len(self.telling) or 2 * len(theirs) < len(other.telling):
            mine, theirs = self.telling, other.telling
        shared = len(mine & theirs)
        return self.rest == other.rest and shared >= self.least * (len(mine) + len(theirs) - shared)


def _features(opened: Collection[bytes]) -> Iterator[_Features]:
    """Of the rows of one name, in ascending order. Few rows have words in common by chance."""
    rows = sorted(opened)
    texts = [words_of(row) for row in rows]
    often = Counter(word for words in texts for word in words)
    least = max(TEMPLATE_ROWS, TEMPLATE_SHARE * len(rows))
    usual = {word for word, times in often.items() if times >= least}
    return (_Features.of(row, words, usual) for row, words in zip(rows, texts, strict=True))


class _Sheet:
    """Rows that were seen, found again by likeness."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self._entries: list[_Features] = []
        self._same: dict[tuple[bytes, frozenset[str]], int] = {}
        self._near: Any = MinHashLSH(num_perm=NEAR_HASHES, params=(NEAR_BANDS, NEAR_HASHES // NEAR_BANDS))

    def enter(self, features: _Features) -> None:
        """Remember a row under the next number."""
        number = len(self._entries)
        self._entries.append(features)
        self._same[features.rest, features.words] = number
        if features.words:
            self._near.insert(number, _sketch(features.telling))

    def alike(self, features: _Features) -> list[int]:
        """Numbers of rows that are alike: the same one, else those among the first NEAR_CANDIDATES that are near."""
        if (same := self._same.get((features.rest, features.words))) is not None:
            return [same]
        if not features.words:
            return []
        candidates = sorted(self._near.query(_sketch(features.telling)))[:NEAR_CANDIDATES]
        return [number for number in candidates if self._entries[number].alike(features)]


@dataclass(slots=True)
class _Cluster:
    """Names that opened rows link: how many distinct rows they hold, and what their opened rows stand for."""

    rows: int = 0
    shown: Fraction = Fraction(0)
    joined_to: _Cluster | None = None

    def whole(self) -> _Cluster:
        """The cluster that this one has become a part of, if it has; found in few steps, however many joined."""
        last = self
        while last.joined_to is not None:
            last = last.joined_to
        if self is not last:
            self.joined_to = last
        return last


@dataclass(slots=True)
class _Ledger:
    """Opened rows of the names so far, each once: who had it first, and how many rows of that name it stands for."""

    sheet: _Sheet = field(default_factory=_Sheet)
    holders: list[int] = field(default_factory=list)
    stands_for: list[Fraction] = field(default_factory=list)
    clusters: dict[int, _Cluster] = field(default_factory=dict)
    """By holder; linked ones lead to one (`_Cluster.whole`)."""

    def add(self, place: int, claim: RowClaim) -> RowCount:
        before = len(self.holders)
        met = self._entered(place, claim.opened)
        if not met:  # nothing is opened, so nothing speaks against the claim
            self.clusters[place] = _Cluster(claim.rows)
            return RowCount(claim.rows, 0, 0, ())
        fresh, known = len(self.holders) - before, [entry for entry in met if entry < before]
        rows = _different_rows(claim, met)
        each = Fraction(rows, len(met))
        repeated = each * sum((self._worth(entry) for entry in known), Fraction(0))
        new = max(0, rows - math.floor(repeated))
        earlier = {self.holders[entry] for entry in known}
        cluster = self._joined(place, earlier)
        cluster.rows += new
        cluster.shown += each * fresh
        self.stands_for += [each] * fresh
        counted = new if new >= Fraction(LEAST_NEW) * rows else 0
        return RowCount(counted, len(claim.opened), len(claim.opened) - fresh, tuple(sorted(earlier)))

    def _entered(self, place: int, opened: Collection[bytes]) -> Counter[int]:
        """Enter what nobody has shown before. Returns how often each entry, new or of another, was met."""
        met = Counter[int]()
        for features in _features(opened):
            hits = self.sheet.alike(features)
            if not hits:
                met[len(self.holders)] = 1
                self.sheet.enter(features)
                self.holders.append(place)
            elif own := [entry for entry in hits if entry in met]:
                met[own[0]] += 1
            else:
                met[max(hits, key=lambda entry: (self._worth(entry), -entry))] = 1
        return met

    def _worth(self, entry: int) -> Fraction:
        """How many distinct rows of its cluster an entry stands for."""
        cluster = self.clusters[self.holders[entry]].whole()
        return self.stands_for[entry] * cluster.rows / cluster.shown

    def _joined(self, place: int, holders: set[int]) -> _Cluster:
        """The one cluster of a new name and of those whose rows it shows."""
        linked = {id(whole): whole for whole in (self.clusters[holder].whole() for holder in holders)}.values()
        joined = _Cluster(sum(c.rows for c in linked), sum((c.shown for c in linked), Fraction(0)))
        for cluster in linked:
            cluster.joined_to = joined
        self.clusters[place] = joined
        return joined


def _different_rows(claim: RowClaim, met: Counter[int]) -> int:
    """How many rows of a claim are not alike: those shown, and an estimate of the others (Chao and Lin 2012).

    Attack: enrol each row several times, changed a little. Few of the shown ones then meet another of theirs, so all
    but those that were met twice would stand for rows that nobody has.
    """
    shown = len(claim.opened)
    hidden = claim.rows - shown
    times = Counter(met.values())
    once, twice = times[1], times[2]
    if not once or hidden <= 0:
        return len(met)
    unlike = Fraction(once * shown, hidden) + (Fraction(2 * twice * shown, shown - 1) if twice else 0)
    return len(met) + math.ceil(once * once / unlike)


@lru_cache(maxsize=1)  # asked for twice in a row: what is looked for is then entered
def _sketch(words: frozenset[str]) -> MinHash:
    """Its permutations come from a hash, so that no library's random numbers decide who is alike."""
    from datasketch import MinHash

    sketch = MinHash(NEAR_HASHES, permutations=_permutations(), scheme="affine64")
    sketch.update_batch([word.encode() for word in sorted(words)])
    return sketch


@lru_cache(maxsize=1)
def _permutations() -> tuple[Any, Any]:
    stream = HashStream(_DOMAIN)
    factors = [2 * stream.below(2**63) + 1 for _ in range(NEAR_HASHES)]
    summands = [stream.below(2**64) for _ in range(NEAR_HASHES)]
    return np.array(factors, dtype=np.uint64), np.array(summands, dtype=np.uint64)
