"""What a model reads of a row: the first tokens. Rows that differ behind them are one row to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from transformers import AutoTokenizer

from deltaproof.tuning.base_models.loading import resolve_source

__all__ = ["Tokens", "reader"]

Tokens = tuple[int, ...]


@cache
def reader(source: str, most: int) -> Callable[[bytes], Tokens]:
    """Gives the tokens, at most `most`, that a model reads of a canonical text row."""
    tokenizer: Any = AutoTokenizer.from_pretrained(resolve_source(source))

    def read(row: bytes) -> Tokens:
        return tuple(tokenizer(json.loads(row)["text"], truncation=True, max_length=most)["input_ids"])

    return read
