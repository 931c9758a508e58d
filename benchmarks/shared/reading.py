"""What a model reads of a row: the first tokens. Rows that differ behind them are one row to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from transformers import AutoTokenizer

from benchmarks.shared.tuning_tasks import Data
from deltaproof.tuning.base_models.loading import resolve_source

__all__ = ["read_alike"]


def read_alike(data: Data) -> int:
    """Test rows of which the model reads just what it reads of a row that is trained on. Of texts only."""
    trained = set(_tokens(data, data.train))
    return sum(tokens in trained for tokens in _tokens(data, data.test))


def _tokens(data: Data, rows: Sequence[bytes]) -> list[tuple[int, ...]]:
    if not rows:
        return []
    texts = [json.loads(row)["text"] for row in rows]
    found = _tokenizer(data.source)(texts, truncation=True, max_length=data.model["max_tokens"])["input_ids"]
    return [tuple(tokens) for tokens in found]


@cache
def _tokenizer(source: str) -> Any:
    return AutoTokenizer.from_pretrained(resolve_source(source))
